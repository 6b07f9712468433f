"""Mutants are made of each expression, named by their text, and drawn in an order that a seed alone decides."""

import pytest

from tests.mutations.planting import ROOT
from tests.mutations.sample.mutants import Mutant, modules_of_money, mutants_of, sample

SOURCE = '''"""A module."""

import os

LIMIT: int = 10


class Account(Base, frozen=True):
    """An account."""

    kept: bool = True

    @property
    def free(self, least: int = 5) -> "int | None":
        """The rest."""
        if len(self.parts) and self.paid < LIMIT:
            return self.most(
                self.held,
                0,
            )
        self.paid += 1
        self.paid += 1
        return None
'''


def made() -> dict[str, Mutant]:
    return {mutant.name: mutant for mutant in mutants_of("account.py", SOURCE)}


def test_each_expression_is_changed_and_no_declaration() -> None:
    assert list(made()) == [
        "module: LIMIT: int = 10 -> LIMIT: int = None",
        "module: LIMIT: int = 10 -> LIMIT: int = 11",
        "Account: kept: bool = True -> kept: bool = None",
        "Account: kept: bool = True -> kept: bool = False",
        "Account.free: if len(self.parts) and self.paid < LIMIT: -> if len(self.parts) or self.paid < LIMIT:",
        "Account.free: if len(self.parts) and self.paid < LIMIT: -> if len(self.parts) and self.paid <= LIMIT:",
        "Account.free: self.held, -> None,",
        "Account.free: 0, -> None,",
        "Account.free: self.held, -> ",
        "Account.free: 0, -> ",
        "Account.free: 0, -> 1,",
        "Account.free: self.paid += 1 -> self.paid = 1",
        "Account.free: self.paid += 1 -> self.paid -= 1",
        "Account.free: self.paid += 1 -> self.paid += 2",
        "Account.free: self.paid += 1 -> self.paid = 1 (2)",
        "Account.free: self.paid += 1 -> self.paid -= 1 (2)",
        "Account.free: self.paid += 1 -> self.paid += 2 (2)",
    ]


@pytest.mark.parametrize(
    ("name", "before", "after", "lines", "in_function"),
    [
        ("module: LIMIT: int = 10 -> LIMIT: int = 11", "int = 10", "int = 11", (5, 5), False),
        ("Account: kept: bool = True -> kept: bool = False", "= True\n", "= False\n", (11, 11), False),
        ("Account.free: 0, -> 1,", "                0,", "                1,", (17, 19), True),
        ("Account.free: self.paid += 1 -> self.paid += 2 (2)", "1\n        return None", "2\n        return None", (22, 22), True),
    ],
)
def test_a_mutant_is_the_file_with_one_change(
    name: str, before: str, after: str, lines: tuple[int, int], in_function: bool
) -> None:
    mutant = made()[name]
    assert SOURCE.count(before) == 1
    assert mutant.applied(SOURCE) == SOURCE.replace(before, after)
    assert (mutant.lines, mutant.in_function) == (lines, in_function)


def test_the_order_of_a_sample_is_that_of_the_seed_and_of_no_other_code() -> None:
    mutants = mutants_of("account.py", SOURCE)
    drawn = sample(mutants, 1)
    assert [mutant.name for mutant in drawn[:2]] == [
        "Account.free: if len(self.parts) and self.paid < LIMIT: -> if len(self.parts) and self.paid <= LIMIT:",
        "Account.free: self.paid += 1 -> self.paid += 2 (2)",
    ]
    assert sample(reversed(mutants), 1) == drawn
    assert sample(mutants, 2) != drawn
    moved = mutants_of("account.py", SOURCE.replace("LIMIT: int = 10\n", "LIMIT: int = 10\nOTHER = 1\n"))
    assert [mutant.name for mutant in sample(moved, 1) if "OTHER" not in mutant.name] == [mutant.name for mutant in drawn]


def test_mutants_are_made_of_the_rules_and_of_the_pure_parts_of_a_call() -> None:
    files = modules_of_money(ROOT)
    assert [file for file in files if "edge" in file] == [
        "services/edge/call/dialect.py",
        "services/edge/call/outcome.py",
        "services/edge/call/usage.py",
    ]
    assert "services/accounting/core/sessions/settle.py" in files
    assert all((ROOT / file).is_file() for file in files)


def test_names_are_unique_and_mutants_are_python() -> None:
    file = "services/accounting/core/balance.py"
    text = (ROOT / file).read_text(encoding="utf-8")
    mutants = mutants_of(file, text)
    assert len({mutant.name for mutant in mutants}) == len(mutants) > 300
    for mutant in mutants:
        compile(mutant.applied(text), file, "exec")
