"""The difference between two catalogs: what leaves the shelf, which prices move by how much, for whom, and from when."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from services.registry.catalog import Catalog
from services.registry.catalog_folder import catalog_of
from services.registry.shelf import FieldChange, PriceMove, ShelfChange, change_of
from tests.registry.catalogs import CATALOG, changed

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def catalog(text: str) -> Catalog:
    return catalog_of([((Path("catalog.yaml"), text),)])


def change(text: str, before: str = CATALOG) -> ShelfChange:
    return change_of(catalog(before), catalog(text), NOW)


def test_nothing_differs_from_itself() -> None:
    same = change(CATALOG.replace("rates:\n", "rates:  # a comment\n", 1))
    assert same.is_empty
    assert (same.models_share, same.prices_share, len(same.moments)) == (0.0, 0.0, 1)


def test_prices_that_move_are_told_with_percent_and_offerings() -> None:
    text = changed("input: 0.28\n", "input: 0.35\n", changed("reasoning: 3}", "reasoning: 1.5}"))
    told = change(text)
    move = PriceMove(
        tariff_id="usd",
        model_id="small",
        token_class="input",
        before=Decimal("0.28"),
        after=Decimal("0.35"),
        offering_ids=("metered",),
    )
    tiered = {"token_class": "reasoning", "above_input_tokens": 200, "before": Decimal(3), "after": Decimal("1.5")}
    assert told.moments[0].moves == (move, msgspec.structs.replace(move, **tiered))
    assert [move.percent for move in told.moments[0].moves] == [Decimal("25.0"), Decimal("-50.0")]
    # Of three prices: small in usd, and both models in the flat tariff.
    assert (told.prices_share, told.models_share) == (1 / 3, 0.0)
    assert told.fields == ()


def test_a_rate_or_tier_that_comes_or_goes_is_a_move_too() -> None:
    told = change(
        changed("        cached_input: 0.0028\n", "", changed("          - {above_input_tokens: 100, input: 0.5, output: 1}\n", ""))
    )
    assert [(each.token_class, each.above_input_tokens, each.before, each.after) for each in told.moments[0].moves] == [
        # Cached input costs what input costs, once it has no price of its own.
        ("cached_input", -1, Decimal("0.0028"), Decimal("0.28")),
        ("input", 100, Decimal("0.5"), None),
        ("output", 100, Decimal(1), None),
    ]
    assert told.moments[0].moves[1].percent is None


def test_models_that_leave_are_told_with_their_offerings_and_apart_where_nobody_sells_them() -> None:
    text = changed('model_id: "*"', "model_id: small")
    told = change(text)
    (moment,) = told.moments
    assert (moment.moment, moment.leaves, moment.comes, moment.off_sale) == (None, {"large": ("default",)}, {}, ("large",))
    assert told.models_share == 0.5
    back = change(CATALOG, text)
    assert (back.moments[0].comes, back.moments[0].leaves, back.models_share) == ({"large": ("default",)}, {}, 0.0)


def test_a_model_of_a_dedicated_line_comes_to_the_offerings_that_it_is_for_alone() -> None:
    text = CATALOG.replace("vendor_model_id: acme-large", "offering_ids: [default], vendor_model_id: acme-large")
    other = "  - {offering_id: other, display_name: Other, tariff_id: flat, reservation_policy: worst_case}\n"
    assert change(text + other).moments[0].comes == {"small": ("other",)}
    assert change(CATALOG + other).moments[0].comes == {"large": ("other",), "small": ("other",)}


def test_a_vendor_of_a_layer_below_is_told_by_the_fields_that_differ() -> None:
    endpoints = "    endpoints: {openai_chat: {priced_fields: {service_tier: [default]}}}\n"
    below = changed("    base_url_env: TOKENLINE_ACME_BASE_URL\n", f"    base_url_env: TOKENLINE_ACME_BASE_URL\n{endpoints}")
    above = "vendors: [{vendor_id: acme, display_name: Acme of the branch}]\n"
    after = catalog_of([((Path("catalog.yaml"), below),), ((Path("branch.yaml"), above),)])
    assert [each.field for each in change_of(catalog(below), after, NOW).fields] == ["display_name"]


def test_an_offering_that_goes_takes_its_models_along() -> None:
    told = change(CATALOG[: CATALOG.index("  - offering_id: metered")])
    assert (told.moments[0].leaves, told.moments[0].off_sale) == ({"small": ("metered",)}, ())
    assert told.fields == (FieldChange(kind="removed", section="offerings", entry_id="metered"),)


def test_a_later_version_that_forgets_models_is_told_with_its_time() -> None:
    version = "{version: 2, effective_time: 2027-01-01T08:00:00+08:00, rates: [{model_id: small, input: 2000000, output: 1000000}]}"
    row = '      - {model_id: "*", input: 1000000, output: 1000000}\n'
    text = changed(row, f"{row}    upcoming:\n      - {version}\n")
    told = change(text)
    now, later = told.moments
    assert (now.moment, now.leaves, now.moves) == (None, {}, ())
    assert (later.moment, later.leaves, later.off_sale) == (LATER, {"large": ("default",)}, ("large",))
    assert [(move.model_id, move.before, move.after) for move in later.moves] == [("small", Decimal(1_000_000), Decimal(2_000_000))]
    assert (told.models_share, told.prices_share) == (0.5, 1 / 3)
    # What both have, at the same time, is no change.
    assert change(text, text).is_empty


def test_a_change_at_once_is_not_told_again_of_a_later_version() -> None:
    version = "{version: 2, effective_time: 2027-01-01T00:00:00Z, rates: [{model_id: small, input: 2000000, output: 1000000}]}"
    row = '      - {model_id: "*", input: 1000000, output: 1000000}\n'
    before = changed(row, f"{row}    upcoming:\n      - {version}\n")
    told = change(changed("input: 0.28\n", "input: 0.35\n", before), before)
    assert [(each.moment, len(each.moves)) for each in told.moments] == [(None, 1)]


def test_fields_of_entries_are_told_with_their_path() -> None:
    text = changed(
        "priority: 7, weight: 3", "priority: 8, weight: 3", changed("output_window_tokens: 64", "output_window_tokens: 65")
    )
    assert change(changed("default_offering_id: default", "default_offering_id: metered", text)).fields == (
        FieldChange(kind="changed", section="models", entry_id="large", field="routes[0].priority", before=7, after=8),
        FieldChange(kind="changed", section="offerings", entry_id="metered", field="output_window_tokens", before=64, after=65),
        FieldChange(kind="changed", section="", entry_id="", field="default_offering_id", before="default", after="metered"),
    )
