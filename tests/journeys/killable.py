"""All services in one process that a test may kill at any moment: `python -m tests.journeys.killable FOLDER PORT`.

Like `tokenline up`, but grants live one second, so that a test sees sweeps without waiting for a minute.
"""

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.authentication.app import run_authentication
from services.authentication.config import AuthenticationConfig
from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.edge.app import run_edge
from services.edge.config import EdgeConfig
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder
from services.registry.config import RegistryConfig
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig

ADMIN_TOKEN = "an-admin-token-for-tests"  # of no system but this


async def run(folder: Path, port: int) -> None:
    (folder / "hash_key").write_bytes(b"0123456789abcdef" * 4)
    (folder / "admin_token").write_text(ADMIN_TOKEN, encoding="ascii")
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sockets = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        registry = await enter(
            run_registry(
                RegistryConfig(listen_address=f"unix:{sockets}/r", catalog_folders=[str(base_catalog_folder())]), lifecycle
            )
        )
        authentication_config = AuthenticationConfig(
            listen_address=f"unix:{sockets}/a", database=str(folder / "authentication.db"), hash_key_file=str(folder / "hash_key")
        )
        authentication = await enter(run_authentication(authentication_config, lifecycle))
        accounting_config = AccountingConfig(
            listen_address=f"unix:{sockets}/c",
            database=str(folder / "accounting.db"),
            registry_address=registry,
            partitions=4,
            validity_ms=1_000,
            checkpoint_age_ms=200,
        )
        accounting = await enter(run_accounting(accounting_config, lifecycle))
        billing_config = BillingConfig(
            listen_address=f"unix:{sockets}/b",
            database=str(folder / "billing.db"),
            cdr_folder=str(folder / "cdr"),
            accounting_address=accounting,
            export_interval_ms=100,
        )
        billing = await enter(run_billing(billing_config, lifecycle))
        edge_config = EdgeConfig(
            port=port,
            admin_port=0,
            registry_address=registry,
            authentication_address=authentication,
            accounting_address=accounting,
            billing_address=billing,
            admin_token_file=str(folder / "admin_token"),
            simulator_base_url=await enter(run_vendor_simulator(VendorSimulatorConfig(port=0), lifecycle)),
        )
        print(*await enter(run_edge(edge_config, lifecycle, {})), flush=True)
        await lifecycle.wait()
    if lifecycle.failure is not None:
        raise lifecycle.failure


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), int(sys.argv[2])))
