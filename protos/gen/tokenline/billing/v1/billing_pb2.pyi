from tokenline.accounting.v1 import accounting_pb2 as _accounting_pb2
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
