"""Plants one fault at a time into a copy of the code and runs the simulator on it: it must notice each of them.

`python -m tests.simulation.mutations` ends with 1 if a mutant survives, or if what it would change is no longer there.
"""

import sys
from typing import Final

from tests.mutations.planting import Copy, Mutation, Verdict, plant_all

# From 1 on. `tests.simulation.test_simulation` proves that the code as it is keeps every promise in each of them.
SEEDS: Final = 25

MUTATIONS = (
    Mutation(
        "no fence",
        "services/accounting/journal/memory.py",
        (("if (partition.epoch, partition.next_seq) != (write.epoch, write.expected_seq):", "if False:"),),
    ),
    Mutation(
        "no idempotency memory",
        "services/accounting/core/account/sessions.py",
        (("_forget_before(account.closed, now_us - CLOSED_MEMORY_US)", "_forget_before(account.closed, now_us + 1)"),),
    ),
    Mutation(
        "a hold is not given back",
        "services/accounting/core/sessions/settle.py",
        (("released=tuple((bucket_id, amount) for bucket_id, amount in hold_left.items() if amount),", "released=(),"),),
    ),
    Mutation(
        "burnt in another order",
        "services/accounting/core/account/state.py",
        (
            (
                "self.priority, self.valid_until_us, self.created_us, self.bucket_id)",
                "-self.priority, self.valid_until_us, self.created_us, self.bucket_id)",
            ),
        ),
    ),
    Mutation(
        "caps are not checked",
        "services/accounting/core/limits.py",
        (
            ("used, reserved, end_us = counter.used, counter.reserved, counter.end_us", "used = reserved = 0"),
            ("free = amount - counter.used - counter.reserved", "free = amount"),
        ),
    ),
    Mutation(
        "a repeat is answered before its commit",
        "services/accounting/writer/answers.py",
        (
            (
                "        self.waiting.append((partition, pending.caller, pending.tag, answer, account_id))\n",
                "        pending.caller.answer(pending.tag, answer)\n        pending.caller.flush()\n",
            ),
        ),
    ),
    Mutation(
        "a stale owner refuses from memory",
        "services/accounting/writer/committer.py",
        (
            (
                "if not partition.pending and not checkpoints and partition not in touched:",
                "if not partition.pending and not checkpoints:",
            ),
            (
                "            # Only answers of partitions that were recovered since; they were answered then.\n"
                "            return\n",
                "            deliver(answers)\n            return\n",
            ),
        ),
    ),
    Mutation(
        "accounts leave memory that the store does not have",
        "services/accounting/writer/partition.py",
        (("residents.shrink(dirty, timed, waiting, sending, self.exposure.touched)", "residents.shrink()"),),
    ),
    Mutation(
        "debts have no limit",
        "services/accounting/core/losses.py",
        (("return 0 if limit < 0 else max(0, uncovered - max(0, limit - outstanding(account, unit)))", "return 0"),),
    ),
    Mutation(
        "what is above the limit is forgotten",
        "services/accounting/core/account/sessions.py",
        (("account.losses.setdefault(entry.tariff.unit, Loss()).absorbed += entry.absorbed", "pass"),),
    ),
    Mutation(
        "what nobody pays for is not absorbed",
        "services/accounting/core/sessions/records.py",
        (("        records[0].absorbed += sum(unpaid_amounts)\n", ""),),
    ),
)

_CREDIT: Final = "services/accounting/core/sales/credit.py"
_OF_BUYERS: Final = (
    Mutation("what is left is worth its days alone", _CREDIT, (("min(by_time, by_use))", "by_time)"),)),
    Mutation("what is left is worth its tokens alone", _CREDIT, (("min(by_time, by_use))", "by_use)"),)),
    Mutation(
        "what is held or given away is left", _CREDIT, (("used = bucket.granted - bucket.remaining\n", "used = bucket.consumed\n"),)
    ),
    Mutation("the day of a change is left, too", _CREDIT, (("now_us, end_us) - 1\n", "now_us, end_us)\n"),)),
    Mutation(
        "weights do not count", _CREDIT, (("if any(weight for weight, _ in lefts) else min((left", "if False else max((left"),)
    ),
    Mutation(
        "a change is paid late at the price that it had",
        "services/accounting/core/sales/orders.py",
        (("    if price != order.amount:\n", "    if False:\n"),),
    ),
    Mutation(
        "a refunded subscription keeps its tokens",
        "services/accounting/core/sales/refunds.py",
        (("            *end_cycle(account, purchase, now_us),\n", ""),),
    ),
    Mutation(
        "what was written off is refunded",
        "services/accounting/core/corrections.py",
        (("account.refunded.get(record, 0) - unpaid)", "account.refunded.get(record, 0))"),),
    ),
    Mutation(
        "a free day is had again after its cancellation",
        "services/accounting/core/sales/once.py",
        (("    if bought_us is None:\n", "    if True:\n"),),
    ),
    Mutation(
        "money comes back twice into one bucket",
        _CREDIT,
        (('{purchase_id}/{now_us}/{cause.order_id or cause.idempotency_key}"', '{purchase_id}/{now_us}"'),),
    ),
)


def simulate(copy: Copy, mutation: Mutation) -> Verdict:
    """Runs the simulator that the fault is for, or all of them for one seed where nothing is planted."""
    if mutation.changes:
        of = "buyers" if mutation in _OF_BUYERS else "owner"
        arguments = ["--seeds", str(SEEDS), "--of", of]
    else:
        arguments = ["--seeds", "1"]
    run = copy.run("-m", "tests.simulation", *arguments)
    said = (run.stdout or run.stderr).strip().splitlines()
    return Verdict(run.returncode != 0, said[0] if said else "it said nothing")


def main(part: int = 0, parts: int = 1) -> int:
    """Plants the mutations of one of several parts, which together have all; 1 if one survives.

    The first part sees the code pass as it is.
    """
    return plant_all((*MUTATIONS, *_OF_BUYERS)[part::parts], simulate, unchanged=part == 0)


if __name__ == "__main__":
    sys.exit(main())
