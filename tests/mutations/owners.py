"""Faults of an owner of partitions: its tail, its hand-overs, its transfers and refusals, and its membership in a cell."""

from typing import Final

from tests.mutations.planting import Mutation, one

_COORDINATOR: Final = "services/accounting/cell/coordinator.py"
_SERVER_GROUPS: Final = "services/accounting/cell/server_groups.py"
_ANSWERS: Final = "services/accounting/writer/answers.py"
_COMMITTER: Final = "services/accounting/writer/committer.py"
_CHECKPOINTS: Final = "services/accounting/writer/checkpoints.py"
_DUE: Final = "services/accounting/writer/due.py"
_HOLDINGS: Final = "services/accounting/writer/holdings.py"
_METRICS: Final = "services/accounting/writer/metrics.py"
_OWNER: Final = "services/accounting/writer/owner.py"
_PARTITION: Final = "services/accounting/writer/partition.py"
_RECOVERY: Final = "services/accounting/writer/recovery.py"
_RESIDENTS: Final = "services/accounting/writer/residents.py"
_TRANSFERS: Final = "services/accounting/writer/transfers.py"
_WAITING: Final = "services/accounting/writer/waiting.py"
_DELIVERY: Final = "services/accounting/rpc/delivery.py"
_IN_DELIVERY: Final = "tests/accounting/rpc/test_delivery.py"
_IN_ERAS: Final = "tests/accounting/cell/test_eras.py"
_IN_READING: Final = "tests/accounting/rpc/test_reading.py"
_IN_SERVICER: Final = "tests/accounting/rpc/test_servicer.py"
_IN_MEMBERSHIP: Final = "tests/accounting/cell/test_membership.py"
_IN_GROUPS: Final = "tests/accounting/cell/test_server_groups.py"
_IN_HANDING_OVER: Final = "tests/accounting/writer/test_handing_over.py"
_IN_LOW_WATER: Final = "tests/accounting/writer/test_low_water.py"
_IN_OWNER: Final = "tests/accounting/writer/test_owner.py"
_IN_RESIDENCY: Final = "tests/accounting/writer/test_residency.py"
_IN_SOME: Final = "tests/accounting/writer/test_some_partitions.py"
_IN_REFUSALS: Final = "tests/accounting/writer/test_refusals.py"
_IN_TRANSFERS: Final = "tests/accounting/writer/test_transfers.py"

_OF_THE_TAIL: Final = (
    one(
        "a checkpoint has the first entry of its row alone",
        _CHECKPOINTS,
        "Checkpoint(account_id, account.seq, account.index, next_due",
        "Checkpoint(account_id, account.seq, 0, next_due",
        _IN_LOW_WATER,
    ),
    one(
        "what is hurried to its checkpoint keeps no row",
        _CHECKPOINTS,
        "self.timed[account_id] = (since[0], 0)",
        "self.timed[account_id] = (2**62, 0)",
        _IN_LOW_WATER,
    ),
    one(
        "an account leaves memory before it is saved",
        _PARTITION,
        "if each not in dirty and each not in timed]:",
        "if each not in dirty]:",
        _IN_LOW_WATER,
    ),
    one(
        "an account leaves memory for which somebody waits",
        _PARTITION,
        "            if account_id not in waiting and account_id not in sending:\n",
        "            if account_id not in sending:\n",
        _IN_LOW_WATER,
    ),
    one(
        "an account is packed that its store does not have",
        _PARTITION,
        "residents.shrink(dirty, timed, waiting, sending, self.exposure.touched)",
        "residents.shrink(dirty, waiting, sending, self.exposure.touched)",
        _IN_LOW_WATER,
    ),
    one(
        "an account is packed for which somebody waits",
        _PARTITION,
        "residents.shrink(dirty, timed, waiting, sending, self.exposure.touched)",
        "residents.shrink(dirty, timed, sending, self.exposure.touched)",
        _IN_HANDING_OVER,
    ),
    one(
        "what is replayed is kept from its last row on",
        _CHECKPOINTS,
        "self.dirty.setdefault(account_id, (seq, 0))",
        "self.dirty[account_id] = (seq, 0)",
        _IN_LOW_WATER,
    ),
    one(
        "what waited for money waits for a timer",
        _PARTITION,
        "            # New money may pay a renewal that waits for it.\n"
        "            self._apply_due(account, now_us, used=used, extended=catalog.extended)\n",
        "            pass\n",
        _IN_LOW_WATER,
    ),
    one(
        "cycles of who uses nothing are opened",
        _PARTITION,
        "        used = type(command) is not ApplyDue\n",
        "        used = True\n",
        _IN_LOW_WATER,
    ),
    one(
        "what is due on a replayed account waits for its user",
        _PARTITION,
        "        self.residents.add(account)\n        self.timers.add(account)\n\n    def is_used",
        "        self.residents.add(account)\n\n    def is_used",
        _IN_LOW_WATER,
    ),
    one(
        "idle accounts wait for all that are in use",
        _DUE,
        "                after = found[-1]\n",
        "                pass\n",
        _IN_LOW_WATER,
    ),
    one(
        "what fell due is older than what came before",
        _PARTITION,
        "            self._last_time_us = now_us\n            if",
        "            if",
        _IN_LOW_WATER,
    ),
)

_OF_HAND_OVERS: Final = (
    one(
        "who waits for a hold is not answered before its partition is given",
        _PARTITION,
        "        self.closed = True\n        self.waiting.give_up()\n",
        "        self.closed = True\n",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition is given while somebody waits in it",
        _PARTITION,
        "self._loading or self.waiting.queues)",
        "self._loading)",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition is given while a commit of it is under way",
        _PARTITION,
        "        return self.committing or bool(self.pending",
        "        return bool(self.pending",
        _IN_HANDING_OVER,
    ),
    one(
        "the timer of an answered Create goes on",
        _WAITING,
        "            for waiter in self.queues.pop(account_id, ()):\n                waiter.timer.cancel()\n",
        "            for waiter in self.queues.pop(account_id, ()):\n",
        _IN_HANDING_OVER,
    ),
    one(
        "a Create begins to wait while its owner stops",
        _OWNER,
        "self._held_wait_s > 0 and not self._closing:",
        "self._held_wait_s > 0:",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition that is given takes commands",
        _OWNER,
        "if partition is None or partition.closed or self._catalog",
        "if partition is None or self._catalog",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition that is given counts as served",
        _OWNER,
        "for part_id, partition in self._partitions.items() if not partition.closed)",
        "for part_id, partition in self._partitions.items())",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition is given with all that is unsaved",
        _HOLDINGS,
        "        for partition in leaving:\n            partition.leave()\n",
        "",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition is not given until all is saved",
        _HOLDINGS,
        "partition.dirty_count > _GIVE_DIRTY_MAX and loop.time() < until_s:",
        "partition.dirty_count > _GIVE_DIRTY_MAX:",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition that was given is claimed on",
        _HOLDINGS,
        "            self.claims.pop(part_id, None)\n            partition",
        "            partition",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition is given before its reads are answered",
        _HOLDINGS,
        "while self.has(partition) and (partition.undone or self._answers.are_of(partition)):",
        "while self.has(partition) and partition.undone:",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition that went back is taken",
        _HOLDINGS,
        "                check_reached(each, max(reached[each.part_id], self._committed.get(each.part_id, 0)))\n",
        "                pass\n",
        _IN_HANDING_OVER,
    ),
    one(
        "an owner forgets how far it has committed",
        _HOLDINGS,
        "max(reached[each.part_id], self._committed.get(each.part_id, 0))",
        "reached[each.part_id]",
        _IN_HANDING_OVER,
    ),
    one(
        "a state that was replaced counts as the one that came after it",
        _COMMITTER,
        "len(committed) < len(written) or not touched <= committed:",
        "len(committed) < len(written):",
        _IN_HANDING_OVER,
    ),
    one(
        "a partition that came back is lost with its former state",
        _COMMITTER,
        "if each not in committed and self._holdings.has(each)}",
        "if each not in committed}",
        _IN_HANDING_OVER,
    ),
    one(
        "a stop does not wait for the second database server",
        _SERVER_GROUPS,
        "        await asyncio.gather(*(group.owner.stop() for group in self._groups))",
        "        await self._groups[0].owner.stop()",
        _IN_GROUPS,
    ),
    one(
        "an audit leaves the second database server out",
        _SERVER_GROUPS,
        "        for group in self._groups:\n            found.add",
        "        for group in self._groups[:1]:\n            found.add",
        _IN_GROUPS,
    ),
    one(
        "a partition that went back is claimed again",
        _HOLDINGS,
        "            check_reached(each, self._committed.get(each.part_id, 0))\n",
        "            pass\n",
        _IN_HANDING_OVER,
    ),
    one(
        "some of all partitions are enough",
        _HOLDINGS,
        "        if len(await self.take(claims)) < len(claims):",
        "        if not await self.take(claims):",
        _IN_HANDING_OVER,
    ),
)

_OF_TRANSFERS: Final = (
    one(
        "a gift arrives before its commit",
        _TRANSFERS,
        "            view = await ask(self._owner, ReadAccount(account_id))\n",
        "            view = AccountView(partition.residents.hot[account_id])\n",
        _IN_TRANSFERS,
    ),
    one(
        "a gift comes back from a store that is away",
        _TRANSFERS,
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT}",
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT, Fault.STORE_UNAVAILABLE}",
        _IN_TRANSFERS,
    ),
    one(
        "a gift comes back from who is no owner any more",
        _TRANSFERS,
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT}",
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT, Fault.NOT_OWNER}",
        _IN_TRANSFERS,
    ),
    one(
        "a gift comes back from a fault of ours",
        _TRANSFERS,
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT}",
        "Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT, Fault.INTERNAL}",
        _IN_TRANSFERS,
    ),
    one(
        "a gift comes back for what is no refusal",
        _DELIVERY,
        "if error.reason in _FAULTS else Fault.UNAVAILABLE",
        "if error.reason in _FAULTS else Fault.NOT_POSSIBLE",
        _IN_DELIVERY,
    ),
    one(
        "a gift that another replica did not take has arrived",
        _DELIVERY,
        "            return Failed(Fault(error.reason)",
        "            Failed(Fault(error.reason)",
        _IN_DELIVERY,
    ),
    one(
        "a gift that was refused is confirmed",
        _OWNER,
        "        return answer if isinstance(answer, Failed) else None\n",
        "        return None\n",
        _IN_TRANSFERS,
    ),
    one(
        "a gift that was turned away is taken for one that arrived",
        _TRANSFERS,
        "EndTransfer(account_id, transfer_id, failed.message))",
        'EndTransfer(account_id, transfer_id, ""))',
        _IN_TRANSFERS,
    ),
    one(
        "a gift of an account that was loaded is not sent on",
        _OWNER,
        "        partition.enter(account)\n        self._transfers.resume_of(partition, account)\n",
        "        partition.enter(account)\n",
        _IN_TRANSFERS,
    ),
    one(
        "who has sent once sends no more",
        _TRANSFERS,
        "                    partition.end_sending(account_id)\n",
        "                    pass\n",
        _IN_TRANSFERS,
    ),
    one(
        "a gift that there is no room for is sent for ever",
        _TRANSFERS,
        "Fault.NOT_POSSIBLE, Fault.AMOUNT_OVERFLOW, ",
        "Fault.NOT_POSSIBLE, ",
        _IN_TRANSFERS,
    ),
    one(
        "a gift is given up where its sender cannot be read",
        _TRANSFERS,
        "            await asyncio.sleep(backoff_s)\n",
        "            if not isinstance(view, AccountView):\n                return\n            await asyncio.sleep(backoff_s)\n",
        _IN_TRANSFERS,
    ),
    one(
        "who has given its partitions goes on delivering",
        _TRANSFERS,
        "while self._holdings.has(partition) and not self._closing:",
        "while not self._closing:",
        _IN_TRANSFERS,
    ),
    one(
        "a refusal has no time",
        _ANSWERS,
        "answer, partition.last_time_us)",
        "answer, 0)",
        _IN_REFUSALS,
    ),
    one(
        "the first refusal of a call is the one that is remembered",
        _METRICS,
        "            self._kept[command.charging_id] = (command, refused, time_us)\n",
        "            self._kept.setdefault(command.charging_id, (command, refused, time_us))\n",
        _IN_REFUSALS,
    ),
    one(
        "the newest refusal is forgotten",
        _METRICS,
        "del self._kept[next(iter(self._kept))]",
        "del self._kept[next(reversed(self._kept))]",
        _IN_REFUSALS,
    ),
    one(
        "refusals are remembered without end",
        _METRICS,
        "            if len(self._kept) > _REFUSALS_KEPT_MAX:\n                del self._kept[next(iter(self._kept))]\n",
        "",
        _IN_REFUSALS,
    ),
    one(
        "a call that passed is told as refused",
        _METRICS,
        "        self._kept.pop(charging_id, None)\n",
        "        self._kept.get(charging_id)\n",
        _IN_REFUSALS,
    ),
    one(
        "refused Events are not remembered",
        _METRICS,
        "if isinstance(command, CreateSession | ChargeEvent):",
        "if isinstance(command, CreateSession):",
        _IN_REFUSALS,
    ),
)

_OF_MEMBERSHIP: Final = (
    one(
        "a claim is made over one that it has not seen",
        _COORDINATOR,
        "self._member_id.encode(), self._lease, mod_revision=before\n",
        'self._member_id.encode(), self._lease, mod_revision=getattr(await self._etcd.get(f"{self._prefix}claims/{part_id}"), '
        '"mod_revision", 0)\n',
        _IN_MEMBERSHIP,
    ),
    one(
        "who has too early a claim keeps it",
        _COORDINATOR,
        "                del self._held[claim.part_id]\n                logger",
        "                logger",
        _IN_MEMBERSHIP,
    ),
    one(
        "a hand-over that etcd broke off is under way for ever",
        _COORDINATOR,
        "                    except EtcdError as error:\n                        # The claim",
        "                    except ZeroDivisionError as error:\n                        # The claim",
        _IN_MEMBERSHIP,
    ),
    one(
        "a new era may have been before in etcd",
        _COORDINATOR,
        "raise_era(stores, 0 if before is None else before.era, coordinator_id)",
        "raise_era(stores, 0, coordinator_id)",
        _IN_ERAS,
    ),
    one(
        "how far the journal went is noted for the first era",
        _COORDINATOR,
        "msgspec.json.encode(Reached(era, next_seq))",
        "msgspec.json.encode(Reached(1, next_seq))",
        _IN_ERAS,
    ),
    one(
        "who cannot commit lets its lease end though nobody else could",
        _SERVER_GROUPS,
        "                except (ServiceError, TimeoutError):\n"
        "                    # The database is away for all: no other replica could do better.\n"
        "                    continue\n",
        "                except (ServiceError, TimeoutError):\n                    return True\n",
        _IN_MEMBERSHIP,
    ),
    one(
        "a commit that has ended meanwhile is stuck",
        _SERVER_GROUPS,
        "                if owner.pending_s >= seconds:\n                    return True\n",
        "                return True\n",
        _IN_MEMBERSHIP,
    ),
    one(
        "only the first server's commits can be stuck",
        _SERVER_GROUPS,
        "        for owner, store in self._groups:\n            if owner.pending_s",
        "        for owner, store in self._groups[:1]:\n            if owner.pending_s",
        _IN_MEMBERSHIP,
    ),
    one(
        "each beat is a new lease",
        _COORDINATOR,
        "        if self._lease and await self._etcd.keep_alive(self._lease):\n            return\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "an etcd that went back is believed",
        _COORDINATOR,
        "view.cell is None or (self._view is not None and view.revision < self._view.revision)",
        "view.cell is None",
        _IN_MEMBERSHIP,
    ),
    one(
        "an etcd that was wiped is believed",
        _COORDINATOR,
        "self._forgotten = view.cell is None or (",
        "self._forgotten = (",
        _IN_MEMBERSHIP,
    ),
    one(
        "a claim of which its owner knows nothing stays",
        _COORDINATOR,
        "        for part_id in sorted(mine - self._held.keys() - wanted - self._giving):\n"
        '            await self._etcd.delete_if(f"{self._prefix}claims/{part_id}", mod_revision=view.claims[part_id][1])\n',
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "what was just claimed is given up for an older view",
        _COORDINATOR,
        "for part_id, revision in self._held.items() if revision <= view.revision and part_id not in mine}",
        "for part_id, revision in self._held.items() if part_id not in mine}",
        _IN_MEMBERSHIP,
    ),
    one(
        "who lost its claim serves on",
        _COORDINATOR,
        "            await self._groups.give(gone - self._giving)\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "a new era is passed over",
        _COORDINATOR,
        "            if view.cell is not None:\n                self._check(view.cell)\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "a partition is moved to who leaves",
        _COORDINATOR,
        "for each in self._live_members(view) if not view.members[each].leaving}",
        "for each in self._live_members(view)}",
        _IN_MEMBERSHIP,
    ),
    one(
        "what was handed over once is not taken again",
        _COORDINATOR,
        "            self._giving.difference_update(together)\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "connections are kept, whoever has gone",
        _COORDINATOR,
        "            self._directory.keep({member.address for member in members.values()})\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "who cannot reach its own address counts itself as dead",
        _COORDINATOR,
        "            members.pop(self._member_id, None)\n",
        "",
        _IN_MEMBERSHIP,
    ),
    one(
        "who was at an address before is there",
        _COORDINATOR,
        "sorted(view.members, key=view.since.__getitem__)}",
        "sorted(view.members, key=view.since.__getitem__, reverse=True)}",
        _IN_MEMBERSHIP,
    ),
    one(
        "who has a successor at its address gives its partitions up",
        _COORDINATOR,
        "        if self._member_id not in live:\n            self._note_shadow(view)\n            return\n",
        "        if self._member_id not in live:\n            self._note_shadow(view)\n",
        _IN_MEMBERSHIP,
    ),
    one(
        "how far the journal went is noted though etcd does not know",
        _COORDINATOR,
        "                try:\n                    await self._etcd.put_all(",
        "                try:\n                    noted.update(together)\n                    await self._etcd.put_all(",
        _IN_MEMBERSHIP,
    ),
    one(
        "a database that was away at the claim is not asked again",
        _COORDINATOR,
        "        idle = self._held.keys() - self._groups.claimed - self._giving\n",
        "        idle = set(free)\n",
        _IN_MEMBERSHIP,
    ),
    one(
        "a move is told before it is done",
        _COORDINATOR,
        "                while target != owner:\n"
        "                    if await self._epoch(part_id) > epoch:\n"
        "                        break\n"
        "                    await asyncio.sleep(_MOVED_LOOK_S)\n",
        "                pass\n",
        _IN_MEMBERSHIP,
    ),
)

_OF_SOME_PARTITIONS: Final = (
    one(
        "where one partition of a commit was written, all are told so",
        _COMMITTER,
        "given[3] if given[0] in committed else failed",
        "given[3] if committed else failed",
        _IN_SOME,
    ),
    one(
        "what was never written counts as committed",
        _COMMITTER,
        "            if partition in committed:\n                self._holdings.note_committed(partition)\n",
        "            self._holdings.note_committed(partition)\n",
        _IN_SOME,
    ),
    one(
        "who was told of a loss gets an answer, too",
        _ANSWERS,
        "        self.waiting = [given for given in self.waiting if given[0] not in partitions]\n",
        "",
        _IN_SOME,
    ),
    one(
        "a partition is taken in the middle of a recovery",
        _HOLDINGS,
        "        async with self._claiming:\n            claimed = await",
        "        if True:\n            claimed = await",
        _IN_SOME,
    ),
    one(
        "a partition is given in the middle of its recovery",
        _HOLDINGS,
        "        async with self._claiming:\n            # Partitions that were",
        "        if True:\n            # Partitions that were",
        _IN_SOME,
    ),
    one(
        "what was asked for and not got is claimed",
        _HOLDINGS,
        "for claim in claims if claim.part_id in partitions)",
        "for claim in claims)",
        _IN_SOME,
    ),
)

_OF_MEMORY: Final = (
    Mutation(
        "an account leaves memory while it is being saved",
        _COMMITTER,
        (
            (
                "        try:\n            held = await",
                "        for each in written:\n            each.shrink()\n        try:\n            held = await",
            ),
            ("        for partition in written:\n            partition.shrink()\n\n", "\n"),
        ),
        (_IN_RESIDENCY,),
    ),
    one(
        "what was packed stays beside the account that is in use",
        _RESIDENTS,
        "self._packed.pop(account_id, None)",
        "self._packed.get(account_id)",
        _IN_RESIDENCY,
    ),
    one(
        "what is due on an account that was packed waits for its user",
        _PARTITION,
        "            self.enter(account)\n        return account",
        "            self.residents.add(account)\n        return account",
        _IN_RESIDENCY,
    ),
    one(
        "a checkpoint is read again in the middle of a tail",
        _RECOVERY,
        " for entry in entries} - accounts.keys()",
        " for entry in entries}",
        _IN_LOW_WATER,
    ),
    one(
        "rows that are missing at the end are passed over",
        _RECOVERY,
        '            raise JournalError(f"journal row {partition.part_id}/{after_seq + 1} is missing")\n        decoded',
        "            break\n        decoded",
        _IN_OWNER,
    ),
    one(
        "the last time before a restart is forgotten",
        _PARTITION,
        "        self._last_time_us = claimed.last_time_us\n",
        "        self._last_time_us = 0\n",
        _IN_OWNER,
    ),
)

_OF_READERS: Final = (
    one(
        "the journal is read in one long turn",
        "services/accounting/rpc/servicer.py",
        "                    if made % _JOURNAL_ENTRIES_A_TURN == 0:\n                        await asyncio.sleep(0)\n",
        "",
        _IN_READING,
    ),
    one(
        "another account's record is refunded",
        "services/accounting/rpc/servicer.py",
        "                    and entry.account_id == request.account_id\n",
        "",
        _IN_SERVICER,
    ),
    one(
        "another session's record is refunded",
        "services/accounting/rpc/servicer.py",
        "                    and entry.charging_id == request.charging_id\n                    and entry.record",
        "                    and entry.record",
        _IN_SERVICER,
    ),
    one(
        "a row that does not fit into a message is left out",
        "services/accounting/rpc/servicer.py",
        "                    yield response\n                    response = pb.ReadJournalResponse()\n",
        "                    yield response\n                    response = pb.ReadJournalResponse()\n"
        "                    continue\n",
        _IN_READING,
    ),
)

OWNERS: Final = (
    *_OF_READERS,
    *_OF_THE_TAIL,
    *_OF_MEMORY,
    *_OF_SOME_PARTITIONS,
    *_OF_HAND_OVERS,
    *_OF_TRANSFERS,
    *_OF_MEMBERSHIP,
)
