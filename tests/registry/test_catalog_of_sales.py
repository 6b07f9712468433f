"""What is sold: what every mistake in an offering, a group, a rate of exchange or a coming price is answered with."""

from pathlib import Path

import pytest

from services.registry.catalog_folder import CatalogReader, load_catalog
from services.runtime.config import ConfigError
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2

SALES = (
    CATALOG
    + """\
  - offering_id: monthly
    display_name: A month
    tariff_id: flat
    overage_tariff_id: usd
    model_ids: [small]
    reservation_policy: worst_case
    price: {amount: 9.9, currency: CNY}
    payment_methods: [prepaid, phone_bill]
    cycle: {period: month, count: 1, alignment: calendar, first_cycle: prorated}
    renewal: {grace_days: 7}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, rollover_cap: 300, notice_percents: [50, 100], model_group: cheap}
      - {allowance_id: line, unit: CURRENCY, currency: CNY, amount: 50, priority: 900, postpaid: true}
    limits:
      - {limit_id: rpm, per: key, requests_per_minute: 60, burst: 5}
      - {limit_id: sessions, per: member, concurrent_sessions: 2}
      - {limit_id: hours, per: account, usage: 500, unit: TOKEN, window: {hours: 5}}
    final_unit: {action: redirect, redirect_offering_id: pack}
    debt_limits:
      - {unit: TOKEN, amount: 4096}
      - {unit: CURRENCY, currency: CNY, amount: 0}
    abandoned_answer: made
    priority_class: high
  - offering_id: pack
    display_name: A pack
    tariff_id: flat
    reservation_policy: worst_case
    allowances:
      - {allowance_id: extra, unit: TOKEN, amount: 400, valid_days: 30, transferable: true}
  - offering_id: throttled
    display_name: One model for good
    tariff_id: usd
    reservation_policy: worst_case
    final_unit: {action: restrict_access, restricted_model_id: small}
model_groups:
  - {group_id: cheap, model_ids: [small]}
exchange_rates:
  - {pair: USD/CNY, version: 1, rate: 7.1}
time_zone: Asia/Shanghai
"""
)
UPCOMING = """\
    upcoming:
      - version: 4
        effective_time: 2026-12-01T00:00:00+08:00
        rates: [{model_id: small, input: 0.3, output: 0.4}]
      - version: 5
        effective_time: 2027-01-01T00:00:00+08:00
        rates: [{model_id: small, input: 0.2, output: 0.3}]
offerings:
"""

SOLD, PACK = "offerings[2]", "offerings[3]"
# What is replaced, by what, the field the error names, and a part of its message.
MISTAKES = [
    ("    display_name: A pack\n", "    display_name: A pack\n    only_granted: true\n",
     f"{SOLD}.final_unit.redirect_offering_id", "no offering that can be ordered has the ID 'pack'"),
    ("    abandoned_answer: made\n", "    only_granted: true\n", f"{SOLD}.only_granted", "goes with allowances that have no price"),
    ("overage_tariff_id: usd", "overage_tariff_id: eur", f"{SOLD}.overage_tariff_id", "no tariff has the ID 'eur'"),
    ("    display_name: One model for good\n", "    display_name: One model for good\n    overage_tariff_id: usd\n",
     "offerings[4].overage_tariff_id", "must count in another unit than tariff_id; leave it out"),
    ("overage_tariff_id: usd", "overage_tariff_id: flat", f"{SOLD}.overage_tariff_id", "must name a tariff of the unit CURRENCY"),
    ('      - {model_id: "*", input: 1000000, output: 1000000}\n',
     '      - {model_id: "*", input: 1000000, output: 1000000}\n      - {model_id: "*", input: 1, output: 1}\n',
     "tariffs[0].rates[1].model_id", "'*' has a row in this tariff already; keep one of them"),
    ("amount: 9.9,", "amount: 0,", f"{SOLD}.price.amount", "must be above 0"),
    ("amount: 9.9,", "amount: -9.9,", f"{SOLD}.price.amount", "must not be negative"),
    ("amount: 9.9,", "amount: 9.9999999,", f"{SOLD}.price.amount", "at most 6 decimals"),
    ("amount: 9.9,", "amount: 1e14,", f"{SOLD}.price.amount", "fits int64 micro-units"),
    ("amount: 9.9,", "amount: 5e12,", f"{SOLD}.price.amount", "must be at most 4611686018427.387903, so that sums of it fit"),
    ("usage: 500,", "usage: 5e12,", f"{SOLD}.limits[2].usage", "must be at most 4611686018427.387903, so that sums of it fit"),
    ("9.9, currency: CNY", "9.9, currency: yuan", f"{SOLD}.price.currency", "ISO 4217 code"),
    ("[prepaid, phone_bill]", "[]", f"{SOLD}.payment_methods", "must name at least one of prepaid, phone_bill, external"),
    ("[prepaid, phone_bill]", "[cash]", f"{SOLD}.payment_methods[0]", "must be prepaid or phone_bill or external; it is 'cash'"),
    ("[prepaid, phone_bill]", "[prepaid, prepaid]", f"{SOLD}.payment_methods[1]", "stands in this offering already"),
    ("    price: {amount: 9.9, currency: CNY}\n", "", f"{SOLD}.payment_methods", "go with a price only"),
    ("period: month", "period: year", f"{SOLD}.cycle.period", "must be day or week or month; it is 'year'"),
    ("count: 1,", "count: 0,", f"{SOLD}.cycle.count", "must be from 1 to 1000; it is 0"),
    ("alignment: calendar", "alignment: moon", f"{SOLD}.cycle.alignment", "must be anniversary or calendar"),
    ("alignment: calendar", "alignment: anniversary", f"{SOLD}.cycle.first_cycle", "with the alignment calendar only"),
    ("first_cycle: prorated", "first_cycle: half", f"{SOLD}.cycle.first_cycle", "must be full or prorated"),
    ("grace_days: 7", "grace_days: -1", f"{SOLD}.renewal.grace_days", "must be from 0 to 365"),
    ("    display_name: A pack\n", "    display_name: A pack\n    renewal: {}\n", f"{PACK}.renewal", "goes with a cycle only"),
    ("allowance_id: line", "allowance_id: tokens", f"{SOLD}.allowances[1].allowance_id", "stands in this offering already"),
    ("allowance_id: line", "allowance_id: ''", f"{SOLD}.allowances[1].allowance_id", "must not be empty"),
    ("TOKEN, amount: 1000", "MINUTE, amount: 1000", f"{SOLD}.allowances[0].unit", "must be TOKEN or POINT or CURRENCY"),
    ("TOKEN, amount: 1000", "POINT, amount: 1000",
     f"{SOLD}.allowances[0].unit", "is POINT, which neither a tariff of this offering"),
    ("CURRENCY, currency: CNY, amount: 50", "CURRENCY, currency: EUR, amount: 50",
     f"{SOLD}.allowances[1].unit", "is CURRENCY EUR, which neither a tariff"),
    ("CURRENCY, currency: CNY, amount: 50", "CURRENCY, amount: 50",
     f"{SOLD}.allowances[1].currency", "ISO 4217 code"),
    ("TOKEN, amount: 1000", "TOKEN, currency: CNY, amount: 1000",
     f"{SOLD}.allowances[0].currency", "goes with the unit CURRENCY only"),
    ("amount: 1000,", "amount: 0,", f"{SOLD}.allowances[0].amount", "must be above 0"),
    ("amount: 1000,", "amount: many,", f"{SOLD}.allowances[0].amount", "must be a number; it is 'many'"),
    ("rollover_cap: 300", "rollover_cap: -1", f"{SOLD}.allowances[0].rollover_cap", "must not be negative"),
    ("rollover_cap: 300", "valid_days: 3", f"{SOLD}.allowances[0].valid_days", "goes without a cycle only"),
    ("valid_days: 30,", "", f"{PACK}.allowances[0].valid_days", "must say how long the bucket lives"),
    ("valid_days: 30,", "valid_days: 0,", f"{PACK}.allowances[0].valid_days", "must be from 1 to 36500"),
    ("valid_days: 30,", "valid_days: 30, rollover_cap: 5,", f"{PACK}.allowances[0].rollover_cap", "goes with a cycle only"),
    ("[50, 100]", "[100, 50]", f"{SOLD}.allowances[0].notice_percents[1]", "must rise, from 1 to 100; it is 50"),
    ("[50, 100]", "[50, 101]", f"{SOLD}.allowances[0].notice_percents[1]", "must rise, from 1 to 100; it is 101"),
    ("[50, 100]", "[0, 100]", f"{SOLD}.allowances[0].notice_percents[0]", "must rise, from 1 to 100; it is 0"),
    ("model_group: cheap", "model_group: dear",
     f"{SOLD}.allowances[0].model_group", "no model group has the ID 'dear'; known are: cheap"),
    ("priority: 900", "priority: 1001", f"{SOLD}.allowances[1].priority", "must be from 0 to 1000"),
    ("300, notice", "300, postpaid: true, notice", f"{SOLD}.allowances[0].postpaid", "goes with the unit CURRENCY only"),
    ("postpaid: true", "postpaid: true, transferable: true", f"{SOLD}.allowances[1].transferable", "credit is not given away"),
    ("postpaid: true", "postpaid: perhaps", f"{SOLD}.allowances[1].postpaid", "must be true or false; it is 'perhaps'"),
    ("amount: 1000,", "amount: 1000, weight: 0.9,", f"{SOLD}.allowances", "weights that must add up to 1; they add up to 0.9"),
    ("amount: 1000,", "amount: 1000, weight: 1.1,", f"{SOLD}.allowances", "weights that must add up to 1; they add up to 1.1"),
    ("amount: 1000,", "amount: 1000, weight: -1,", f"{SOLD}.allowances", "have a weight that must not be negative; it is -1"),
    ("amount: 1000,", "amount: 1000, weight: 0.9999999,", f"{SOLD}.allowances", "have a weight that must have at most 6 decimals"),
    ("postpaid: true", "postpaid: true, weight: 1", f"{SOLD}.allowances[1].weight", "goes without postpaid only: a credit line"),
    ("postpaid: true", "weight: 1", f"{SOLD}.allowances", "must be given for every one that is no credit line"),
    ("valid_days: 30,", "valid_days: 30, weight: 1,", f"{PACK}.allowances", "have weights, which go with a price only"),
    ("    display_name: A pack\n", "    display_name: A pack\n    refundable: false\n",
     f"{PACK}.refundable", "goes with a price only"),
    ("    abandoned_answer: made\n", "    once: {per: person}\n",
     f"{SOLD}.once.per", "must be account or identity; it is 'person'"),
    ("    abandoned_answer: made\n", "    once: {per: account, period: decade}\n",
     f"{SOLD}.once.period", "must be day or week or month or year; it is 'decade'"),
    ("    final_unit: {action: restrict_access", "    once: {per: account}\n    final_unit: {action: restrict_access",
     "offerings[4].once", "accounts are opened on this offering, it is not sold"),
    ("limit_id: sessions", "limit_id: rpm", f"{SOLD}.limits[1].limit_id", "stands in this offering already"),
    ("limit_id: sessions", "limit_id: a@b", f"{SOLD}.limits[1].limit_id", "must have no @"),
    ("per: member", "per: team", f"{SOLD}.limits[1].per", "must be account or member or key; it is 'team'"),
    ("concurrent_sessions: 2", "burst: 2", f"{SOLD}.limits[1]", "must give exactly one of"),
    ("concurrent_sessions: 2", "concurrent_sessions: 2, usage: 5", f"{SOLD}.limits[1]", "it gives concurrent_sessions, usage"),
    ("concurrent_sessions: 2", "concurrent_sessions: 0", f"{SOLD}.limits[1].concurrent_sessions", "must be from 1 to"),
    ("concurrent_sessions: 2", "concurrent_sessions: 2, burst: 2", f"{SOLD}.limits[1].burst", "goes with requests_per_minute and"),
    ("concurrent_sessions: 2", "concurrent_sessions: 2, unit: TOKEN", f"{SOLD}.limits[1].unit", "goes with usage only"),
    ("requests_per_minute: 60", "requests_per_minute: 0", f"{SOLD}.limits[0].requests_per_minute", "must be from 1 to 1000000000"),
    ("burst: 5", "burst: 0", f"{SOLD}.limits[0].burst", "must be from 1 to"),
    ("usage: 500", "usage: 0", f"{SOLD}.limits[2].usage", "must be above 0"),
    ("usage: 500, unit: TOKEN", "usage: 500", f"{SOLD}.limits[2].unit", "must be TOKEN or POINT or CURRENCY; it is ''"),
    ("usage: 500, unit: TOKEN", "usage: 500, unit: CURRENCY", f"{SOLD}.limits[2].currency", "ISO 4217 code"),
    ("{hours: 5}", "{}", f"{SOLD}.limits[2].window", "must give either hours or calendar"),
    ("{hours: 5}", "{hours: 5, calendar: day}", f"{SOLD}.limits[2].window", "must give either hours or calendar"),
    ("{hours: 5}", "{hours: 0}", f"{SOLD}.limits[2].window.hours", "must be from 1 to 8784"),
    ("{hours: 5}", "{calendar: hour}", f"{SOLD}.limits[2].window.calendar", "must be day or week or month; it is 'hour'"),
    ("action: redirect", "action: stop", f"{SOLD}.final_unit.action", "must be terminate or redirect or restrict_access"),
    ("action: redirect", "action: terminate", f"{SOLD}.final_unit.redirect_offering_id", "goes with the action redirect only"),
    ("redirect_offering_id: pack", "redirect_offering_id: metered",
     f"{SOLD}.final_unit.redirect_offering_id", "can be ordered has the ID"),
    (", redirect_offering_id: pack", "", f"{SOLD}.final_unit.redirect_offering_id", "has the ID ''; known are: monthly, pack"),
    ("restricted_model_id: small", "restricted_model_id: large", "offerings[4].final_unit.restricted_model_id", "known are: small"),
    ("restrict_access, restricted", "terminate, restricted", "offerings[4].final_unit.restricted_model_id", "restrict_access only"),
    ("    tariff_id: usd\n    reservation_policy: worst_case\n    final",
     "    tariff_id: usd\n    reservation_policy: worst_case\n    price: {amount: 1, currency: CNY}\n    final",
     "offerings[4].price", "what accounts are opened on costs nothing"),
    ("unit: TOKEN, amount: 4096", "unit: WORD, amount: 4096", f"{SOLD}.debt_limits[0].unit", "must be TOKEN or POINT or CURRENCY"),
    ("unit: TOKEN, amount: 4096", "unit: POINT, amount: 4096",
     f"{SOLD}.debt_limits[0].unit", "is POINT, which neither a tariff of this offering"),
    ("unit: TOKEN, amount: 4096", "unit: TOKEN, currency: CNY, amount: 1",
     f"{SOLD}.debt_limits[0].currency", "goes with the unit CURRENCY only"),
    ("amount: 4096", "amount: -1", f"{SOLD}.debt_limits[0].amount", "must not be negative; it is -1"),
    ("amount: 4096", "amount: 0.0000001", f"{SOLD}.debt_limits[0].amount", "at most 6 decimals"),
    ("currency: CNY, amount: 0}", "amount: 0}", f"{SOLD}.debt_limits[1].currency", "ISO 4217 code"),
    ("unit: CURRENCY, currency: CNY, amount: 0}", "unit: TOKEN, amount: 0}",
     f"{SOLD}.debt_limits[1].unit", "TOKEN has a limit in this offering already; keep one of them"),
    ("abandoned_answer: made", "abandoned_answer: half",
     f"{SOLD}.abandoned_answer", "must be nothing or input or made; it is 'half'"),
    ("priority_class: high", "priority_class: highest",
     f"{SOLD}.priority_class", "must be low or standard or high; it is 'highest'"),
    ("default_offering_id: default", "default_offering_id: pack", "default_offering_id", "'pack' is to be ordered"),
    ("cheap, model_ids: [small]", "cheap, model_ids: []", "model_groups[0].model_ids", "must have at least one model"),
    ("cheap, model_ids: [small]", "cheap, model_ids: [tiny]", "model_groups[0].model_ids[0]", "no model has the ID 'tiny'"),
    ("cheap, model_ids: [small]", "cheap, model_ids: [small, small]",
     "model_groups[0].model_ids[1]", "stands in this group already"),
    ("pair: USD/CNY", "pair: USD-CNY", "exchange_rates[0].pair", "must be two ISO 4217 codes like USD/CNY"),
    ("pair: USD/CNY", "pair: CNY/CNY", "exchange_rates[0].pair", "must be two ISO 4217 codes like USD/CNY"),
    ("version: 1, rate", "version: 0, rate", "exchange_rates[0].version", "must be from 1 to"),
    ("rate: 7.1", "rate: 0", "exchange_rates[0].rate", "must be above 0"),
    ("Asia/Shanghai", "Beijing", "time_zone", "must be an IANA name like Asia/Shanghai; it is 'Beijing'"),
    ("TOKENLINE_ACME_BASE_URL\n", "TOKENLINE_ACME_BASE_URL\n    wholesale_tariff_id: eur\n",
     "vendors[0].wholesale_tariff_id", "known are: flat, usd"),
    ("TOKENLINE_ACME_BASE_URL\n", "TOKENLINE_ACME_BASE_URL\n    wholesale_tariff_id: flat\n",
     "vendors[0].wholesale_tariff_id", "unit CURRENCY"),
    ("acme-large-a, priority: 1", "acme-large-a, priority: 1, wholesale_tariff_id: usd",
     "models[1].routes[1].wholesale_tariff_id", "no rates for 'large'"),
    ("offerings:\n", UPCOMING.replace("version: 4", "version: 3"), "tariffs[1].upcoming[0].version", "must be above 3"),
    ("offerings:\n", UPCOMING.replace("12-01T00:00:00+08:00", "12-01T00:00:00"),
     "tariffs[1].upcoming[0].effective_time", "must carry an offset"),
    ("offerings:\n", UPCOMING.replace("2027-01-01", "2026-11-01"), "tariffs[1].upcoming[1].effective_time", "must be later than"),
    ("offerings:\n", UPCOMING.replace("2027-01-01", "2026-12-01"), "tariffs[1].upcoming[1].effective_time", "must be later than"),
    ("offerings:\n", UPCOMING.replace("input: 0.3,", "input: -0.3,"),
     "tariffs[1].upcoming[0].rates[0].input", "must not be negative"),
    ("offerings:\n", UPCOMING.replace("{model_id: small, input: 0.3", "{model_id: large, input: 0.3"),
     "offerings[1].model_ids[0]", "'small' has no rates in the tariff 'usd'"),
]  # fmt: skip


def test_the_catalog_of_these_tests_is_valid(tmp_path: Path) -> None:
    write(tmp_path, changed("offerings:\n", UPCOMING, SALES))
    catalog = load_catalog([tmp_path])
    assert [offering.offering_id for offering in catalog.offerings] == ["default", "metered", "monthly", "pack", "throttled"]
    assert catalog.time_zone == "Asia/Shanghai"


def test_what_may_be_owed_and_what_an_abandoned_answer_costs(tmp_path: Path) -> None:
    write(tmp_path, changed("reservation_policy: worst_case\n    price", "reservation_policy: calibrated\n    price", SALES))
    offerings = {each.offering_id: each for each in load_catalog([tmp_path]).offerings}
    assert list(offerings["monthly"].debt_limits) == [
        registry_pb2.DebtLimit(unit=registry_pb2.UNIT_TOKEN, amount=4_096_000_000),
        registry_pb2.DebtLimit(unit=registry_pb2.UNIT_CURRENCY, currency="CNY", amount=0),
    ]
    assert list(offerings["default"].debt_limits) == []
    assert {offering_id: each.abandoned_answer for offering_id, each in offerings.items()} == {
        "monthly": registry_pb2.ABANDONED_ANSWER_MADE,
        # It charges the input when the client went away before any output.
        "metered": registry_pb2.ABANDONED_ANSWER_INPUT,
        "default": registry_pb2.ABANDONED_ANSWER_NOTHING,
        "pack": registry_pb2.ABANDONED_ANSWER_NOTHING,
        "throttled": registry_pb2.ABANDONED_ANSWER_NOTHING,
    }
    assert offerings["monthly"].reservation_policy == registry_pb2.RESERVATION_POLICY_CALIBRATED
    assert offerings["monthly"].priority_class == registry_pb2.PRIORITY_CLASS_HIGH
    assert offerings["default"].priority_class == registry_pb2.PRIORITY_CLASS_STANDARD


def test_an_offering_says_that_nothing_of_its_price_comes_back(tmp_path: Path) -> None:
    write(tmp_path, changed("payment_methods: [prepaid", "refundable: false\n    payment_methods: [prepaid", SALES))
    offerings = {each.offering_id: each.without_refund for each in load_catalog([tmp_path]).offerings}
    assert offerings == {"default": False, "metered": False, "monthly": True, "pack": False, "throttled": False}


def test_an_offering_says_that_it_is_no_longer_sold(tmp_path: Path) -> None:
    write(tmp_path, changed("    abandoned_answer: made\n", "    withdrawn: true\n", SALES))
    assert [each.offering_id for each in load_catalog([tmp_path]).offerings if each.withdrawn] == ["monthly"]


def test_an_offering_says_that_it_comes_with_another_product(tmp_path: Path) -> None:
    unsold = changed("    final_unit: {action: redirect, redirect_offering_id: pack}\n", "", SALES)
    write(tmp_path, changed("    display_name: A pack\n", "    display_name: A pack\n    only_granted: true\n", unsold))
    assert [each.offering_id for each in load_catalog([tmp_path]).offerings if each.only_granted] == ["pack"]
    given = (tmp_path / "catalog.yaml").read_text(encoding="utf-8")
    write(tmp_path, changed("default_offering_id: default", "default_offering_id: pack", given))
    with pytest.raises(ConfigError, match="'pack' is to be ordered"):
        load_catalog([tmp_path])


def test_what_is_sold_once_says_in_which_period(tmp_path: Path) -> None:
    bounded = changed("    abandoned_answer: made\n", "    once: {per: account, period: year}\n", SALES)
    write(tmp_path, changed("    display_name: A pack\n", "    display_name: A pack\n    once: {per: identity}\n", bounded))
    offerings = {each.offering_id: each for each in load_catalog([tmp_path]).offerings}
    bounds = {offering_id: each.once.period for offering_id, each in offerings.items() if each.HasField("once")}
    assert bounds == {"monthly": registry_pb2.PERIOD_YEAR, "pack": registry_pb2.PERIOD_UNSPECIFIED}
    assert [each for each in bounds if offerings[each].once.per_identity] == ["pack"]


def test_weights_are_millionths_and_none_where_none_are_given(tmp_path: Path) -> None:
    write(
        tmp_path,
        changed("priority: 900, postpaid: true", "weight: 0.25", changed("amount: 1000,", "amount: 1000, weight: 0.75,", SALES)),
    )
    offerings = {each.offering_id: each for each in load_catalog([tmp_path]).offerings}
    weights = {offering_id: [each.weight for each in offering.allowances] for offering_id, offering in offerings.items()}
    assert (weights["monthly"], weights["pack"]) == ([750_000, 250_000], [0])


@pytest.mark.parametrize(("old", "new", "field", "message"), MISTAKES)
def test_a_mistake_is_answered_with_file_line_field_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, field: str, message: str
) -> None:
    path = write(tmp_path, changed(old, new, SALES))
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    error = str(caught.value)
    place, _, rest = error.removeprefix(f"{path}:").partition(": ")
    assert int(place) in range(1, SALES.count("\n") + 12), error
    assert rest.startswith(f"{field}: "), error
    assert message in error


@pytest.mark.parametrize(
    ("old", "new", "field", "number"),
    [
        ("input: 0.3,", "input: 0.31,", "tariffs[1].upcoming[0].version", 4),
        ("input: 0.28\n", "input: 0.29\n", "tariffs[1].version", 3),
        ("100, input: 0.5, output: 1}", "100, input: 0.5, output: 1.5}", "tariffs[1].version", 3),
        ("{above_input_tokens: 100,", "{above_input_tokens: 150,", "tariffs[1].version", 3),
    ],
)
def test_a_version_of_a_tariff_stands_for_its_rates_before_it_is_in_force_too(
    tmp_path: Path, old: str, new: str, field: str, number: int
) -> None:
    coming = changed("offerings:\n", UPCOMING, SALES)
    write(tmp_path, coming)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    write(tmp_path, changed(old, new, coming))
    with pytest.raises(ConfigError) as caught:
        reader.read_if_changed()
    message = f"{field}: must change when unit, currency or rates change; it is still {number}: make it 6"
    assert message in str(caught.value)


GRANTED = (
    CATALOG
    + """\
  - offering_id: bundle
    display_name: A bundle
    tariff_id: flat
    overage_tariff_id: usd
    reservation_policy: worst_case
    only_granted: true
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 5, valid_days: 30}
"""
)


@pytest.mark.parametrize(
    "more",
    [
        "    price: {amount: 1, currency: USD}\n    payment_methods: [prepaid]\n",
        "    once: {per: account}\n",
        "    allowances: [{allowance_id: line, unit: CURRENCY, currency: USD, amount: 5, valid_days: 30, postpaid: true}]\n",
    ],
)
def test_what_is_only_granted_has_no_price_no_credit_line_and_no_end_of_its_sale(tmp_path: Path, more: str) -> None:
    write(tmp_path, GRANTED)
    assert [each.offering_id for each in load_catalog([tmp_path]).offerings if each.only_granted] == ["bundle"]
    head = GRANTED.partition("    allowances:\n")[0] if more.startswith("    allowances") else GRANTED
    write(tmp_path, head + more)
    with pytest.raises(
        ConfigError, match=r"offerings\[2\]\.only_granted: goes with allowances that have no price and no credit line"
    ):
        load_catalog([tmp_path])


def test_a_version_of_a_tariff_stands_for_its_currency(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    write(tmp_path, changed("    currency: USD\n", "    currency: EUR\n"))
    with pytest.raises(ConfigError, match=r"tariffs\[1\]\.version: must change when unit, currency or rates change"):
        reader.read_if_changed()


def test_a_rate_of_exchange_needs_a_version_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, SALES)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    write(tmp_path, changed("rate: 7.1", "rate: 7.2", SALES))
    with pytest.raises(
        ConfigError, match=r"exchange_rates\[0\]\.version: must change when the rate changes; it is still 1: make it 2"
    ):
        reader.read_if_changed()


def named(name: str, languages: str = "languages: [zh, en]\n") -> str:
    return languages + changed("    display_name: Metered\n", f"    display_name: {name}\n", CATALOG)


def test_a_name_by_language_is_shown_in_the_order_of_the_catalogs_languages(tmp_path: Path) -> None:
    write(tmp_path, named("{en: By use, zh: 按量付费}"))
    assert [each.display_name for each in load_catalog([tmp_path]).offerings] == ["Everything", "按量付费 / By use"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (named("{zh: 按量付费}"), "offerings[1].display_name.en: is missing; a name by language has all of zh, en"),
        (named("{zh: 按量付费, en: ' '}"), "offerings[1].display_name.en: must not be empty"),
        (named("{zh: 按量付费, en: By use, fr: Au compteur}"),
         "offerings[1].display_name.fr: must be in zh or en, the languages of the catalog; leave it out"),
        (named("{zh: 按量付费}", ""), "offerings[1].display_name: is by language, and the catalog names none; give `languages`"),
        (named("By use", "languages: [zh, Englisch]\n"),
         "languages: must be language codes like zh or en, each once; one is 'Englisch'"),
        (named("By use", "languages: [zh, zh]\n"), "languages: must be language codes like zh or en, each once; one is 'zh'"),
    ],
)  # fmt: skip
def test_a_missing_translation_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    assert str(caught.value).startswith(f"{path}:")
    assert told in str(caught.value)
