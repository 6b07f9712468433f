import pytest

from services.cli.amounts import format_amount, format_in_unit, parse_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1_000_000),
        ("1500", 1_500_000_000),
        ("0.25", 250_000),
        ("0.000001", 1),
        ("1.10", 1_100_000),
        ("007", 7_000_000),
        (" 3 ", 3_000_000),
        # A float would make 9007199254.740992 of it.
        ("9007199254.740993", 9_007_199_254_740_993),
        ("9223372036854.775807", 2**63 - 1),
    ],
)
def test_an_amount_is_read_exactly(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "above 0"),
        ("0.000000", "above 0"),
        ("0.0000001", "7 decimal places"),
        ("1.0000000", "7 decimal places"),
        ("9223372036854.775808", "too large; an amount is at most 9,223,372,036,854"),
        ("1" * 30, "too large"),
        ("1" * 5_000, "too large"),
        ("-1", "not an amount"),
        ("+1", "not an amount"),
        ("1e3", "not an amount"),
        ("1,000", "not an amount"),
        (".5", "not an amount"),
        ("5.", "not an amount"),
        ("nan", "not an amount"),
        ("Infinity", "not an amount"),
        ("١", "not an amount"),
        ("", "not an amount"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_amount(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (-1_500_000, "-1.5"),
        (1_234_567_000_000, "1,234,567"),
        (2**63 - 1, "9,223,372,036,854.775807"),
    ],
)
def test_an_amount_is_shown_in_whole_units_exactly(amount: int, text: str) -> None:
    assert format_amount(amount) == text


@pytest.mark.parametrize(
    ("amount", "unit", "currency", "text"),
    [
        (1_234_500_000, "TOKEN", None, "1,234.5 TOKEN"),
        (-1, "CURRENCY", "CNY", "-0.000001 CNY"),
        (9_007_199_254_740_993_000_000, "POINT", "", "9,007,199,254,740,993 POINT"),
        # What is free counts nothing.
        (0, None, None, "0"),
    ],
)
def test_an_amount_is_shown_with_its_unit(amount: int, unit: str, currency: str | None, text: str) -> None:
    assert format_in_unit(amount, {"unit": unit, "currency": currency}) == text
