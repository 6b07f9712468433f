"""The chart's alerts: that Prometheus understands them, and that what they look at is what a cell exports."""

import json
import re
from pathlib import Path
from urllib.request import Request, urlopen

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from services.cli.data_folder import Demo
from services.edge.app import CALLS
from services.edge.call.dialect import Charged
from tests.charts.rendering import objects_of, of_kind
from tests.cli.processes import up

# What Prometheus itself says of each pod that it reads, and what it adds.
OF_PROMETHEUS = {"up": {"job"}}
ADDED = {"namespace"}
MODEL = "qwen-flash"


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """The name and the labels of each series that an expression looks at. Errors: `ValueError` for what is no PromQL."""
    found = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name or "", {matcher.name for matcher in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def test_alerts_look_at_their_own_cell() -> None:
    rule = of_kind(objects_of("everything"), "PrometheusRule")["tokenline"]
    assert rule["metadata"]["labels"]["a"] == "b"
    for group in rule["spec"]["groups"]:
        for each in group["rules"]:
            seen = len(selectors(each["expr"]))
            assert seen and each["expr"].count('namespace="cell"') == seen, each["alert"]
            assert each["labels"]["severity"] in ("critical", "warning")
            assert each["annotations"]["summary"]


def test_calls_that_commit_are_those_of_every_route_that_charges() -> None:
    (rule,) = of_kind(objects_of("everything"), "PrometheusRule").values()
    rules = {each["alert"]: each["expr"] for group in rule["spec"]["groups"] for each in group["rules"]}
    (looked_at,) = re.findall('route=~"([^"]+)"', rules["TokenlineCommitsStandStill"])
    charged = {path for path, dialect in CALLS if dialect.charged is not Charged.NOTHING}
    assert {path for path, _ in CALLS if re.fullmatch(looked_at, path)} == charged


def _call_with_a_doubtful_count(demo: Demo) -> Request:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "simulate": {"usage": "absurd"}}
    headers = {"authorization": f"Bearer {demo.api_key}", "content-type": "application/json"}
    return Request(f"{demo.base_url}/chat/completions", json.dumps(body).encode(), headers)


def test_alerts_look_at_what_a_cell_exports(tmp_path: Path) -> None:
    (rule,) = of_kind(objects_of("everything"), "PrometheusRule").values()
    alerts = {each["alert"]: selectors(each["expr"]) for group in rule["spec"]["groups"] for each in group["rules"]}
    assert alerts and all(alerts.values())
    with up(tmp_path) as system:
        # What is counted only once it happens.
        with urlopen(_call_with_a_doubtful_count(system.demo), timeout=10) as answered:
            assert answered.status == 200
        with urlopen(f"{system.demo.admin_url}/metrics", timeout=10) as page:
            families = text_string_to_metric_families(page.read().decode())
            exported = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    for alert, seen in alerts.items():
        for name, labels in seen:
            assert labels <= {**exported, **OF_PROMETHEUS}[name] | ADDED, (alert, name)
