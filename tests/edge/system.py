"""The edge with the services it calls, each behind its own server."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.authentication.app import run_authentication
from services.authentication.config import AuthenticationConfig
from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.edge.app import run_edge
from services.edge.config import EdgeConfig
from services.registry.app import run_registry
from services.registry.config import RegistryConfig
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.openapi.conformance import assert_documented
from tests.registry.catalogs import CATALOG, write

ADMIN_TOKEN = "an-admin-token-for-tests"
OPERATORS_PATHS = ("/v1/admin", "/healthz", "/readyz", "/metrics")
_STARTING_ORDER = ("vendor_simulator", "registry", "authentication", "accounting", "billing", "edge")


class Reply(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object; asserts that nothing but it, in OpenAI's shape, came back."""
        assert self.headers["content-type"] == "application/json"
        assert set(self.json) == {"error"}
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return error


class Cell:
    """A cell's services, of which each can be started and stopped by its name, and a client of the edge."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.lifecycle = Lifecycle()
        self.base_url = ""
        self.operators_url = ""
        self.simulator_base_url = ""
        self._http = http
        # The edge's, with the vendors' secrets and addresses.
        self.environment: dict[str, str] = {}
        # Variables of it that have the simulator's address: it answers for their vendors as for any that is configured.
        self.simulator_at: tuple[str, ...] = ()
        self.validity_ms = 30_000
        self.edge_changes: dict[str, Any] = {}
        self.billing_changes: dict[str, Any] = {}
        # Folders of layers in the place of the test's own catalog.
        self.catalog_folders: list[str] = [str(folder / "catalog")]
        self._running: dict[str, AsyncExitStack] = {}

    def address(self, name: str) -> str:
        return f"unix:{self.folder}/{name}.sock"

    async def start(self, *names: str) -> None:
        for name in names:
            stack = AsyncExitStack()
            await self._enter(name, stack)
            self._running[name] = stack

    async def stop(self, *names: str) -> None:
        # Without names all of them, callers before those they call.
        for name in names or sorted(self._running, key=_STARTING_ORDER.index, reverse=True):
            await self._running[name].aclose()

    async def _enter(self, name: str, stack: AsyncExitStack) -> None:
        folder, lifecycle = self.folder, self.lifecycle
        match name:
            case "registry":
                config = RegistryConfig(
                    listen_address=self.address(name), catalog_folders=self.catalog_folders, poll_interval_ms=20
                )
                await stack.enter_async_context(run_registry(config, lifecycle))
            case "authentication":
                await stack.enter_async_context(
                    run_authentication(
                        AuthenticationConfig(
                            listen_address=self.address(name),
                            database=str(folder / "authentication.db"),
                            hash_key_file=str(folder / "hash_key"),
                        ),
                        lifecycle,
                    )
                )
            case "accounting":
                await stack.enter_async_context(
                    run_accounting(
                        AccountingConfig(
                            listen_address=self.address(name),
                            database=str(folder / "accounting.db"),
                            registry_address=self.address("registry"),
                            partitions=2,
                            validity_ms=self.validity_ms,
                        ),
                        lifecycle,
                    )
                )
            case "billing":
                await stack.enter_async_context(
                    run_billing(
                        BillingConfig(
                            listen_address=self.address(name),
                            database=str(folder / "billing.db"),
                            cdr_folder=str(folder / "cdrs"),
                            accounting_address=self.address("accounting"),
                            export_interval_ms=20,
                            **self.billing_changes,
                        ),
                        lifecycle,
                    )
                )
            case "vendor_simulator":
                simulator = run_vendor_simulator(VendorSimulatorConfig(port=0), lifecycle)
                self.simulator_base_url = await stack.enter_async_context(simulator)
                self.environment |= dict.fromkeys(self.simulator_at, self.simulator_base_url)
            case "edge":
                self.base_url, self.operators_url = await stack.enter_async_context(
                    run_edge(self.edge_config(**self.edge_changes), lifecycle, self.environment)
                )
            case _:
                raise AssertionError(name)

    def edge_config(self, **changes: Any) -> EdgeConfig:
        return EdgeConfig(
            **{
                "port": 0,
                "admin_port": 0,
                "registry_address": self.address("registry"),
                "authentication_address": self.address("authentication"),
                "accounting_address": self.address("accounting"),
                "billing_address": self.address("billing"),
                "admin_token_file": str(self.folder / "admin_token"),
                "simulator_base_url": self.simulator_base_url,
                **changes,
            }
        )

    async def call(self, method: str, path: str, token: str | None = None, json: Any = None, body: bytes | None = None) -> Reply:
        """One request to the door that is for it; `path` begins behind the host. Asserts that the answer is as documented."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        data = msgspec.json.encode(json) if json is not None else body
        url = (self.operators_url if path.startswith(OPERATORS_PATHS) else self.base_url.removesuffix("/v1")) + path
        async with self._http.request(method, url, headers=headers, data=data) as response:
            reply = Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
        assert reply.headers["x-request-id"]
        assert_documented(method, path, reply.status, reply.headers, reply.body)
        return reply

    async def admin(self, method: str, path: str, json: Any = None) -> Reply:
        """One request with the admin token; `path` begins behind /v1/admin."""
        return await self.call(method, "/v1/admin" + path, ADMIN_TOKEN, json)

    async def ready(self) -> None:
        """Returns once the edge says that it is ready."""
        while (await self.call("GET", "/readyz")).status != 200:
            pass

    async def subscriber(self, idempotency_key: str, offering_id: str | None = None, scopes: Sequence[str] = ()) -> tuple[str, str]:
        """A new account's ID and an API key of it."""
        opened = await self.admin("POST", "/accounts", {"idempotency_key": idempotency_key, "offering_id": offering_id})
        assert opened.status == 201, opened.body
        account_id = opened.json["account_id"]
        issued = await self.admin("POST", f"/accounts/{account_id}/keys", {"scopes": scopes})
        assert issued.status == 201, issued.body
        return account_id, issued.json["api_key"]


@asynccontextmanager
async def cell(
    folder: Path, *names: str, catalog: str = CATALOG, prepare: Callable[[Cell], None] | None = None
) -> AsyncIterator[Cell]:
    """A cell of which the services of these names run, in this order; by default all. `prepare` sees it before they start."""
    write(folder / "catalog", catalog)
    (folder / "hash_key").write_bytes(b"0123456789abcdef" * 4)
    (folder / "admin_token").write_text(ADMIN_TOKEN + "\n", encoding="ascii")
    async with aiohttp.ClientSession() as http:
        services = Cell(folder, http)
        if prepare is not None:
            prepare(services)
        try:
            await services.start(*(names or _STARTING_ORDER))
            yield services
        finally:
            await services.stop()
    assert services.lifecycle.failure is None
