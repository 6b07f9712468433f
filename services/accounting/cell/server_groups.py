"""The server groups of a cell: the partitions of each database server, with an owner and a commit of their own.

Partition `part_id` is on server `part_id % servers`; that is fixed at installation. No transaction needs two servers. A server that
is away takes only its own partitions with it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.accounting.core.commands import Command, Failed, ReceiveTransfer
from services.accounting.core.entries import Actor
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.journal.audit import Findings, audit
from services.accounting.journal.store import Claim, ClaimedPartition, Identity, JournalRow, Store
from services.accounting.writer.asking import Caller
from services.accounting.writer.burning import Burnt
from services.accounting.writer.metrics import Refusal
from services.accounting.writer.owner import Owner
from services.partitions import partition_of
from services.runtime.errors import ServiceError


class ServerGroup(NamedTuple):
    """One database server: its store, and the owner of its partitions here."""

    owner: Owner
    store: Store


class ServerGroups:
    """All groups as one: passes a command on an account or a partition to its group."""

    def __init__(self, groups: Sequence[ServerGroup]) -> None:
        self._groups = tuple(groups)
        first = groups[0].owner
        self.partition_count = first.partition_count
        # See `Owner.submit`; with one group it is its owner's own.
        self.submit = first.submit if len(groups) == 1 else self._submit

    @property
    def owners(self) -> list[Owner]:
        """The owner of each group."""
        return [group.owner for group in self._groups]

    @property
    def identity(self) -> Identity:
        """The cell's identity, as its first server knows it; all servers have the same."""
        return self._groups[0].owner.identity

    @property
    def serving(self) -> bool:
        """Whether commands of some partitions can be decided here; the others are answered with an error."""
        return any(group.owner.serving for group in self._groups)

    @property
    def claimed(self) -> frozenset[int]:
        """See `Owner.claimed`."""
        return frozenset().union(*(group.owner.claimed for group in self._groups))

    @property
    def reached(self) -> dict[int, int]:
        """See `Owner.reached`."""
        return {part_id: seq for group in self._groups for part_id, seq in group.owner.reached.items()}

    def partition_of(self, account_id: str) -> int:
        """The partition of an account."""
        return partition_of(account_id, self.partition_count)

    def _submit(self, command: Command, caller: Caller, tag: int, actor: Actor | None = None) -> None:
        self._group(self.partition_of(command.account_id)).owner.submit(command, caller, tag, actor)

    def refusal(self, charging_id: str) -> Refusal | None:
        """The refusal of a call, as long as it is remembered."""
        return next((found for group in self._groups if (found := group.owner.refusals.find(charging_id)) is not None), None)

    def burning(self, window_us: int) -> dict[str, Burnt]:
        """See `Owner.burning`; of all groups."""
        found: dict[str, Burnt] = {}
        for group in self._groups:
            for unit, burnt in group.owner.burning(window_us).items():
                found[unit] = found[unit].added(burnt) if unit in found else burnt
        return found

    def set_catalog(self, catalog: ChargingCatalog) -> None:
        """See `Owner.set_catalog`."""
        for group in self._groups:
            group.owner.set_catalog(catalog)

    def set_features(self, understood: frozenset[str]) -> None:
        """See `Owner.set_features`."""
        for group in self._groups:
            group.owner.set_features(understood)

    # Running

    async def start(self) -> None:
        """Checks that all servers are of one cell and era. Errors: those of the store; `ServiceError` INVALID_ARGUMENT."""
        cell_id = ""
        for group in self._groups:
            await group.owner.start(cell_id)
            cell_id = group.owner.identity.cell_id

    async def take_all(self) -> None:
        """See `Owner.take_all`."""
        for group in self._groups:
            await group.owner.take_all()

    async def run(self) -> None:
        """See `Owner.run`."""
        async with asyncio.TaskGroup() as tasks:
            for group in self._groups:
                tasks.create_task(group.owner.run())

    async def weigh(self) -> None:
        """See `Weighing.run`."""
        async with asyncio.TaskGroup() as tasks:
            for group in self._groups:
                tasks.create_task(group.owner.weighing.run())

    async def stop(self) -> None:
        """See `Owner.stop`."""
        await asyncio.gather(*(group.owner.stop() for group in self._groups))

    async def receive(self, command: ReceiveTransfer) -> Failed | None:
        """See `Owner.receive`."""
        return await self._group(self.partition_of(command.account_id)).owner.receive(command)

    # Owning

    def by_group(self, claims: Iterable[Claim]) -> list[list[Claim]]:
        """The claims of each group that has some: they are taken together."""
        servers = len(self._groups)
        apart: list[list[Claim]] = [[] for _ in range(servers)]
        for claim in claims:
            apart[claim.part_id % servers].append(claim)
        return [each for each in apart if each]

    async def take(self, claims: Sequence[Claim]) -> set[int]:
        """See `Owner.take`; the claims are of one group."""
        return await self._group(claims[0].part_id).owner.take(claims)

    async def give(self, part_ids: Iterable[int]) -> None:
        """See `Owner.give`."""
        wanted = set(part_ids)
        await asyncio.gather(*(group.owner.give(wanted & group.owner.claimed) for group in self._groups))

    async def are_stuck(self, seconds: float, probe_s_max: float) -> bool:
        """Whether a commit has been under way for at least `seconds` though its database answers others."""
        for owner, store in self._groups:
            if owner.pending_s >= seconds:
                try:
                    async with asyncio.timeout(probe_s_max):
                        await store.partitions()
                except (ServiceError, TimeoutError):
                    # The database is away for all: no other replica could do better.
                    continue
                if owner.pending_s >= seconds:
                    return True
        return False

    async def coordinated_by(self, coordinator_id: str) -> str:
        """See `Store.coordinated_by`; the first coordinator other than this one that a server knows."""
        for group in self._groups:
            if (known := await group.store.coordinated_by(coordinator_id)) != coordinator_id:
                return known
        return coordinator_id

    # Reading

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        """See `Store.read_rows`."""
        return await self._group(part_id).store.read_rows(part_id, after_seq, limit)

    async def partitions(self) -> list[ClaimedPartition]:
        """See `Store.partitions`."""
        return sorted(each for found in [await group.store.partitions() for group in self._groups] for each in found)

    async def audit(self) -> Findings:
        """The findings of all servers together; no account is on two of them."""
        found = Findings()
        for group in self._groups:
            found.add(await group.store.snapshot(audit))
        return found

    def _group(self, part_id: int) -> ServerGroup:
        return self._groups[part_id % len(self._groups)]


async def raise_era(stores: Sequence[Store], above: int, coordinator_id: str = "") -> int:
    """Begins a new era, the same on all servers; returns it. See `Store.raise_era`."""
    identities = [(await store.identity()).era for store in stores]
    above = max(above, *identities)
    for store in stores:
        await store.raise_era(above, coordinator_id)
    return above + 1
