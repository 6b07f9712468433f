"""Offerings as their author writes them, and what must hold in each. Amounts are decimals in whole units."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from services.registry.rules import (
    ADDED_UP_MAX,
    INT32_MAX,
    INT64_MAX,
    FieldFlaw,
    choice_flaws,
    currency_flaws,
    micro_amount,
    text_flaws,
    unknown,
    whole_flaws,
)

RESERVATION_POLICIES: Final = ("worst_case", "expected", "calibrated")
PERIODS: Final = ("day", "week", "month")
ONCE_PERIODS: Final = (*PERIODS, "year")
PAYMENT_METHODS: Final = ("prepaid", "phone_bill", "external")
LIMIT_SCOPES: Final = ("account", "member", "key")
FINAL_UNITS: Final = ("terminate", "redirect", "restrict_access")
UNITS: Final = ("TOKEN", "POINT", "CURRENCY")
ONCE_PER: Final = ("account", "identity")
ABANDONED_ANSWERS: Final = ("nothing", "input", "made")
PRIORITY_CLASSES: Final = ("low", "standard", "high")
_RATE_LIMIT_MAX: Final = 1_000_000_000


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An amount of money."""

    # In whole units, to 6 decimals.
    amount: Decimal
    # ISO 4217 code.
    currency: str


class Cycle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often a subscription renews."""

    # One of `PERIODS`: the length of a period.
    period: str
    # The number of periods in a cycle.
    count: int = 1
    # "anniversary" of the start, or with the "calendar"'s period.
    alignment: str = "anniversary"
    # A first cycle that the calendar cuts short: "full", or "prorated" by days.
    first_cycle: str = "full"


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules of the end of a cycle."""

    # Whether it renews by itself.
    automatic: bool = True
    # How long a renewal that can't be paid waits for the money.
    grace_days: int = 0


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bucket that an offering grants: each cycle, or once."""

    # Identifies the allowance within its offering.
    allowance_id: str
    # One of `UNITS`: that of the offering's tariff or of its overage tariff.
    unit: str
    # ISO 4217 code, exactly with the unit CURRENCY.
    currency: str = ""
    # In whole units, to 6 decimals.
    amount: Decimal
    # Empty: every model of the offering.
    model_group: str = ""
    # Lower burns first; money burns after tokens and points, whatever it is.
    priority: int = 100
    # Validity of a pack.
    valid_days: int | None = None
    # The part that may live on for one more cycle.
    rollover_cap: Decimal = Decimal(0)
    # A credit line: its consumed amount is billed afterwards.
    postpaid: bool = False
    # It can be given to another account.
    transferable: bool = False
    # A notice is sent when so much of it is used.
    notice_percents: tuple[int, ...] = ()
    # The part of the offering's price that it is worth, from 0 to 1; left out of all: the one that was used most counts alone.
    weight: Decimal | None = None


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The time in which use is counted: a number of hours from the first call in it, or a period of the calendar."""

    # Hours from the first call in the window.
    hours: int | None = None
    # One of `PERIODS`: use is counted anew as each of them begins, by the cell's clock.
    calendar: str | None = None


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit on use; exactly one of requests_per_minute, tokens_per_minute, concurrent_sessions and usage is given."""

    # Identifies the limit within its offering.
    limit_id: str
    # One of `LIMIT_SCOPES`: whose use is counted together.
    per: str
    # Requests that may begin in a minute.
    requests_per_minute: int | None = None
    # Tokens of all classes in a minute.
    tokens_per_minute: int | None = None
    # How many may come at once after a pause; left out: as many as a minute's.
    burst: int | None = None
    # Calls that may be under way at once.
    concurrent_sessions: int | None = None
    # The amount that may be used, in whole units. Use that is paid in another unit does not count: money beyond an allowance
    # needs a limit of its own.
    usage: Decimal | None = None
    # Goes with usage.
    unit: str = ""
    # ISO 4217 code, exactly with the unit CURRENCY.
    currency: str = ""
    # Goes with usage; left out: for good.
    window: Window | None = None


class FinalUnit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The final unit action: follows the end of the quota."""

    # One of `FINAL_UNITS`: the call ends, or ends and another offering is recommended, or calls go on with a cheaper model.
    action: str = "terminate"
    # Goes with redirect.
    redirect_offering_id: str = ""
    # Goes with restrict_access.
    restricted_model_id: str = ""


class DebtLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much an account may owe in a unit; use beyond it is absorbed."""

    # One of `UNITS`: that of the offering's tariff or of its overage tariff.
    unit: str
    # ISO 4217 code, exactly with the unit CURRENCY.
    currency: str = ""
    # 0: nothing may be owed.
    amount: Decimal


class Regions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Regions of routes."""

    # The only ones that calls may take; empty: any.
    required: tuple[str, ...] = ()
    # Taken before others.
    preferred: tuple[str, ...] = ()


class Once(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bound on how often an offering is sold. What waits for its payment, or goes on, counts; what was never granted does not."""

    # One of `ONCE_PER`: who can have it once: an account, or the person or company that an order names, and so its account too.
    per: str
    # One of `ONCE_PERIODS`, of the calendar; left out: for good.
    period: str = ""


class Offering(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan for sale: with a cycle a subscription; with allowances alone a pack; with neither, accounts are opened on it."""

    offering_id: str
    # The name that people see: a text, or one by language, for all of the catalog's `languages`.
    display_name: str | dict[str, str]
    tariff_id: str
    # The tariff in money for use beyond the allowances.
    overage_tariff_id: str = ""
    # Empty: every model that the tariff has rates for.
    model_ids: tuple[str, ...] = ()
    # One of `RESERVATION_POLICIES`: what a call holds for its input: the most that it can cost, what it most likely costs, or the
    # estimate with its published margin.
    reservation_policy: str
    # The output reserved at once where the edge sees output as it is made.
    output_window_tokens: int = 2_048
    # Whether a client pays for its input if it left before any output of a stream.
    charge_input_when_client_gone_before_output: bool = False
    # Left out: it costs nothing.
    price: Price | None = None
    # One of `PAYMENT_METHODS` each: ways to pay the price, at least one exactly where there is one.
    payment_methods: tuple[str, ...] = ()
    cycle: Cycle | None = None
    renewal: Renewal | None = None
    allowances: tuple[Allowance, ...] = ()
    limits: tuple[Limit, ...] = ()
    final_unit: FinalUnit = FinalUnit()
    # At most one a unit; of a unit without one: 4,096 output tokens at the dearest rate of the call's tariff.
    debt_limits: tuple[DebtLimit, ...] = ()
    # One of `ABANDONED_ANSWERS`: what an answer costs that is not streamed, and for which its client did not wait; left out: input
    # where charge_input_when_client_gone_before_output is set, else nothing.
    abandoned_answer: str = ""
    regions: Regions = Regions()
    # Whether an equivalent model may answer its calls, unless a call says otherwise.
    equivalent_models: bool = False
    # How large a share of an overloaded edge its accounts' calls have: one of `PRIORITY_CLASSES`.
    priority_class: str = "standard"
    # The worth of what is left goes back when it ends early.
    refundable: bool = True
    # Left out: it is sold as often as somebody wants.
    once: Once | None = None
    # It is no longer ordered or changed to, and no account is opened on it. Who has it keeps it, and its renewals.
    withdrawn: bool = False
    # It comes with another product, whose system grants its allowances: nobody orders it or changes to it.
    only_granted: bool = False

    def shown_name(self, languages: tuple[str, ...]) -> str:
        """The name as one text: of several languages those of the catalog, in their order."""
        return (
            self.display_name if isinstance(self.display_name, str) else " / ".join(self.display_name[each] for each in languages)
        )

    @property
    def abandoned_answer_costs(self) -> str:
        """One of `ABANDONED_ANSWERS`."""
        return self.abandoned_answer or ("input" if self.charge_input_when_client_gone_before_output else "nothing")

    @property
    def is_ordered(self) -> bool:
        """Whether it is bought by an order, or granted. Accounts are opened on the others."""
        return self.cycle is not None or bool(self.allowances)

    @property
    def is_grantable(self) -> bool:
        """Whether its allowances can be granted without an order."""
        return (
            bool(self.allowances)
            and self.price is None
            and self.once is None
            and not any(each.postpaid for each in self.allowances)
        )


class Sale(msgspec.Struct, frozen=True):
    """The parts of the catalog that an offering can refer to."""

    model_ids: set[str]
    group_ids: set[str]
    # Offerings that are bought by an order.
    ordered_ids: set[str]
    # tariff_id -> (unit, currency, the models it rates; None: every one).
    tariffs: dict[str, tuple[str, str, set[str] | None]]
    # "USD/CNY".
    exchange_pairs: set[str]
    # The regions that routes name.
    regions: set[str]
    # Those of names by language.
    languages: tuple[str, ...] = ()


def offering_flaws(offering: Offering, sale: Sale) -> Iterator[FieldFlaw]:
    """Everything that is wrong in an offering."""
    yield from _name_flaws(offering.display_name, sale.languages)
    tariff = sale.tariffs.get(offering.tariff_id)
    if tariff is None:
        yield "tariff_id", unknown("tariff", offering.tariff_id, sale.tariffs)
    if offering.overage_tariff_id:
        overage = sale.tariffs.get(offering.overage_tariff_id)
        if overage is None:
            yield "overage_tariff_id", unknown("tariff", offering.overage_tariff_id, sale.tariffs)
        elif overage[0] != "CURRENCY":
            yield "overage_tariff_id", f"must name a tariff of the unit CURRENCY; {offering.overage_tariff_id!r} has {overage[0]}"
        elif tariff is not None and tariff[:2] == overage[:2]:
            yield "overage_tariff_id", "must count in another unit than tariff_id; leave it out"
    yield from _model_flaws(offering, sale)
    yield from choice_flaws("reservation_policy", offering.reservation_policy, RESERVATION_POLICIES)
    yield from whole_flaws("output_window_tokens", offering.output_window_tokens, 1, INT64_MAX)
    yield from _price_flaws(offering)
    yield from _cycle_flaws(offering)
    seen: set[str] = set()
    for index, allowance in enumerate(offering.allowances):
        field = f"allowances[{index}]"
        yield from _repetition(f"{field}.allowance_id", allowance.allowance_id, seen)
        for name, message in _allowance_flaws(offering, allowance, sale):
            yield f"{field}.{name}", message
    yield from _weight_flaws(offering)
    seen = set()
    for index, limit in enumerate(offering.limits):
        field = f"limits[{index}]"
        yield from _repetition(f"{field}.limit_id", limit.limit_id, seen)
        for name, message in limit_flaws(limit):
            yield (f"{field}.{name}" if name else field), message
    yield from _final_unit_flaws(offering, sale)
    yield from _debt_flaws(offering, sale)
    if (once := offering.once) is not None:
        yield from choice_flaws("once.per", once.per, ONCE_PER)
        if once.period:
            yield from choice_flaws("once.period", once.period, ONCE_PERIODS)
        if not offering.is_ordered:
            yield "once", "goes with a cycle or allowances: accounts are opened on this offering, it is not sold"
    if offering.only_granted and not offering.is_grantable:
        yield (
            "only_granted",
            "goes with allowances that have no price and no credit line, and are not sold once; others are ordered",
        )
    if offering.abandoned_answer:
        yield from choice_flaws("abandoned_answer", offering.abandoned_answer, ABANDONED_ANSWERS)
    yield from choice_flaws("priority_class", offering.priority_class, PRIORITY_CLASSES)
    yield from _regions_flaws(offering.regions, sale)


def _name_flaws(name: str | dict[str, str], languages: tuple[str, ...]) -> Iterator[FieldFlaw]:
    if isinstance(name, str):
        yield from text_flaws("display_name", name)
        return
    if not languages:
        yield "display_name", "is by language, and the catalog names none; give `languages` in a file, like [zh, en], or one text"
    for language, text in name.items():
        if languages and language not in languages:
            yield f"display_name.{language}", f"must be in {' or '.join(languages)}, the languages of the catalog; leave it out"
        yield from text_flaws(f"display_name.{language}", text)
    for language in languages:
        if language not in name:
            yield f"display_name.{language}", f"is missing; a name by language has all of {', '.join(languages)}"


def _regions_flaws(regions: Regions, sale: Sale) -> Iterator[FieldFlaw]:
    for kind in ("required", "preferred"):
        seen: set[str] = set()
        for index, region in enumerate(getattr(regions, kind)):
            field = f"regions.{kind}[{index}]"
            if region not in sale.regions:
                yield field, unknown("region of a route", region, sale.regions)
            elif kind == "preferred" and regions.required and region not in regions.required:
                yield field, f"{region!r} is not among the required ones, so that no call may take it; leave it out"
            yield from _repetition(field, region, seen)


def _model_flaws(offering: Offering, sale: Sale) -> Iterator[FieldFlaw]:
    tariff = sale.tariffs.get(offering.tariff_id)
    seen: set[str] = set()
    for index, model_id in enumerate(offering.model_ids):
        field = f"model_ids[{index}]"
        if model_id not in sale.model_ids:
            yield field, unknown("model", model_id, sale.model_ids)
        elif tariff is not None and tariff[2] is not None and model_id not in tariff[2]:
            yield field, f"{model_id!r} has no rates in the tariff {offering.tariff_id!r}; add a row for it there, or for '*'"
        if model_id in seen:
            yield field, f"{model_id!r} stands in this offering already; keep one of them"
        seen.add(model_id)


def _price_flaws(offering: Offering) -> Iterator[FieldFlaw]:
    if offering.price is None:
        if not offering.refundable:
            yield "refundable", "goes with a price only; leave it out"
        if offering.payment_methods:
            yield "payment_methods", "go with a price only; leave them out"
        return
    if not offering.is_ordered:
        yield "price", "goes with a cycle or allowances: what accounts are opened on costs nothing"
    yield from _amount("price.amount", offering.price.amount)
    yield from currency_flaws("price.currency", "CURRENCY", offering.price.currency)
    if not offering.payment_methods:
        yield "payment_methods", f"must name at least one of {', '.join(PAYMENT_METHODS)}"
    seen: set[str] = set()
    for index, method in enumerate(offering.payment_methods):
        yield from choice_flaws(f"payment_methods[{index}]", method, PAYMENT_METHODS)
        yield from _repetition(f"payment_methods[{index}]", method, seen)


def _cycle_flaws(offering: Offering) -> Iterator[FieldFlaw]:
    cycle = offering.cycle
    if cycle is None:
        if offering.renewal is not None:
            yield "renewal", "goes with a cycle only; leave it out"
        return
    yield from choice_flaws("cycle.period", cycle.period, PERIODS)
    yield from whole_flaws("cycle.count", cycle.count, 1, 1_000)
    yield from choice_flaws("cycle.alignment", cycle.alignment, ("anniversary", "calendar"))
    yield from choice_flaws("cycle.first_cycle", cycle.first_cycle, ("full", "prorated"))
    if cycle.first_cycle == "prorated" and cycle.alignment != "calendar":
        yield "cycle.first_cycle", "can be prorated with the alignment calendar only: any other first cycle is a whole one"
    if offering.renewal is not None:
        yield from whole_flaws("renewal.grace_days", offering.renewal.grace_days, 0, 365)


def _allowance_flaws(offering: Offering, allowance: Allowance, sale: Sale) -> Iterator[FieldFlaw]:
    yield from text_flaws("allowance_id", allowance.allowance_id)
    yield from choice_flaws("unit", allowance.unit, UNITS)
    yield from currency_flaws("currency", allowance.unit, allowance.currency)
    yield from _charged_unit_flaws(offering, allowance.unit, allowance.currency, sale)
    yield from _amount("amount", allowance.amount)
    if allowance.model_group and allowance.model_group not in sale.group_ids:
        yield "model_group", unknown("model group", allowance.model_group, sale.group_ids)
    yield from whole_flaws("priority", allowance.priority, 0, 1_000)
    if offering.cycle is None:
        if allowance.valid_days is None:
            yield "valid_days", "must say how long the bucket lives, since the offering has no cycle"
        else:
            yield from whole_flaws("valid_days", allowance.valid_days, 1, 36_500)
        if allowance.rollover_cap:
            yield "rollover_cap", "goes with a cycle only; leave it out"
    elif allowance.valid_days is not None:
        yield "valid_days", "goes without a cycle only: the bucket lives as long as its cycle"
    if allowance.rollover_cap:
        yield from _amount("rollover_cap", allowance.rollover_cap)
    if allowance.postpaid and allowance.unit != "CURRENCY":
        yield "postpaid", "goes with the unit CURRENCY only: a credit line is money"
    if allowance.postpaid and allowance.transferable:
        yield "transferable", "can't go with postpaid: credit is not given away"
    before = 0
    for index, percent in enumerate(allowance.notice_percents):
        if not before < percent <= 100:
            yield f"notice_percents[{index}]", f"must rise, from 1 to 100; it is {percent}"
        before = percent


def _weight_flaws(offering: Offering) -> Iterator[FieldFlaw]:
    """Weights are given for all allowances but credit lines, or for none, and add up to 1."""
    weights: list[Decimal | None] = []
    for index, allowance in enumerate(offering.allowances):
        if not allowance.postpaid:
            weights.append(allowance.weight)
        elif allowance.weight is not None:
            yield f"allowances[{index}].weight", "goes without postpaid only: a credit line is paid by use; leave it out"
    given = [weight for weight in weights if weight is not None]
    if not given:
        return
    if len(given) < len(weights):
        yield "allowances", "have weights, which must be given for every one that is no credit line, or for none"
        return
    for weight in given:
        try:
            micro_amount(weight)
        except ValueError as error:
            yield "allowances", f"have a weight that {error}"
            return
    if sum(given) != 1:
        yield "allowances", f"have weights that must add up to 1; they add up to {sum(given)}"
    if offering.price is None:
        yield "allowances", "have weights, which go with a price only: each is the part of the price that an allowance is worth"


def _charged_unit_flaws(offering: Offering, unit: str, currency: str, sale: Sale) -> Iterator[FieldFlaw]:
    """A unit must be one that calls of the offering can be charged in."""
    own = [sale.tariffs[each] for each in (offering.tariff_id, offering.overage_tariff_id) if each in sale.tariffs]
    if own and not any(
        (own_unit, own_currency) == (unit, currency)
        or (own_unit == unit == "CURRENCY" and f"{own_currency}/{currency}" in sale.exchange_pairs)
        for own_unit, own_currency, _ in own
    ):
        shown = f"{unit} {currency}".strip()
        yield "unit", f"is {shown}, which neither a tariff of this offering prices nor an exchange rate from its currency leads to"


def _debt_flaws(offering: Offering, sale: Sale) -> Iterator[FieldFlaw]:
    seen: set[tuple[str, str]] = set()
    for index, limit in enumerate(offering.debt_limits):
        field = f"debt_limits[{index}]"
        for name, message in (
            *choice_flaws("unit", limit.unit, UNITS),
            *currency_flaws("currency", limit.unit, limit.currency),
            *_charged_unit_flaws(offering, limit.unit, limit.currency, sale),
        ):
            yield f"{field}.{name}", message
        try:
            micro_amount(limit.amount)
        except ValueError as error:
            yield f"{field}.amount", str(error)
        if (limit.unit, limit.currency) in seen:
            yield (
                f"{field}.unit",
                f"{f'{limit.unit} {limit.currency}'.strip()} has a limit in this offering already; keep one of them",
            )
        seen.add((limit.unit, limit.currency))


def limit_flaws(limit: Limit) -> Iterator[FieldFlaw]:
    """Flaws of a limit: its fields that are wrong, and what they must be."""
    yield from text_flaws("limit_id", limit.limit_id)
    if "@" in limit.limit_id:
        yield "limit_id", "must have no @"
    yield from choice_flaws("per", limit.per, LIMIT_SCOPES)
    kinds = ("requests_per_minute", "tokens_per_minute", "concurrent_sessions", "usage")
    given = [kind for kind in kinds if getattr(limit, kind) is not None]
    if len(given) != 1:
        yield "", f"must give exactly one of {', '.join(kinds)}; it gives {', '.join(given) or 'none'}"
        return
    (kind,) = given
    if kind == "usage":
        assert limit.usage is not None
        yield from _amount("usage", limit.usage)
        yield from choice_flaws("unit", limit.unit, UNITS)
        yield from currency_flaws("currency", limit.unit, limit.currency)
        if limit.window is not None:
            if (limit.window.hours is None) == (limit.window.calendar is None):
                yield "window", "must give either hours or calendar"
            if limit.window.hours is not None:
                yield from whole_flaws("window.hours", limit.window.hours, 1, 8_784)
            if limit.window.calendar is not None:
                yield from choice_flaws("window.calendar", limit.window.calendar, PERIODS)
    else:
        yield from whole_flaws(kind, getattr(limit, kind), 1, INT32_MAX if kind == "concurrent_sessions" else _RATE_LIMIT_MAX)
        for field in ("unit", "currency", "window"):
            if getattr(limit, field):
                yield field, "goes with usage only; leave it out"
    if limit.burst is not None:
        if kind.endswith("_per_minute"):
            yield from whole_flaws("burst", limit.burst, 1, _RATE_LIMIT_MAX)
        else:
            yield "burst", "goes with requests_per_minute and tokens_per_minute only; leave it out"


def _final_unit_flaws(offering: Offering, sale: Sale) -> Iterator[FieldFlaw]:
    final_unit = offering.final_unit
    yield from choice_flaws("final_unit.action", final_unit.action, FINAL_UNITS)
    if final_unit.action == "redirect":
        if final_unit.redirect_offering_id not in sale.ordered_ids:
            name = final_unit.redirect_offering_id
            yield "final_unit.redirect_offering_id", unknown("offering that can be ordered", name, sale.ordered_ids)
    elif final_unit.redirect_offering_id:
        yield "final_unit.redirect_offering_id", "goes with the action redirect only; leave it out"
    if final_unit.action == "restrict_access":
        served = _served_models(offering, sale)
        if final_unit.restricted_model_id not in served:
            yield "final_unit.restricted_model_id", unknown("model of this offering", final_unit.restricted_model_id, served)
    elif final_unit.restricted_model_id:
        yield "final_unit.restricted_model_id", "goes with the action restrict_access only; leave it out"


def _served_models(offering: Offering, sale: Sale) -> set[str]:
    tariff = sale.tariffs.get(offering.tariff_id)
    rated = sale.model_ids if tariff is None or tariff[2] is None else tariff[2]
    return rated.intersection(offering.model_ids) if offering.model_ids else rated


def _repetition(field: str, value: str, seen: set[str]) -> Iterator[FieldFlaw]:
    if value in seen:
        yield field, f"{value!r} stands in this offering already; keep one of them"
    seen.add(value)


def _amount(field: str, amount: Decimal) -> Iterator[FieldFlaw]:
    try:
        micro = micro_amount(amount)
    except ValueError as error:
        yield field, str(error)
        return
    if micro < 1:
        yield field, f"must be above 0; it is {amount}"
    elif micro > ADDED_UP_MAX:
        yield (
            field,
            f"must be at most {Decimal(ADDED_UP_MAX) / 1_000_000}, so that sums of it fit int64 micro-units; it is {amount}",
        )
