"""Errors that cross an RPC: a typed reason, a sentence for people, and the gRPC status they travel as.

Core code raises `ServiceError`; the server bootstrap turns it into a status with a google.rpc.ErrorInfo; clients turn it back with
`from_rpc`. Only the edge makes user-facing problems of them.
"""

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tokenline.errors.v1 import errors_pb2

DOMAIN: Final = "tokenline"
# A status travels in headers, of which gRPC takes 8 KiB, twice: with 9 bytes for a character that is not ASCII, and with 4.
_HEADER_BYTES_MAX: Final = 6 * 1024

_STATUS_BY_REASON: Final = {
    errors_pb2.ERROR_REASON_INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_SESSION_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_SESSION_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_SEQUENCE_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT: grpc.StatusCode.ABORTED,
    errors_pb2.ERROR_REASON_CHARGING_ID_STALE: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_AMOUNT_OVERFLOW: grpc.StatusCode.OUT_OF_RANGE,
    errors_pb2.ERROR_REASON_NOT_OWNER: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    errors_pb2.ERROR_REASON_MODEL_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_OFFERING_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_KEY_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_KEY_REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    errors_pb2.ERROR_REASON_RECORD_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    errors_pb2.ERROR_REASON_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    errors_pb2.ERROR_REASON_INTERNAL: grpc.StatusCode.INTERNAL,
    errors_pb2.ERROR_REASON_ITEM_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    errors_pb2.ERROR_REASON_PAYMENT_REQUIRED: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_NOT_POSSIBLE: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED: grpc.StatusCode.PERMISSION_DENIED,
    errors_pb2.ERROR_REASON_SUBJECT_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
    errors_pb2.ERROR_REASON_OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

# Reasons that pass by themselves: a caller that can wait asks again.
TRANSIENT: Final = frozenset(
    {errors_pb2.ERROR_REASON_NOT_OWNER, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, errors_pb2.ERROR_REASON_UNAVAILABLE}
)

_REASON_BY_NAME: Final = {errors_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_"): reason for reason in _STATUS_BY_REASON}

_REASON_BY_UNTYPED_STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: errors_pb2.ERROR_REASON_INVALID_ARGUMENT,
    grpc.StatusCode.UNAVAILABLE: errors_pb2.ERROR_REASON_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors_pb2.ERROR_REASON_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: errors_pb2.ERROR_REASON_UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors_pb2.ERROR_REASON_UNAVAILABLE,
    # In the middle of an update, a replica of an older release was asked.
    grpc.StatusCode.UNIMPLEMENTED: errors_pb2.ERROR_REASON_UNAVAILABLE,
}


class ServiceError(Exception):
    """A request was not carried out.

    `reason` tells programs the cause; `message` tells people what is wrong and what would be right.
    """

    def __init__(self, reason: errors_pb2.ErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def reason_name(self) -> str:
        """The reason without its prefix, for example "ACCOUNT_UNKNOWN"."""
        return errors_pb2.ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")

    @property
    def status_code(self) -> grpc.StatusCode:
        """The gRPC status of the reason."""
        return _STATUS_BY_REASON[self.reason]

    def to_status(self) -> "rpc_status._Status":
        """The status for `context.abort_with_status`, with the reason in an ErrorInfo."""
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=self.reason_name, domain=DOMAIN))
        code: int = self.status_code.value[0]
        return rpc_status.to_status(status_pb2.Status(code=code, message=_in_headers(self.message), details=[detail]))


def _in_headers(message: str) -> str:
    """The message, cut where its headers would be too large: then the caller would not get the reason either."""
    room = _HEADER_BYTES_MAX
    for place, character in enumerate(message):
        room -= 3 if " " <= character <= "~" and character != "%" else 5 * len(character.encode(errors="replace"))
        if room < 0:
            return f"{message[:place]}..."
    return message


class SchemaError(Exception):
    """Stored data cannot be read: written by newer code, damaged, or not ours. The message names it and what to do."""


def invalid(message: str) -> ServiceError:
    """An INVALID_ARGUMENT that names the field and what would be right."""
    return ServiceError(errors_pb2.ERROR_REASON_INVALID_ARGUMENT, message)


def from_rpc(error: grpc.aio.AioRpcError) -> ServiceError:
    """The error of a failed call; a status without our reason (a broken connection, a deadline) is UNAVAILABLE."""
    status = rpc_status.from_call(error)
    if status is not None:
        for detail in status.details:
            information = error_details_pb2.ErrorInfo()
            if detail.Unpack(information) and information.domain == DOMAIN:
                reason = _REASON_BY_NAME.get(information.reason, errors_pb2.ERROR_REASON_INTERNAL)
                return ServiceError(reason, status.message)
    reason = _REASON_BY_UNTYPED_STATUS.get(error.code(), errors_pb2.ERROR_REASON_INTERNAL)
    return ServiceError(reason, error.details() or error.code().name)
