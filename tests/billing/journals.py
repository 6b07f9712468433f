"""Journals made by hand, and an accounting that serves them: what billing reads, without the code that charges."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from services.runtime.errors import ServiceError
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2

ACCOUNT_ID = "acct-0123456789abcdef"
CREATE_TIME_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
TOKEN = pb.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN)
CNY = pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="CNY")
_DATA: Final = Path(__file__).parent / "data"

Fact = (
    pb.AccountOpened
    | pb.BucketGranted
    | pb.CycleStarted
    | pb.DebtRepaid
    | pb.DebtWrittenOff
    | pb.OrderCompleted
    | pb.OrderPlaced
    | pb.PriceCharged
    | pb.PriceReturned
    | pb.SessionCreated
    | pb.SessionSettled
    | pb.SubscriptionStarted
    | pb.SubscriptionSuspended
)
# The field of JournalEntry that has the fact, by the fact's message.
_FIELDS: Final = {
    field.message_type.name: field.name
    for field in pb.JournalEntry.DESCRIPTOR.oneofs_by_name["fact"].fields
    if field.message_type is not None
}


def charging_id(number: int) -> str:
    """A UUID of version 7 that is the same for the same number."""
    return f"019b76da-a800-7000-8000-{number:012x}"


def opened() -> pb.AccountOpened:
    """A fact that makes no CDR."""
    return pb.AccountOpened(offering_id="default")


def granted(bucket_id: str, amount: int, **fields: Any) -> pb.BucketGranted:
    """A bucket of tokens, unless `fields` say otherwise; most grants make no record."""
    return pb.BucketGranted(**{"bucket_id": bucket_id, "unit": TOKEN, "amount": amount, **fields})


def created(number: int) -> pb.SessionCreated:
    """A fact that makes no CDR."""
    return pb.SessionCreated(charging_id=charging_id(number), model_id="model-a", key_id="key-1", member_id="mbr-1")


def settled(number: int, output_tokens: int = 3, **fields: Any) -> pb.SessionSettled:
    """A settled session of 10 input tokens and some output, one unit a token, paid by one bucket."""
    amount = (10 + output_tokens) * 1_000_000
    fact = pb.SessionSettled(
        charging_id=charging_id(number),
        record_sequence_number=1,
        model_id="model-a",
        key_id="key-1",
        member_id="mbr-1",
        offering_id="default",
        tariff_id="tariff-1",
        tariff_version=2,
        unit=TOKEN,
        usage=pb.TokenUsage(input=10, output=output_tokens),
        class_charges=[
            pb.ClassCharge(token_class="input", tokens=10, rate=1_000_000_000_000, amount=10_000_000),
            pb.ClassCharge(token_class="output", tokens=output_tokens, rate=1_000_000_000_000, amount=output_tokens * 1_000_000),
        ],
        charged_amount=amount,
        debits=[pb.BucketAmount(bucket_id="bkt-1", amount=amount)],
        close_cause=pb.CLOSE_CAUSE_NORMAL,
        provenance=pb.USAGE_PROVENANCE_VENDOR,
        attempts=[
            pb.VendorAttempt(vendor_id="vendor-a", vendor_model_id="a-1", outcome="answered", http_status=200, duration_ms=120)
        ],
        create_time_us=CREATE_TIME_US,
        released=[pb.BucketAmount(bucket_id="bkt-1", amount=7)],
    )
    for name, value in fields.items():
        fact.ClearField(name)
        fact.MergeFrom(pb.SessionSettled(**{name: value}))
    return fact


def class_charge(token_class: str, tokens: int, rate: int) -> pb.ClassCharge:
    """The charge of a class at a rate in micro-units per 1,000,000."""
    return pb.ClassCharge(token_class=token_class, tokens=tokens, rate=rate, amount=-(-tokens * rate // 1_000_000))


def settled_in_money(number: int, output_tokens: int = 3, rate: int = 4_000_000, **fields: Any) -> pb.SessionSettled:
    """The second record of a session: some output beyond the allowance, paid in CNY by one bucket but for what was absorbed."""
    charge = class_charge("output", output_tokens, rate)
    amount = charge.amount - fields.get("absorbed_amount", 0)
    given = {
        "record_sequence_number": 2,
        "tariff_id": "overage-1",
        "unit": CNY,
        "usage": pb.TokenUsage(output=output_tokens),
        "class_charges": [charge],
        "charged_amount": amount,
        "debits": [pb.BucketAmount(bucket_id="bkt-money", amount=amount)],
        "attempts": [],
    }
    return settled(number, **{**given, **fields})


def recorded_journal() -> tuple[list[list[pb.JournalEntry]], bytes]:
    """Rows of partition 3 as the release before the classes after the first five wrote them, and its CDRs of them."""
    recorded = pb.ReadJournalResponse.FromString((_DATA / "journal_of_five_classes.binpb").read_bytes())
    rows: list[list[pb.JournalEntry]] = []
    for entry in recorded.entries:
        if entry.index == 0:
            rows.append([])
        rows[-1].append(entry)
    return rows, (_DATA / "cdrs_of_five_classes.jsonl").read_bytes()


def entry_of(part_id: int, seq: int, index: int, fact: Fact, account_id: str = ACCOUNT_ID) -> pb.JournalEntry:
    """The fact at its place in a journal."""
    entry = pb.JournalEntry(
        part_id=part_id, sequence_number=seq, index=index, account_id=account_id, time_us=CREATE_TIME_US + seq * 1_000_000 + index
    )
    getattr(entry, _FIELDS[fact.DESCRIPTOR.name]).CopyFrom(fact)
    return entry


class ScriptedAccounting(accounting_pb2_grpc.AccountingServiceServicer):
    """Serves the journal that a test writes. Partitions begin empty; sequence numbers are given as rows are written."""

    def __init__(self, partitions: int) -> None:
        self.era = 1
        self.rows: dict[int, list[list[pb.JournalEntry]]] = {part_id: [] for part_id in range(partitions)}
        self.remembered: dict[tuple[str, str], list[pb.JournalEntry]] = {}
        # Rows that each partition says it has and cannot read.
        self.rows_lost = 0

    def append(self, part_id: int, *facts: Fact, account_id: str = ACCOUNT_ID) -> list[pb.JournalEntry]:
        """Commits one row."""
        seq = len(self.rows[part_id]) + 1
        row = [entry_of(part_id, seq, index, fact, account_id) for index, fact in enumerate(facts)]
        self.rows[part_id].append(row)
        return row

    def remember(self, entries: Sequence[pb.JournalEntry]) -> None:
        """Makes GetSessionRecords answer with settled entries of one session."""
        self.remembered[entries[0].account_id, entries[0].session_settled.charging_id] = list(entries)

    async def ListPartitions(self, request: pb.ListPartitionsRequest, context: Any) -> pb.ListPartitionsResponse:
        return pb.ListPartitionsResponse(
            partitions=[
                pb.Partition(part_id=part_id, epoch=1, last_sequence_number=len(rows) + self.rows_lost)
                for part_id, rows in self.rows.items()
            ],
            era=self.era,
        )

    async def ReadJournal(self, request: pb.ReadJournalRequest, context: Any) -> AsyncIterator[pb.ReadJournalResponse]:
        for row in self.rows[request.part_id][request.after_sequence_number : request.to_sequence_number or None]:
            yield pb.ReadJournalResponse(entries=row)

    async def GetSessionRecords(
        self, request: pb.GetSessionRecordsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetSessionRecordsResponse:
        entries = self.remembered.get((request.account_id, request.charging_id))
        if entries is None:
            raise ServiceError(errors_pb2.ERROR_REASON_RECORD_UNKNOWN, f"no record of {request.charging_id}")
        return pb.GetSessionRecordsResponse(entries=entries)
