"""The end of a mutant is told rightly, and the command ends with 1 where one survives that should not."""

import subprocess
import sys
from typing import Final

import pytest

from tests.mutations.planting import ROOT
from tests.mutations.sample.__main__ import report
from tests.mutations.sample.mutants import Mutant
from tests.mutations.sample.trials import Outcome, Trial

# Mutants are tried in children of a process that has none of our code, which this one has.
SCRIPT: Final = """\
import sys
import tempfile
from pathlib import Path

from tests.mutations.planting import ROOT
from tests.mutations.sample.mutants import Mutant, mutants_of
from tests.mutations.sample.trials import Tests, load_libraries, try_all

FILE = "services/accounting/core/cycles.py"
NAMES = (
    "module: _MICROSECOND = datetime.timedelta(microseconds=1) -> _MICROSECOND = datetime.timedelta(microseconds=None)",
    "days_of: return (_local(end_us, zone).date() - _local(begin_us, zone).date()).days"
    " -> return (_local(end_us, zone).date() + _local(begin_us, zone).date()).days",
    "module: _DAYS = {Period.DAY: 1, Period.WEEK: 7} -> _DAYS = {Period.DAY: 1, Period.WEEK: 8}",
    "cycle_number_at: step *= 2 -> step = 2",
)
with tempfile.TemporaryDirectory() as name:
    load_libraries(Path(name) / "compiled")
    made = {each.name: each for each in mutants_of(FILE, (ROOT / FILE).read_text(encoding="utf-8"))}
    no_python = made[NAMES[1]]._replace(replacement="(")
    imported = Mutant(FILE, "as it is, with lines that an import runs", (1, 99), True, 0, 0, "")
    unchanged = [imported._replace(name="as it is", lines=made[NAMES[1]].lines), imported, imported._replace(name="one more")]
    mutants = [*(made[name] for name in NAMES), no_python, *unchanged]
    tests = Tests(Path(name), ["tests/accounting/core/test_cycles.py"])
    for trial in try_all(mutants, 5, tests, Path(name)):
        print(mutants.index(trial.mutant), trial.outcome.value, trial.said.partition("::")[2].partition("[")[0])
"""


def test_a_mutant_is_noticed_or_survives_or_takes_too_long_or_is_no_module() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.splitlines()) == [
        "0 stillborn ",
        "1 noticed test_days_are_counted_by_the_calendar",
        "2 noticed test_calendar_cycles_end_at_the_calendar_s_periods",
        "3 timed out ",
        "4 stillborn ",
        "5 survived ",
        "6 survived ",
    ], done.stderr


def trial(name: str, outcome: Outcome) -> Trial:
    return Trial(Mutant("a.py", name, (1, 1), True, 0, 0, ""), outcome, "")


NOTICED: Final = [trial(f"noticed {number}", Outcome.NOTICED) for number in range(22)]
LISTED: Final = {("a.py", "known"): "nobody can see it"}


@pytest.mark.parametrize(
    ("others", "code", "said"),
    [
        (
            [trial("known", Outcome.SURVIVED), trial("slow", Outcome.TIMED_OUT), trial("no module", Outcome.STILLBORN)],
            0,
            ["24 mutants: 22 noticed, 1 timed out, together 95.8 %; 1 survived, 0 of them unlisted; 1 stillborn"],
        ),
        (
            [trial("known", Outcome.SURVIVED), trial("new", Outcome.SURVIVED)],
            1,
            [
                "24 mutants: 22 noticed, 0 timed out, together 91.7 %; 2 survived, 1 of them unlisted; 0 stillborn",
                "At least 92 % must be noticed: add tests that fail for survivors.",
                "For each unlisted survivor add a test that fails for it, or a row in survivors.toml that says why none can.",
            ],
        ),
        (
            [],
            0,
            [
                "22 mutants: 22 noticed, 0 timed out, together 100.0 %; 0 survived, 0 of them unlisted; 0 stillborn",
                "Rows of survivors.toml whose mutant is noticed, or not in the sample any more; take them out:",
                "  a.py: known",
            ],
        ),
    ],
)
def test_too_few_that_are_noticed_and_a_survivor_that_is_not_listed_end_with_1(
    others: list[Trial], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report([*NOTICED, *others], LISTED, whole_sample=True) == code
    assert capsys.readouterr().out.splitlines() == said


def test_a_survivor_that_alone_is_unlisted_ends_with_1() -> None:
    assert report([*NOTICED, trial("new", Outcome.SURVIVED)], LISTED, whole_sample=True) == 1


def test_a_part_of_the_sample_says_nothing_of_rows_beyond_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(NOTICED, LISTED, whole_sample=False) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
