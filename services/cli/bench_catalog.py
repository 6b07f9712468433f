"""Measuring a large catalog: how long it is checked, how soon a change is in force at every edge, and its price list."""

import http.client
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from services.cli.bench_cell import OWN_CHECKOUT, BenchCell, start_simulator
from services.cli.bench_report import CatalogReport, spread
from services.cli.failures import CommandError
from services.cli.processes import Processes, environment_of

_TARIFFS: Final = 5
_EDGES: Final = 2
_CHANGES: Final = 5
_PRICE_LISTS: Final = 50
_IN_FORCE_S_MAX: Final = 60.0
_POLL_S: Final = 0.005


def measure_catalog(models: int, offerings: int) -> CatalogReport:
    """Measures a layer over the base catalog in a cell of several edges. Blocking. Errors: `CommandError`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        processes = Processes(folder)
        stack.callback(processes.stop)
        layer = folder / "layer"
        layer.mkdir()
        (layer / "catalog.yaml").write_text(_layer(models, offerings), encoding="utf-8")
        check_s = [_check_s(layer, folder / "nowhere") for _ in range(_CHANGES)]
        cell = BenchCell(processes, folder, start_simulator(processes), "catalog", OWN_CHECKOUT, layer=layer, edges=_EDGES)
        reach_s = [_reach_s(cell, layer, price) for price in range(2, 2 + _CHANGES)]
        return CatalogReport(
            models=models,
            offerings=offerings,
            edges=_EDGES,
            check_s=spread(check_s),
            in_force_s=spread(reach_s),
            price_list_ms=spread([_price_list_ms(cell) for _ in range(_PRICE_LISTS)]),
        )


def _check_s(layer: Path, nowhere: Path) -> float:
    """The time of a process that does nothing else, its start too. No system is in the folder `nowhere`."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "services", "catalog", "validate", str(layer), "--data-dir", str(nowhere)]
    environment = environment_of(OWN_CHECKOUT)
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603  # ours
    if checked.returncode != 0:
        raise CommandError(f"the catalog of this benchmark is not valid: {checked.stderr or checked.stdout}")
    return time.monotonic() - began_s


def _reach_s(cell: BenchCell, layer: Path, price: int) -> float:
    """The time from a change of one price until the last edge lists it."""
    tags = [_price_list(address)[0] for address in cell.base_urls]
    row = f"{{model_id: bench-0, input: {price}, output: {price}}}"
    written = layer / "change.yaml.new"
    written.write_text(
        f"price_adjustments:\n  - {{adjustment_id: bench, of_tariff_id: bench-0, version: {price}, rates: [{row}]}}\n",
        encoding="utf-8",
    )
    began_s = time.monotonic()
    written.replace(layer / "change.yaml")
    for address, old in zip(cell.base_urls, tags, strict=True):
        while _is_old(address, old, price):
            if time.monotonic() > began_s + _IN_FORCE_S_MAX:
                raise CommandError(f"a change of the catalog is not in force at {address} after {_IN_FORCE_S_MAX:g} s")
            time.sleep(_POLL_S)
    return time.monotonic() - began_s


def _is_old(address: str, tag: str, price: int) -> bool:
    new_tag, body = _price_list(address, tag)
    if new_tag == tag:
        return True
    listed = msgspec.json.decode(body)["data"]
    (model,) = (each for each in listed if each["id"] == "bench-0")
    return bool(model["prices"]["bench-0"]["tiers"][0]["input"] != price * 1_000_000)


def _price_list(address: str, tag: str = "") -> tuple[str, bytes]:
    """The entity tag and, where it is another than `tag`, the body of an edge's price list."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_IN_FORCE_S_MAX)
    try:
        connection.request("GET", "/v1/prices", headers={"If-None-Match": tag} if tag else {})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in {http.client.OK, http.client.NOT_MODIFIED}:
            raise CommandError(f"{address}/v1/prices answered {answer.status}: {body[:200]!r}")
        return answer.getheader("ETag", tag), body
    finally:
        connection.close()


def _price_list_ms(cell: BenchCell) -> float:
    began_s = time.monotonic()
    _price_list(cell.base_url)
    return (time.monotonic() - began_s) * 1_000


def _layer(models: int, offerings: int) -> str:
    """A layer with a vendor of its own, models of two routes, tariffs that rate each of them, and offerings that sell all."""
    routes = [{"vendor_id": "bench", "vendor_model_id": f"v{route}", "priority": route} for route in range(2)]
    catalog: dict[str, list[dict[str, Any]]] = {
        "vendors": [
            {
                "vendor_id": "bench",
                "display_name": "Bench",
                "base_url": "https://bench.invalid/v1",
                "base_url_env": "TOKENLINE_BENCH_BASE_URL",
                "api_key_env": "TOKENLINE_BENCH_API_KEY",
            }
        ],
        "tokenizer_families": [
            {
                "family_id": "bench",
                "letters_per_token_milli": 4_000,
                "tokens_per_cjk_character_milli": 1_500,
                "template_tokens_per_message": 8,
                "template_tokens_per_request": 8,
            }
        ],
        "models": [
            {
                "model_id": f"bench-{number}",
                "display_name": f"Model {number}",
                "owned_by": "bench",
                "context_window_tokens": 100_000,
                "max_output_tokens": 8_000,
                "family_id": "bench",
                "routes": routes,
            }
            for number in range(models)
        ],
        "tariffs": [
            {
                "tariff_id": f"bench-{tariff}",
                "version": 1,
                "unit": "CURRENCY",
                "currency": "CNY",
                "public": tariff == 0,
                "rates": [
                    {"model_id": f"bench-{number}", "input": 1 + tariff, "cached_input": 0.1, "output": 2.5}
                    for number in range(models)
                ],
            }
            for tariff in range(_TARIFFS)
        ],
        "offerings": [
            {
                "offering_id": f"bench-{number}",
                "display_name": f"Plan {number}",
                "tariff_id": f"bench-{number % _TARIFFS}",
                "reservation_policy": "worst_case",
                "price": {"amount": 9.9, "currency": "CNY"},
                "payment_methods": ["prepaid"],
                "cycle": {"period": "month"},
                "allowances": [{"allowance_id": "monthly", "unit": "CURRENCY", "currency": "CNY", "amount": 10}],
            }
            for number in range(offerings)
        ],
    }
    return msgspec.yaml.encode(catalog).decode("utf-8")
