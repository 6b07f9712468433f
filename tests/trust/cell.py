"""A cell's services with TLS, in this process, and callers of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.authentication.app import run_authentication
from services.authentication.config import AuthenticationConfig
from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder
from services.registry.config import RegistryConfig
from services.runtime.clients import connect
from services.runtime.lifecycle import Lifecycle
from tests.trust.authority import certificates, files_of
from tests.waiting import WAIT_S

_TRIES = 5
_ANYWHERE = {"listen_address": "127.0.0.1:0", "grpc_tls": "required"}


@asynccontextmanager
async def secure_cell(folder: Path, authority: Path) -> AsyncIterator[dict[str, str]]:
    """All services that speak gRPC, each with a certificate of the authority; yields their addresses by name, once all serve."""
    lifecycle = Lifecycle()
    (folder / "hash_key").write_bytes(b"0123456789abcdef" * 4)

    def config(service: str, **fields: Any) -> dict[str, Any]:
        return {**_ANYWHERE, **files_of(authority, service), **fields}

    async with AsyncExitStack() as stack:
        addresses = {}
        registry = RegistryConfig(**config("registry", catalog_folders=[str(base_catalog_folder())]))
        addresses["registry"] = await stack.enter_async_context(run_registry(registry, lifecycle))
        authentication = AuthenticationConfig(
            **config("authentication", database=str(folder / "authentication.db"), hash_key_file=str(folder / "hash_key"))
        )
        addresses["authentication"] = await stack.enter_async_context(run_authentication(authentication, lifecycle))
        accounting = AccountingConfig(
            **config("accounting", database=str(folder / "accounting.db"), registry_address=addresses["registry"], partitions=2)
        )
        addresses["accounting"] = await stack.enter_async_context(run_accounting(accounting, lifecycle))
        billing = BillingConfig(
            **config(
                "billing",
                database=str(folder / "billing.db"),
                cdr_folder=str(folder / "cdrs"),
                accounting_address=addresses["accounting"],
            )
        )
        addresses["billing"] = await stack.enter_async_context(run_billing(billing, lifecycle))
        for name, address in addresses.items():
            async with connect(address, name, certificates(authority, "operator")) as channel:
                await serving(channel)
        yield addresses
    assert lifecycle.failure is None


async def serving(channel: grpc.aio.Channel) -> None:
    """Returns once the service says that it serves."""
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S, wait_for_ready=True)
    async for response in watching:
        if response.status == health_pb2.HealthCheckResponse.SERVING:
            return


async def status_of(channel: grpc.aio.Channel, method: Any) -> tuple[grpc.StatusCode, str]:
    """How a call of a method of a contract ends that says nothing, or begins to be answered: code and details."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{method.containing_service.full_name}/{method.name}")
    # A busy machine may not end a handshake, or answer a keepalive, within their 2 s: the call is not made then, or is lost.
    for _ in range(_TRIES):
        code, details = await _ended(call, method)
        if code is not grpc.StatusCode.UNAVAILABLE:
            break
    return code, details


async def _ended(call: Any, method: Any) -> tuple[grpc.StatusCode, str]:
    request: Any = iter([b""]) if method.client_streaming else b""
    try:
        if method.server_streaming:
            async for _ in call(request, timeout=WAIT_S, wait_for_ready=True):
                break
        else:
            await call(request, timeout=WAIT_S, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
