"""The catalog, shaped for charging: which tariff prices which bucket for which model, and when.

Pure; made from the registry's catalog by `services.accounting.rpc.catalog`, a new one for every revision.
"""

from bisect import bisect_right
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from services.accounting.core.account.state import Account, line_of, named_by
from services.accounting.core.amounts import (
    PinnedTariff,
    WorstCases,
    amount_of,
    dearest_amount,
    dearest_output_rate,
    exchanged,
    first_classes,
    worst_cases,
)
from services.accounting.core.commands import ResultCode
from services.accounting.core.entries import Wholesale
from services.accounting.core.terms import FinalAction, Limit, Payment, Terms, first_terms
from services.tariff_windows import Calendar, Hours, window_at
from services.token_classes import Measure

_EVERY_MODEL: Final = "*"
_CURRENCY: Final = "CURRENCY:"
_FOR_GOOD_US: Final = 2**63 - 1
# An account whose offering sets no debt limit may owe the price of this many output tokens; where these cost nothing, of this much
# of the dearest that the model makes or takes.
_DEBT_TOKENS: Final = 4_096
_DEBT: Final = {Measure.TOKEN: _DEBT_TOKENS, Measure.IMAGE: 1, Measure.MILLISECOND: 60_000, Measure.CHARACTER: _DEBT_TOKENS}
# Currency in which vendors' work is compared.
_WORTH: Final = "CNY"


class TariffWindow(NamedTuple):
    """All rates of a tariff's version in certain hours, by model as in the version."""

    hours: tuple[Hours, ...]
    rates: dict[str, PinnedTariff]


class TariffVersion(NamedTuple):
    """A tariff's rates from `effective_us` on, by model ("*": every model without its own)."""

    effective_us: int
    rates: dict[str, PinnedTariff]
    # Hours that have other rates; they do not overlap.
    windows: tuple[TariffWindow, ...] = ()


class Schedule(NamedTuple):
    """A tariff's versions, past, present and future, by rising `effective_us`; the first holds from the beginning."""

    unit: str
    versions: tuple[TariffVersion, ...]
    # The clock and the holidays of windows.
    calendar: Calendar = Calendar()

    def at(self, model_id: str, now_us: int) -> tuple[PinnedTariff | None, int]:
        """The model's rates at a time (None: it has none), and the time until which they hold."""
        rates, until_us = self.rates_at(now_us)
        return rates.get(model_id) or rates.get(_EVERY_MODEL), until_us

    def rates_at(self, now_us: int) -> tuple[dict[str, PinnedTariff], int]:
        """All rates at a time, and the time until which they hold."""
        version, until_us = self.versions[0], _FOR_GOOD_US
        for later in self.versions[1:]:
            if later.effective_us > now_us:
                until_us = later.effective_us
                break
            version = later
        if not version.windows:
            return version.rates, until_us
        index, window_until_us = window_at([window.hours for window in version.windows], self.calendar, now_us)
        return version.rates if index < 0 else version.windows[index].rates, min(until_us, window_until_us)


class OfferingRules(NamedTuple):
    """An offering's rules for charging. `model_ids` None: every model that `schedules` rate."""

    offering_id: str
    # The tariff of its unit, then that of its overage.
    schedules: tuple[Schedule, ...]
    model_ids: frozenset[str] | None
    output_window: int
    expected: bool = False
    limits: tuple[Limit, ...] = ()
    final_action: FinalAction = FinalAction.TERMINATE
    # None: the offering grants nothing and is not ordered; accounts are opened on it.
    terms: Terms | None = None
    payments: frozenset[Payment] = frozenset()
    # Reserves the calibrated estimate of the input, at the worst case's rates.
    calibrated: bool = False
    # By unit: the most that an account may owe.
    debt_limits: dict[str, int] = {}  # noqa: RUF012  # read only
    # It is sold once to an identity, which authentication knows.
    per_identity: bool = False
    # It is no longer sold; who has it keeps it.
    withdrawn: bool = False
    # It comes with another product, whose system grants it.
    only_granted: bool = False


class Line(NamedTuple):
    """The tariff that prices a kind of bucket for one model (None: there is none), and the time until which it does."""

    tariff: PinnedTariff | None
    until_us: int


class Fees(NamedTuple):
    """Shares that the operator keeps of a vendor's claims from a time on, in millionths: platform, computing power, channel."""

    effective_us: int
    shares: tuple[int, ...]


class CatalogContent(NamedTuple):
    """One revision of the catalog, as far as charging needs it."""

    offerings: dict[str, OfferingRules]
    model_ids: frozenset[str]
    default_offering_id: str
    validity_us: int
    time_zone: str = "UTC"
    model_groups: Mapping[str, frozenset[str]] = MappingProxyType({})
    # (from, to) currency -> (micro-units of to for a unit of from, version).
    exchange_rates: Mapping[tuple[str, str], tuple[int, int]] = MappingProxyType({})
    # By model: (vendor, the model's ID there, the vendor's claim).
    wholesale: Mapping[str, tuple[tuple[str, str, Schedule], ...]] = MappingProxyType({})
    # By model: those that may answer in its place.
    equivalents: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    # Vendors that price a call at its end; all others do at its start.
    priced_at_end: frozenset[str] = frozenset()
    # By vendor, by rising time; the first from the beginning.
    fees: Mapping[str, tuple[Fees, ...]] = MappingProxyType({})


class ChargingCatalog:
    """Answers questions about the catalog's content, and keeps the answers."""

    def __init__(self, content: CatalogContent, *, extended: bool = True, runs: bool = True, sales: bool = True) -> None:
        """`extended`: every member of the cell reads later token classes and absorbed amounts; see `for_first_release`.

        `runs`: every member of the cell reads runs and labels of calls. `sales`: every one reads all terms of a sale.
        """
        self.extended: Final = extended
        self.runs: Final = runs
        self.sales: Final = sales
        self._content: Final = content
        self.offerings: Final = content.offerings
        self.model_ids: Final = content.model_ids
        self.default_offering_id: Final = content.default_offering_id
        self.validity_us: Final = content.validity_us
        self.time_zone: Final = content.time_zone
        self._model_groups: Final = content.model_groups
        self._exchange_rates: Final = content.exchange_rates
        self._wholesale: Final = content.wholesale
        self._lines: dict[tuple[str, str, str, str], Line] = {}
        self._owed: dict[str, tuple[int, tuple[Wholesale, ...]]] = {}
        schedules = [schedule for offering in self.offerings.values() for schedule in offering.schedules]
        schedules += [schedule for routes in self._wholesale.values() for _, _, schedule in routes]
        # Each once: most models of a vendor share a tariff.
        windowed = {id(each): each for each in schedules if any(version.windows for version in each.versions)}
        self._windowed: Final = tuple(windowed.values())
        # Times between which no window begins or ends, as far as it was worked out last.
        self._unchanging_us = (0, 0)
        fees = (each.effective_us for of_vendor in content.fees.values() for each in of_vendor)
        versions = (version.effective_us for schedule in schedules for version in schedule.versions)
        self._change_times_us: Final = sorted({*versions, *fees})

    def for_first_release(self) -> "ChargingCatalog":
        """The catalog for members of the cell that know the first token classes alone, and no limit of debts."""
        offerings = {
            offering_id: rules._replace(schedules=tuple(map(_of_first_classes, rules.schedules)), debt_limits={})
            for offering_id, rules in _of_first_terms(self.offerings).items()
        }
        wholesale = {
            model_id: tuple((vendor_id, name, _of_first_classes(schedule)) for vendor_id, name, schedule in routes)
            for model_id, routes in self._wholesale.items()
        }
        return ChargingCatalog(
            self._content._replace(offerings=offerings, wholesale=wholesale), extended=False, runs=False, sales=False
        )

    def for_members(self, *, extended: bool, runs: bool, sales: bool) -> "ChargingCatalog":
        """The catalog for members of the cell that understand these; see `__init__`."""
        if not extended:
            return self.for_first_release()
        if runs and sales:
            return self
        content = self._content if sales else self._content._replace(offerings=_of_first_terms(self.offerings))
        return ChargingCatalog(content, runs=runs, sales=sales)

    def worth(self, amount: int, unit: str) -> int:
        """An amount of money in micro-yuan; 0 for other units, and where there is no exchange rate."""
        name, _, currency = unit.partition(":")
        if currency == _WORTH:
            return amount
        rate = self._exchange_rates.get((currency, _WORTH)) if name == "CURRENCY" else None
        return amount_of(amount, rate[0]) if rate else 0

    def next_change_us(self, now_us: int) -> int:
        """The next time at which a tariff changes."""
        index = bisect_right(self._change_times_us, now_us)
        next_us = self._change_times_us[index] if index < len(self._change_times_us) else _FOR_GOOD_US
        if not self._windowed:
            return next_us
        since_us, until_us = self._unchanging_us
        if not since_us <= now_us < until_us:
            until_us = min(schedule.rates_at(now_us)[1] for schedule in self._windowed)
            self._unchanging_us = (now_us, until_us)
        return min(next_us, until_us)

    def wholesale(self, model_id: str, now_us: int) -> tuple[Wholesale, ...]:
        """Claims of all vendors of the model and of those that may answer in its place, at a time."""
        kept = self._owed.get(model_id)
        if kept is None or kept[0] <= now_us:
            kept = self._owed[model_id] = (self.next_change_us(now_us), self._wholesale_at(model_id, now_us))
        return kept[1]

    def _wholesale_at(self, model_id: str, now_us: int) -> tuple[Wholesale, ...]:
        owed = []
        for served_id in (model_id, *self._content.equivalents.get(model_id, ())):
            for vendor_id, vendor_model_id, schedule in self._wholesale.get(served_id, ()):
                tariff, _ = schedule.at(served_id, now_us)
                if tariff is not None:
                    owed.append(Wholesale(vendor_id, vendor_model_id, tariff, self._fees_at(vendor_id, now_us)))
        return tuple(owed)

    def _fees_at(self, vendor_id: str, now_us: int) -> tuple[int, ...]:
        shares: tuple[int, ...] = ()
        for each in self._content.fees.get(vendor_id, ()):
            if each.effective_us <= now_us:
                shares = each.shares
        return shares

    def wholesale_at_end(self, pinned: tuple[Wholesale, ...], model_id: str, now_us: int) -> tuple[Wholesale, ...]:
        """The claims that a call pinned at its start, where vendors that price calls at their end have the rates of now."""
        at_end = self._content.priced_at_end
        if not any(each.vendor_id in at_end for each in pinned):
            return pinned
        now = {(each.vendor_id, each.vendor_model_id): each for each in self.wholesale(model_id, now_us)}
        return tuple(now.get((each.vendor_id, each.vendor_model_id), each) if each.vendor_id in at_end else each for each in pinned)

    def sold(self, offering_id: str, model_id: str) -> ResultCode | None:
        """Reason why an offering's own tariff does not price a model; None when it may."""
        rules = self.offerings.get(offering_id)
        if rules is None or model_id not in self.model_ids:
            return ResultCode.RATING_FAILED
        if rules.model_ids is not None and model_id not in rules.model_ids:
            return ResultCode.END_USER_SERVICE_DENIED
        return None

    def price(self, offering_id: str, model_group: str, unit: str, model_id: str, now_us: int) -> PinnedTariff | None:
        """The tariff at which an offering's buckets of a unit and a model group pay for a model; None: they don't."""
        key = (offering_id, model_group, unit, model_id)
        line = self._lines.get(key)
        if line is None or line.until_us <= now_us:
            line = self._lines[key] = self._line(offering_id, model_group, unit, model_id, now_us)
        return line.tariff

    def _line(self, offering_id: str, model_group: str, unit: str, model_id: str, now_us: int) -> Line:
        rules = self.offerings.get(offering_id)
        if rules is None or self.sold(offering_id, model_id) is not None:
            return Line(None, _FOR_GOOD_US)
        if model_group and model_id not in self._model_groups.get(model_group, ()):
            return Line(None, _FOR_GOOD_US)
        next_us = _FOR_GOOD_US
        for schedule in rules.schedules:
            tariff, until_us = schedule.at(model_id, now_us)
            next_us = min(next_us, until_us)
            if tariff is not None and schedule.unit != unit:
                tariff = self._exchanged(tariff, unit)
            if tariff is not None:
                return Line(tariff, until_us)
        return Line(None, next_us)

    def _exchanged(self, tariff: PinnedTariff, unit: str) -> PinnedTariff | None:
        """A tariff in money, turned into another currency if there is an exchange rate."""
        if not (tariff.unit.startswith(_CURRENCY) and unit.startswith(_CURRENCY)):
            return None
        pair = (tariff.unit.removeprefix(_CURRENCY), unit.removeprefix(_CURRENCY))
        if pair not in self._exchange_rates:
            return None
        rate, version = self._exchange_rates[pair]
        return exchanged(tariff, pair[1], rate, f"{pair[0]}/{pair[1]}@{version}")


def _of_first_terms(offerings: dict[str, OfferingRules]) -> dict[str, OfferingRules]:
    """Offerings whose terms the first release reads whole."""
    return {offering_id: rules._replace(terms=rules.terms and first_terms(rules.terms)) for offering_id, rules in offerings.items()}


def _of_first_classes(schedule: Schedule) -> Schedule:
    def folded(rates: dict[str, PinnedTariff]) -> dict[str, PinnedTariff]:
        return {model_id: first_classes(tariff) for model_id, tariff in rates.items()}

    versions = (
        TariffVersion(each.effective_us, folded(each.rates), tuple(TariffWindow(w.hours, folded(w.rates)) for w in each.windows))
        for each in schedule.versions
    )
    return schedule._replace(versions=tuple(versions))


def own_offerings(account: Account) -> list[str]:
    """Offerings that price what belongs to none, such as topped-up money: the account's, then its subscriptions', latest first."""
    active = [each.terms.offering_id for each in account.subscriptions.values() if each.state == "active"]
    return [account.offering_id, *reversed(active)]


class Plan(NamedTuple):
    """Tariffs that a session of a model may burn, and the offering whose rules hold."""

    # In burn order; debt is owed in the last line.
    lines: dict[str, PinnedTariff]
    rules: OfferingRules
    worst_cases: dict[str, WorstCases]
    # The most that the account may owe in the unit of the last line; -1: no bound.
    debt_limit: int


class KeptPlan(NamedTuple):
    """A plan, and the state for which it holds."""

    catalog: ChargingCatalog
    until_us: int
    plan: Plan | ResultCode


def plan(account: Account, catalog: ChargingCatalog, model_id: str, now_us: int) -> Plan | ResultCode:
    """The tariffs that a session pins, or why it must not be sold.

    Derived once and kept, until buckets, subscriptions or the catalog change, or a tariff or a bucket comes into force.
    """
    if model_id not in catalog.model_ids:
        # Not kept, because a caller may make up names without end.
        return ResultCode.RATING_FAILED
    plans = account.derived.plans
    kept = plans.get(model_id)
    if kept is not None and kept.catalog is catalog and now_us < kept.until_us:
        return kept.plan
    plan = _work_out(account, catalog, model_id, now_us)
    until_us = catalog.next_change_us(now_us)
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        for time_us in (bucket.valid_from_us, bucket.valid_until_us):
            if now_us < time_us < until_us:
                until_us = time_us
    if len(plans) > len(catalog.model_ids):
        # Some of these models are no longer in the catalog: drop all, so that the plans stay bounded.
        plans.clear()
    plans[model_id] = KeptPlan(catalog, until_us, plan)
    return plan


def within(
    account: Account, catalog: ChargingCatalog, planned: Plan, units: frozenset[str], model_id: str, now_us: int
) -> Plan | None:
    """The lines of a plan that are in these units; None: there are none."""
    lines = {line: tariff for line, tariff in planned.lines.items() if named_by(line).unit in units}
    if len(lines) == len(planned.lines):
        return planned
    if not lines:
        return None
    last = next(reversed(lines))
    limit = _debt_limit(catalog, own_offerings(account), last, lines[last], model_id, now_us) if catalog.extended else -1
    return planned._replace(lines=lines, worst_cases={line: planned.worst_cases[line] for line in lines}, debt_limit=limit)


def _work_out(account: Account, catalog: ChargingCatalog, model_id: str, now_us: int) -> Plan | ResultCode:
    own = own_offerings(account)
    lines: dict[str, PinnedTariff] = {}
    tried: set[str] = set()
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        if bucket.line in tried or not bucket.valid_from_us <= now_us < bucket.valid_until_us:
            continue
        tried.add(bucket.line)
        offering_id, model_group, unit = named_by(bucket.line)
        if tariff := _price(catalog, [offering_id] if offering_id else own, model_group, unit, model_id, now_us):
            lines[bucket.line] = tariff
    # Lines of the account's own that no bucket has yet: a top-up during the session can be burnt, and debt is owed there.
    units = [schedule.unit for each in own if each in catalog.offerings for schedule in catalog.offerings[each].schedules]
    for unit in sorted(set(units), key=lambda unit: (unit.startswith(_CURRENCY), units.index(unit))):
        line = line_of("", "", unit)
        if unit.startswith(_CURRENCY) and any(named_by(each).unit.startswith(_CURRENCY) for each in lines):
            # Money in one currency is enough: what the account has could not repay a debt in another.
            continue
        if line not in tried and (tariff := _price(catalog, own, "", unit, model_id, now_us)):
            lines[line] = tariff
    if not lines:
        return catalog.sold(account.offering_id, model_id) or ResultCode.RATING_FAILED
    if not named_by(next(reversed(lines))).unit.startswith(_CURRENCY):
        for line in reversed(lines):
            if named_by(line).unit.startswith(_CURRENCY):
                # Debt is owed in money where there is a tariff in money.
                lines[line] = lines.pop(line)
                break
    offering_id = named_by(next(iter(lines))).offering_id or next(each for each in own if catalog.sold(each, model_id) is None)
    return Plan(
        lines,
        catalog.offerings[offering_id],
        {line: worst_cases(tariff) for line, tariff in lines.items()},
        _debt_limit(catalog, own, *next(reversed(lines.items())), model_id, now_us) if catalog.extended else -1,
    )


def _debt_limit(catalog: ChargingCatalog, own: list[str], line: str, tariff: PinnedTariff, model_id: str, now_us: int) -> int:
    """The most that may be owed in a line: as its offering says, else the price of some output tokens."""
    if not tariff.rate_max:
        # A line that charges nothing leaves nothing owed.
        return -1
    offering_id, model_group, unit = named_by(line)
    priced_by = next(
        each for each in ([offering_id] if offering_id else own) if catalog.price(each, model_group, unit, model_id, now_us)
    )
    limits = catalog.offerings[priced_by].debt_limits
    if unit in limits:
        return limits[unit]
    if output_rate := dearest_output_rate(tariff):
        return amount_of(_DEBT_TOKENS, output_rate)
    # A model of embeddings has only a price of input, and others make images.
    return dearest_amount(tariff, _DEBT)


def _price(
    catalog: ChargingCatalog, offering_ids: list[str], model_group: str, unit: str, model_id: str, now_us: int
) -> PinnedTariff | None:
    for offering_id in offering_ids:
        if tariff := catalog.price(offering_id, model_group, unit, model_id, now_us):
            return tariff
    return None
