import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tokenline.accounting.v1 import accounting_pb2 as _accounting_pb2
from tokenline.registry.v1 import registry_pb2 as _registry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetReceiptRequest(_message.Message):
    __slots__ = ("account_id", "charging_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    charging_id: str
    def __init__(self, account_id: _Optional[str] = ..., charging_id: _Optional[str] = ...) -> None: ...

class GetReceiptResponse(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[ReceiptRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[ReceiptRecord, _Mapping]]] = ...) -> None: ...

class ReceiptRecord(_message.Message):
    __slots__ = ("entry", "record_number")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    RECORD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    entry: _accounting_pb2.JournalEntry
    record_number: int
    def __init__(self, entry: _Optional[_Union[_accounting_pb2.JournalEntry, _Mapping]] = ..., record_number: _Optional[int] = ...) -> None: ...

class ReconcileRequest(_message.Message):
    __slots__ = ("write_missing",)
    WRITE_MISSING_FIELD_NUMBER: _ClassVar[int]
    write_missing: bool
    def __init__(self, write_missing: _Optional[bool] = ...) -> None: ...

class ReconcileResponse(_message.Message):
    __slots__ = ("entries", "cdrs", "files", "differences", "charges")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CDRS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    entries: int
    cdrs: int
    files: int
    differences: _containers.RepeatedScalarFieldContainer[str]
    charges: int
    def __init__(self, entries: _Optional[int] = ..., cdrs: _Optional[int] = ..., files: _Optional[int] = ..., differences: _Optional[_Iterable[str]] = ..., charges: _Optional[int] = ...) -> None: ...

class ListCursorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCursorsResponse(_message.Message):
    __slots__ = ("cursors",)
    CURSORS_FIELD_NUMBER: _ClassVar[int]
    cursors: _containers.RepeatedCompositeFieldContainer[ExportCursor]
    def __init__(self, cursors: _Optional[_Iterable[_Union[ExportCursor, _Mapping]]] = ...) -> None: ...

class ExportCursor(_message.Message):
    __slots__ = ("part_id", "era", "exported_sequence_number")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    ERA_FIELD_NUMBER: _ClassVar[int]
    EXPORTED_SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    part_id: int
    era: int
    exported_sequence_number: int
    def __init__(self, part_id: _Optional[int] = ..., era: _Optional[int] = ..., exported_sequence_number: _Optional[int] = ...) -> None: ...

class BilledCharge(_message.Message):
    __slots__ = ("kind", "charge_time", "unit", "amount", "paid_by", "bucket_id", "charging_id", "order_id", "subscription_id", "offering_id", "remark", "record_number")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHARGE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PAID_BY_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGING_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    RECORD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    kind: str
    charge_time: _timestamp_pb2.Timestamp
    unit: _accounting_pb2.UnitOfAmount
    amount: int
    paid_by: str
    bucket_id: str
    charging_id: str
    order_id: str
    subscription_id: str
    offering_id: str
    remark: str
    record_number: int
    def __init__(self, kind: _Optional[str] = ..., charge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unit: _Optional[_Union[_accounting_pb2.UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., paid_by: _Optional[str] = ..., bucket_id: _Optional[str] = ..., charging_id: _Optional[str] = ..., order_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., remark: _Optional[str] = ..., record_number: _Optional[int] = ...) -> None: ...

class GetOrderReceiptRequest(_message.Message):
    __slots__ = ("account_id", "order_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    order_id: str
    def __init__(self, account_id: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class GetOrderReceiptResponse(_message.Message):
    __slots__ = ("order_id", "place_time", "offering_id", "subscription_id", "payment_method", "unit", "amount", "charges")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PLACE_TIME_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    place_time: _timestamp_pb2.Timestamp
    offering_id: str
    subscription_id: str
    payment_method: _registry_pb2.PaymentMethod
    unit: _accounting_pb2.UnitOfAmount
    amount: int
    charges: _containers.RepeatedCompositeFieldContainer[BilledCharge]
    def __init__(self, order_id: _Optional[str] = ..., place_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., offering_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., payment_method: _Optional[_Union[_registry_pb2.PaymentMethod, str]] = ..., unit: _Optional[_Union[_accounting_pb2.UnitOfAmount, _Mapping]] = ..., amount: _Optional[int] = ..., charges: _Optional[_Iterable[_Union[BilledCharge, _Mapping]]] = ...) -> None: ...

class GetStatementRequest(_message.Message):
    __slots__ = ("account_id", "from_time", "until_time", "by_model", "by_member", "by_key")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    BY_MODEL_FIELD_NUMBER: _ClassVar[int]
    BY_MEMBER_FIELD_NUMBER: _ClassVar[int]
    BY_KEY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    by_model: bool
    by_member: bool
    by_key: bool
    def __init__(self, account_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., by_model: _Optional[bool] = ..., by_member: _Optional[bool] = ..., by_key: _Optional[bool] = ...) -> None: ...

class GetStatementResponse(_message.Message):
    __slots__ = ("totals", "usage", "charges")
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    totals: _containers.RepeatedCompositeFieldContainer[StatementTotal]
    usage: _containers.RepeatedCompositeFieldContainer[UsageLine]
    charges: _containers.RepeatedCompositeFieldContainer[BilledCharge]
    def __init__(self, totals: _Optional[_Iterable[_Union[StatementTotal, _Mapping]]] = ..., usage: _Optional[_Iterable[_Union[UsageLine, _Mapping]]] = ..., charges: _Optional[_Iterable[_Union[BilledCharge, _Mapping]]] = ...) -> None: ...

class StatementTotal(_message.Message):
    __slots__ = ("unit", "calls", "usage", "charges", "charged", "balance", "credit_line", "phone_bill", "outside", "owed", "absorbed")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    CREDIT_LINE_FIELD_NUMBER: _ClassVar[int]
    PHONE_BILL_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    OWED_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_FIELD_NUMBER: _ClassVar[int]
    unit: _accounting_pb2.UnitOfAmount
    calls: int
    usage: int
    charges: int
    charged: int
    balance: int
    credit_line: int
    phone_bill: int
    outside: int
    owed: int
    absorbed: int
    def __init__(self, unit: _Optional[_Union[_accounting_pb2.UnitOfAmount, _Mapping]] = ..., calls: _Optional[int] = ..., usage: _Optional[int] = ..., charges: _Optional[int] = ..., charged: _Optional[int] = ..., balance: _Optional[int] = ..., credit_line: _Optional[int] = ..., phone_bill: _Optional[int] = ..., outside: _Optional[int] = ..., owed: _Optional[int] = ..., absorbed: _Optional[int] = ...) -> None: ...

class UsageLine(_message.Message):
    __slots__ = ("unit", "paid_by", "model_id", "member_id", "key_id", "vendor_model_id", "calls", "amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PAID_BY_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: _accounting_pb2.UnitOfAmount
    paid_by: str
    model_id: str
    member_id: str
    key_id: str
    vendor_model_id: str
    calls: int
    amount: int
    def __init__(self, unit: _Optional[_Union[_accounting_pb2.UnitOfAmount, _Mapping]] = ..., paid_by: _Optional[str] = ..., model_id: _Optional[str] = ..., member_id: _Optional[str] = ..., key_id: _Optional[str] = ..., vendor_model_id: _Optional[str] = ..., calls: _Optional[int] = ..., amount: _Optional[int] = ...) -> None: ...

class GetVendorStatementRequest(_message.Message):
    __slots__ = ("vendor_id", "from_time", "until_time")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    def __init__(self, vendor_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetVendorStatementResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[UsageLine]
    def __init__(self, lines: _Optional[_Iterable[_Union[UsageLine, _Mapping]]] = ...) -> None: ...

class Demand(_message.Message):
    __slots__ = ("demand_id", "source", "refunds", "account_id", "make_time", "currency", "amount", "order_id", "subscription_id", "offering_id", "state", "reason", "payment_id", "refund_id", "next_try_time")
    DEMAND_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REFUNDS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    MAKE_TIME_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRY_TIME_FIELD_NUMBER: _ClassVar[int]
    demand_id: str
    source: str
    refunds: bool
    account_id: str
    make_time: _timestamp_pb2.Timestamp
    currency: str
    amount: int
    order_id: str
    subscription_id: str
    offering_id: str
    state: str
    reason: str
    payment_id: str
    refund_id: str
    next_try_time: _timestamp_pb2.Timestamp
    def __init__(self, demand_id: _Optional[str] = ..., source: _Optional[str] = ..., refunds: _Optional[bool] = ..., account_id: _Optional[str] = ..., make_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., currency: _Optional[str] = ..., amount: _Optional[int] = ..., order_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., offering_id: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., payment_id: _Optional[str] = ..., refund_id: _Optional[str] = ..., next_try_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListDemandsRequest(_message.Message):
    __slots__ = ("account_id", "states", "demands_max")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    DEMANDS_MAX_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    states: _containers.RepeatedScalarFieldContainer[str]
    demands_max: int
    def __init__(self, account_id: _Optional[str] = ..., states: _Optional[_Iterable[str]] = ..., demands_max: _Optional[int] = ...) -> None: ...

class ListDemandsResponse(_message.Message):
    __slots__ = ("demands", "uses", "phone_number", "carrier")
    DEMANDS_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CARRIER_FIELD_NUMBER: _ClassVar[int]
    demands: _containers.RepeatedCompositeFieldContainer[Demand]
    uses: _containers.RepeatedCompositeFieldContainer[CarrierUse]
    phone_number: str
    carrier: bool
    def __init__(self, demands: _Optional[_Iterable[_Union[Demand, _Mapping]]] = ..., uses: _Optional[_Iterable[_Union[CarrierUse, _Mapping]]] = ..., phone_number: _Optional[str] = ..., carrier: _Optional[bool] = ...) -> None: ...

class CarrierUse(_message.Message):
    __slots__ = ("currency", "amount")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    currency: str
    amount: int
    def __init__(self, currency: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class SetLineRequest(_message.Message):
    __slots__ = ("account_id", "phone_number")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    phone_number: str
    def __init__(self, account_id: _Optional[str] = ..., phone_number: _Optional[str] = ...) -> None: ...

class SetLineResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RetryDemandRequest(_message.Message):
    __slots__ = ("demand_id",)
    DEMAND_ID_FIELD_NUMBER: _ClassVar[int]
    demand_id: str
    def __init__(self, demand_id: _Optional[str] = ...) -> None: ...

class RetryDemandResponse(_message.Message):
    __slots__ = ("demand",)
    DEMAND_FIELD_NUMBER: _ClassVar[int]
    demand: Demand
    def __init__(self, demand: _Optional[_Union[Demand, _Mapping]] = ...) -> None: ...

class ShowCodeRequest(_message.Message):
    __slots__ = ("demand_id", "code")
    DEMAND_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    demand_id: str
    code: str
    def __init__(self, demand_id: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class ShowCodeResponse(_message.Message):
    __slots__ = ("demand",)
    DEMAND_FIELD_NUMBER: _ClassVar[int]
    demand: Demand
    def __init__(self, demand: _Optional[_Union[Demand, _Mapping]] = ...) -> None: ...
