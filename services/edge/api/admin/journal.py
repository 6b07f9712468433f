"""The journal over HTTP, for the operator: page by page, filtered by account, call and time, its entries as JSON."""

import re
from typing import Annotated, Any, Final, NamedTuple

from google.protobuf.json_format import MessageToDict
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from services.edge.http.problems import malformed
from services.partitions import partition_of
from services.runtime.clients import answer
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

_TIMEOUT_S: Final = 60.0
# At most this many entries are looked at for one page, or a filter that finds little would hold up a request for ever.
_LOOKED_AT_MAX: Final = 200_000
_CURSOR: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,18})")


# In the place of an actor's subject.
ANYBODY: Final = "*"


class JournalFilter(NamedTuple):
    """Conditions of a search; empty and None: any. Times are microseconds since 1970, from included, until excluded."""

    account_id: str = ""
    charging_id: str = ""
    from_us: int | None = None
    until_us: int | None = None
    # The subject of an actor, or ANYBODY for all entries whose actor is known.
    actor: str = ""

    def finds(self, entry: pb.JournalEntry) -> bool:
        """Whether an entry is wanted."""
        if self.account_id and entry.account_id != self.account_id:
            return False
        if self.from_us is not None and entry.time_us < self.from_us:
            return False
        if self.until_us is not None and entry.time_us >= self.until_us:
            return False
        if self.actor and not (entry.actor.subject == self.actor or (self.actor == ANYBODY and entry.HasField("actor"))):
            return False
        if not self.charging_id:
            return True
        fact = getattr(entry, entry.WhichOneof("fact") or "account_opened")
        return getattr(fact, "charging_id", "") == self.charging_id


class Cursor(NamedTuple):
    """The place at which a page begins: after this row of this partition."""

    part_id: int
    after_sequence_number: int


def journal_routes(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @get("/journal")
    async def read_journal(
        account_id: FromQuery[str] = "",
        charging_id: FromQuery[str] = "",
        from_us: FromQuery[int | None] = None,
        until_us: FromQuery[int | None] = None,
        actor: FromQuery[str] = "",
        cursor: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=10_000)] = 1_000,
    ) -> dict[str, Any]:
        place = _CURSOR.fullmatch(cursor or "0/0")
        if place is None:
            raise malformed("cursor", "cursor must be the `next` of the page before.", "invalid_value")
        wanted = JournalFilter(account_id, charging_id, from_us, until_us, actor)
        entries, following = await journal_page(accounting, wanted, Cursor(int(place[1]), int(place[2])), limit)
        return {"data": entries, "next": f"{following[0]}/{following[1]}" if following else None}

    return [read_journal]


async def journal_page(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", wanted: JournalFilter, cursor: Cursor, limit: int
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """At least `limit` entries in the order of partition and row (whole rows), and the next page's cursor; None: no more.

    Errors: `ServiceError` of accounting.
    """
    partitions = (await answer(accounting.ListPartitions(pb.ListPartitionsRequest(), timeout=_TIMEOUT_S))).partitions
    found: list[dict[str, Any]] = []
    looked_at = 0
    for partition in partitions:
        if partition.part_id < cursor.part_id:
            continue
        if wanted.account_id and partition_of(wanted.account_id, len(partitions)) != partition.part_id:
            continue
        after = cursor.after_sequence_number if partition.part_id == cursor.part_id else 0
        if after >= partition.last_sequence_number:
            continue
        request = pb.ReadJournalRequest(
            part_id=partition.part_id, after_sequence_number=after, to_sequence_number=partition.last_sequence_number
        )
        call = accounting.ReadJournal(request, timeout=_TIMEOUT_S)
        async for response in call:
            found += [entry_json(entry) for entry in response.entries if wanted.finds(entry)]
            looked_at += len(response.entries)
            if response.entries and (len(found) >= limit or looked_at >= _LOOKED_AT_MAX):
                call.cancel()
                return found, Cursor(partition.part_id, response.entries[-1].sequence_number)
    return found, None


def entry_json(entry: pb.JournalEntry) -> dict[str, Any]:
    """One entry: its place, time, account and actor, `fact` with its name, and its fields."""
    fact = entry.WhichOneof("fact") or ""
    actor = MessageToDict(entry.actor) if entry.HasField("actor") else None
    return {
        "part_id": entry.part_id,
        "sequence_number": entry.sequence_number,
        "index": entry.index,
        "time_us": entry.time_us,
        "account_id": entry.account_id,
        "actor": actor,
        "fact": fact,
        **MessageToDict(getattr(entry, fact), preserving_proto_field_name=True),
    }
