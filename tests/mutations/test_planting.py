"""Every fault has its place in the code as it is, and what becomes of a fault is told rightly."""

from typing import Final

import pytest

import tests.mutations
from tests.mutations.__main__ import MUTATIONS
from tests.mutations.planting import ROOT, Copy, Mutation, NoRunError, Verdict, changed_text, plant_all, run_tests
from tests.simulation.mutations import MUTATIONS as OF_THE_SIMULATION

ALL: Final = (*MUTATIONS, *OF_THE_SIMULATION)
FAULT: Final = Mutation(
    "fault",
    "tests/mutations/__init__.py",
    (('"""\n', '"""\nfault = True\n'),),
    ("tests/mutations/test_planting.py::test_nothing_is_planted_here",),
)


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_a_fault_can_be_planted_and_its_tests_are_there(mutation: Mutation) -> None:
    # Otherwise: the line was changed, so change the table in the same way, or plant the fault where its promise is kept now.
    changed_text(mutation)
    assert mutation.tests or mutation in OF_THE_SIMULATION
    assert all((ROOT / test).is_file() for test in mutation.tests)


def test_faults_have_names_of_their_own() -> None:
    assert len({mutation.name for mutation in ALL}) == len(ALL)


def test_nothing_is_planted_here() -> None:
    assert not hasattr(tests.mutations, "fault")


def blind(copy: Copy, mutation: Mutation) -> Verdict:
    return Verdict(noticed=False, said="1 passed")


def strict(copy: Copy, mutation: Mutation) -> Verdict:
    return Verdict(noticed=True, said="1 failed")


def absent(copy: Copy, mutation: Mutation) -> Verdict:
    if mutation.changes:
        raise NoRunError("no such test")
    return blind(copy, mutation)


def test_a_fault_that_is_noticed_is_well_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    # The second time finds the code as it was, compiled or not.
    assert plant_all([FAULT, FAULT], run_tests) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["passes   ", "noticed  ", "noticed  ", "2 mutatio"]
    assert lines[-1] == "2 mutations, 0 of them not as they should be: none"


@pytest.mark.parametrize(
    ("mutation", "judge", "word"),
    [
        (FAULT, blind, "SURVIVED"),
        (FAULT, absent, "NO RUN"),
        (FAULT._replace(changes=(("not there", ""),)), blind, "GONE"),
        (FAULT._replace(file="tests/mutations/gone.py"), blind, "GONE"),
        (FAULT._replace(changes=(('"""\n', "("),)), blind, "NO CODE"),
    ],
)
def test_a_fault_that_is_not_noticed_ends_with_1(
    mutation: Mutation, judge: object, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(judge)
    assert plant_all([mutation], judge) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"{word:8}  fault: ")
    assert lines[2] == "1 mutations, 1 of them not as they should be: fault"


def test_code_that_fails_as_it_is_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert plant_all([FAULT], strict) == 1
    assert capsys.readouterr().out == "noticed   nothing is changed: 1 failed\n"
