"""A vendor whose certificate has ended: the log, the metrics, the doctor and the answer say so, and nothing is charged."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.cli.data_folder import Demo
from tests.cli.processes import run, up
from tests.cli.stand_in import StandIn, serving
from tests.trust.authority import made, pems
from tests.waiting import WAIT_S

NAME: Final = "localhost"
SECRET: Final = "sk-secret-of-the-vendor"


class _Models(StandIn):
    """Lists no models."""

    def do_GET(self) -> None:
        self.answer(200, b'{"data": []}')


@contextmanager
def vendor(authority: Path, *names: str, ends_days: float) -> Iterator[str]:
    """A vendor with TLS; its address."""
    key, certificate, _ = pems(authority, *names, starts_days=-2, ends_days=ends_days)
    (authority / "vendor.pem").write_bytes(key + certificate)
    terms = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    terms.load_cert_chain(authority / "vendor.pem")
    with serving(_Models, terms) as port:
        yield f"https://{NAME}:{port}"


def _called(demo: Demo) -> tuple[int, str]:
    body = {"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {demo.api_key}", "content-type": "application/json"}
    try:
        with urlopen(Request(f"{demo.base_url}/chat/completions", json.dumps(body).encode(), headers), timeout=WAIT_S) as answered:
            return int(answered.status), answered.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def _counted(demo: Demo) -> dict[tuple[str, str], float]:
    with urlopen(f"{demo.admin_url}/metrics", timeout=WAIT_S) as page:
        families = text_string_to_metric_families(page.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == "edge_vendor_failures_total"]
    return {(sample.labels["vendor"], sample.labels["meaning"]): sample.value for sample in samples}


@pytest.mark.parametrize(
    ("names", "ends_days", "why"),
    [
        ([NAME], -1, "certificate has expired"),
        (["vendor.example"], 1, f"Hostname mismatch, certificate is not valid for '{NAME}'."),
    ],
)
def test_a_certificate_that_is_not_taken_is_named_with_the_reason_wherever_somebody_looks(
    names: list[str], ends_days: float, why: str, tmp_path: Path
) -> None:
    authority = made(tmp_path / "authority")
    with vendor(authority, *names, ends_days=ends_days) as address:
        environment = {
            "TOKENLINE_DEEPSEEK_BASE_URL": address,
            "TOKENLINE_DEEPSEEK_API_KEY": SECRET,
            "SSL_CERT_FILE": str(authority / "ca.crt"),
        }
        with up(tmp_path / "data", **environment) as system:
            status, answer = _called(system.demo)
            counted = _counted(system.demo)
            told = json.loads(run("doctor", "--data-dir", str(tmp_path / "data"), "--output", "json").stdout)["findings"]
            system.stop()
    assert (status, counted) == (503, {("deepseek", "certificate"): 1})
    # What is between the vendor and us is no client's business.
    assert "certificate" not in answer
    (finding,) = [each for each in told if each["check"] == "vendor deepseek"]
    assert finding["level"] == "fail"
    assert finding["found"].startswith(f"shows a certificate that we do not take ({why}, ")
    assert "clock" in finding["remedy"]
    assert (
        "vendor deepseek shows a certificate that is not taken: look at its validity, and at this machine's clock and "
        in system.log
    )
    assert f"({why})" in system.log
    assert SECRET not in system.log + json.dumps(told)


def test_a_certificate_that_is_taken_is_no_finding(tmp_path: Path) -> None:
    authority = made(tmp_path / "authority")
    with vendor(authority, NAME, ends_days=1) as address:
        environment = {
            "TOKENLINE_DEEPSEEK_BASE_URL": address,
            "TOKENLINE_DEEPSEEK_API_KEY": SECRET,
            "SSL_CERT_FILE": str(authority / "ca.crt"),
        }
        with up(tmp_path / "data", **environment):
            told = json.loads(run("doctor", "--data-dir", str(tmp_path / "data"), "--output", "json").stdout)["findings"]
    assert {each["check"]: each["level"] for each in told}["vendor deepseek"] == "ok"
