"""Plants one fault at a time into a copy of the code and runs the simulator on it: it must notice each of them.

`python -m tests.simulation.mutations` ends with 1 if a mutant survives, or if what it would change is no longer there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_SEEDS = 60
_ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    """A fault: in which file, and what becomes what."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]


MUTATIONS = (
    Mutation(
        "no fence",
        "store.py",
        (("if (partition.epoch, partition.next_seq) != (write.epoch, write.expected_seq):", "if False:"),),
    ),
    Mutation(
        "no idempotency memory",
        "account.py",
        (("_forget_before(account.closed, now_us - CLOSED_MEMORY_US)", "_forget_before(account.closed, now_us + 1)"),),
    ),
    Mutation(
        "a hold is not given back",
        "charging.py",
        (("released=tuple((bucket_id, amount) for bucket_id, amount in hold_left.items() if amount),", "released=(),"),),
    ),
    Mutation(
        "burnt in another order",
        "account.py",
        (
            (
                "return (self.priority, self.valid_until_us, self.created_us, self.bucket_id)",
                "return (-self.priority, self.valid_until_us, self.created_us, self.bucket_id)",
            ),
        ),
    ),
    Mutation(
        "caps are not checked",
        "limits.py",
        (
            ("used, reserved, end_us = counter.used, counter.reserved, counter.end_us", "used = reserved = 0"),
            ("free = amount - counter.used - counter.reserved", "free = amount"),
        ),
    ),
    Mutation(
        "a repeat is answered before its commit",
        "owner.py",
        (
            (
                "        self._answers.append((partition, pending.caller, pending.tag, answer))\n",
                "        pending.caller.answer(pending.tag, answer)\n        pending.caller.flush()\n",
            ),
        ),
    ),
    Mutation(
        "a stale owner refuses from memory",
        "owner.py",
        (
            (
                "if not partition.pending and not checkpoints and id(partition) not in touched:",
                "if not partition.pending and not checkpoints:",
            ),
            (
                "            # Only answers of partitions that were recovered since; they were answered then.\n"
                "            return\n",
                "            self._deliver(answers)\n            return\n",
            ),
        ),
    ),
    Mutation(
        "accounts leave memory that the store does not have",
        "owner.py",
        (("residents.shrink(dirty, timed, partition.waiting, partition.sending)", "residents.shrink()"),),
    ),
    Mutation(
        "debts have no limit",
        "losses.py",
        (("return 0 if limit < 0 else max(0, uncovered - max(0, limit - outstanding(account, unit)))", "return 0"),),
    ),
    Mutation(
        "what is above the limit is forgotten",
        "account.py",
        (("account.losses.setdefault(entry.tariff.unit, Loss()).absorbed += entry.absorbed", "pass"),),
    ),
    Mutation(
        "what nobody pays for is not absorbed",
        "charging.py",
        (("        records[0].absorbed += sum(unpaid_amounts)\n", ""),),
    ),
)


def survives(mutation: Mutation, folder: Path) -> bool:
    """Whether no seed notices the mutation. Errors: `ValueError` when there is nothing to change any more."""
    shutil.copytree(_ROOT / "services", folder / "services", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(_ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "services" / "accounting" / mutation.file
    text = file.read_text(encoding="utf-8")
    for before, after in mutation.changes:
        if text.count(before) != 1:
            raise ValueError(f"{mutation.name}: {mutation.file} has {text.count(before)} places that read {before!r}, not one")
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(_ROOT / "protos" / "gen")])
    run = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(_SEEDS)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (run.stdout or run.stderr).strip().splitlines()
    verdict = "SURVIVED" if run.returncode == 0 else "noticed"
    print(f"{verdict:8}  {mutation.name}: {said[0][:200] if said else 'it said nothing'}", flush=True)
    return run.returncode == 0


def main() -> int:
    """Runs all mutations; 1 if one survives."""
    survivors = []
    for mutation in (Mutation("nothing is changed", "store.py", ()), *MUTATIONS):
        with tempfile.TemporaryDirectory(prefix="tokenline-mutation-") as folder:
            noticed = not survives(mutation, Path(folder))
        # The code as it is must keep every promise, or noticing the others would mean nothing.
        if noticed != bool(mutation.changes):
            survivors.append(mutation.name)
    print(f"{len(MUTATIONS)} mutations, {len(survivors)} of them not as they should be: {', '.join(survivors) or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
