"""A large catalog is read and checked, and a change of it is in force at every edge. `tokenline bench catalog` tells how soon."""

from contextlib import AsyncExitStack
from pathlib import Path

from services.edge.catalog import CatalogHolder
from services.registry.app import run_registry
from services.registry.catalog_folder import load_catalog
from services.registry.config import RegistryConfig
from services.runtime.clients import connect
from services.runtime.clock import SystemClock
from services.runtime.lifecycle import Lifecycle
from tests.registry.catalogs import CATALOG, write
from tests.waiting import until

MODELS, OFFERINGS, TARIFFS = 1_000, 500, 5


def large() -> str:
    """The small catalog with many models, tariffs that rate each of them, and offerings that sell all."""
    head, rest = CATALOG.split("tariffs:\n")
    tariffs, offerings = rest.split("offerings:\n")
    models = "".join(
        f"  - model_id: m{number}\n    display_name: Model {number}\n    owned_by: acme\n    context_window_tokens: 100000\n"
        f"    max_output_tokens: 8000\n    family_id: byte-bpe\n    release_date: 2026-01-02\n    routes:\n"
        f"      - {{vendor_id: acme, vendor_model_id: m{number}}}\n"
        f"      - {{vendor_id: acme, vendor_model_id: n{number}, priority: 1}}\n"
        for number in range(MODELS)
    )
    for tariff in range(TARIFFS):
        tariffs += f"  - tariff_id: t{tariff}\n    version: 1\n    unit: CURRENCY\n    currency: CNY\n    rates:\n"
        tariffs += "".join(
            f"      - {{model_id: m{number}, input: {1 + tariff}.{number:04}, cached_input: 0.1, output: 2.5}}\n"
            for number in range(MODELS)
        )
    offerings += "".join(
        f"  - offering_id: o{number}\n    display_name: Plan {number}\n    tariff_id: t{number % TARIFFS}\n"
        "    reservation_policy: worst_case\n    price: {amount: 9.9, currency: CNY}\n    payment_methods: [prepaid]\n"
        "    cycle: {period: month}\n    allowances:\n      - {allowance_id: monthly, unit: CURRENCY, currency: CNY, amount: 10}\n"
        for number in range(OFFERINGS)
    )
    return f"{head}{models}tariffs:\n{tariffs}offerings:\n{offerings}"


def test_a_large_catalog_is_read_and_checked(tmp_path: Path) -> None:
    write(tmp_path, large())
    catalog = load_catalog([tmp_path])
    assert (len(catalog.models), len(catalog.offerings)) == (MODELS + 2, OFFERINGS + 2)


async def test_a_change_of_a_large_catalog_is_in_force_at_every_edge(tmp_path: Path) -> None:
    write(tmp_path / "base", large())
    branch = write(tmp_path / "branch", "{}\n").parent
    config = RegistryConfig(
        listen_address="127.0.0.1:0", catalog_folders=[str(tmp_path / "base"), str(branch)], poll_interval_ms=10
    )
    lifecycle = Lifecycle()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(run_registry(config, lifecycle))
        holders = []
        for _ in range(2):
            channel = await stack.enter_async_context(connect(address))
            holders.append(CatalogHolder(channel, {}, "http://simulator", SystemClock()))
            await stack.enter_async_context(lifecycle.background("catalog", holders[-1].follow()))
        await until(lambda: all(holder.current is not None for holder in holders))
        row = "{model_id: m7, input: 9, output: 9}"
        write(branch, f"price_adjustments:\n  - {{adjustment_id: a, of_tariff_id: t0, version: 1, rates: [{row}]}}\n")
        await until(lambda: all(price(holder) == 9_000_000 for holder in holders))


def price(holder: CatalogHolder) -> int:
    offering = holder.current.offering("o0") if holder.current is not None else None
    return offering.prices["m7"][0].rates["input"] if offering is not None else 0
