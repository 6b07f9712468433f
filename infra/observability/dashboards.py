"""Grafana's dashboards, made with its own SDK: one for whoever is on call, one for vendors, one for charging, one for processes."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Final, Literal, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

from infra.observability.objectives import CELL, CHARGED_ROUTES, OBJECTIVES
from infra.observability.rules import matched

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="$source")
_EVERY: Final = "$__rate_interval"
_WIDTH: Final = 24


class Panel(NamedTuple):
    """A picture: a question with the legend of its lines, or several."""

    title: str
    unit: str
    asked: dict[str, str]
    said: str = ""
    kind: Literal["lines", "number"] = "lines"
    # Where a number becomes red: below it.
    red_below: float | None = None


class Row(NamedTuple):
    """Panels side by side."""

    title: str
    panels: Sequence[Panel]


class Board(NamedTuple):
    """A dashboard."""

    name: str
    title: str
    rows: Sequence[Row]


def _sum(function: str, selector: str, by: str = "") -> str:
    name, _, matchers = selector.partition("{")
    inside = f"{CELL},{matchers}" if matchers else f"{CELL}}}"
    return f"sum{f' by ({by}) ' if by else ''}({function}({name}{{{inside}[{_EVERY}]))"


def _rate(selector: str, by: str = "") -> str:
    return _sum("rate", selector, by)


def _quantile(quantile: float, selector: str, by: str = "") -> str:
    return f"histogram_quantile({quantile}, {_rate(selector, f'le, {by}' if by else 'le')})"


def _budget(slo: str, budget: str) -> str:
    return f'1 - avg_over_time(tokenline:slo_bad:ratio_rate1h{{{CELL},slo="{slo}"}}[30d]) / {budget}'


_OF_CALLS: Final = f'{{route=~"{CHARGED_ROUTES}"}}'
_OF: Final = f"{{{CELL}}}"
_PROCESS: Final = f'{{{CELL},job="tokenline-metrics"}}'
_RAISED: Final = f'sum by (alertname, severity) (ALERTS{{{CELL},alertname=~"Tokenline.+",alertstate="firing"}})'

SERVICE: Final = Board(
    "service",
    "Tokenline: service",
    (
        Row(
            "Objectives",
            (
                *(
                    Panel(
                        f"Budget left: {each.slo}",
                        "percentunit",
                        {"{{namespace}}": _budget(each.slo, f"{each.budget.normalize():f}")},
                        f"Of 30 days: {each.meaning}, {each.target * 100:f} %.",
                        "number",
                        0.25,
                    )
                    for each in OBJECTIVES
                ),
                Panel(
                    "Alerts raised", "short", {"{{alertname}} ({{severity}})": _RAISED}, "docs/runbooks/alerts.md says what to do."
                ),
            ),
        ),
        Row(
            "Calls",
            (
                Panel("Calls by answer", "reqps", {"{{status}}": _rate(f"edge_requests_total{_OF_CALLS}", "status")}),
                Panel("Calls by how they ended", "reqps", {"{{ended}}": _rate("edge_calls_total", "ended")}),
                Panel("Refused by quota and limits", "reqps", {"{{reason}}": _rate("edge_refusals_total", "reason")}),
                Panel(
                    "Refused in an overload",
                    "reqps",
                    {
                        "edge, class {{priority_class}}": _rate("edge_calls_shed_total", "priority_class"),
                        "accounting": _rate("charging_shed_total"),
                        "listener {{listener}}: {{reason}}": _rate(
                            'http_server_refused_total{reason=~"full|address_full|no_files"}', "listener, reason"
                        ),
                    },
                ),
            ),
        ),
        Row(
            "Time",
            (
                Panel(
                    "To the answer's last byte, chat",
                    "s",
                    {
                        f"p{int(100 * each)}": _quantile(
                            each, 'http_server_request_duration_seconds_bucket{http_route="/v1/chat/completions"}'
                        )
                        for each in (0.5, 0.99)
                    },
                ),
                Panel(
                    "Added by us, p99",
                    "s",
                    {"{{part}}": _quantile(0.99, "edge_call_added_duration_seconds_bucket", "part")},
                    "opening: from the call, read whole, to asking its vendor; settling: from the last word to the durable charge.",
                ),
                Panel(
                    "To the first token, p95",
                    "s",
                    {
                        "{{gen_ai_provider_name}}": _quantile(
                            0.95, "gen_ai_server_time_to_first_token_seconds_bucket", "gen_ai_provider_name"
                        )
                    },
                ),
            ),
        ),
        Row(
            "Use",
            (
                Panel(
                    "Used by class",
                    "short",
                    {"{{class}}": _rate("edge_usage_total", "class")},
                    "Tokens and other measures a second.",
                ),
                Panel(
                    "Output by model",
                    "short",
                    {"{{model}}": "topk(10, " + _rate('edge_usage_total{class="output"}', "model") + ")"},
                ),
            ),
        ),
    ),
)
VENDORS: Final = Board(
    "vendors",
    "Tokenline: vendors",
    (
        Row(
            "Attempts",
            (
                Panel(
                    "Attempts that fail",
                    "percentunit",
                    {
                        "{{vendor}}": _rate('edge_vendor_attempts_total{outcome!~"answered|given_up"}', "vendor")
                        + " / "
                        + _rate("edge_vendor_attempts_total", "vendor")
                    },
                ),
                Panel(
                    "Attempts by outcome",
                    "reqps",
                    {"{{vendor}} {{outcome}}": _rate("edge_vendor_attempts_total", "vendor, outcome")},
                ),
                Panel(
                    "Failures by meaning",
                    "reqps",
                    {"{{vendor}} {{meaning}}": _rate("edge_vendor_failures_total", "vendor, meaning")},
                ),
            ),
        ),
        Row(
            "Routes and counts",
            (
                Panel(
                    "Routes that are not called",
                    "short",
                    {"{{vendor}} {{model}} {{dialect}}": f"max by (vendor, model, dialect) (edge_route_state{{{CELL}}}) > 0"},
                    "1: tried by one call; 2: left out; 3: left out for one account.",
                ),
                Panel(
                    "Counts that are doubted",
                    "reqps",
                    {"{{vendor}} {{doubt}}": _rate("edge_usage_doubtful_total", "vendor, doubt")},
                ),
            ),
        ),
        Row(
            "Time",
            tuple(
                Panel(
                    f"{title}, p{int(100 * each)}", "s", {"{{gen_ai_provider_name}}": _quantile(each, name, "gen_ai_provider_name")}
                )
                for title, name in (
                    ("To the first token", "gen_ai_server_time_to_first_token_seconds_bucket"),
                    ("To the end of the answer", "gen_ai_client_operation_duration_seconds_bucket"),
                )
                for each in (0.5, 0.95)
            ),
        ),
    ),
)
CHARGING: Final = Board(
    "charging",
    "Tokenline: charging",
    (
        Row(
            "Journal",
            (
                Panel(
                    "Commits", "ops", {"commits": _rate("charging_commits_total"), "recoveries": _rate("charging_recoveries_total")}
                ),
                Panel("Entries", "ops", {"entries": _rate("charging_entries_total"), "commands": _rate("charging_commands_total")}),
                Panel(
                    "Entries in a commit",
                    "short",
                    {"mean": f"{_rate('charging_entries_total')} / {_rate('charging_commits_total')}"},
                    "Group commit: it rises with load.",
                ),
            ),
        ),
        Row(
            "Database",
            (
                Panel("A commit, p99", "s", {"{{server}}": _quantile(0.99, "charging_commit_duration_seconds_bucket", "server")}),
                Panel("The commit under way", "s", {"{{server}}": f"max by (server) (charging_commit_pending_seconds{{{CELL}}})"}),
                Panel(
                    "Partitions",
                    "short",
                    {
                        "{{state}}": f"sum by (state) (charging_partitions{{{CELL}}})",
                        "{{how}}, in five minutes": f"sum by (how) (increase(charging_handovers_total{{{CELL}}}[5m]))",
                    },
                ),
            ),
        ),
        Row(
            "Export and books",
            (
                Panel("Export is behind by", "s", {"time": f"max(billing_export_lag_seconds{{{CELL}}})"}),
                Panel(
                    "Rows that are not exported",
                    "short",
                    {
                        "rows": f"sum(billing_export_lag_rows{{{CELL}}})",
                        "partitions that stopped": f"sum(billing_partitions_stopped{{{CELL}}})",
                    },
                ),
                Panel(
                    "Charges that wait on edges",
                    "short",
                    {
                        "charges": f"sum(edge_outbox_releases{{{CELL}}})",
                        "the oldest, seconds": f"max(edge_outbox_age_seconds{{{CELL}}})",
                    },
                ),
                Panel(
                    "Checks, a day",
                    "short",
                    {"{{check}}: {{found}}": f"sum by (check, found) (increase(edge_checks_total{{{CELL}}}[1d]))"},
                    "No difference is allowed.",
                ),
            ),
        ),
        Row(
            "Money at risk",
            (
                Panel(
                    "Held, owed, and used on credit lines",
                    "short",
                    {"{{kind}} {{unit}}": f"sum by (kind, unit) (charging_at_risk{{{CELL}}}) / 1e6"},
                    "held: by open calls; debt: owed beyond what was bought; credit: not billed yet.",
                ),
                Panel(
                    "Open calls, and accounts that owe",
                    "short",
                    {
                        "open calls": f"sum(charging_sessions_open{{{CELL}}})",
                        "accounts that owe": f"sum(charging_accounts_in_debt{{{CELL}}})",
                    },
                ),
            ),
        ),
        Row(
            "Money that nobody pays",
            (
                Panel(
                    "Above what accounts may owe, a day",
                    "short",
                    {"{{unit}}": f"sum by (unit) (increase(charging_absorbed_total{{{CELL}}}[1d])) / 1e6"},
                ),
                Panel(
                    "Vendors' work that nobody paid",
                    "percentunit",
                    {
                        "unpaid": _rate("charging_unpaid_worth_total")
                        + " / ("
                        + _rate("charging_paid_worth_total")
                        + " + "
                        + _rate("charging_unpaid_worth_total")
                        + ")"
                    },
                ),
            ),
        ),
    ),
)
PROCESSES: Final = Board(
    "processes",
    "Tokenline: processes",
    (
        Row(
            "Processes",
            (
                Panel(
                    "Answer Prometheus",
                    "short",
                    {"{{app_kubernetes_io_component}} {{instance}}": f"up{_PROCESS}"},
                ),
                Panel("Memory", "bytes", {"{{instance}}": f"process_resident_memory_bytes{_PROCESS}"}),
                Panel(
                    "Cores used",
                    "short",
                    {"{{instance}}": f"rate(process_cpu_seconds_total{_PROCESS}[{_EVERY}])"},
                ),
                Panel(
                    "Open files",
                    "percentunit",
                    {
                        "{{instance}}": f"process_open_fds{_PROCESS} / process_max_fds{_PROCESS}",
                    },
                ),
            ),
        ),
        Row(
            "Room and time left",
            (
                Panel(
                    "Disk that is free",
                    "percentunit",
                    {"{{holds}} {{instance}}": f"disk_free_bytes{_OF} / (disk_free_bytes{_OF} + disk_used_bytes{_OF})"},
                ),
                Panel(
                    "Certificates end in",
                    "d",
                    {"{{service}}": f"(min by (service) (certificate_end_timestamp_seconds{{{CELL}}}) - time()) / 86400"},
                ),
                Panel(
                    "Nothing is heard of",
                    "s",
                    {
                        "the registry, by edges": f"max(edge_catalog_silence_seconds{{{CELL}}})",
                        "the registry, by accounting": f"max(charging_catalog_silence_seconds{{{CELL}}})",
                        "authentication, by edges": f"max(edge_revocations_age_seconds{{{CELL}}})",
                    },
                ),
            ),
        ),
        Row(
            "Between services",
            (
                Panel(
                    "Calls that fail",
                    "reqps",
                    {
                        "{{rpc_method}} {{rpc_grpc_status_code}}": _rate(
                            'rpc_server_duration_seconds_count{rpc_grpc_status_code!="OK"}', "rpc_method, rpc_grpc_status_code"
                        )
                    },
                ),
                Panel("Time, p99", "s", {"{{rpc_method}}": _quantile(0.99, "rpc_server_duration_seconds_bucket", "rpc_method")}),
            ),
        ),
    ),
)
BOARDS: Final = (SERVICE, VENDORS, CHARGING, PROCESSES)


def written(board: Board) -> str:
    """The dashboard as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"tokenline-{board.name}")
        .tags(["tokenline"])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Cell")
            .datasource(_SOURCE)
            .query("label_values(charging_commits_total, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(False)
            .include_all(True)
            # Where there is one cell, its series have no namespace.
            .all_value(".*")
        )
        .link(
            dashboard.DashboardLink("Tokenline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["tokenline"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    ids = count(1)
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            made = made.with_panel(_drawn(panel, _WIDTH // len(row.panels)).id(next(ids)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _drawn(panel: Panel, width: int) -> stat.Panel | timeseries.Panel:
    drawn = _number(panel) if panel.kind == "number" else _lines()
    drawn = drawn.title(panel.title).description(panel.said).unit(panel.unit).datasource(_SOURCE).span(width).height(8)
    for number, (legend, expression) in enumerate(panel.asked.items()):
        asked = matched(expression, 'namespace=~"$namespace"')
        drawn = drawn.with_target(prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(asked).legend_format(legend))
    return drawn


def _lines() -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    return timeseries.Panel().legend(legend).fill_opacity(10).min(0)


def _number(panel: Panel) -> stat.Panel:
    steps = [Threshold(color="red", value=None), Threshold(color="green", value=panel.red_below)]
    thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    return stat.Panel().thresholds(thresholds).graph_mode(BigValueGraphMode.NONE).no_value("no calls yet")
