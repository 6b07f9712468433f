"""Statements for people: they fit a terminal."""

from typing import Any

from rich.console import Console

from services.cli.statements import statement_tables

TOTAL: dict[str, Any] = {
    "calls": 1_234,
    "usage": 12_345_678_000_001,
    "charges": -9_570_000,
    "charged": 12_345_668_430_001,
    "balance": 12_345_668_430_001,
    "credit_line": 0,
    "phone_bill": 0,
    "outside": 0,
    "owed": 0,
    "absorbed": 1,
}


def shown(totals: list[dict[str, Any]]) -> list[str]:
    statement = {"account_id": "acct-1", "from": "then", "until": "now", "totals": totals, "usage": [], "charges": []}
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        for each in statement_tables(statement):
            console.print(each)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_totals_of_three_units_fit_eighty_columns_without_a_fold() -> None:
    units: list[dict[str, Any]] = [
        {"unit": "TOKEN", "currency": None},
        {"unit": "POINT", "currency": None},
        {"unit": "CURRENCY", "currency": "CNY"},
    ]
    lines = shown([{**unit, **TOTAL} for unit in units])
    first = lines.index("Totals, in whole units") + 4
    assert lines[first - 2].split() == ["TOKEN", "POINT", "CNY"]
    assert [line.split() for line in lines[first : first + 3]] == [
        ["calls", "1,234", "1,234", "1,234"],
        ["usage", *["12,345,678.000001"] * 3],
        ["charges", *["-9.57"] * 3],
    ]
    assert lines[first + 9].split() == ["absorbed", *["0.000001"] * 3]


def test_headings_are_not_folded_to_the_width_of_narrow_tables() -> None:
    assert "Totals, in whole units" in shown([{"unit": "POINT", "currency": None, **dict.fromkeys(TOTAL, 0)}])


def test_a_month_without_charges_says_so_and_has_no_tables() -> None:
    assert shown([]) == ["account_id: acct-1", "from: then", "until: now", "nothing was charged in that time"]
