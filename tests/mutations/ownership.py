"""Faults of who owns which partition: owners, their coordinators, and transfers between them."""

from typing import Final

from tests.mutations.planting import one

_OWNER: Final = "services/accounting/writer/owner.py"
_COORDINATION: Final = "services/accounting/cell/coordinator.py"
_FEATURES: Final = "services/accounting/core/features.py"
_IN_OWNER: Final = "tests/accounting/test_owner.py"
_IN_COORDINATION: Final = "tests/accounting/test_coordination.py"
_IN_FEATURES: Final = "tests/accounting/test_features.py"

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
        _OWNER,
        "partition.dirty.setdefault(entry.account_id, (seq, 0))",
        "partition.dirty.setdefault(entry.account_id, (partition.next_seq, 0))",
        _IN_OWNER,
    ),
    one(
        "a partition is given before its answers",
        _OWNER,
        "while self._has(partition) and self._undone_of(partition):",
        "while self._has(partition) and partition.committing:",
        _IN_OWNER,
    ),
    one(
        "a partition is given before its accounts are loaded",
        _OWNER,
        "            or bool(partition.pending or partition.loading or partition.waiting)\n"
        "            or any(answer[0] is partition",
        "            or bool(partition.pending)\n            or any(answer[0] is partition",
        _IN_OWNER,
    ),
    one(
        "what was decided before a loss is never answered",
        _OWNER,
        "        self._deliver((partition, caller, tag, failed) for partition, caller, tag, _ in unanswered)\n"
        "        for partition in dropped:",
        "        for partition in dropped:",
        _IN_OWNER,
    ),
    one(
        "a transfer stays under way after a restart",
        _OWNER,
        "            self._resume_transfers(partitions.values())\n",
        "",
        _IN_OWNER,
    ),
    one(
        "a transfer comes back from an owner that is away",
        _OWNER,
        "elif failed.fault in _TRANSFER_REFUSALS:",
        "elif failed.fault != Fault.NOT_OWNER:",
        _IN_OWNER,
    ),
    one("what has a time of its own is no tail", _OWNER, "*(seq for seq, _ in partition.dirty_timed.values())", "", _IN_OWNER),
    one(
        "a clock that goes backwards is believed",
        _OWNER,
        "        now_us = partition.last_time_us = max(self._clock.now_us(), partition.last_time_us)",
        "        now_us = partition.last_time_us = self._clock.now_us()",
        _IN_OWNER,
    ),
    one(
        "a row that is missing in the middle is passed over",
        _OWNER,
        "                if seq != after_seq + 1:\n",
        "                if False:\n",
        _IN_OWNER,
    ),
    one(
        "an entry in a checkpoint is applied again",
        _OWNER,
        "if account is None or (account.seq, account.index) < (seq, index):",
        "if account is None or account.seq <= seq:",
        _IN_OWNER,
    ),
    one(
        "who gave up waiting keeps the others waiting",
        _OWNER,
        "        # It may have been the only one that there was too little for.\n"
        "        self._retry_waiting(partition, account_id)\n",
        "",
        _IN_OWNER,
    ),
)

_OF_COORDINATION: Final = (
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
        _COORDINATION,
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
        _COORDINATION,
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
    one("this code understands nothing new", _FEATURES, "frozenset({EXTENDED_USAGE})", "frozenset()", _IN_FEATURES),
)

OWNERSHIP: Final = (*_OF_OWNERS, *_OF_COORDINATION)
