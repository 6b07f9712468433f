"""Tries a seeded sample of mutants: `python -m tests.mutations.sample`, with WORDS those alone whose names have them.

Ends with 1 if less than 92 % are noticed, or if one survives that `survivors.toml` does not list.
"""

import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from tests.mutations.planting import ROOT
from tests.mutations.sample.mutants import Mutant, modules_of_money, mutants_of, sample
from tests.mutations.sample.trials import FailedAsItIsError, Outcome, Tests, Trial, load_libraries, try_all

_NOTICED_PERCENT_MIN: Final = 92
_SURVIVORS: Final = Path(__file__).with_name("survivors.toml")


def _listed() -> dict[tuple[str, str], str]:
    """Why each mutant that is known to survive does, by its file and name."""
    tables = tomllib.loads(_SURVIVORS.read_text(encoding="utf-8"))
    return {(file, name): why for file, reasons in tables.items() for name, why in reasons.items()}


def _row(mutant: Mutant) -> str:
    """A mutant as the table of survivors writes it."""
    name = mutant.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{mutant.file}: "{name}"'


def report(trials: Sequence[Trial], listed: Mapping[tuple[str, str], str], *, whole_sample: bool) -> int:
    """Prints what became of the mutants, with survivors listed by file and name; returns the exit code."""
    lived = [trial for trial in trials if trial.outcome is not Outcome.STILLBORN]
    counts = Counter(trial.outcome for trial in trials)
    noticed = counts[Outcome.NOTICED] + counts[Outcome.TIMED_OUT]
    survived = {(trial.mutant.file, trial.mutant.name) for trial in trials if trial.outcome is Outcome.SURVIVED}
    unlisted = survived - listed.keys()
    percent = 100 * noticed / max(1, len(lived))
    print(
        f"{len(lived)} mutants: {counts[Outcome.NOTICED]} noticed, {counts[Outcome.TIMED_OUT]} timed out, together {percent:.1f} %"
        f"; {counts[Outcome.SURVIVED]} survived, {len(unlisted)} of them unlisted; {counts[Outcome.STILLBORN]} stillborn"
    )
    if whole_sample and (vain := sorted(listed.keys() - survived)):
        print("Rows of survivors.toml whose mutant is noticed, or not in the sample any more; take them out:")
        print(*(f"  {file}: {name}" for file, name in vain), sep="\n")
    if too_few := percent < _NOTICED_PERCENT_MIN:
        print(f"At least {_NOTICED_PERCENT_MIN} % must be noticed: add tests that fail for survivors.")
    if unlisted:
        print("For each unlisted survivor add a test that fails for it, or a row in survivors.toml that says why none can.")
    return int(too_few or bool(unlisted))


@click.command(help=__doc__)
@click.option("--mutants", "count", default=1_500, show_default=True, type=click.IntRange(min=1), help="Size of the sample.")
@click.option("--seed", default=1, show_default=True, help="Another seed is another sample.")
@click.argument("words", nargs=-1)
def main(count: int, seed: int, words: tuple[str, ...]) -> None:
    """Tries a sample, or of it what has the words."""
    began = time.monotonic()
    made = [each for file in modules_of_money(ROOT) for each in mutants_of(file, (ROOT / file).read_text(encoding="utf-8"))]
    print(f"{count} of {len(made)} mutants, by seed {seed}", flush=True)
    chosen = sample(made, seed)
    if phrase := " ".join(words):
        chosen = [mutant for mutant in chosen[:count] if phrase in f"{mutant.file}: {mutant.name}"]
    trials = []
    with tempfile.TemporaryDirectory(prefix="tokenline-mutants-") as name:
        folder = Path(name)
        load_libraries(folder / "compiled")
        try:
            tests = Tests(folder)
        except FailedAsItIsError as error:
            raise SystemExit(f"The tests fail without any mutant, so they would notice each. Mend them first.\n{error}") from None
        print(f"{len(tests)} tests pass as it is, after {time.monotonic() - began:.0f} s", flush=True)
        for trial in try_all(chosen, count, tests, folder):
            trials.append(trial)
            word = trial.outcome.value if trial.outcome is not Outcome.SURVIVED else "SURVIVED"
            print(f"{word:9}  {_row(trial.mutant)}{f': {trial.said}' if trial.said else ''}", flush=True)
    code = report(trials, _listed(), whole_sample=not phrase)
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(code)


if __name__ == "__main__":
    main()
