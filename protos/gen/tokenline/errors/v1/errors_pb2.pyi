from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_ARGUMENT: _ClassVar[ErrorReason]
    ERROR_REASON_ACCOUNT_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_CLOSED: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_CHARGING_ID_STALE: _ClassVar[ErrorReason]
    ERROR_REASON_AMOUNT_OVERFLOW: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_OWNER: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_OFFERING_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_REVOKED: _ClassVar[ErrorReason]
    ERROR_REASON_CATALOG_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_RECORD_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_ALREADY_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_ARGUMENT: ErrorReason
ERROR_REASON_ACCOUNT_UNKNOWN: ErrorReason
ERROR_REASON_SESSION_UNKNOWN: ErrorReason
ERROR_REASON_SESSION_CLOSED: ErrorReason
ERROR_REASON_SEQUENCE_INVALID: ErrorReason
ERROR_REASON_IDEMPOTENCY_CONFLICT: ErrorReason
ERROR_REASON_CHARGING_ID_STALE: ErrorReason
ERROR_REASON_AMOUNT_OVERFLOW: ErrorReason
ERROR_REASON_NOT_OWNER: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_MODEL_UNKNOWN: ErrorReason
ERROR_REASON_OFFERING_UNKNOWN: ErrorReason
ERROR_REASON_KEY_UNKNOWN: ErrorReason
ERROR_REASON_KEY_REVOKED: ErrorReason
ERROR_REASON_CATALOG_UNAVAILABLE: ErrorReason
ERROR_REASON_RECORD_UNKNOWN: ErrorReason
ERROR_REASON_ALREADY_EXISTS: ErrorReason
ERROR_REASON_UNAVAILABLE: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
