"""A whole cell with TLS: the edge serves calls and administers, and the bill is exact."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from services.cli.client import System
from services.edge.app import run_edge
from services.edge.config import EdgeConfig
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.trust.authority import files_of, made
from tests.trust.cell import secure_cell
from tests.waiting import WAIT_S

_MODEL = "deepseek-chat"


async def test_calls_are_served_charged_and_billed_over_tls(tmp_path: Path) -> None:
    authority = made(tmp_path / "certs")
    (tmp_path / "admin_token").write_text("an-admin-token-for-tests")
    lifecycle = Lifecycle()
    async with (
        secure_cell(tmp_path, authority) as addresses,
        run_vendor_simulator(VendorSimulatorConfig(port=0), lifecycle) as simulator,
        run_edge(
            EdgeConfig(
                port=0,
                admin_port=0,
                admin_token_file=str(tmp_path / "admin_token"),
                simulator_base_url=simulator,
                registry_address=addresses["registry"],
                authentication_address=addresses["authentication"],
                accounting_address=addresses["accounting"],
                billing_address=addresses["billing"],
                **files_of(authority, "edge"),
            ),
            lifecycle,
        ) as (base_url, operators_url),
        aiohttp.ClientSession() as http,
    ):
        system = System(operators_url, "an-admin-token-for-tests", "it has ended")

        async def ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            return await asyncio.to_thread(system.ask, method, path, body)

        async with asyncio.timeout(WAIT_S):
            while (await http.get(f"{operators_url}/readyz")).status != 200:
                pass
        account_id = (await ask("POST", "/accounts", {"idempotency_key": "one"}))["account_id"]
        topup = {"unit": "TOKEN", "amount": 1_000_000 * 1_000_000, "valid_days": 1, "idempotency_key": "one"}
        await ask("POST", f"/accounts/{account_id}/buckets", topup)
        issued = await ask("POST", f"/accounts/{account_id}/keys", {})
        call = {"model": _MODEL, "messages": [{"role": "user", "content": "Hello!"}], "simulate": {"output_tokens": 7}}
        headers = {"authorization": f"Bearer {issued['api_key']}"}
        async with http.post(f"{base_url}/chat/completions", json=call, headers=headers) as response:
            assert response.status == 200, await response.text()
            used = (await response.json())["usage"]
        assert used["completion_tokens"] == 7

        account = await ask("GET", f"/accounts/{account_id}")
        assert [bucket["consumed"] for bucket in account["buckets"]] == [used["total_tokens"] * 1_000_000]
        assert (await ask("POST", "/audit", {}))["breaches"] == []
        reconciled = await ask("POST", "/reconcile", {})
        assert (reconciled["cdrs"], reconciled["differences"]) == (1, [])
        assert len((await ask("GET", "/partitions"))["data"]) == 2
        revoked = await ask("DELETE", f"/keys/{issued['key_id']}")
        assert revoked["key_id"] == issued["key_id"]
    assert lifecycle.failure is None
