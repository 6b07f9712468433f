"""Gives partitions to replicas: members and claims in etcd.

Keys below the prefix: `cell` (this cell and its era), `members/ID` (a live replica), `claims/PARTITION` (the ID of its owner),
`moves/PARTITION` (the ID of the owner that an operator wants), `reached/PARTITION` (how far its journal went). The last one shows a
database that was restored. A member and its claims hang on its lease, a move on the lease of the wanted owner. etcd elects, the
database fences: a claim counts once the database has taken its revision, and nothing that holds quota hangs on a lease. While etcd
is down nobody can claim, and owners go on. The writes to etcd do not grow with calls.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroups, raise_era
from services.accounting.cell.view import CellRecord, Member, Reached, View, first_choice, view_of
from services.accounting.core import features
from services.accounting.journal.store import Claim, Store, check_era
from services.runtime.errors import ServiceError
from services.runtime.etcd import EtcdClient, EtcdError
from services.runtime.identifiers import random_name
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

_LEASE_S: Final = 5
_BEAT_S: Final = 1.0
_BEAT_AGAIN_S: Final = 0.2
_LOOK_S: Final = 0.5
# A slower commit, while the database answers others, is this process's own trouble: others should take over.
_STUCK_S: Final = 3.0
_PROBE_S_MAX: Final = 1.0
# An owner whose port refuses connections for this long is dead, whatever its lease says; the database fences it if it is not.
_REFUSED_S: Final = 0.5
_KNOCK_S: Final = 0.2
# Interval at which the journals' progress is noted, and the partitions that one transaction of etcd takes.
_REACHED_S: Final = 5.0
_REACHED_TOGETHER: Final = 100
# An operator waits at most this long for a move.
_MOVED_S_MAX: Final = 10.0
_MOVED_LOOK_S: Final = 0.02
# After the last sight of a member that lacks a feature, it may live on without its lease, and come back, for this long.
_LACKING_S: Final = _LEASE_S + 2 * _BEAT_S
# This many partitions are handed over together, because their calls wait for one another's successor.
_HANDED_OVER_TOGETHER: Final = 2


class WrongCellError(Exception):
    """etcd and the database do not belong together. Nobody may serve."""


async def enter_new_era(etcd: EtcdClient, prefix: str, stores: Sequence[Store], cell_id: str, partitions: int) -> int:
    """Begins a new era in the databases and in etcd; returns it. Call it again after an error: until both agree nobody serves.

    Errors: `WrongCellError`; `EtcdError`; those of the store.
    """
    known = await etcd.get(f"{prefix}cell")
    before = None if known is None else msgspec.json.decode(known.value, type=CellRecord)
    if before is not None:
        _check_cell(prefix, before, cell_id)
    coordinator_id = random_name("etcd") if before is None else before.coordinator_id
    era = await raise_era(stores, 0 if before is None else before.era, coordinator_id)
    await etcd.put(f"{prefix}cell", msgspec.json.encode(CellRecord(cell_id, era, partitions, coordinator_id)))
    return era


def _check_cell(prefix: str, cell: CellRecord, cell_id: str) -> None:
    if cell.cell_id != cell_id:
        raise WrongCellError(
            f"etcd below {prefix} is of cell {cell.cell_id}, the database of cell {cell_id}: give each cell a database and an etcd "
            "prefix of its own; if the database was made anew on purpose, delete the keys below the prefix"
        )


class Coordinator:
    """One replica's part in the cell. Call `start`, then keep `run` running; `leave` hands everything over."""

    def __init__(
        self,
        etcd: EtcdClient,
        prefix: str,
        groups: ServerGroups,
        directory: Directory,
        member_id: str,
        refuses: Callable[[str], Awaitable[bool]] | None = None,
        joined: asyncio.Event | None = None,
    ) -> None:
        """`refuses`: whether nobody listens at an address; by default the directory asks. `joined` is set once it is a member."""
        self._etcd = etcd
        self._prefix = prefix
        self._groups = groups
        self._directory = directory
        self._member_id = member_id
        self._refuses = refuses or directory.refuses
        self._joined = joined or asyncio.Event()
        self._lease = 0
        self._view: View | None = None
        self._look = asyncio.Event()
        # part_id -> the revision at which it was claimed here.
        self._held: dict[int, int] = {}
        self._giving: set[int] = set()
        # Members whose port refuses connections, with the time of the first refusal.
        self._refusing: dict[str, float] = {}
        self._handing_over: asyncio.Task[None] | None = None
        self._leaving = False
        self._trouble = ""
        self._shadowed = False
        # Set once etcd has lost what it knew of this cell.
        self._forgotten = False
        # When a member was last seen that lacks a feature of this code.
        self._lacking_s = -math.inf
        # No features until the members are known.
        groups.set_features(frozenset())

    async def start(self) -> None:
        """Checks that etcd and the database belong together.

        Errors: `WrongCellError`; `EraMismatchError`; `EtcdError` while etcd can't be asked; those of the store.
        """
        identity = self._groups.identity
        own = CellRecord(identity.cell_id, identity.era, self._groups.partition_count, random_name("etcd"))
        await self._etcd.put_if(f"{self._prefix}cell", msgspec.json.encode(own))
        known = await self._etcd.get(f"{self._prefix}cell")
        if known is None:
            raise EtcdError(f"etcd: the key {self._prefix}cell was written but is gone; ask again")
        cell = msgspec.json.decode(known.value, type=CellRecord)
        self._check(cell)
        if await self._groups.coordinated_by(cell.coordinator_id) != cell.coordinator_id:
            raise WrongCellError(
                f"the database's partitions are given out through another etcd, or another prefix than {self._prefix}: give all "
                "replicas of a cell the same, and each cell a database of its own; if etcd was wiped, run `tokenline recover`"
            )

    def _check(self, cell: CellRecord) -> None:
        own = self._groups.identity
        _check_cell(self._prefix, cell, own.cell_id)
        check_era(own.era, cell.era)

    def lost(self, part_ids: set[int]) -> None:
        """Notes that the database has given partitions to somebody else."""
        for part_id in part_ids:
            self._held.pop(part_id, None)
        self._look.set()

    async def run(self) -> None:
        """Takes part for ever. Errors: an `ExceptionGroup` of `EraMismatchError`, `StoreRestoredError` or `WrongCellError`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live(), name="coordination-lease")
            group.create_task(self._follow(), name="coordination-watch")
            group.create_task(self._knock(), name="coordination-knock")
            group.create_task(self._note_reached(), name="coordination-reached")
            await self._reconcile()

    async def leave(self) -> None:
        """Hands all partitions over, one after another, and leaves the cell."""
        self._leaving = True
        if self._lease:
            with contextlib.suppress(EtcdError):
                await self._join(self._lease)
        if self._handing_over is not None:
            await asyncio.wait([self._handing_over])
        await self._hand_over(sorted(self._held))
        if self._lease:
            with contextlib.suppress(EtcdError):
                await self._etcd.revoke(self._lease)

    async def move(self, part_id: int, address: str) -> str:
        """Moves a partition to the replica at the address ("": any other one), as long as that lives; returns the owner's address.

        Errors: `ServiceError` NOT_POSSIBLE if there is no such replica, UNAVAILABLE if the move takes too long.
        """
        view = self._view
        if view is None:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "the owners of partitions are not known yet; try again")
        staying = {each: view.members[each].address for each in self._live_members(view) if not view.members[each].leaving}
        owner = view.claims.get(part_id, ("", 0))[0]
        target = first_choice(part_id, [each for each in staying if (staying[each] == address if address else each != owner)])
        if target is None:
            others = f"there are {', '.join(sorted(staying.values()))}" if staying else "there is none"
            raise ServiceError(
                errors_pb2.ERROR_REASON_NOT_POSSIBLE,
                f"no replica that could take partition {part_id} is at {address}; {others}"
                if address
                else f"no other replica could take partition {part_id}; start one more",
            )
        epoch = await self._epoch(part_id)
        try:
            await self._etcd.put(f"{self._prefix}moves/{part_id}", target.encode(), view.leases[target])
        except EtcdError as error:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, str(error)) from error
        try:
            async with asyncio.timeout(_MOVED_S_MAX):
                async for addresses in self._directory.changes():
                    if addresses.get(part_id) == staying[target]:
                        break
                # The replica is chosen; it owns the partition once the database says so.
                while target != owner:
                    if await self._epoch(part_id) > epoch:
                        break
                    await asyncio.sleep(_MOVED_LOOK_S)
        except TimeoutError as error:
            raise ServiceError(
                errors_pb2.ERROR_REASON_UNAVAILABLE,
                f"{staying[target]} did not take partition {part_id} over within {_MOVED_S_MAX:g} s; see `tokenline owners`",
            ) from error
        return staying[target]

    async def _epoch(self, part_id: int) -> int:
        return next(each.epoch for each in await self._groups.partitions() if each.part_id == part_id)

    # Membership

    async def _live(self) -> None:
        while True:
            try:
                if await self._groups.are_stuck(_STUCK_S, _PROBE_S_MAX):
                    logger.error("a commit hangs for %.1f s while the database answers others; the lease is withheld", _STUCK_S)
                elif not self._leaving:
                    await self._beat()
                self._note("")
                await asyncio.sleep(_BEAT_S)
            except EtcdError as error:
                self._note(str(error))
                await asyncio.sleep(_BEAT_AGAIN_S)

    async def _beat(self) -> None:
        if self._lease and await self._etcd.keep_alive(self._lease):
            return
        self._lease = 0
        lease = await self._etcd.grant(_LEASE_S)
        await self._join(lease)
        self._lease = lease
        self._joined.set()
        self._look.set()

    async def _join(self, lease: int) -> None:
        member = Member(self._directory.own_address, self._leaving, tuple(sorted(features.OWN)))
        await self._etcd.put(f"{self._prefix}members/{self._member_id}", msgspec.json.encode(member), lease)

    async def _note_reached(self) -> None:
        noted: dict[int, int] = {}
        while True:
            await asyncio.sleep(_REACHED_S)
            era = self._groups.identity.era
            changed = [(part_id, seq) for part_id, seq in sorted(self._groups.reached.items()) if noted.get(part_id) != seq]
            for first in range(0, len(changed), _REACHED_TOGETHER):
                together = changed[first : first + _REACHED_TOGETHER]
                try:
                    await self._etcd.put_all(
                        {
                            f"{self._prefix}reached/{part_id}": msgspec.json.encode(Reached(era, next_seq))
                            for part_id, next_seq in together
                        }
                    )
                    noted.update(together)
                except EtcdError as error:
                    self._note(str(error))

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble:
            logger.error("%s; partitions stay where they are until it is back", trouble)
        elif self._trouble and not trouble:
            logger.info("etcd is back")
        self._trouble = trouble

    # Watching

    async def _follow(self) -> None:
        async for snapshot in self._etcd.follow(self._prefix):
            view = view_of(snapshot)
            if view.cell is not None:
                self._check(view.cell)
            self._forgotten = view.cell is None or (self._view is not None and view.revision < self._view.revision)
            if self._forgotten:
                # Ignore its owners and claims; owners go on, as while etcd is down.
                logger.error(
                    "etcd has lost what it knew of this cell, it was wiped or restored; partitions stay where they are, and nobody "
                    "can take them over: run `tokenline recover`"
                )
                continue
            self._view = view
            self._tell(view)
            self._look.set()

    def _tell(self, view: View) -> None:
        """Tells the owners here the features that all members understand, and the directory also the owners."""
        understood = self._understood(view)
        self._groups.set_features(understood)
        self._directory.update(view.owners(), understood)

    def _understood(self, view: View) -> frozenset[str]:
        """The features of all members: fewer at once when somebody lacks one, more only when nobody who lacks one can come back."""
        if not view.members:
            # After etcd was away all leases have ended; members announce themselves anew.
            return self._directory.features
        now_s = asyncio.get_running_loop().time()
        understood = view.features() & features.OWN
        if understood != features.OWN:
            self._lacking_s = now_s
        elif now_s - self._lacking_s < _LACKING_S:
            return self._directory.features
        return understood

    async def _knock(self) -> None:
        """Finds members that died before their leases ended."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_KNOCK_S)
            members = {} if self._view is None else dict(self._view.members)
            members.pop(self._member_id, None)
            self._directory.keep({member.address for member in members.values()})
            refused = await asyncio.gather(*(self._refuses(member.address) for member in members.values()))
            before, self._refusing = self._refusing, {}
            for member_id, is_refused in zip(members, refused, strict=True):
                if is_refused:
                    self._refusing[member_id] = before.get(member_id, loop.time())
                    self._look.set()

    def _live_members(self, view: View) -> set[str]:
        now_s = asyncio.get_running_loop().time()
        # The member that came last on an address is there now.
        latest = {view.members[each].address: each for each in sorted(view.members, key=view.since.__getitem__)}
        return {each for each in latest.values() if now_s - self._refusing.get(each, now_s) < _REFUSED_S}

    # Acting

    async def _reconcile(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._look.wait()
            self._look.clear()
            if self._view is not None and not self._forgotten:
                self._tell(self._view)
            if self._view is not None and self._lease and not self._leaving and not self._forgotten:
                try:
                    await self._act(self._view)
                except EtcdError as error:
                    self._note(str(error))

    async def _act(self, view: View) -> None:
        live = self._live_members(view)
        if self._member_id not in live:
            self._note_shadow(view)
            return
        staying = sorted(each for each in live if not view.members[each].leaving)
        wanted = {part_id for part_id in range(self._groups.partition_count) if view.chosen(part_id, staying) == self._member_id}
        # Claims made after this view's revision are not in it.
        mine = {part_id for part_id, (owner, _) in view.claims.items() if owner == self._member_id}
        gone = {part_id for part_id, revision in self._held.items() if revision <= view.revision and part_id not in mine}
        if gone - self._giving:
            for part_id in gone - self._giving:
                del self._held[part_id]
            await self._groups.give(gone - self._giving)
        free = [part_id for part_id in sorted(wanted - self._held.keys()) if self._is_free(view, part_id, live)]
        for part_id, revision in zip(free, await asyncio.gather(*(self._claim(view, each) for each in free)), strict=True):
            if revision is not None:
                self._held[part_id] = revision
        # Claims made while the database was away are among them.
        idle = self._held.keys() - self._groups.claimed - self._giving
        to_take = [Claim(part_id, self._held[part_id], self._reached(view, part_id)) for part_id in sorted(idle)]
        for claims in self._groups.by_group(to_take):
            try:
                await self._take(claims)
            except ServiceError as error:
                logger.error("partitions can't be taken over yet: %s", error.message)
        # Give up a claim of unknown outcome: while it stands, nobody else takes the partition.
        for part_id in sorted(mine - self._held.keys() - wanted - self._giving):
            await self._etcd.delete_if(f"{self._prefix}claims/{part_id}", mod_revision=view.claims[part_id][1])
        unwanted = sorted(self._held.keys() - wanted - self._giving)
        if unwanted:
            # Other partitions are served, and claimed, meanwhile.
            self._handing_over = asyncio.create_task(self._hand_over(unwanted), name="coordination-hand-over")

    async def _take(self, claims: list[Claim]) -> None:
        taken = await self._groups.take(claims)
        logger.info("took over partitions %s", sorted(taken))
        for claim in claims:
            if claim.part_id not in taken:
                del self._held[claim.part_id]
                logger.error(
                    "the database has a later claim of partition %d than etcd's revision %d; if this goes on, etcd was "
                    "restored: run `tokenline recover`",
                    claim.part_id,
                    claim.revision,
                )

    def _is_free(self, view: View, part_id: int, live: set[str]) -> bool:
        owner = view.claims.get(part_id, ("", 0))[0]
        # A claim of this very replica on an earlier lease is made anew, so that it hangs on the present lease.
        return owner not in live or owner == self._member_id

    def _note_shadow(self, view: View) -> None:
        others = [each for each, member in view.members.items() if member.address == self._directory.own_address]
        if self._member_id in others and not self._shadowed:
            self._shadowed = True
            logger.error(
                "another replica came later on %s; this one takes no partitions: give each an advertised_address of its own",
                self._directory.own_address,
            )

    def _reached(self, view: View, part_id: int) -> int:
        """The number after the last row of its journal that is surely committed in this era."""
        reached = view.reached.get(part_id)
        return reached.next_seq if reached is not None and reached.era == self._groups.identity.era else 0

    async def _claim(self, view: View, part_id: int) -> int | None:
        before = view.claims.get(part_id, ("", 0))[1]
        return await self._etcd.put_if(
            f"{self._prefix}claims/{part_id}", self._member_id.encode(), self._lease, mod_revision=before
        )

    async def _hand_over(self, part_ids: list[int]) -> None:
        self._giving.update(part_ids)
        for first in range(0, len(part_ids), _HANDED_OVER_TOGETHER):
            together = part_ids[first : first + _HANDED_OVER_TOGETHER]
            await self._groups.give(together)
            for part_id in together:
                revision = self._held.pop(part_id, None)
                if revision is not None:
                    try:
                        await self._etcd.delete_if(f"{self._prefix}claims/{part_id}", mod_revision=revision)
                    except EtcdError as error:
                        # The claim ends with the lease, or is taken by the replica that finds this port closed.
                        self._note(str(error))
            self._giving.difference_update(together)
