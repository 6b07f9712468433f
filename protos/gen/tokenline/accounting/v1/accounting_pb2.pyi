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

class FinalUnitAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_UNIT_ACTION_UNSPECIFIED: _ClassVar[FinalUnitAction]
    FINAL_UNIT_ACTION_TERMINATE: _ClassVar[FinalUnitAction]

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
RESULT_CODE_UNSPECIFIED: ResultCode
RESULT_CODE_SUCCESS: ResultCode
RESULT_CODE_QUOTA_LIMIT_REACHED: ResultCode
RESULT_CODE_END_USER_SERVICE_DENIED: ResultCode
RESULT_CODE_RATING_FAILED: ResultCode
FINAL_UNIT_ACTION_UNSPECIFIED: FinalUnitAction
FINAL_UNIT_ACTION_TERMINATE: FinalUnitAction
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

class UnitOfAmount(_message.Message):
    __slots__ = ("unit", "currency")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    unit: _registry_pb2.Unit
    currency: str
    def __init__(self, unit: _Optional[_Union[_registry_pb2.Unit, str]] = ..., currency: _Optional[str] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("input", "cached_input", "cache_write", "output", "reasoning")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int
    def __init__(self, input: _Optional[int] = ..., cached_input: _Optional[int] = ..., cache_write: _Optional[int] = ..., output: _Optional[int] = ..., reasoning: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("operation_id", "account_id", "charging_id", "invocation_sequence_number", "create", "update", "release", "event")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    operation_id: int
    account_id: str
    charging_id: str
    invocation_sequence_number: int
    create: CreateSession
    update: UpdateSession
    release: ReleaseSession
    event: ChargeEvent
    def __init__(self, operation_id: _Optional[int] = ..., account_id: _Optional[str] = ..., charging_id: _Optional[str] = ..., invocation_sequence_number: _Optional[int] = ..., create: _Optional[_Union[CreateSession, _Mapping]] = ..., update: _Optional[_Union[UpdateSession, _Mapping]] = ..., release: _Optional[_Union[ReleaseSession, _Mapping]] = ..., event: _Optional[_Union[ChargeEvent, _Mapping]] = ...) -> None: ...

class CreateSession(_message.Message):
    __slots__ = ("model_id", "key_id", "member_id", "input_tokens_bound", "output_tokens_limit", "output_metered")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_BOUND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_METERED_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    key_id: str
    member_id: str
    input_tokens_bound: int
    output_tokens_limit: int
    output_metered: bool
    def __init__(self, model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., input_tokens_bound: _Optional[int] = ..., output_tokens_limit: _Optional[int] = ..., output_metered: _Optional[bool] = ...) -> None: ...

class UpdateSession(_message.Message):
    __slots__ = ("used", "output_tokens_wanted")
    USED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_WANTED_FIELD_NUMBER: _ClassVar[int]
    used: TokenUsage
    output_tokens_wanted: int
    def __init__(self, used: _Optional[_Union[TokenUsage, _Mapping]] = ..., output_tokens_wanted: _Optional[int] = ...) -> None: ...

class ReleaseSession(_message.Message):
    __slots__ = ("used", "provenance", "close_cause", "attempts")
    USED_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    used: TokenUsage
    provenance: UsageProvenance
    close_cause: CloseCause
    attempts: _containers.RepeatedCompositeFieldContainer[VendorAttempt]
    def __init__(self, used: _Optional[_Union[TokenUsage, _Mapping]] = ..., provenance: _Optional[_Union[UsageProvenance, str]] = ..., close_cause: _Optional[_Union[CloseCause, str]] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("operation_id", "granted", "settled", "refused", "error")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    operation_id: int
    granted: Granted
    settled: Settled
    refused: Refused
    error: OperationError
    def __init__(self, operation_id: _Optional[int] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., error: _Optional[_Union[OperationError, _Mapping]] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("output_tokens_granted", "output_tokens_payable", "output_tokens_threshold", "validity_ms", "final_unit_action", "offering_id")
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PAYABLE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_MS_FIELD_NUMBER: _ClassVar[int]
    FINAL_UNIT_ACTION_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    output_tokens_granted: int
    output_tokens_payable: int
    output_tokens_threshold: int
    validity_ms: int
    final_unit_action: FinalUnitAction
    offering_id: str
    def __init__(self, output_tokens_granted: _Optional[int] = ..., output_tokens_payable: _Optional[int] = ..., output_tokens_threshold: _Optional[int] = ..., validity_ms: _Optional[int] = ..., final_unit_action: _Optional[_Union[FinalUnitAction, str]] = ..., offering_id: _Optional[str] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("unit", "charged_amount", "debt_amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CHARGED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DEBT_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: UnitOfAmount
    charged_amount: int
    debt_amount: int
    def __init__(self, unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., charged_amount: _Optional[int] = ..., debt_amount: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("result_code", "unit", "needed_amount", "free_amount", "held_amount", "retry_after_ms")
    RESULT_CODE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    NEEDED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    FREE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    result_code: ResultCode
    unit: UnitOfAmount
    needed_amount: int
    free_amount: int
    held_amount: int
    retry_after_ms: int
    def __init__(self, result_code: _Optional[_Union[ResultCode, str]] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., needed_amount: _Optional[int] = ..., free_amount: _Optional[int] = ..., held_amount: _Optional[int] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class OperationError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _errors_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class OpenAccountRequest(_message.Message):
    __slots__ = ("account_id", "offering_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ...) -> None: ...

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

class GrantBucketRequest(_message.Message):
    __slots__ = ("account_id", "unit", "amount", "valid_from_time", "valid_for", "priority", "idempotency_key")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    unit: UnitOfAmount
    amount: int
    valid_from_time: _timestamp_pb2.Timestamp
    valid_for: _duration_pb2.Duration
    priority: int
    idempotency_key: str
    def __init__(self, account_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., valid_from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class GrantBucketResponse(_message.Message):
    __slots__ = ("bucket", "repaid_amount")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REPAID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    repaid_amount: int
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ..., repaid_amount: _Optional[int] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("bucket_id", "unit", "granted", "remaining", "reserved", "consumed", "expired", "transferred", "valid_from_time", "valid_until_time", "priority")
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
    def __init__(self, bucket_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., granted: _Optional[int] = ..., remaining: _Optional[int] = ..., reserved: _Optional[int] = ..., consumed: _Optional[int] = ..., expired: _Optional[int] = ..., transferred: _Optional[int] = ..., valid_from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., priority: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("account_id", "offering_id", "create_time", "buckets", "debts", "sessions")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    DEBTS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    offering_id: str
    create_time: _timestamp_pb2.Timestamp
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    debts: _containers.RepeatedCompositeFieldContainer[Debt]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    def __init__(self, account_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ..., debts: _Optional[_Iterable[_Union[Debt, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("part_id", "epoch", "last_sequence_number")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    epoch: int
    last_sequence_number: int
    def __init__(self, part_id: _Optional[int] = ..., epoch: _Optional[int] = ..., last_sequence_number: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("part_id", "sequence_number", "index", "account_id", "time_us", "account_opened", "bucket_granted", "debt_repaid", "bucket_expired", "session_created", "session_updated", "session_settled")
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
    def __init__(self, part_id: _Optional[int] = ..., sequence_number: _Optional[int] = ..., index: _Optional[int] = ..., account_id: _Optional[str] = ..., time_us: _Optional[int] = ..., account_opened: _Optional[_Union[AccountOpened, _Mapping]] = ..., bucket_granted: _Optional[_Union[BucketGranted, _Mapping]] = ..., debt_repaid: _Optional[_Union[DebtRepaid, _Mapping]] = ..., bucket_expired: _Optional[_Union[BucketExpired, _Mapping]] = ..., session_created: _Optional[_Union[SessionCreated, _Mapping]] = ..., session_updated: _Optional[_Union[SessionUpdated, _Mapping]] = ..., session_settled: _Optional[_Union[SessionSettled, _Mapping]] = ...) -> None: ...

class AccountOpened(_message.Message):
    __slots__ = ("offering_id",)
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    offering_id: str
    def __init__(self, offering_id: _Optional[str] = ...) -> None: ...

class BucketGranted(_message.Message):
    __slots__ = ("bucket_id", "unit", "amount", "valid_from_us", "valid_until_us", "priority", "idempotency_key")
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_US_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    bucket_id: str
    unit: UnitOfAmount
    amount: int
    valid_from_us: int
    valid_until_us: int
    priority: int
    idempotency_key: str
    def __init__(self, bucket_id: _Optional[str] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., valid_from_us: _Optional[int] = ..., valid_until_us: _Optional[int] = ..., priority: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("charging_id", "model_id", "key_id", "member_id", "hold", "output_tokens_granted")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    model_id: str
    key_id: str
    member_id: str
    hold: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    output_tokens_granted: int
    def __init__(self, charging_id: _Optional[str] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., hold: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., output_tokens_granted: _Optional[int] = ...) -> None: ...

class SessionUpdated(_message.Message):
    __slots__ = ("charging_id", "invocation_sequence_number", "used", "hold_added", "output_tokens_granted")
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HOLD_ADDED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_GRANTED_FIELD_NUMBER: _ClassVar[int]
    charging_id: str
    invocation_sequence_number: int
    used: TokenUsage
    hold_added: _containers.RepeatedCompositeFieldContainer[BucketAmount]
    output_tokens_granted: int
    def __init__(self, charging_id: _Optional[str] = ..., invocation_sequence_number: _Optional[int] = ..., used: _Optional[_Union[TokenUsage, _Mapping]] = ..., hold_added: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., output_tokens_granted: _Optional[int] = ...) -> None: ...

class SessionSettled(_message.Message):
    __slots__ = ("charging_id", "record_sequence_number", "model_id", "key_id", "member_id", "offering_id", "tariff_id", "tariff_version", "unit", "usage", "class_charges", "charged_amount", "debits", "debt_amount", "close_cause", "provenance", "attempts", "create_time_us", "released")
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
    def __init__(self, charging_id: _Optional[str] = ..., record_sequence_number: _Optional[int] = ..., model_id: _Optional[str] = ..., key_id: _Optional[str] = ..., member_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., tariff_id: _Optional[str] = ..., tariff_version: _Optional[int] = ..., unit: _Optional[_Union[UnitOfAmount, _Mapping]] = ..., usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., class_charges: _Optional[_Iterable[_Union[ClassCharge, _Mapping]]] = ..., charged_amount: _Optional[int] = ..., debits: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ..., debt_amount: _Optional[int] = ..., close_cause: _Optional[_Union[CloseCause, str]] = ..., provenance: _Optional[_Union[UsageProvenance, str]] = ..., attempts: _Optional[_Iterable[_Union[VendorAttempt, _Mapping]]] = ..., create_time_us: _Optional[int] = ..., released: _Optional[_Iterable[_Union[BucketAmount, _Mapping]]] = ...) -> None: ...

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

class AuditResponse(_message.Message):
    __slots__ = ("accounts", "buckets", "entries", "open_sessions", "in_transit", "breaches")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    IN_TRANSIT_FIELD_NUMBER: _ClassVar[int]
    BREACHES_FIELD_NUMBER: _ClassVar[int]
    accounts: int
    buckets: int
    entries: int
    open_sessions: int
    in_transit: int
    breaches: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, accounts: _Optional[int] = ..., buckets: _Optional[int] = ..., entries: _Optional[int] = ..., open_sessions: _Optional[int] = ..., in_transit: _Optional[int] = ..., breaches: _Optional[_Iterable[str]] = ...) -> None: ...
