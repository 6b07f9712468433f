"""Rules as Prometheus' own tests run them: each alert is raised for what it is for, and not for what is as it should be."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest
import yaml

from infra.observability.__main__ import FOLDER
from infra.observability.objectives import CHARGED_ROUTES
from infra.observability.rules import ALERTS, NAMESPACE, Alert, of_one_cell, of_the_chart
from services.edge.app import CALLS
from services.edge.call.dialect import Charged
from tests.charts.rendering import objects_of, of_kind
from tests.observability.prometheus import selectors, tool, unknown

CHAT: Final = "/v1/chat/completions"
UP: Final = 'up{job="tokenline-metrics",app_kubernetes_io_component="billing",instance="a:1"}'
UP_OF_ANOTHER: Final = 'up{job="tokenline-metrics",app_kubernetes_io_component="billing",instance="b:1"}'


class Scene(NamedTuple):
    """Series as promtool writes them, one value an interval, and the alerts that they raise by then: name to its own labels."""

    said: str
    series: dict[str, str]
    at: str
    raised: Mapping[str, dict[str, str]] = MappingProxyType({})
    interval: str = "15s"


def requests(status: int, route: str = CHAT) -> str:
    """Series of requests."""
    return f'edge_requests_total{{route="{route}",status="{status}"}}'


def attempts(outcome: str) -> str:
    """Series of attempts at a vendor."""
    return f'edge_vendor_attempts_total{{vendor="v",outcome="{outcome}"}}'


def ended(how: str) -> str:
    """Series of calls by how they ended."""
    return f'edge_calls_total{{model="m",ended="{how}"}}'


def phone_bill(source: str, state: str) -> str:
    """Series of demands on the phone bill by how they ended."""
    return f'billing_phone_bill_ended_total{{source="{source}",state="{state}"}}'


def edge(what: str, name: str) -> str:
    """Series of one edge."""
    return f'edge_{what}{{instance="{name}:1"}}'


OPENING: Final = "edge_call_added_duration_seconds"
FOUND: Final = 'edge_checks_total{check="audit",found="differences"}'
CLEAN: Final = 'edge_checks_total{check="audit",found="nothing"}'
ROUTE: Final = {"vendor": "v", "model": "m", "dialect": "chat"}
ROUTE_STATE: Final = 'edge_route_state{vendor="v",model="m",dialect="chat"}'
# Ages in seconds, by how old they may be.
AGES_OF_30: Final = (
    *("billing_export_lag_seconds", 'edge_outbox_age_seconds{instance="a:1"}'),
    *("edge_catalog_silence_seconds", "charging_catalog_silence_seconds"),
)
AGES_OF_5: Final = ("edge_revocations_age_seconds", 'charging_commit_pending_seconds{server="0"}')
WATCHED: Final = {UP: "1x40000"}
SCENES: Final = (
    Scene(
        "a cell at work",
        {requests(200): "0+150x40", requests(429): "0+5x40", ended("whole"): "0+150x40", "charging_commits_total": "0+40x40"},
        "10m",
    ),
    Scene("a night without a call", {requests(200): "7x40", "charging_commits_total": "7x40", ended("whole"): "7x40"}, "10m"),
    Scene(
        "all calls fail",
        {requests(200): "0+150x10 1500x10", requests(503): "0x10 0+150x10"},
        "3m30s",
        {"TokenlineCallsFail": {"slo": "answered"}},
    ),
    Scene("one call in a thousand fails", {requests(200): "0+9990x80", requests(503): "0+10x80"}, "20m"),
    Scene(
        "one call in fifty fails, and probes, people and strangers are answered without end",
        {
            requests(200): "0+98x80",
            requests(500): "0+2x80",
            requests(200, "/readyz"): "0+100000x80",
            requests(200, "/v1/models"): "0+100000x80",
            requests(401): "0+100000x80",
        },
        "10m",
        {"TokenlineCallsFail": {"slo": "answered"}},
    ),
    # Each alert's own series, at rest or as they are after what ended minutes ago.
    Scene(
        "a cell at rest, which had a bad minute",
        {
            requests(200): "7x60",
            'edge_calls_shed_total{priority_class="2"}': "0 1x60",
            "charging_shed_total": "0 1x60",
            'edge_refusals_total{reason="rate_limit_exceeded"}': "3x60",
            "charging_commits_total": "7x60",
            "charging_recoveries_total": "0 5x60",
            "charging_losses_total": "3x60",
            'charging_commit_pending_seconds{server="0"}': "0x60",
            'charging_partitions{state="recovering"}': "0x60",
            'charging_partitions{state="served"}': "64x60",
            FOUND: "3x60",
            phone_bill("item", "denied"): "3x60",
            'edge_outbox_age_seconds{instance="a:1"}': "9x60",
            "registry_catalog_refused": "0x60",
            "edge_catalog_silence_seconds": "9x60",
            "charging_catalog_silence_seconds": "9x60",
            "edge_revocations_age_seconds": "2x60",
            'edge_vendor_failures_total{vendor="v",meaning="account"}': "0 3x60",
            'edge_vendor_failures_total{vendor="v",meaning="certificate"}': "0 3x60",
            'edge_usage_doubtful_total{vendor="v",doubt="odd"}': "3x60",
            ROUTE_STATE: "0x60",
            'http_server_refused_total{listener="clients",reason="full"}': "0+9x60",
            'up{job="another",instance="c:1"}': "0x60",
        },
        "12m",
    ),
    Scene("nine calls fail, and there are no others", {requests(500): "0 0 9x80"}, "20m"),
    Scene(
        "one call in 250 fails for a day",
        {requests(200): "0+4980x300", requests(503): "0+20x300"},
        "25h",
        {"TokenlineCallsFailSlowly": {"slo": "answered"}},
        "5m",
    ),
    Scene(
        "one answer in ten breaks off",
        {ended("whole"): "0+90x40", ended("broken"): "0+10x40"},
        "5m",
        {"TokenlineCallsBreakOff": {"slo": "carried"}},
    ),
    Scene("clients leave, and quotas end", {ended("left"): "0+50x40", ended("cut"): "0+50x40"}, "5m"),
    Scene(
        "one answer in fifty breaks off for a day",
        {ended("whole"): "0+1960x300", ended("failed"): "0+40x300"},
        "25h",
        {"TokenlineCallsBreakOffSlowly": {"slo": "carried"}},
        "5m",
    ),
    Scene(
        "one call in ten waits for half a second",
        {f'{OPENING}_count{{part="opening"}}': "0+100x40", f'{OPENING}_bucket{{part="opening",le="0.25"}}': "0+80x40"},
        "5m",
        {"TokenlineCallsWait": {"slo": "prompt"}},
    ),
    Scene(
        "a vendor takes its time, and charges are settled slowly",
        {
            f'{OPENING}_count{{part="opening"}}': "0+100x40",
            f'{OPENING}_bucket{{part="opening",le="0.25"}}': "0+100x40",
            f'{OPENING}_count{{part="settling"}}': "0+100x40",
            f'{OPENING}_bucket{{part="settling",le="0.25"}}': "0x40",
        },
        "5m",
    ),
    Scene(
        "one call in thirty waits for a day",
        {f'{OPENING}_count{{part="opening"}}': "0+3000x300", f'{OPENING}_bucket{{part="opening",le="0.25"}}': "0+2890x300"},
        "25h",
        {"TokenlineCallsWaitSlowly": {"slo": "prompt"}},
        "5m",
    ),
    Scene("an edge sheds", {'edge_calls_shed_total{priority_class="2"}': "0 0 0 5+5x20"}, "2m", {"TokenlineCallsAreShed": {}}),
    Scene("an edge begins to shed", {'edge_calls_shed_total{priority_class="2"}': "0 0 0 5+5x20"}, "1m"),
    Scene("accounting sheds", {"charging_shed_total": "0 0 0 5+5x20"}, "2m", {"TokenlineCallsAreShed": {}}),
    Scene(
        "a client runs into its limit again and again",
        {
            requests(200): "0+3x20",
            requests(429): "0+9x20",
            requests(200, "/v1/models"): "0+1000x20",
            'edge_refusals_total{reason="rate_limit_exceeded"}': "0+9x20",
        },
        "2m",
        {"TokenlineManyAreRefused": {}},
    ),
    Scene(
        "a tenth is refused",
        {requests(200): "0+90x20", requests(429): "0+10x20", 'edge_refusals_total{reason="rate_limit_exceeded"}': "0+10x20"},
        "2m",
    ),
    Scene(
        "a few calls at night are refused",
        {requests(200): "0x20", requests(429): "0+2x20", 'edge_refusals_total{reason="rate_limit_exceeded"}': "0+2x20"},
        "2m",
    ),
    Scene(
        "an account burns",
        {
            'edge_usage_total{model="m",class="output"}': "0+2000x40 80000+20000x10",
            'edge_usage_total{model="m",class="input"}': "0+2000x40 80000+20000x10",
        },
        "12m",
        {"TokenlineUsageJumps": {}},
    ),
    Scene("twice as much is used", {'edge_usage_total{model="m",class="output"}': "0+50000x40 2000000+100000x10"}, "11m"),
    Scene("a test at night", {'edge_usage_total{model="m",class="output"}': "0x40 5000+5000x10"}, "11m"),
    Scene(
        "commits stand still",
        {requests(200): "0+10x20", "charging_commits_total": "0+10x4 40x20"},
        "3m",
        {"TokenlineCommitsStandStill": {}},
    ),
    Scene("people look at their accounts", {requests(200, "/v1/me"): "0+10x20", "charging_commits_total": "40x20"}, "3m"),
    Scene("only strangers knock", {requests(401): "0+10x20", "charging_commits_total": "40x20"}, "3m"),
    Scene(
        "commits fail at three replicas",
        {f'charging_recoveries_total{{instance="{each}:1"}}': "0 1x20" for each in "abc"},
        "2m",
        {"TokenlineOwnersRecover": {}},
    ),
    Scene("a commit failed", {"charging_recoveries_total": "0 1x20"}, "2m"),
    Scene("a debt too large", {"charging_losses_total": "0 0 1x20"}, "2m", {"TokenlineUsageIsAbsorbed": {}}),
    Scene(
        "nobody pays",
        {"charging_unpaid_worth_total": "0+2000000x20", "charging_paid_worth_total": "0+10000000x20"},
        "4m",
        {"TokenlineWorkIsUnpaid": {}},
    ),
    Scene(
        "a twenty-fifth is unpaid",
        {"charging_unpaid_worth_total": "0+40000000x20", "charging_paid_worth_total": "0+1000000000x20"},
        "4m",
    ),
    Scene("little is unpaid", {"charging_unpaid_worth_total": "0+100x20", "charging_paid_worth_total": "0+10000x20"}, "4m"),
    Scene(
        "the database hangs",
        {'charging_commit_pending_seconds{server="0"}': "0 0 0 15+15x20"},
        "1m15s",
        {"TokenlineCommitHangs": {"server": "0"}},
    ),
    Scene("commits take a second", {'charging_commit_pending_seconds{server="0"}': "0 1 0 1x20"}, "1m15s"),
    Scene(
        "partitions are recovered",
        {'charging_partitions{state="recovering"}': "0 4x20"},
        "1m",
        {"TokenlinePartitionsAreNotServed": {}},
    ),
    Scene("partitions are handed over", {'charging_partitions{state="recovering"}': "0 0 4 0x20"}, "30s"),
    Scene("an audit finds a breach", {FOUND: "0 0 1x20", CLEAN: "0 1 1x20"}, "2m", {"TokenlineBooksDiffer": {"check": "audit"}}),
    Scene("audits find nothing", {FOUND: "0x400", CLEAN: "0+1x400"}, "30h", {}, "5m"),
    Scene(
        "nobody audits",
        {FOUND: "0x400", CLEAN: "0 1x400"},
        "26h30m",
        {"TokenlineBooksAreNotChecked": {"check": "audit"}},
        "5m",
    ),
    Scene("nobody has audited a new system", {FOUND: "0x400", CLEAN: "0x400"}, "20h", {}, "5m"),
    Scene(
        "a breach was found within two hours",
        {FOUND: "0 1x400"},
        "1h50m",
        {"TokenlineBooksDiffer": {"check": "audit"}},
        "5m",
    ),
    Scene(
        "all that was found is over after two hours",
        {FOUND: "0 1x400", phone_bill("item", "denied"): "0 1x400", phone_bill("order", "disputed"): "0 1x400"}
        | {
            "charging_losses_total": "0 1x400",
            "charging_unpaid_worth_total": "0 90000000x400",
            "charging_paid_worth_total": "0x400",
        },
        "2h20m",
        {},
        "5m",
    ),
    Scene(
        "the carrier refuses what a credit line paid",
        {phone_bill("item", "denied"): "0 0 1x20", phone_bill("order", "denied"): "0x20"},
        "2m",
        {"TokenlinePhoneBillFails": {"source": "item"}},
    ),
    Scene(
        "the carrier has another amount",
        {phone_bill("order", "disputed"): "0 0 1x20"},
        "2m",
        {"TokenlinePhoneBillFails": {"source": "order"}},
    ),
    Scene(
        "the carrier refuses an order, and bills and gives back the rest",
        {
            phone_bill("order", "denied"): "0+1x20",
            phone_bill("item", "succeeded"): "0+1x20",
            phone_bill("refund", "denied"): "7x20",
            phone_bill("order", "disputed"): "0x20",
        },
        "2m",
    ),
    Scene("export stops", {"billing_export_lag_seconds": "5 5 5 20+15x20"}, "2m", {"TokenlineExportStops": {}}),
    Scene("a partition's export stops", {"billing_partitions_stopped": "0 0 1x20"}, "2m", {"TokenlineExportStops": {}}),
    Scene("export as ever", {"billing_export_lag_seconds": "0 9 3 10x20", "billing_partitions_stopped": "0x20"}, "2m"),
    Scene(
        "charges wait",
        {'edge_outbox_age_seconds{instance="a:1"}': "0 0 15+15x20"},
        "2m",
        {"TokenlineOutboxFills": {"instance": "a:1"}},
    ),
    Scene("all ages are as old as they may be", dict.fromkeys(AGES_OF_30, "30x20") | dict.fromkeys(AGES_OF_5, "5x20"), "4m"),
    Scene(
        "all ages are a second older than they may be",
        dict.fromkeys(AGES_OF_30, "31x20") | dict.fromkeys(AGES_OF_5, "6x20"),
        "4m",
        {
            "TokenlineExportStops": {},
            "TokenlineOutboxFills": {"instance": "a:1"},
            "TokenlineCatalogIsOld": {},
            "TokenlineRevocationsAreLate": {},
            "TokenlineCommitHangs": {"server": "0"},
        },
    ),
    Scene("a layer is not valid", {"registry_catalog_refused": "0 0 1x20"}, "2m", {"TokenlineCatalogIsRefused": {}}),
    Scene(
        "one of two edges hears no registry",
        {edge("catalog_silence_seconds", "a"): "0 0 15+15x20", edge("catalog_silence_seconds", "b"): "9x20"},
        "2m",
        {"TokenlineCatalogIsOld": {}},
    ),
    Scene(
        "accounting hears no registry", {"charging_catalog_silence_seconds": "0 0 15+15x20"}, "2m", {"TokenlineCatalogIsOld": {}}
    ),
    Scene(
        "authentication is silent to one of two edges",
        {edge("revocations_age_seconds", "a"): "0 0 15+15x20", edge("revocations_age_seconds", "b"): "1x20"},
        "1m",
        {"TokenlineRevocationsAreLate": {}},
    ),
    Scene("authentication was silent for a moment", {edge("revocations_age_seconds", "a"): "0 0 9 0x20"}, "30s"),
    Scene(
        "a disk fills",
        {'disk_free_bytes{holds="cdr",instance="a:1"}': "5x20", 'disk_used_bytes{holds="cdr",instance="a:1"}': "95x20"},
        "2m",
        {"TokenlineDiskIsFull": {"holds": "cdr", "instance": "a:1"}},
    ),
    Scene(
        "a large file comes and goes",
        {'disk_free_bytes{holds="cdr"}': "50 50 50 5 5 50x20", 'disk_used_bytes{holds="cdr"}': "50 50 50 95 95 50x20"},
        "1m",
    ),
    Scene("there is room", {'disk_free_bytes{holds="cdr"}': "15x20", 'disk_used_bytes{holds="cdr"}': "85x20"}, "2m"),
    Scene(
        "a certificate ends in six days",
        {
            'certificate_end_timestamp_seconds{service="billing",instance="a:1"}': "518400x20",
            'certificate_end_timestamp_seconds{service="billing",instance="b:1"}': "2592000x20",
        },
        "2m",
        {"TokenlineCertificateEnds": {"service": "billing"}},
    ),
    Scene("a certificate ends in a month", {'certificate_end_timestamp_seconds{service="billing"}': "2592000x20"}, "2m"),
    Scene(
        "a clock jumps a minute ahead",
        {'clock_time_seconds{instance="a:1"}': "0+15x4 120+15x20", 'clock_time_seconds{instance="b:1"}': "0+15x30"},
        "2m",
        {"TokenlineClockIsOff": {"instance": "a:1"}},
    ),
    Scene(
        "a clock is a minute late",
        {'clock_time_seconds{instance="a:1"}': "-60+15x30"},
        "2m",
        {"TokenlineClockIsOff": {"instance": "a:1"}},
    ),
    Scene(
        "clocks are seconds off, and a page came late once",
        {'clock_time_seconds{instance="a:1"}': "5+15x30", 'clock_time_seconds{instance="b:1"}': "0+15x7 90 135+15x20"},
        "2m",
    ),
    Scene(
        "a listener is full",
        {
            'http_server_refused_total{listener="clients",reason="full",instance="a:1"}': "0+9x20",
            'http_server_refused_total{listener="clients",reason="full",instance="b:1"}': "0+9x20",
        },
        "2m",
        {"TokenlineListenerIsFull": {"listener": "clients", "reason": "full"}},
    ),
    Scene("bad requests", {'http_server_refused_total{listener="clients",reason="400"}': "0+100x20"}, "2m"),
    Scene(
        "a vendor fails",
        {attempts("answered"): "0+1x8 8x20", attempts("refused"): "0x8 3+3x20"},
        "3m",
        {"TokenlineVendorFails": {"vendor": "v"}},
    ),
    Scene("a vendor fails three times at night", {attempts("answered"): "0x8 8x20", attempts("refused"): "0x8 3x20"}, "3m"),
    Scene("clients of a vendor leave soon", {attempts("answered"): "0+10x40", attempts("given_up"): "0+90x40"}, "3m"),
    Scene("a vendor fails a little", {attempts("answered"): "0+90x40", attempts("timeout"): "0+10x40"}, "3m"),
    Scene(
        "our balance there is used up",
        {'edge_vendor_failures_total{vendor="v",meaning="account"}': "0 0 1x20"},
        "1m",
        {"TokenlineVendorRefusesUs": {"vendor": "v"}},
    ),
    Scene(
        "its certificate has ended",
        {'edge_vendor_failures_total{vendor="v",meaning="certificate"}': "0 0 1x20"},
        "1m",
        {"TokenlineVendorIsNotTrusted": {"vendor": "v"}},
    ),
    Scene("it asks to wait", {'edge_vendor_failures_total{vendor="v",meaning="rate"}': "0 0 1x20"}, "1m"),
    Scene("a route is left out", {ROUTE_STATE: "2x40"}, "6m", {"TokenlineRouteIsLeftOut": ROUTE}),
    Scene("a route was left out for a minute", {ROUTE_STATE: "2x4 0x40"}, "6m"),
    Scene(
        "a vendor miscounts",
        {'edge_usage_doubtful_total{vendor="v",doubt="odd"}': "0+1x60"},
        "10m",
        {"TokenlineCountsAreDoubted": {"vendor": "v"}},
    ),
    Scene(
        "a vendor miscounted once",
        {'edge_usage_doubtful_total{vendor="v",doubt="odd"}': "0x30 1x60"},
        "10m",
    ),
    Scene("nobody is watched", {}, "2m", {"TokenlineIsNotWatched": {"job": "tokenline-metrics"}}),
    Scene("a service starts anew", {UP: "1x4 0 1x40"}, "1m15s"),
    Scene(
        "a service is down",
        {UP: "1x4 0x40"},
        "2m",
        {"TokenlineServiceIsDown": {"app_kubernetes_io_component": "billing"}},
    ),
    Scene(
        "a pod is down, and another is not",
        {UP: "1x40", UP_OF_ANOTHER: "0x40"},
        "6m",
        {"TokenlinePodIsDown": {"job": "tokenline-metrics", "app_kubernetes_io_component": "billing", "instance": "b:1"}},
    ),
)


def _expected(alert: Alert, labels: dict[str, str]) -> dict[str, Any]:
    rule: Any = alert.rule()
    told = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }
    return {"exp_labels": {"severity": alert.severity, **labels}, "exp_annotations": told}


def _test_of(scene: Scene) -> dict[str, Any]:
    watched = {} if "TokenlineIsNotWatched" in scene.raised else WATCHED
    series = {**watched, **scene.series}
    return {
        "name": scene.said,
        "interval": scene.interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": scene.at,
                "alertname": each.name,
                "exp_alerts": [_expected(each, scene.raised[each.name])] if each.name in scene.raised else [],
            }
            for each in ALERTS
        ],
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    return tool("promtool")


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.said)
def test_alerts_are_raised_for_what_they_are_for_and_for_nothing_else(scene: Scene, promtool: str, tmp_path: Path) -> None:
    written = {"rule_files": [str(FOLDER / "rules.yaml")], "evaluation_interval": scene.interval, "tests": [_test_of(scene)]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    _said(promtool, "test", "rules", str(tmp_path / "test.yaml"))


def test_alerts_do_not_flicker() -> None:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert {rule["alert"] for rule in rules if rule["keep_firing_for"] not in ("5m", "1h")} == set()


def test_each_alert_is_raised_by_a_scene() -> None:
    assert {each.name for each in ALERTS} == {name for scene in SCENES for name in scene.raised}


def test_prometheus_reads_the_rules_of_a_cell_and_of_the_chart(promtool: str, tmp_path: Path) -> None:
    (rule,) = of_kind(objects_of("everything"), "PrometheusRule").values()
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    count = sum(len(group["rules"]) for group in rule["spec"]["groups"])
    for path in (FOLDER / "rules.yaml", tmp_path / "chart.yaml"):
        assert f"SUCCESS: {count} rules found" in _said(promtool, "check", "rules", str(path))


def test_prometheus_on_this_machine_reads_as_often_and_under_the_name_that_rules_expect(promtool: str) -> None:
    path = FOLDER / "prometheus.yaml"
    assert "SUCCESS" in _said(promtool, "check", "config", str(path))
    shipped = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert shipped["global"] == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    assert shipped["rule_files"] == ["rules.yaml"]
    (scraped,) = shipped["scrape_configs"]
    # Alerts look at `up` of this job, which on Kubernetes is the name of the Service; the port is that of operators.
    assert (scraped["job_name"], scraped["static_configs"]) == (
        "tokenline-metrics",
        [{"targets": ["127.0.0.1:8081"], "labels": {"app_kubernetes_io_component": "up"}}],
    )
    assert any('job="tokenline-metrics"' in each.expression for each in ALERTS)


def test_a_cells_rules_look_at_their_own_cell() -> None:
    rule = of_kind(objects_of("everything"), "PrometheusRule")["tokenline"]
    assert rule["metadata"]["labels"]["a"] == "b"
    rules = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    assert len(rules) > len(ALERTS)
    for each in rules:
        seen = len(selectors(each["expr"]))
        assert seen and each["expr"].count('namespace="cell"') == seen, each
        if "alert" in each:
            assert each["labels"]["severity"] in ("critical", "warning")
            assert each["annotations"]["summary"]
    assert NAMESPACE not in str(rule)
    assert NAMESPACE in of_the_chart()
    assert "namespace=" not in of_one_cell()


def test_objectives_count_calls_of_every_route_that_charges_and_no_other() -> None:
    charged = {path for path, dialect in CALLS if dialect.charged is not Charged.NOTHING}
    assert {path for path, _ in CALLS if re.fullmatch(CHARGED_ROUTES, path)} == charged
    assert not re.fullmatch(CHARGED_ROUTES, "/readyz")


def test_rules_look_at_what_a_running_system_shows(known: dict[str, set[str]]) -> None:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    asked = {f"{group['name']} {number}": rule["expr"] for group in groups for number, rule in enumerate(group["rules"])}
    assert len(asked) > len(ALERTS)
    assert unknown(asked, known) == []
