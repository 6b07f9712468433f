"""One system for the tests here, in which has happened what metrics count."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.observability.__main__ import FOLDER
from services.cli.data_folder import Demo
from tests.cli.processes import Up, up
from tests.waiting import WAIT_S

MODEL: Final = "qwen-flash"
# What Prometheus itself says of each process that it reads, and what it adds to each series.
OF_PROMETHEUS: Final = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
ADDED: Final = {"namespace", "job", "instance", "app_kubernetes_io_component"}
# Shown where services have certificates, which those of one process have not.
_WITH_TLS: Final = "certificate_end_timestamp_seconds"
_SUFFIXES: Final = ("", "_total", "_bucket", "_count", "_sum")


def called(demo: Demo, simulate: dict[str, Any], api_key: str = "") -> int:
    """The status that a streamed call gets."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hi"}], "simulate": simulate}
    headers = {"authorization": f"Bearer {api_key or demo.api_key}", "content-type": "application/json"}
    try:
        with urlopen(Request(f"{demo.base_url}/chat/completions", json.dumps(body).encode(), headers), timeout=WAIT_S) as answered:
            return int(answered.status)
    except HTTPError as error:
        return error.code


def admin(demo: Demo, path: str) -> Any:
    """What the administration answers to a POST."""
    headers = {"authorization": f"Bearer {demo.admin_token}", "content-type": "application/json"}
    with urlopen(Request(f"{demo.admin_url}/v1/admin{path}", b"{}", headers), timeout=WAIT_S) as answered:
        return json.load(answered)


def _key_of_an_empty_account(demo: Demo) -> str:
    account_id = admin(demo, "/accounts")["account_id"]
    return str(admin(demo, f"/accounts/{account_id}/keys")["api_key"])


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system that has had a call, a refusal, and vendors that count wrongly, fail, and refuse our account."""
    with up(tmp_path_factory.mktemp("data"), "--simulate-carrier") as running:
        demo = running.demo
        assert called(demo, {"usage": "absurd"}) == 200
        assert called(demo, {}, _key_of_an_empty_account(demo)) == 402
        assert called(demo, {"failure": "error_500"}) >= 500
        assert called(demo, {"vendor_error": "arrearage_400"}) >= 500
        yield running


@pytest.fixture(scope="package")
def known(system: Up) -> dict[str, set[str]]:
    """All that Prometheus can be asked for, with its labels."""
    with urlopen(f"{system.demo.admin_url}/metrics", timeout=WAIT_S) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    # A metric that has counted nothing yet has the labels that its page says.
    names = {f"{family.name}{suffix}" for family in families for suffix in _SUFFIXES} | {_WITH_TLS}
    told = {name: labels for name, labels in _documented().items() if name in names}
    shown = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    return {name: labels | ADDED for name, labels in {**told, **shown, **OF_PROMETHEUS, **_recorded()}.items()}


def _documented() -> dict[str, set[str]]:
    page = (FOLDER.parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    return {
        name: set(re.findall("`([a-z_]+)`", labels))
        for names, labels in re.findall(r"^\| (`[^|]+) \|([^|]*)\|", page, re.MULTILINE)
        for name in re.findall("`([a-z_]+)`", names)
    }


def _recorded() -> dict[str, set[str]]:
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
    return {each["record"]: set(each.get("labels", {})) for group in rules["groups"] for each in group["rules"] if "record" in each}
