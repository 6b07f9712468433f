"""A cell in a process of its own, for tests that do not run on its event loop: says on one line what a client needs, and serves
until its input ends."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from tests.edge.system import ADMIN_TOKEN, Cell, cell
from tests.registry.catalogs import MEDIA

SALES = """\
  - offering_id: pack
    display_name: A pack
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 2, currency: USD}
    payment_methods: [prepaid, external]
    allowances:
      - {allowance_id: extra, unit: TOKEN, amount: 400, valid_days: 30}
"""
_GRANT: dict[str, Any] = {"unit": "TOKEN", "amount": 10**15, "valid_days": 30, "idempotency_key": "first"}


class Told(msgspec.Struct):
    """What a client needs."""

    origin: str
    operators_origin: str
    admin_token: str
    api_key: str
    # Things that are there, by the name of the path parameter or field.
    known: dict[str, str]

    def origin_of(self, document: str) -> str:
        """Where the document's operations are."""
        return self.operators_origin if document == "admin" else self.origin


async def serve() -> None:
    """Runs the cell; of an account there are a balance, an order, a call and a refusal."""
    with tempfile.TemporaryDirectory() as folder:
        async with cell(Path(folder), catalog=MEDIA + SALES) as services:
            await services.ready()
            sys.stdout.write(msgspec.json.encode(await _furnish(services)).decode() + "\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)


async def _furnish(services: Cell) -> Told:
    account_id, api_key = await services.subscriber("known", scopes=["keys:mint"])
    poor_id, poor_key = await services.subscriber("poor")
    granted = await services.admin("POST", f"/accounts/{account_id}/buckets", _GRANT)
    order = {"offering_id": "pack", "idempotency_key": "o", "payment_method": "external"}
    ordered = await services.admin("POST", f"/accounts/{account_id}/orders", order)
    limits = {"subject": "account", "limits": [{"limit_id": "calls", "per": "EACH", "concurrent_sessions": 100}]}
    await services.admin("PUT", f"/accounts/{account_id}/limits", limits)
    call = {"model": "small", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    answered = await services.call("POST", "/v1/chat/completions", api_key, call)
    refused = await services.call("POST", "/v1/chat/completions", poor_key, call)
    assert (granted.status, ordered.status, answered.status, refused.status) == (201, 201, 200, 402)
    minted = await services.call("POST", "/v1/me/keys", api_key, {"budget": [{"amount": 10**6, "unit": "TOKEN"}]})
    assert minted.status == 201, minted.body
    known = {
        "account_id": account_id,
        "bucket_id": granted.json["bucket_id"],
        "charging_id": answered.headers["x-request-id"],
        "id": "small",
        "key_id": minted.json["key_id"],
        "model": "small",
        "offering_id": "pack",
        "order_id": ordered.json["order_id"],
        "to_account_id": poor_id,
    }
    return Told(services.base_url.removesuffix("/v1"), services.operators_url, ADMIN_TOKEN, api_key, known)


if __name__ == "__main__":
    asyncio.run(serve())
