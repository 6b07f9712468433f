import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tokenline.errors.v1 import errors_pb2 as _errors_pb2
from tokenline.registry.v1 import registry_pb2 as _registry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResultCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESULT_CODE_UNSPECIFIED: _ClassVar[ResultCode]
    RESULT_CODE_SUCCESS: _ClassVar[ResultCode]
    RESULT_CODE_QUOTA_LIMIT_REACHED: _ClassVar[ResultCode]
    RESULT_CODE_END_USER_SERVICE_DENIED: _ClassVar[ResultCode]
    RESULT_CODE_RATING_FAILED: _ClassVar[ResultCode]
    RESULT_CODE_RATE_LIMITED: _ClassVar[ResultCode]
    RESULT_CODE_END_USER_SERVICE_REJECTED: _ClassVar[ResultCode]

class FinalUnitAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_UNIT_ACTION_UNSPECIFIED: _ClassVar[FinalUnitAction]
    FINAL_UNIT_ACTION_TERMINATE: _ClassVar[FinalUnitAction]
    FINAL_UNIT_ACTION_REDIRECT: _ClassVar[FinalUnitAction]
    FINAL_UNIT_ACTION_RESTRICT_ACCESS: _ClassVar[FinalUnitAction]

class UsageProvenance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_PROVENANCE_UNSPECIFIED: _ClassVar[UsageProvenance]
    USAGE_PROVENANCE_VENDOR: _ClassVar[UsageProvenance]
    USAGE_PROVENANCE_PARTIAL: _ClassVar[UsageProvenance]
    USAGE_PROVENANCE_TOKENIZER: _ClassVar[UsageProvenance]
    USAGE_PROVENANCE_ESTIMATED: _ClassVar[UsageProvenance]

class CloseCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOSE_CAUSE_UNSPECIFIED: _ClassVar[CloseCause]
    CLOSE_CAUSE_NORMAL: _ClassVar[CloseCause]
    CLOSE_CAUSE_QUOTA_EXHAUSTED: _ClassVar[CloseCause]
    CLOSE_CAUSE_CLIENT_GONE: _ClassVar[CloseCause]
    CLOSE_CAUSE_VENDOR_ERROR: _ClassVar[CloseCause]
    CLOSE_CAUSE_SWEPT: _ClassVar[CloseCause]
    CLOSE_CAUSE_REJECTED: _ClassVar[CloseCause]
    CLOSE_CAUSE_REVOKED: _ClassVar[CloseCause]

class Feature(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_UNSPECIFIED: _ClassVar[Feature]
    FEATURE_TOKEN_CLASSES: _ClassVar[Feature]
    FEATURE_ACTORS: _ClassVar[Feature]
    FEATURE_RUNS: _ClassVar[Feature]
    FEATURE_SALES: _ClassVar[Feature]
RESULT_CODE_UNSPECIFIED: ResultCode
RESULT_CODE_SUCCESS: ResultCode
RESULT_CODE_QUOTA_LIMIT_REACHED: ResultCode
RESULT_CODE_END_USER_SERVICE_DENIED: ResultCode
RESULT_CODE_RATING_FAILED: ResultCode
RESULT_CODE_RATE_LIMITED: ResultCode
RESULT_CODE_END_USER_SERVICE_REJECTED: ResultCode
FINAL_UNIT_ACTION_UNSPECIFIED: FinalUnitAction
FINAL_UNIT_ACTION_TERMINATE: FinalUnitAction
FINAL_UNIT_ACTION_REDIRECT: FinalUnitAction
FINAL_UNIT_ACTION_RESTRICT_ACCESS: FinalUnitAction
USAGE_PROVENANCE_UNSPECIFIED: UsageProvenance
USAGE_PROVENANCE_VENDOR: UsageProvenance
USAGE_PROVENANCE_PARTIAL: UsageProvenance
USAGE_PROVENANCE_TOKENIZER: UsageProvenance
USAGE_PROVENANCE_ESTIMATED: UsageProvenance
CLOSE_CAUSE_UNSPECIFIED: CloseCause
CLOSE_CAUSE_NORMAL: CloseCause
CLOSE_CAUSE_QUOTA_EXHAUSTED: CloseCause
CLOSE_CAUSE_CLIENT_GONE: CloseCause
CLOSE_CAUSE_VENDOR_ERROR: CloseCause
CLOSE_CAUSE_SWEPT: CloseCause
CLOSE_CAUSE_REJECTED: CloseCause
CLOSE_CAUSE_REVOKED: CloseCause
FEATURE_UNSPECIFIED: Feature
FEATURE_TOKEN_CLASSES: Feature
FEATURE_ACTORS: Feature
FEATURE_RUNS: Feature
FEATURE_SALES: Feature

class UnitOfAmount(_message.Message):
    __slots__ = ("unit", "currency")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    unit: _registry_pb2.Unit
    currency: str
    def __init__(self, unit: _Optional[_Union[_registry_pb2.Unit, str]] = ..., currency: _Optional[str] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("input", "cached_input", "cache_write", "output", "reasoning", "cache_write_1h", "audio_input", "image_input", "audio_output", "image_output", "generated_images", "audio_milliseconds", "spoken_characters")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_1H_FIELD_NUMBER: _ClassVar[int]
    AUDIO_INPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_INPUT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GENERATED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    audio_output: int
    image_output: int
    generated_images: int
    audio_milliseconds: int
    spoken_characters: int
    def __init__(self, input: _Optional[int] = ..., cached_input: _Optional[int] = ..., cache_write: _Optional[int] = ..., output: _Optional[int] = ..., reasoning: _Optional[int] = ..., cache_write_1h: _Optional[int] = ..., audio_input: _Optional[int] = ..., image_input: _Optional[int] = ..., audio_output: _Optional[int] = ..., image_output: _Optional[int] = ..., generated_images: _Optional[int] = ..., audio_milliseconds: _Optional[int] = ..., spoken_characters: _Optional[int] = ...) -> None: ...

class VendorAttempt(_message.Message):
    __slots__ = ("vendor_id", "vendor_model_id", "outcome", "http_status", "duration_ms")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    vendor_model_id: str
    outcome: str
    http_status: int
    duration_ms: int
    def __init__(self, vendor_id: _Optional[str] = ..., vendor_model_id: _Optional[str] = ..., outcome: _Optional[str] = ..., http_status: _Optional[int] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class ChargeRequest(_message.Message):
    __slots__ = ("operations",)
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[ChargeOperation]
    def __init__(self, operations: _Optional[_Iterable[_Union[ChargeOperation, _Mapping]]] = ...) -> None: ...

class ChargeOperation(_message.Message):
    __slots__ = ("operation_id", "account_id", "charging_id", "invocation_sequence_number", "create", "update", "release", "event", "top_up", "traceparent")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    operation_id: int
    account_id: str
    charging_id: str
    invocation_sequence_number: int
    create: CreateSession
    update: UpdateSession
    release: ReleaseSession
    event: ChargeEvent
    top_up: TopUpBucket
    traceparent: str
    def __init__(self, operation_id: _Optional[int] = ..., account_id: _Optional[str] = ..., charging_id: _Optional[str] = ..., invocation_sequence_number: _Optional[int] = ..., create: _Optional[_Union[CreateSession, _Mapping]] = ..., update: _Optional[_Union[UpdateSession, _Mapping]] = ..., release: _Optional[_Union[ReleaseSession, _Mapping]] = ..., event: _Optional[_Union[ChargeEvent, _Mapping]] = ..., top_up: _Optional[_Union[TopUpBucket, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class CreateSession(_message.Message):
    __slots__ = ("model_id", "key_id", "member_id", "input_tokens_bound", "output_tokens_limit", "output_metered", "input_tokens_expected", "input_tokens_calibrated", "input_measure", "output_measure", "idempotency_key", "content_digest", "key_is_minted", "run_label")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_BOUND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_METERED_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_CALIBRATED_FIELD_NUMBER: _ClassVar[int]
    INPUT_MEASURE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MEASURE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEY_IS_MINTED_FIELD_NUMBER: _ClassVar[int]
    RUN_LABEL_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    key_id: str
    member_id: str
    input_tokens_bound: int
    output_tokens_limit: int
    output_metered: bool
    input_tokens_expected: int
    input_tokens_calibrated: int
    input_measure: _registry_pb2.Measure
    output_measure: _registry_pb2.Measure
    idempotency_key: str
    content_digest: bytes
    key_is_minted: bool
    run_label: str
    def __init__(self, model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., input_tokens_bound: _Optional[int] = ..., output_tokens_limit: _Optional[int] = ..., output_metered: _Optional[bool] = ..., input_tokens_expected: _Optional[int] = ..., input_tokens_calibrated: _Optional[int] = ..., input_measure: _Optional[_Union[_registry_pb2.Measure, str]] = ..., output_measure: _Optional[_Union[_registry_pb2.Measure, str]] = ..., idempotency_key: _Optional[str] = ..., content_digest: _Optional[bytes] = ..., key_is_minted: _Optional[bool] = ..., run_label: _Optional[str] = ...) -> None: ...

class UpdateSession(_message.Message):
    __slots__ = ("used", "output_tokens_wanted", "attempts")
    USED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_WANTED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    used: TokenUsage
    output_tokens_wanted: int
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    def __init__(self, used: _Optional[_Union[TokenUsage, _Mapping]] = ..., output_tokens_wanted: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ...) -> None: ...

class ReleaseSession(_message.Message):
    __slots__ = ("used", "provenance", "close_cause", "attempts", "unpaid")
    USED_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    UNPAID_FIELD_NUMBER: _ClassVar[int]
    used: TokenUsage
    provenance: UsageProvenance
    close_cause: CloseCause
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    unpaid: TokenUsage
    def __init__(self, used: _Optional[_Union[TokenUsage, _Mapping]] = ..., provenance: _Optional[_Union[UsageProvenance, str]] = ..., close_cause: _Optional[_Union[CloseCause, str]] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ..., unpaid: _Optional[_Union[TokenUsage, _Mapping]] = ...) -> None: ...

class TopUpBucket(_message.Message):
    __slots__ = ("bucket_id", "amount", "idempotency_key")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    amount: int
    idempotency_key: str
    def __init__(self, bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ChargeEvent(_message.Message):
    __slots__ = ("model_id", "key_id", "member_id", "used", "provenance", "attempts")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    key_id: str
    member_id: str
    used: TokenUsage
    provenance: UsageProvenance
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    def __init__(self, model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., used: _Optional[_Union[TokenUsage, _Mapping]] = ..., provenance: _Optional[_Union[UsageProvenance, str]] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ...) -> None: ...

class ChargeResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ChargeResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ChargeResult, _Mapping]]] = ...) -> None: ...

class ChargeResult(_message.Message):
    __slots__ = ("operation_id", "granted", "settled", "refused", "error", "topped_up", "known_call")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TOPPED_UP_FIELD_NUMBER: _ClassVar[int]
    KNOWN_CALL_FIELD_NUMBER: _ClassVar[int]
    operation_id: int
    granted: Granted
    settled: Settled
    refused: Refused
    error: OperationError
    topped_up: ToppedUp
    known_call: KnownCall
    def __init__(self, operation_id: _Optional[int] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., error: _Optional[_Union[OperationError, _Mapping]] = ..., topped_up: _Optional[_Union[ToppedUp, _Mapping]] = ..., known_call: _Optional[_Union[KnownCall, _Mapping]] = ...) -> None: ...

class KnownCall(_message.Message):
    __slots__ = ("charging_id", "is_open", "has_other_content")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    IS_OPEN_FIELD_NUMBER: _ClassVar[int]
    HAS_OTHER_CONTENT_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    is_open: bool
    has_other_content: bool
    def __init__(self, charging_id: _Optional[str] = ..., is_open: _Optional[bool] = ..., has_other_content: _Optional[bool] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("output_tokens_granted", "output_tokens_payable", "output_tokens_threshold", "validity_ms", "final_unit_action", "offering_id", "ends_in_ms", "ending_subject", "request_rate", "token_rate")
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PAYABLE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_MS_FIELD_NUMBER: _ClassVar[int]
    FINAL_UNIT_ACTION_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    ENDS_IN_MS_FIELD_NUMBER: _ClassVar[int]
    ENDING_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_RATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_RATE_FIELD_NUMBER: _ClassVar[int]
    output_tokens_granted: int
    output_tokens_payable: int
    output_tokens_threshold: int
    validity_ms: int
    final_unit_action: FinalUnitAction
    offering_id: str
    ends_in_ms: int
    ending_subject: str
    request_rate: RateLeft
    token_rate: RateLeft
    def __init__(self, output_tokens_granted: _Optional[int] = ..., output_tokens_payable: _Optional[int] = ..., output_tokens_threshold: _Optional[int] = ..., validity_ms: _Optional[int] = ..., final_unit_action: _Optional[_Union[FinalUnitAction, str]] = ..., offering_id: _Optional[str] = ..., ends_in_ms: _Optional[int] = ..., ending_subject: _Optional[str] = ..., request_rate: _Optional[_Union[RateLeft, _Mapping]] = ..., token_rate: _Optional[_Union[RateLeft, _Mapping]] = ...) -> None: ...

class RateLeft(_message.Message):
    __slots__ = ("limit", "remaining", "reset_ms")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_MS_FIELD_NUMBER: _ClassVar[int]
    limit: int
    remaining: int
    reset_ms: int
    def __init__(self, limit: _Optional[int] = ..., remaining: _Optional[int] = ..., reset_ms: _Optional[int] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("unit", "charged_amount", "debt_amount", "other_charges", "absorbed_amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DEBT_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    OTHER_CHARGES_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    charged_amount: int
    debt_amount: int
    other_charges: _containers.RepeatedCompositeFieldContainer[UnitCharge]
    absorbed_amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., charged_amount: _Optional[int] = ..., debt_amount: _Optional[int] = ..., other_charges: _Optional[_Iterable[_Union[UnitCharge, _Mapping]]] = ..., absorbed_amount: _Optional[int] = ...) -> None: ...

class UnitCharge(_message.Message):
    __slots__ = ("unit", "charged_amount", "debt_amount", "absorbed_amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DEBT_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    charged_amount: int
    debt_amount: int
    absorbed_amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., charged_amount: _Optional[int] = ..., debt_amount: _Optional[int] = ..., absorbed_amount: _Optional[int] = ...) -> None: ...

class ToppedUp(_message.Message):
    __slots__ = ("repaid_amount",)
    REPAID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    repaid_amount: int
    def __init__(self, repaid_amount: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("result_code", "unit", "needed_amount", "free_amount", "held_amount", "retry_after_ms", "limit_id", "held", "message", "offering_id", "final_unit_action", "request_rate", "token_rate")
    RESULT_CODE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    NEEDED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    FREE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    FINAL_UNIT_ACTION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_RATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_RATE_FIELD_NUMBER: _ClassVar[int]
    result_code: ResultCode
    unit: UnitOfAmount
    needed_amount: int
    free_amount: int
    held_amount: int
    retry_after_ms: int
    limit_id: str
    held: bool
    message: str
    offering_id: str
    final_unit_action: FinalUnitAction
    request_rate: RateLeft
    token_rate: RateLeft
    def __init__(self, result_code: _Optional[_Union[ResultCode, str]] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., needed_amount: _Optional[int] = ..., free_amount: _Optional[int] = ..., held_amount: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., limit_id: _Optional[str] = ..., held: _Optional[bool] = ..., message: _Optional[str] = ..., offering_id: _Optional[str] = ..., final_unit_action: _Optional[_Union[FinalUnitAction, str]] = ..., request_rate: _Optional[_Union[RateLeft, _Mapping]] = ..., token_rate: _Optional[_Union[RateLeft, _Mapping]] = ...) -> None: ...

class OperationError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _errors_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Actor(_message.Message):
    __slots__ = ("subject", "proof", "role")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    subject: str
    proof: str
    role: str
    def __init__(self, subject: _Optional[str] = ..., proof: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class OpenAccountRequest(_message.Message):
    __slots__ = ("account_id", "offering_id", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class OpenAccountResponse(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: Account
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ...) -> None: ...

class GetAccountRequest(_message.Message):
    __slots__ = ("account_id",)
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    def __init__(self, account_id: _Optional[str] = ...) -> None: ...

class GetAccountResponse(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: Account
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ("account_id", "key_id", "member_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    key_id: str
    member_id: str
    def __init__(self, account_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("account", "limits", "valid_until_time")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    account: Account
    limits: _containers.RepeatedCompositeFieldContainer[LimitLeft]
    valid_until_time: _timestamp_pb2.Timestamp
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., limits: _Optional[_Iterable[_Union[LimitLeft, _Mapping]]] = ..., valid_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LimitLeft(_message.Message):
    __slots__ = ("subject", "limit", "used", "reserved", "remaining", "start_time", "reset_time")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    subject: str
    limit: _registry_pb2.Limit
    used: int
    reserved: int
    remaining: int
    start_time: _timestamp_pb2.Timestamp
    reset_time: _timestamp_pb2.Timestamp
    def __init__(self, subject: _Optional[str] = ..., limit: _Optional[_Union[_registry_pb2.Limit, _Mapping]] = ..., used: _Optional[int] = ..., reserved: _Optional[int] = ..., remaining: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GrantBucketRequest(_message.Message):
    __slots__ = ("account_id", "unit", "amount", "valid_from_time", "valid_for", "priority", "idempotency_key", "model_group", "reason", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    unit: UnitOfAmount
    amount: int
    valid_from_time: _timestamp_pb2.Timestamp
    valid_for: _duration_pb2.Duration
    priority: int
    idempotency_key: str
    model_group: str
    reason: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., valid_from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., model_group: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class GrantBucketResponse(_message.Message):
    __slots__ = ("bucket", "repaid_amount")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REPAID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    repaid_amount: int
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ..., repaid_amount: _Optional[int] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("bucket_id", "unit", "granted", "remaining", "reserved", "consumed", "expired", "transferred", "valid_from_time", "valid_until_time", "priority", "offering_id", "model_group", "source", "subscription_id", "rollover_cap", "postpaid", "transferable")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    CONSUMED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    TRANSFERRED_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLOVER_CAP_FIELD_NUMBER: _ClassVar[int]
    POSTPAID_FIELD_NUMBER: _ClassVar[int]
    TRANSFERABLE_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    unit: UnitOfAmount
    granted: int
    remaining: int
    reserved: int
    consumed: int
    expired: int
    transferred: int
    valid_from_time: _timestamp_pb2.Timestamp
    valid_until_time: _timestamp_pb2.Timestamp
    priority: int
    offering_id: str
    model_group: str
    source: str
    subscription_id: str
    rollover_cap: int
    postpaid: bool
    transferable: bool
    def __init__(self, bucket_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., granted: _Optional[int] = ..., remaining: _Optional[int] = ..., reserved: _Optional[int] = ..., consumed: _Optional[int] = ..., expired: _Optional[int] = ..., transferred: _Optional[int] = ..., valid_from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., priority: _Optional[int] = ..., offering_id: _Optional[str] = ..., model_group: _Optional[str] = ..., source: _Optional[str] = ..., subscription_id: _Optional[str] = ..., rollover_cap: _Optional[int] = ..., postpaid: _Optional[bool] = ..., transferable: _Optional[bool] = ...) -> None: ...

class Debt(_message.Message):
    __slots__ = ("unit", "incurred", "repaid", "written_off", "outstanding")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    INCURRED_FIELD_NUMBER: _ClassVar[int]
    REPAID_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_OFF_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    incurred: int
    repaid: int
    written_off: int
    outstanding: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., incurred: _Optional[int] = ..., repaid: _Optional[int] = ..., written_off: _Optional[int] = ..., outstanding: _Optional[int] = ...) -> None: ...

class BucketAmount(_message.Message):
    __slots__ = ("bucket_id", "amount")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    amount: int
    def __init__(self, bucket_id: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("charging_id", "model_id", "key_id", "hold", "output_tokens_granted", "used", "create_time", "sweep_time")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SWEEP_TIME_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    model_id: str
    key_id: str
    hold: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    output_tokens_granted: int
    used: TokenUsage
    create_time: _timestamp_pb2.Timestamp
    sweep_time: _timestamp_pb2.Timestamp
    def __init__(self, charging_id: _Optional[str] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., hold: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., output_tokens_granted: _Optional[int] = ..., used: _Optional[_Union[TokenUsage, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sweep_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("account_id", "offering_id", "create_time", "buckets", "debts", "sessions", "subscriptions", "orders", "transfers", "counters", "limits", "losses")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    DEBTS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    create_time: _timestamp_pb2.Timestamp
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    debts: _containers.RepeatedCompositeFieldContainer[Debt]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    transfers: _containers.RepeatedCompositeFieldContainer[Transfer]
    counters: _containers.RepeatedCompositeFieldContainer[Counter]
    limits: _containers.RepeatedCompositeFieldContainer[SubjectLimits]
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ..., debts: _Optional[_Iterable[_Union[Debt, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ..., orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., transfers: _Optional[_Iterable[_Union[Transfer, _Mapping]]] = ..., counters: _Optional[_Iterable[_Union[Counter, _Mapping]]] = ..., limits: _Optional[_Iterable[_Union[SubjectLimits, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("unit", "absorbed")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    absorbed: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., absorbed: _Optional[int] = ...) -> None: ...

class Subscription(_message.Message):
    __slots__ = ("subscription_id", "offering_id", "state", "payment_method", "cycle_number", "cycle_start_time", "cycle_end_time", "next_offering_id", "grace_end_time")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    CYCLE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CYCLE_START_TIME_FIELD_NUMBER: _ClassVar[int]
    CYCLE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    GRACE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    offering_id: str
    state: str
    payment_method: _registry_pb2.PaymentMethod
    cycle_number: int
    cycle_start_time: _timestamp_pb2.Timestamp
    cycle_end_time: _timestamp_pb2.Timestamp
    next_offering_id: str
    grace_end_time: _timestamp_pb2.Timestamp
    def __init__(self, subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., state: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., cycle_number: _Optional[int] = ..., cycle_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cycle_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_offering_id: _Optional[str] = ..., grace_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "offering_id", "state", "payment_method", "unit", "amount", "expire_time", "subscription_id", "bucket_ids", "remark", "returned")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_IDS_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    offering_id: str
    state: str
    payment_method: _registry_pb2.PaymentMethod
    unit: UnitOfAmount
    amount: int
    expire_time: _timestamp_pb2.Timestamp
    subscription_id: str
    bucket_ids: _containers.RepeatedScalarFieldContainer[str]
    remark: str
    returned: Returned
    def __init__(self, order_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., state: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., subscription_id: _Optional[str] = ..., bucket_ids: _Optional[_Iterable[str]] = ..., remark: _Optional[str] = ..., returned: _Optional[_Union[Returned, _Mapping]] = ...) -> None: ...

class Returned(_message.Message):
    __slots__ = ("unit", "amount", "outside_amount", "payment_references")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    amount: int
    outside_amount: int
    payment_references: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., outside_amount: _Optional[int] = ..., payment_references: _Optional[_Iterable[str]] = ...) -> None: ...

class Transfer(_message.Message):
    __slots__ = ("transfer_id", "to_account_id", "bucket_id", "amount", "state", "remark")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    state: str
    remark: str
    def __init__(self, transfer_id: _Optional[str] = ..., to_account_id: _Optional[str] = ..., bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., state: _Optional[str] = ..., remark: _Optional[str] = ...) -> None: ...

class Counter(_message.Message):
    __slots__ = ("counter_id", "unit", "used", "reserved", "start_time", "end_time")
    COUNTER_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    counter_id: str
    unit: UnitOfAmount
    used: int
    reserved: int
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, counter_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., used: _Optional[int] = ..., reserved: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SubjectLimits(_message.Message):
    __slots__ = ("subject", "limits", "valid_until_time")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    subject: str
    limits: _containers.RepeatedCompositeFieldContainer[_registry_pb2.Limit]
    valid_until_time: _timestamp_pb2.Timestamp
    def __init__(self, subject: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[_registry_pb2.Limit, _Mapping]]] = ..., valid_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RefundSessionRequest(_message.Message):
    __slots__ = ("account_id", "charging_id", "sequence_number", "record_sequence_number", "amount", "valid_for", "reason", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RECORD_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    charging_id: str
    sequence_number: int
    record_sequence_number: int
    amount: int
    valid_for: _duration_pb2.Duration
    reason: str
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., charging_id: _Optional[str] = ..., sequence_number: _Optional[int] = ..., record_sequence_number: _Optional[int] = ..., amount: _Optional[int] = ..., valid_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class RefundSessionResponse(_message.Message):
    __slots__ = ("bucket", "repaid_amount")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REPAID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    repaid_amount: int
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ..., repaid_amount: _Optional[int] = ...) -> None: ...

class ReduceBucketRequest(_message.Message):
    __slots__ = ("account_id", "bucket_id", "amount", "reason", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    bucket_id: str
    amount: int
    reason: str
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., reason: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class ReduceBucketResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WriteOffDebtRequest(_message.Message):
    __slots__ = ("account_id", "unit", "amount", "reason", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    unit: UnitOfAmount
    amount: int
    reason: str
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., reason: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class WriteOffDebtResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GrantAllowancesRequest(_message.Message):
    __slots__ = ("account_id", "offering_id", "allowance_id", "valid_until_time", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCE_ID_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    allowance_id: str
    valid_until_time: _timestamp_pb2.Timestamp
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., allowance_id: _Optional[str] = ..., valid_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class GrantAllowancesResponse(_message.Message):
    __slots__ = ("buckets",)
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ...) -> None: ...

class EndGrantRequest(_message.Message):
    __slots__ = ("account_id", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class EndGrantResponse(_message.Message):
    __slots__ = ("expired",)
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    expired: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    def __init__(self, expired: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ...) -> None: ...

class PlaceOrderRequest(_message.Message):
    __slots__ = ("account_id", "offering_id", "payment_method", "idempotency_key", "actor", "entitled_until_time")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ENTITLED_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    payment_method: _registry_pb2.PaymentMethod
    idempotency_key: str
    actor: Actor
    entitled_until_time: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., entitled_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PlaceOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class ConfirmPaymentRequest(_message.Message):
    __slots__ = ("account_id", "order_id", "payment_reference", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    order_id: str
    payment_reference: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., order_id: _Optional[str] = ..., payment_reference: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class ConfirmPaymentResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("account_id", "order_id", "reason", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    order_id: str
    reason: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., order_id: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class ChangeSubscriptionRequest(_message.Message):
    __slots__ = ("account_id", "subscription_id", "offering_id", "payment_method", "at_once", "idempotency_key", "actor", "entitled_until_time")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ENTITLED_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    subscription_id: str
    offering_id: str
    payment_method: _registry_pb2.PaymentMethod
    at_once: bool
    idempotency_key: str
    actor: Actor
    entitled_until_time: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., at_once: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., entitled_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ChangeSubscriptionResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class HasOfferingRequest(_message.Message):
    __slots__ = ("account_id", "offering_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ...) -> None: ...

class HasOfferingResponse(_message.Message):
    __slots__ = ("remark",)
    REMARK_FIELD_NUMBER: _ClassVar[int]
    remark: str
    def __init__(self, remark: _Optional[str] = ...) -> None: ...

class CancelSubscriptionRequest(_message.Message):
    __slots__ = ("account_id", "subscription_id", "at_once", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    subscription_id: str
    at_once: bool
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., at_once: _Optional[bool] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class CancelSubscriptionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RefundPurchaseRequest(_message.Message):
    __slots__ = ("account_id", "purchase_id", "reason", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PURCHASE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    purchase_id: str
    reason: str
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., purchase_id: _Optional[str] = ..., reason: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class RefundPurchaseResponse(_message.Message):
    __slots__ = ("returned",)
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    returned: Returned
    def __init__(self, returned: _Optional[_Union[Returned, _Mapping]] = ...) -> None: ...

class SendTransferRequest(_message.Message):
    __slots__ = ("account_id", "to_account_id", "bucket_id", "amount", "idempotency_key", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    idempotency_key: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., to_account_id: _Optional[str] = ..., bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class SendTransferResponse(_message.Message):
    __slots__ = ("transfer_id", "state", "remark")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    state: str
    remark: str
    def __init__(self, transfer_id: _Optional[str] = ..., state: _Optional[str] = ..., remark: _Optional[str] = ...) -> None: ...

class SetLimitsRequest(_message.Message):
    __slots__ = ("account_id", "subject_limits", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    subject_limits: SubjectLimits
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., subject_limits: _Optional[_Union[SubjectLimits, _Mapping]] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class SetLimitsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Budget(_message.Message):
    __slots__ = ("unit", "amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ...) -> None: ...

class SpentBudget(_message.Message):
    __slots__ = ("unit", "amount", "used_amount", "held_amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    USED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    amount: int
    used_amount: int
    held_amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., used_amount: _Optional[int] = ..., held_amount: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("key_id", "parent_key_id", "budgets", "create_time", "end_time", "model_ids", "parallel_calls", "calls")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    parent_key_id: str
    budgets: _containers.RepeatedCompositeFieldContainer[SpentBudget]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    parallel_calls: int
    calls: int
    def __init__(self, key_id: _Optional[str] = ..., parent_key_id: _Optional[str] = ..., budgets: _Optional[_Iterable[_Union[SpentBudget, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_ids: _Optional[_Iterable[str]] = ..., parallel_calls: _Optional[int] = ..., calls: _Optional[int] = ...) -> None: ...

class OpenRunRequest(_message.Message):
    __slots__ = ("account_id", "key_id", "parent_key_id", "parent_is_minted", "member_id", "budgets", "valid_for", "model_ids", "parallel_calls")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_IS_MINTED_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    key_id: str
    parent_key_id: str
    parent_is_minted: bool
    member_id: str
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    valid_for: _duration_pb2.Duration
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    parallel_calls: int
    def __init__(self, account_id: _Optional[str] = ..., key_id: _Optional[str] = ..., parent_key_id: _Optional[str] = ..., parent_is_minted: _Optional[bool] = ..., member_id: _Optional[str] = ..., budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ..., valid_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., model_ids: _Optional[_Iterable[str]] = ..., parallel_calls: _Optional[int] = ...) -> None: ...

class OpenRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class EndRunsRequest(_message.Message):
    __slots__ = ("account_id", "key_id", "by_key_id", "actor")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    BY_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    key_id: str
    by_key_id: str
    actor: Actor
    def __init__(self, account_id: _Optional[str] = ..., key_id: _Optional[str] = ..., by_key_id: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class EndRunsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("account_id", "key_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    key_id: str
    def __init__(self, account_id: _Optional[str] = ..., key_id: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ...) -> None: ...

class ExplainRefusalRequest(_message.Message):
    __slots__ = ("charging_id",)
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    def __init__(self, charging_id: _Optional[str] = ...) -> None: ...

class ExplainRefusalResponse(_message.Message):
    __slots__ = ("account_id", "model_id", "key_id", "refuse_time", "refused")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    REFUSE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    model_id: str
    key_id: str
    refuse_time: _timestamp_pb2.Timestamp
    refused: Refused
    def __init__(self, account_id: _Optional[str] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., refuse_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class GetSessionRecordsRequest(_message.Message):
    __slots__ = ("account_id", "charging_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    charging_id: str
    def __init__(self, account_id: _Optional[str] = ..., charging_id: _Optional[str] = ...) -> None: ...

class GetSessionRecordsResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[JournalEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[JournalEntry, _Mapping]]] = ...) -> None: ...

class ListPartitionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPartitionsResponse(_message.Message):
    __slots__ = ("partitions", "era")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    ERA_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    era: int
    def __init__(self, partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ..., era: _Optional[int] = ...) -> None: ...

class Partition(_message.Message):
    __slots__ = ("part_id", "epoch", "last_sequence_number", "tail_rows", "owner_address")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TAIL_ROWS_FIELD_NUMBER: _ClassVar[int]
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    epoch: int
    last_sequence_number: int
    tail_rows: int
    owner_address: str
    def __init__(self, part_id: _Optional[int] = ..., epoch: _Optional[int] = ..., last_sequence_number: _Optional[int] = ..., tail_rows: _Optional[int] = ..., owner_address: _Optional[str] = ...) -> None: ...

class MovePartitionRequest(_message.Message):
    __slots__ = ("part_id", "address")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    address: str
    def __init__(self, part_id: _Optional[int] = ..., address: _Optional[str] = ...) -> None: ...

class MovePartitionResponse(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class ReadJournalRequest(_message.Message):
    __slots__ = ("part_id", "after_sequence_number", "to_sequence_number")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TO_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    after_sequence_number: int
    to_sequence_number: int
    def __init__(self, part_id: _Optional[int] = ..., after_sequence_number: _Optional[int] = ..., to_sequence_number: _Optional[int] = ...) -> None: ...

class ReadJournalResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[JournalEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[JournalEntry, _Mapping]]] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("part_id", "sequence_number", "index", "account_id", "time_us", "account_opened", "bucket_granted", "debt_repaid", "bucket_expired", "session_created", "session_updated", "session_settled", "notice_reached", "order_placed", "price_charged", "order_completed", "order_failed", "subscription_started", "cycle_started", "renewal_changed", "subscription_suspended", "subscription_ended", "bucket_rolled_over", "transfer_sent", "transfer_confirmed", "transfer_returned", "bucket_reduced", "debt_written_off", "limits_set", "bucket_topped_up", "run_opened", "runs_ended", "call_labelled", "price_returned", "actor")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OPENED_FIELD_NUMBER: _ClassVar[int]
    BUCKET_GRANTED_FIELD_NUMBER: _ClassVar[int]
    DEBT_REPAID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    SESSION_CREATED_FIELD_NUMBER: _ClassVar[int]
    SESSION_UPDATED_FIELD_NUMBER: _ClassVar[int]
    SESSION_SETTLED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_REACHED_FIELD_NUMBER: _ClassVar[int]
    ORDER_PLACED_FIELD_NUMBER: _ClassVar[int]
    PRICE_CHARGED_FIELD_NUMBER: _ClassVar[int]
    ORDER_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FAILED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_STARTED_FIELD_NUMBER: _ClassVar[int]
    CYCLE_STARTED_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_CHANGED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ENDED_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ROLLED_OVER_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_SENT_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_RETURNED_FIELD_NUMBER: _ClassVar[int]
    BUCKET_REDUCED_FIELD_NUMBER: _ClassVar[int]
    DEBT_WRITTEN_OFF_FIELD_NUMBER: _ClassVar[int]
    LIMITS_SET_FIELD_NUMBER: _ClassVar[int]
    BUCKET_TOPPED_UP_FIELD_NUMBER: _ClassVar[int]
    RUN_OPENED_FIELD_NUMBER: _ClassVar[int]
    RUNS_ENDED_FIELD_NUMBER: _ClassVar[int]
    CALL_LABELLED_FIELD_NUMBER: _ClassVar[int]
    PRICE_RETURNED_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    sequence_number: int
    index: int
    account_id: str
    time_us: int
    account_opened: AccountOpened
    bucket_granted: BucketGranted
    debt_repaid: DebtRepaid
    bucket_expired: BucketExpired
    session_created: SessionCreated
    session_updated: SessionUpdated
    session_settled: SessionSettled
    notice_reached: NoticeReached
    order_placed: OrderPlaced
    price_charged: PriceCharged
    order_completed: OrderCompleted
    order_failed: OrderFailed
    subscription_started: SubscriptionStarted
    cycle_started: CycleStarted
    renewal_changed: RenewalChanged
    subscription_suspended: SubscriptionSuspended
    subscription_ended: SubscriptionEnded
    bucket_rolled_over: BucketRolledOver
    transfer_sent: TransferSent
    transfer_confirmed: TransferConfirmed
    transfer_returned: TransferReturned
    bucket_reduced: BucketReduced
    debt_written_off: DebtWrittenOff
    limits_set: LimitsSet
    bucket_topped_up: BucketToppedUp
    run_opened: RunOpened
    runs_ended: RunsEnded
    call_labelled: CallLabelled
    price_returned: PriceReturned
    actor: Actor
    def __init__(self, part_id: _Optional[int] = ..., sequence_number: _Optional[int] = ..., index: _Optional[int] = ..., account_id: _Optional[str] = ..., time_us: _Optional[int] = ..., account_opened: _Optional[_Union[AccountOpened, _Mapping]] = ..., bucket_granted: _Optional[_Union[BucketGranted, _Mapping]] = ..., debt_repaid: _Optional[_Union[DebtRepaid, _Mapping]] = ..., bucket_expired: _Optional[_Union[BucketExpired, _Mapping]] = ..., session_created: _Optional[_Union[SessionCreated, _Mapping]] = ..., session_updated: _Optional[_Union[SessionUpdated, _Mapping]] = ..., session_settled: _Optional[_Union[SessionSettled, _Mapping]] = ..., notice_reached: _Optional[_Union[NoticeReached, _Mapping]] = ..., order_placed: _Optional[_Union[OrderPlaced, _Mapping]] = ..., price_charged: _Optional[_Union[PriceCharged, _Mapping]] = ..., order_completed: _Optional[_Union[OrderCompleted, _Mapping]] = ..., order_failed: _Optional[_Union[OrderFailed, _Mapping]] = ..., subscription_started: _Optional[_Union[SubscriptionStarted, _Mapping]] = ..., cycle_started: _Optional[_Union[CycleStarted, _Mapping]] = ..., renewal_changed: _Optional[_Union[RenewalChanged, _Mapping]] = ..., subscription_suspended: _Optional[_Union[SubscriptionSuspended, _Mapping]] = ..., subscription_ended: _Optional[_Union[SubscriptionEnded, _Mapping]] = ..., bucket_rolled_over: _Optional[_Union[BucketRolledOver, _Mapping]] = ..., transfer_sent: _Optional[_Union[TransferSent, _Mapping]] = ..., transfer_confirmed: _Optional[_Union[TransferConfirmed, _Mapping]] = ..., transfer_returned: _Optional[_Union[TransferReturned, _Mapping]] = ..., bucket_reduced: _Optional[_Union[BucketReduced, _Mapping]] = ..., debt_written_off: _Optional[_Union[DebtWrittenOff, _Mapping]] = ..., limits_set: _Optional[_Union[LimitsSet, _Mapping]] = ..., bucket_topped_up: _Optional[_Union[BucketToppedUp, _Mapping]] = ..., run_opened: _Optional[_Union[RunOpened, _Mapping]] = ..., runs_ended: _Optional[_Union[RunsEnded, _Mapping]] = ..., call_labelled: _Optional[_Union[CallLabelled, _Mapping]] = ..., price_returned: _Optional[_Union[PriceReturned, _Mapping]] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ...) -> None: ...

class NoticeReached(_message.Message):
    __slots__ = ("bucket_id", "percent")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    percent: int
    def __init__(self, bucket_id: _Optional[str] = ..., percent: _Optional[int] = ...) -> None: ...

class OrderPlaced(_message.Message):
    __slots__ = ("order_id", "offering_id", "payment_method", "unit", "amount", "expires_us", "subscription_id")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    offering_id: str
    payment_method: _registry_pb2.PaymentMethod
    unit: UnitOfAmount
    amount: int
    expires_us: int
    subscription_id: str
    def __init__(self, order_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., expires_us: _Optional[int] = ..., subscription_id: _Optional[str] = ...) -> None: ...

class PriceCharged(_message.Message):
    __slots__ = ("order_id", "offering_id", "unit", "amount", "debits")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DEBITS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    offering_id: str
    unit: UnitOfAmount
    amount: int
    debits: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    def __init__(self, order_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., debits: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ...) -> None: ...

class OrderCompleted(_message.Message):
    __slots__ = ("order_id", "payment_reference")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    payment_reference: str
    def __init__(self, order_id: _Optional[str] = ..., payment_reference: _Optional[str] = ...) -> None: ...

class OrderFailed(_message.Message):
    __slots__ = ("order_id", "reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    reason: str
    def __init__(self, order_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SubscriptionStarted(_message.Message):
    __slots__ = ("subscription_id", "offering_id", "payment_method")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    offering_id: str
    payment_method: _registry_pb2.PaymentMethod
    def __init__(self, subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ...) -> None: ...

class CycleStarted(_message.Message):
    __slots__ = ("subscription_id", "number", "end_us", "price")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    END_US_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    number: int
    end_us: int
    price: int
    def __init__(self, subscription_id: _Optional[str] = ..., number: _Optional[int] = ..., end_us: _Optional[int] = ..., price: _Optional[int] = ...) -> None: ...

class RenewalChanged(_message.Message):
    __slots__ = ("subscription_id", "offering_id")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    offering_id: str
    def __init__(self, subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ...) -> None: ...

class SubscriptionSuspended(_message.Message):
    __slots__ = ("subscription_id", "grace_end_us")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    GRACE_END_US_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    grace_end_us: int
    def __init__(self, subscription_id: _Optional[str] = ..., grace_end_us: _Optional[int] = ...) -> None: ...

class SubscriptionEnded(_message.Message):
    __slots__ = ("subscription_id", "reason")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    reason: str
    def __init__(self, subscription_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class BucketRolledOver(_message.Message):
    __slots__ = ("bucket_id", "expired_amount", "valid_until_us")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    expired_amount: int
    valid_until_us: int
    def __init__(self, bucket_id: _Optional[str] = ..., expired_amount: _Optional[int] = ..., valid_until_us: _Optional[int] = ...) -> None: ...

class TransferSent(_message.Message):
    __slots__ = ("transfer_id", "to_account_id", "bucket_id", "amount")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    def __init__(self, transfer_id: _Optional[str] = ..., to_account_id: _Optional[str] = ..., bucket_id: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class TransferConfirmed(_message.Message):
    __slots__ = ("transfer_id",)
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    def __init__(self, transfer_id: _Optional[str] = ...) -> None: ...

class TransferReturned(_message.Message):
    __slots__ = ("transfer_id", "reason")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    reason: str
    def __init__(self, transfer_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class BucketReduced(_message.Message):
    __slots__ = ("bucket_id", "amount", "reason")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    amount: int
    reason: str
    def __init__(self, bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class BucketToppedUp(_message.Message):
    __slots__ = ("bucket_id", "amount", "idempotency_key")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    amount: int
    idempotency_key: str
    def __init__(self, bucket_id: _Optional[str] = ..., amount: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class DebtWrittenOff(_message.Message):
    __slots__ = ("unit", "amount", "reason")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    amount: int
    reason: str
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LimitsSet(_message.Message):
    __slots__ = ("subject", "limit_count", "valid_until_us", "limits")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    subject: str
    limit_count: int
    valid_until_us: int
    limits: _containers.RepeatedCompositeFieldContainer[_registry_pb2.Limit]
    def __init__(self, subject: _Optional[str] = ..., limit_count: _Optional[int] = ..., valid_until_us: _Optional[int] = ..., limits: _Optional[_Iterable[_Union[_registry_pb2.Limit, _Mapping]]] = ...) -> None: ...

class RunOpened(_message.Message):
    __slots__ = ("key_id", "parent_key_id", "budgets", "ends_us", "model_ids", "parallel_calls")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    ENDS_US_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    parent_key_id: str
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    ends_us: int
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    parallel_calls: int
    def __init__(self, key_id: _Optional[str] = ..., parent_key_id: _Optional[str] = ..., budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ..., ends_us: _Optional[int] = ..., model_ids: _Optional[_Iterable[str]] = ..., parallel_calls: _Optional[int] = ...) -> None: ...

class RunsEnded(_message.Message):
    __slots__ = ("key_id", "by_key_id")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    BY_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    by_key_id: str
    def __init__(self, key_id: _Optional[str] = ..., by_key_id: _Optional[str] = ...) -> None: ...

class CallLabelled(_message.Message):
    __slots__ = ("charging_id", "run_label")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_LABEL_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    run_label: str
    def __init__(self, charging_id: _Optional[str] = ..., run_label: _Optional[str] = ...) -> None: ...

class PriceReturned(_message.Message):
    __slots__ = ("purchase_id", "order_id", "offering_id", "returned", "payment_method", "credits", "reason")
    PURCHASE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    purchase_id: str
    order_id: str
    offering_id: str
    returned: Returned
    payment_method: _registry_pb2.PaymentMethod
    credits: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    reason: str
    def __init__(self, purchase_id: _Optional[str] = ..., order_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., returned: _Optional[_Union[Returned, _Mapping]] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., credits: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., reason: _Optional[str] = ...) -> None: ...

class AccountOpened(_message.Message):
    __slots__ = ("offering_id",)
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    offering_id: str
    def __init__(self, offering_id: _Optional[str] = ...) -> None: ...

class BucketGranted(_message.Message):
    __slots__ = ("bucket_id", "unit", "amount", "valid_from_us", "valid_until_us", "priority", "idempotency_key", "offering_id", "model_group", "source", "reason", "subscription_id", "postpaid")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_US_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    POSTPAID_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    unit: UnitOfAmount
    amount: int
    valid_from_us: int
    valid_until_us: int
    priority: int
    idempotency_key: str
    offering_id: str
    model_group: str
    source: str
    reason: str
    subscription_id: str
    postpaid: bool
    def __init__(self, bucket_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., valid_from_us: _Optional[int] = ..., valid_until_us: _Optional[int] = ..., priority: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., offering_id: _Optional[str] = ..., model_group: _Optional[str] = ..., source: _Optional[str] = ..., reason: _Optional[str] = ..., subscription_id: _Optional[str] = ..., postpaid: _Optional[bool] = ...) -> None: ...

class DebtRepaid(_message.Message):
    __slots__ = ("bucket_id", "unit", "amount")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    unit: UnitOfAmount
    amount: int
    def __init__(self, bucket_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ...) -> None: ...

class BucketExpired(_message.Message):
    __slots__ = ("bucket_id", "amount")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    amount: int
    def __init__(self, bucket_id: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class SessionCreated(_message.Message):
    __slots__ = ("charging_id", "model_id", "key_id", "member_id", "hold", "output_tokens_granted", "offering_id", "tariff_id", "tariff_version", "unit", "input_tokens_bound", "input_tokens_reserved", "output_tokens_limit", "output_tokens_payable", "likely", "final", "counter_ids")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_BOUND_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_RESERVED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PAYABLE_FIELD_NUMBER: _ClassVar[int]
    LIKELY_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    COUNTER_IDS_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    model_id: str
    key_id: str
    member_id: str
    hold: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    output_tokens_granted: int
    offering_id: str
    tariff_id: str
    tariff_version: int
    unit: UnitOfAmount
    input_tokens_bound: int
    input_tokens_reserved: int
    output_tokens_limit: int
    output_tokens_payable: int
    likely: bool
    final: bool
    counter_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, charging_id: _Optional[str] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., hold: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., output_tokens_granted: _Optional[int] = ..., offering_id: _Optional[str] = ..., tariff_id: _Optional[str] = ..., tariff_version: _Optional[int] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., input_tokens_bound: _Optional[int] = ..., input_tokens_reserved: _Optional[int] = ..., output_tokens_limit: _Optional[int] = ..., output_tokens_payable: _Optional[int] = ..., likely: _Optional[bool] = ..., final: _Optional[bool] = ..., counter_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SessionUpdated(_message.Message):
    __slots__ = ("charging_id", "invocation_sequence_number", "used", "hold_added", "output_tokens_granted", "output_tokens_payable", "final", "attempts")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HOLD_ADDED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PAYABLE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    invocation_sequence_number: int
    used: TokenUsage
    hold_added: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    output_tokens_granted: int
    output_tokens_payable: int
    final: bool
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    def __init__(self, charging_id: _Optional[str] = ..., invocation_sequence_number: _Optional[int] = ..., used: _Optional[_Union[TokenUsage, _Mapping]] = ..., hold_added: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., output_tokens_granted: _Optional[int] = ..., output_tokens_payable: _Optional[int] = ..., final: _Optional[bool] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ...) -> None: ...

class SessionSettled(_message.Message):
    __slots__ = ("charging_id", "record_sequence_number", "model_id", "key_id", "member_id", "offering_id", "tariff_id", "tariff_version", "unit", "usage", "class_charges", "charged_amount", "debits", "debt_amount", "close_cause", "provenance", "attempts", "create_time_us", "released", "more_records", "wholesale", "absorbed_amount", "unpaid", "run_label")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    RECORD_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CLASS_CHARGES_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DEBITS_FIELD_NUMBER: _ClassVar[int]
    DEBT_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    MORE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    WHOLESALE_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    UNPAID_FIELD_NUMBER: _ClassVar[int]
    RUN_LABEL_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    record_sequence_number: int
    model_id: str
    key_id: str
    member_id: str
    offering_id: str
    tariff_id: str
    tariff_version: int
    unit: UnitOfAmount
    usage: TokenUsage
    class_charges: _containers.RepeatedCompositeFieldContainer[ClassCharge]
    charged_amount: int
    debits: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    debt_amount: int
    close_cause: CloseCause
    provenance: UsageProvenance
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    create_time_us: int
    released: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    more_records: bool
    wholesale: WholesaleCharge
    absorbed_amount: int
    unpaid: TokenUsage
    run_label: str
    def __init__(self, charging_id: _Optional[str] = ..., record_sequence_number: _Optional[int] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., tariff_id: _Optional[str] = ..., tariff_version: _Optional[int] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., class_charges: _Optional[_Iterable[_Union[ClassCharge, _Mapping]]] = ..., charged_amount: _Optional[int] = ..., debits: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., debt_amount: _Optional[int] = ..., close_cause: _Optional[_Union[CloseCause, str]] = ..., provenance: _Optional[_Union[UsageProvenance, str]] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ..., create_time_us: _Optional[int] = ..., released: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., more_records: _Optional[bool] = ..., wholesale: _Optional[_Union[WholesaleCharge, _Mapping]] = ..., absorbed_amount: _Optional[int] = ..., unpaid: _Optional[_Union[TokenUsage, _Mapping]] = ..., run_label: _Optional[str] = ...) -> None: ...

class WholesaleCharge(_message.Message):
    __slots__ = ("vendor_id", "vendor_model_id", "tariff_id", "tariff_version", "unit", "amount", "class_charges", "fees")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    TARIFF_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CLASS_CHARGES_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    vendor_model_id: str
    tariff_id: str
    tariff_version: int
    unit: UnitOfAmount
    amount: int
    class_charges: _containers.RepeatedCompositeFieldContainer[ClassCharge]
    fees: _registry_pb2.FeeShares
    def __init__(self, vendor_id: _Optional[str] = ..., vendor_model_id: _Optional[str] = ..., tariff_id: _Optional[str] = ..., tariff_version: _Optional[int] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., class_charges: _Optional[_Iterable[_Union[ClassCharge, _Mapping]]] = ..., fees: _Optional[_Union[_registry_pb2.FeeShares, _Mapping]] = ...) -> None: ...

class ClassCharge(_message.Message):
    __slots__ = ("token_class", "tokens", "rate", "amount")
    TOKEN_CLASS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    token_class: str
    tokens: int
    rate: int
    amount: int
    def __init__(self, token_class: _Optional[str] = ..., tokens: _Optional[int] = ..., rate: _Optional[int] = ..., amount: _Optional[int] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBurningRequest(_message.Message):
    __slots__ = ("window_seconds", "account_limit")
    WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    window_seconds: int
    account_limit: int
    def __init__(self, window_seconds: _Optional[int] = ..., account_limit: _Optional[int] = ...) -> None: ...

class ListBurningResponse(_message.Message):
    __slots__ = ("units", "silent_addresses")
    UNITS_FIELD_NUMBER: _ClassVar[int]
    SILENT_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    units: _containers.RepeatedCompositeFieldContainer[BurningUnit]
    silent_addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, units: _Optional[_Iterable[_Union[BurningUnit, _Mapping]]] = ..., silent_addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class BurningUnit(_message.Message):
    __slots__ = ("unit", "charged_amount", "records", "accounts", "error_amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    charged_amount: int
    records: int
    accounts: _containers.RepeatedCompositeFieldContainer[BurningAccount]
    error_amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., charged_amount: _Optional[int] = ..., records: _Optional[int] = ..., accounts: _Optional[_Iterable[_Union[BurningAccount, _Mapping]]] = ..., error_amount: _Optional[int] = ...) -> None: ...

class BurningAccount(_message.Message):
    __slots__ = ("account_id", "charged_amount")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    charged_amount: int
    def __init__(self, account_id: _Optional[str] = ..., charged_amount: _Optional[int] = ...) -> None: ...

class AuditResponse(_message.Message):
    __slots__ = ("accounts", "buckets", "entries", "open_sessions", "in_transit", "breaches", "losses", "transits")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    IN_TRANSIT_FIELD_NUMBER: _ClassVar[int]
    BREACHES_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    TRANSITS_FIELD_NUMBER: _ClassVar[int]
    accounts: int
    buckets: int
    entries: int
    open_sessions: int
    in_transit: int
    breaches: _containers.RepeatedScalarFieldContainer[str]
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    transits: _containers.RepeatedCompositeFieldContainer[Transit]
    def __init__(self, accounts: _Optional[int] = ..., buckets: _Optional[int] = ..., entries: _Optional[int] = ..., open_sessions: _Optional[int] = ..., in_transit: _Optional[int] = ..., breaches: _Optional[_Iterable[str]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., transits: _Optional[_Iterable[_Union[Transit, _Mapping]]] = ...) -> None: ...

class Transit(_message.Message):
    __slots__ = ("unit", "amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ...) -> None: ...

class ReceiveTransferRequest(_message.Message):
    __slots__ = ("account_id", "transfer_id", "digest", "unit", "amount", "valid_from_us", "valid_until_us", "priority", "offering_id", "model_group")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_US_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUP_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    transfer_id: str
    digest: bytes
    unit: UnitOfAmount
    amount: int
    valid_from_us: int
    valid_until_us: int
    priority: int
    offering_id: str
    model_group: str
    def __init__(self, account_id: _Optional[str] = ..., transfer_id: _Optional[str] = ..., digest: _Optional[bytes] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., valid_from_us: _Optional[int] = ..., valid_until_us: _Optional[int] = ..., priority: _Optional[int] = ..., offering_id: _Optional[str] = ..., model_group: _Optional[str] = ...) -> None: ...

class ReceiveTransferResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchOwnersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchOwnersResponse(_message.Message):
    __slots__ = ("partition_count", "owners", "features")
    PARTITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    partition_count: int
    owners: _containers.RepeatedCompositeFieldContainer[PartitionOwner]
    features: _containers.RepeatedScalarFieldContainer[Feature]
    def __init__(self, partition_count: _Optional[int] = ..., owners: _Optional[_Iterable[_Union[PartitionOwner, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[Feature, str]]] = ...) -> None: ...

class PartitionOwner(_message.Message):
    __slots__ = ("part_id", "address")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    address: str
    def __init__(self, part_id: _Optional[int] = ..., address: _Optional[str] = ...) -> None: ...
