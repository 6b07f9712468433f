"""Recording rules and alerts, of which each has a section in docs/runbooks/alerts.md.

Alerts hold on to what they found for minutes (`keep_firing_for`, of Prometheus 2.42), so that they can be raised at once and do
not flicker.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from infra.observability.objectives import (
    ANSWERED,
    CARRIED,
    CELL,
    CHARGED_ROUTES,
    FAST,
    OBJECTIVES,
    PROMPT,
    SLOW,
    Objective,
    records,
)

RUNBOOK: Final = "docs/runbooks/alerts.md"
# Helm puts the release's namespace in its place.
NAMESPACE: Final = "NAMESPACE-OF-THE-RELEASE"
_CRITICAL: Final = "critical"
_WARNING: Final = "warning"


class Alert(NamedTuple):
    """A condition that somebody has to look at, and until when."""

    name: str
    severity: str
    expression: str
    summary: str
    # The condition holds for this long before it is raised, and the alert stays for this long once it has ended.
    after: str = "0s"
    keep: str = "5m"

    def rule(self) -> dict[str, object]:
        """The alert as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.after,
            "keep_firing_for": self.keep,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOK}#{self.name.lower()}"},
        }


def _rate(selector: str, window: str, by: str = "") -> str:
    return _over("rate", selector, window, by)


def _increase(selector: str, window: str, by: str = "") -> str:
    return _over("increase", selector, window, by)


def _over(function: str, selector: str, window: str, by: str) -> str:
    labels = f"namespace, {by}" if by else "namespace"
    name, _, matchers = selector.partition("{")
    inside = f"{CELL},{matchers}" if matchers else f"{CELL}}}"
    return f"sum by ({labels}) ({function}({name}{{{inside}[{window}]))"


def _burning(objective: Objective, name: str, what: str) -> Iterator[Alert]:
    yield Alert(name, _CRITICAL, objective.burns(FAST), f"{what}: the month's budget is gone within days if this goes on")
    slow = f"{what}, a little for a long time: the month's budget will not last"
    yield Alert(f"{name}Slowly", _WARNING, objective.burns(SLOW), slow, after="15m", keep="1h")


_CALLS: Final = f'edge_requests_total{{route=~"{CHARGED_ROUTES}"}}'
_CALLS_LET_IN: Final = f'edge_requests_total{{route=~"{CHARGED_ROUTES}",status=~"2..|5.."}}'
# Averaged over the half hour before by its samples, since a rate over half an hour is too low where there is less to look at.
_USED: Final = "tokenline:usage:rate1m"
RECORDS: Final = ({"record": _USED, "expr": _rate("edge_usage_total", "1m")},)

CALLS: Final = (
    *_burning(ANSWERED, "TokenlineCallsFail", "More calls than the objective allows end with 5xx"),
    *_burning(CARRIED, "TokenlineCallsBreakOff", "More calls than the objective allows break off after they began"),
    *_burning(PROMPT, "TokenlineCallsWait", "More calls than the objective allows wait for us before a vendor is asked"),
    Alert(
        "TokenlineCallsAreShed",
        _WARNING,
        f"({_rate('edge_calls_shed_total', '2m')} > 0) or ({_rate('charging_shed_total', '2m')} > 0)",
        "Calls are refused because there are more than can be begun or committed",
        after="30s",
    ),
    Alert(
        "TokenlineManyAreRefused",
        _WARNING,
        f"{_rate('edge_refusals_total', '2m')} > 0.5 * {_rate(_CALLS, '2m')} and {_increase('edge_refusals_total', '2m')} >= 20",
        "Quota and limits refuse more than half of all calls; their reasons say whether a client runs wild or a plan is wrong",
    ),
    Alert(
        "TokenlineUsageJumps",
        _WARNING,
        f"{_USED}{{{CELL}}} > 5 * avg_over_time({_USED}{{{CELL}}}[30m] offset 2m)"
        f" and {_increase('edge_usage_total', '1m')} > 100000",
        "Five times as much is used as in the half hour before: an account may burn its quota, and the operator's money with it",
    ),
)
CHARGING: Final = (
    Alert(
        "TokenlineCommitsStandStill",
        _CRITICAL,
        f"{_rate('charging_commits_total', '1m')} == 0 and {_rate(_CALLS_LET_IN, '1m')} > 0",
        "Calls arrive and nothing is committed",
    ),
    Alert(
        "TokenlineCommitHangs",
        _CRITICAL,
        f"max by (namespace, server) (charging_commit_pending_seconds{{{CELL}}}) > 5",
        "A commit takes longer than 5 s: the database is slow, or gone",
    ),
    Alert(
        "TokenlinePartitionsAreNotServed",
        _CRITICAL,
        f'sum by (namespace) (charging_partitions{{{CELL},state="recovering"}}) > 0',
        "Partitions are being recovered for a quarter of a minute, and calls of their accounts wait or get 503",
        after="15s",
    ),
    Alert(
        "TokenlineOwnersRecover",
        _WARNING,
        f"{_increase('charging_recoveries_total', '5m')} > 2",
        "Commits fail again and again",
    ),
    Alert(
        "TokenlineUsageIsAbsorbed",
        _WARNING,
        f"{_increase('charging_losses_total', '1h')} > 0",
        "Calls used more than their accounts may owe, and the operator bears it",
    ),
    Alert(
        "TokenlineWorkIsUnpaid",
        _WARNING,
        f"{_increase('charging_unpaid_worth_total', '1h')} > 0.05 * {_increase('charging_paid_worth_total', '1h')} + 10000000",
        "Vendors made more than a twentieth of what was used, and 10 yuan's worth, for clients that did not wait",
    ),
)
# The objective of exactness has no budget: no difference is allowed.
BOOKS: Final = (
    Alert(
        "TokenlineBooksDiffer",
        _CRITICAL,
        f"""{_increase('edge_checks_total{found="differences"}', "1h", "check")} > 0""",
        "tokenline {{ $labels.check }} found a difference: something was charged wrongly, twice or not at all",
        keep="1h",
    ),
    Alert(
        "TokenlineBooksAreNotChecked",
        _WARNING,
        f"{_increase('edge_checks_total', '26h', 'check')} == 0"
        f" and sum by (namespace, check) (edge_checks_total{{{CELL}}} offset 26h) >= 0",
        "Nobody has asked for tokenline {{ $labels.check }} for a day",
    ),
    Alert(
        "TokenlinePhoneBillFails",
        _WARNING,
        # An order that is denied is its customer's business: nothing was delivered.
        f"""{_increase('billing_phone_bill_ended_total{source!="order",state="denied"}', "1h", "source")} > 0"""
        f""" or {_increase('billing_phone_bill_ended_total{state="disputed"}', "1h", "source")} > 0""",
        "The carrier refused or disputes what is on the phone bill ({{ $labels.source }}): goods are not paid, or not paid back",
        keep="1h",
    ),
    Alert(
        "TokenlineExportStops",
        _WARNING,
        f"max by (namespace) (billing_export_lag_seconds{{{CELL}}}) > 30"
        f" or sum by (namespace) (billing_partitions_stopped{{{CELL}}}) > 0",
        "Charges are not exported: CDR files, bills and statements fall behind; calls go on",
    ),
    Alert(
        "TokenlineOutboxFills",
        _WARNING,
        f"max by (namespace, instance) (edge_outbox_age_seconds{{{CELL}}}) > 30",
        "Charges wait on the disk of edge {{ $labels.instance }}, because accounting does not answer them",
    ),
)
CATALOG: Final = (
    Alert(
        "TokenlineCatalogIsRefused",
        _WARNING,
        f"max by (namespace) (registry_catalog_refused{{{CELL}}}) > 0",
        "A change of the catalog is not valid, and the one before goes on: prices and plans are not those that were meant",
    ),
    Alert(
        "TokenlineCatalogIsOld",
        _WARNING,
        f"max by (namespace) (edge_catalog_silence_seconds{{{CELL}}} or charging_catalog_silence_seconds{{{CELL}}}) > 30",
        "A service hears nothing of the registry, and goes on with the catalog that it has",
    ),
    Alert(
        "TokenlineRevocationsAreLate",
        _CRITICAL,
        f"max by (namespace) (edge_revocations_age_seconds{{{CELL}}}) > 5",
        "An edge hears nothing of authentication: revoked keys may pass, new ones wait, and after a minute no key passes",
        after="10s",
    ),
)
VENDORS: Final = (
    Alert(
        "TokenlineVendorFails",
        _WARNING,
        f"""{_rate('edge_vendor_attempts_total{outcome!~"answered|given_up"}', "2m", "vendor")}"""
        f" > 0.2 * {_rate('edge_vendor_attempts_total', '2m', 'vendor')}"
        f""" and {_increase('edge_vendor_attempts_total{outcome!~"answered|given_up"}', "2m", "vendor")} >= 5""",
        "A fifth of the attempts at vendor {{ $labels.vendor }} fail",
    ),
    Alert(
        "TokenlineVendorRefusesUs",
        _WARNING,
        f"""{_increase('edge_vendor_failures_total{meaning="account"}', "5m", "vendor")} > 0""",
        "Vendor {{ $labels.vendor }} refuses our secret, or our balance there is used up",
    ),
    Alert(
        "TokenlineVendorIsNotTrusted",
        _WARNING,
        f"""{_increase('edge_vendor_failures_total{meaning="certificate"}', "5m", "vendor")} > 0""",
        "Vendor {{ $labels.vendor }} shows a certificate that is not taken, as one that has ended",
    ),
    Alert(
        "TokenlineRouteIsLeftOut",
        _WARNING,
        f"max by (namespace, vendor, model, dialect) (edge_route_state{{{CELL}}}) > 0",
        "Model {{ $labels.model }} of vendor {{ $labels.vendor }} is not asked; where it has no other route, calls get 503",
        after="5m",
    ),
    Alert(
        "TokenlineCountsAreDoubted",
        _WARNING,
        f"{_rate('edge_usage_doubtful_total', '10m', 'vendor')} > 0",
        "Usage that vendor {{ $labels.vendor }} reports can't be true, and the edge's own count may stand in its place",
        after="5m",
    ),
)
_COMPONENT: Final = "app_kubernetes_io_component"
_UP: Final = f'up{{{CELL},job="tokenline-metrics"}}'
PROCESSES: Final = (
    Alert(
        "TokenlineIsNotWatched",
        _CRITICAL,
        f"absent({_UP})",
        "Prometheus knows no process of Tokenline, so no other alert can be raised",
        after="1m",
    ),
    Alert(
        "TokenlineServiceIsDown",
        _CRITICAL,
        f"max by (namespace, {_COMPONENT}) ({_UP}) == 0",
        f"No process of {{{{ $labels.{_COMPONENT} }}}} answers Prometheus",
        after="15s",
    ),
    Alert(
        "TokenlineDiskIsFull",
        _WARNING,
        f"disk_free_bytes{{{CELL}}} / (disk_free_bytes{{{CELL}}} + disk_used_bytes{{{CELL}}}) < 0.1",
        "Less than a tenth of the disk that holds {{ $labels.holds }} at {{ $labels.instance }} is free",
        after="1m",
    ),
    Alert(
        "TokenlineCertificateEnds",
        _WARNING,
        f"min by (namespace, service) (certificate_end_timestamp_seconds{{{CELL}}}) - time() < 7 * 86400",
        "The certificate of {{ $labels.service }} ends within a week; after that the services do not know one another",
    ),
    Alert(
        "TokenlineClockIsOff",
        _CRITICAL,
        f"max by (namespace, instance) (abs(clock_time_seconds{{{CELL}}} - timestamp(clock_time_seconds{{{CELL}}}))) > 10",
        "The clock of {{ $labels.instance }} is more than 10 s off that of Prometheus: limits, ends and cycles go by it",
        # A process that stood still answers late, once.
        after="15s",
    ),
    Alert(
        "TokenlineListenerIsFull",
        _WARNING,
        f"""{_rate('http_server_refused_total{reason=~"full|address_full|no_files"}', "2m", "listener, reason")} > 1""",
        "The listener for {{ $labels.listener }} turns connections away: {{ $labels.reason }}",
    ),
    Alert("TokenlinePodIsDown", _WARNING, f"{_UP} == 0", "{{ $labels.instance }} does not answer Prometheus", after="5m"),
)
ALERTS: Final = (*CALLS, *CHARGING, *BOOKS, *CATALOG, *VENDORS, *PROCESSES)


def groups() -> list[dict[str, Any]]:
    """Groups of rules, in which `CELL` stands for the labels of a cell."""
    alerts = {"calls": CALLS, "charging": CHARGING, "books": BOOKS, "catalog": CATALOG, "vendors": VENDORS, "processes": PROCESSES}
    return [
        {"name": "tokenline-objectives", "interval": "15s", "rules": [*records(OBJECTIVES), *RECORDS]},
        *(
            {"name": f"tokenline-{name}", "interval": "15s", "rules": [each.rule() for each in group]}
            for name, group in alerts.items()
        ),
    ]


def matched(expression: str, matcher: str = "") -> str:
    """An expression over the series that the matcher takes; without one over all."""
    if matcher:
        return expression.replace(CELL, matcher)
    return expression.replace(f"{{{CELL}}}", "").replace(f"{CELL},", "")


def _written(said: str, matcher: str) -> str:
    written = [
        {**group, "rules": [{**rule, "expr": matched(rule["expr"], matcher)} for rule in group["rules"]]} for group in groups()
    ]
    return f"# {said} Written by `make generate` from infra/observability.\n" + yaml.safe_dump(
        {"groups": written}, sort_keys=False, width=10_000, allow_unicode=True
    )


def of_one_cell() -> str:
    """The rules for a Prometheus that watches one cell, and no other."""
    return _written("Recording rules and alerts, for a Prometheus that watches one cell.", "")


def of_the_chart() -> str:
    """The rules as the chart puts them in, by its namespace."""
    return _written("What the chart's PrometheusRule says.", f'namespace="{NAMESPACE}"')
