"""Faults of who owns which partition: owners, their coordinators, and transfers between them."""

from typing import Final

from tests.mutations.planting import one

_HOLDINGS: Final = "services/accounting/writer/holdings.py"
_PARTITION: Final = "services/accounting/writer/partition.py"
_RECOVERY: Final = "services/accounting/writer/recovery.py"
_COORDINATION: Final = "services/accounting/cell/coordinator.py"
_DIRECTORY: Final = "services/accounting/cell/directory.py"
_FEATURES: Final = "services/accounting/core/features.py"
_IN_OWNER: Final = "tests/accounting/writer/test_owner.py"
_IN_TRANSFERS: Final = "tests/accounting/writer/test_transfers.py"
_IN_MEMBERSHIP: Final = "tests/accounting/cell/test_membership.py"
_IN_COORDINATION: Final = "tests/accounting/cell/test_coordination.py"
_IN_FORWARDING: Final = "tests/trust/test_forwarding.py"
_IN_FEATURES: Final = "tests/accounting/cell/test_features.py"

_OF_OWNERS: Final = (
    one(
        "accounts belong to other partitions than before",
        "services/partitions.py",
        "crc32(account_id.encode())",
        "crc32(account_id.encode(), 1)",
        "tests/test_partitions.py",
    ),
    one(
        "rows of accounts without a checkpoint are not replayed again",
        _RECOVERY,
        "partition.note_replayed(entry.account_id, seq)",
        "partition.note_replayed(entry.account_id, partition.next_seq)",
        _IN_OWNER,
    ),
    one(
        "a partition is given before its answers",
        _HOLDINGS,
        "while self.has(partition) and (partition.undone or self._answers.are_of(partition)):",
        "while self.has(partition) and partition.committing:",
        _IN_OWNER,
    ),
    one(
        "a partition is given before its accounts are loaded",
        _PARTITION,
        "bool(self.pending or self._loading or self.waiting.queues)",
        "bool(self.pending)",
        _IN_OWNER,
    ),
    one(
        "what was decided before a loss is never answered",
        _HOLDINGS,
        "        self._answers.withdraw(dropped, failed)\n",
        "        self._answers.withdraw([], failed)\n",
        _IN_OWNER,
    ),
    one(
        "a transfer stays under way after a restart",
        _HOLDINGS,
        "            self._begun(partitions.values())\n",
        "",
        _IN_TRANSFERS,
    ),
    one(
        "a transfer comes back from an owner that is away",
        "services/accounting/writer/transfers.py",
        "elif failed.fault in _REFUSALS:",
        "elif failed.fault != Fault.NOT_OWNER:",
        _IN_TRANSFERS,
    ),
    one(
        "what has a time of its own is no tail",
        "services/accounting/writer/checkpoints.py",
        "*(seq for seq, _ in self.timed.values())",
        "",
        _IN_OWNER,
    ),
    one(
        "a clock that goes backwards is believed",
        _PARTITION,
        "        now_us = self._last_time_us = max(clock_us, self._last_time_us)",
        "        now_us = self._last_time_us = clock_us",
        _IN_OWNER,
    ),
    one(
        "a row that is missing in the middle is passed over",
        _RECOVERY,
        "            if seq != after_seq + 1:\n",
        "            if False:\n",
        _IN_OWNER,
    ),
    one(
        "an entry in a checkpoint is applied again",
        _RECOVERY,
        "if account is None or (account.seq, account.index) < (seq, index):",
        "if account is None or account.seq <= seq:",
        _IN_OWNER,
    ),
    one(
        "who gave up waiting keeps the others waiting",
        "services/accounting/writer/waiting.py",
        "        # The others may have waited for this one alone.\n        self.retry(account_id)\n",
        "",
        _IN_OWNER,
    ),
)

_OF_COORDINATION: Final = (
    one(
        "a replica knocks at those it is connected with",
        _DIRECTORY,
        "get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY\n",
        "get_state(try_to_connect=True) is None\n",
        _IN_FORWARDING,
    ),
    one(
        "a replica without certificates fails at the address of one with them",
        _DIRECTORY,
        "            except ConfigError as error:\n",
        "            except ZeroDivisionError as error:\n",
        _IN_FORWARDING,
    ),
    one(
        "connections to replicas that have gone stay",
        _DIRECTORY,
        "for address in self._channels.keys() - addresses:",
        "for address in set[str]():",
        _IN_MEMBERSHIP,
    ),
    one(
        "a claim goes before its partition is given",
        _COORDINATION,
        "            await self._groups.give(together)\n            for part_id in together:\n",
        "            for part_id in together:\n",
        _IN_COORDINATION,
    ),
    one(
        "who leaves does not say so",
        _COORDINATION,
        "                await self._join(self._lease)\n",
        "                pass\n",
        _IN_COORDINATION,
    ),
    one(
        "who cannot commit keeps its lease",
        _COORDINATION,
        "                elif not self._leaving:\n                    await self._beat()\n",
        "                if not self._leaving:\n                    await self._beat()\n",
        _IN_COORDINATION,
    ),
    one(
        "a refused connection is a death",
        _COORDINATION,
        "if now_s - self._refusing.get(each, now_s) < _REFUSED_S}",
        "if each not in self._refusing}",
        _IN_COORDINATION,
    ),
    one(
        "a claim of its own on an earlier lease stays",
        _COORDINATION,
        "return owner not in live or owner == self._member_id",
        "return owner not in live",
        _IN_COORDINATION,
    ),
    one(
        "a second server's coordinator does not matter",
        "services/accounting/cell/server_groups.py",
        "        for group in self._groups:\n            if (known := await",
        "        for group in self._groups[:1]:\n            if (known := await",
        _IN_COORDINATION,
    ),
    one(
        "a member that leaves is chosen",
        _COORDINATION,
        "sorted(each for each in live if not view.members[each].leaving)\n        wanted",
        "sorted(live)\n        wanted",
        _IN_COORDINATION,
    ),
    one(
        "how far an earlier era's journal went counts",
        _COORDINATION,
        "reached is not None and reached.era == self._groups.identity.era else 0",
        "reached is not None else 0",
        _IN_COORDINATION,
    ),
    one(
        "what an operator wants is passed over",
        "services/accounting/cell/view.py",
        "        if moved is not None and moved in live:\n            return moved\n",
        "",
        _IN_COORDINATION,
    ),
    one(
        "a member that just came back may not know the classes",
        _COORDINATION,
        "        elif now_s - self._lacking_s < _LACKING_S:\n            return self._directory.features\n",
        "",
        _IN_FEATURES,
    ),
    one(
        "one member that understands all is enough",
        "services/accounting/cell/view.py",
        "frozenset.intersection(*announced)",
        "frozenset.union(*announced)",
        _IN_FEATURES,
    ),
    one(
        "while etcd forgot its members nothing is understood",
        _COORDINATION,
        "        if not view.members:\n",
        "        if False:\n",
        _IN_FEATURES,
    ),
    one(
        "this code understands nothing new",
        _FEATURES,
        "frozenset({EXTENDED_USAGE, ACTORS, RUNS, SALES})",
        "frozenset()",
        _IN_FEATURES,
    ),
)

OWNERSHIP: Final = (*_OF_OWNERS, *_OF_COORDINATION)
