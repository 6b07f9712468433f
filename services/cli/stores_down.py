"""The stores of a system that is down: accounting, and billing where it is wanted, run over its data folder for one question."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.client import find_folder
from services.cli.data_folder import DataFolder, DataFolderInUseError, open_data_folder
from services.cli.failures import CommandError, expected_errors

if TYPE_CHECKING:
    from services.runtime.lifecycle import Lifecycle
    from tokenline.accounting.v1 import accounting_pb2_grpc
    from tokenline.billing.v1 import billing_pb2_grpc


class StoresDown:
    """Accounting over a data folder, and billing for whoever asks for it."""

    def __init__(
        self,
        stack: AsyncExitStack,
        folder: DataFolder,
        sockets: Path,
        address: str,
        accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
        lifecycle: "Lifecycle",
    ) -> None:
        self.accounting = accounting
        self._stack = stack
        self._folder = folder
        self._sockets = sockets
        self._address = address
        self._lifecycle = lifecycle

    async def billing(self) -> "billing_pb2_grpc.BillingServiceAsyncStub":
        """Its contract, once it serves."""
        from services.cli.embedded import run_export, until_serving
        from services.runtime.clients import connect
        from tokenline.billing.v1 import billing_pb2_grpc

        address = await self._stack.enter_async_context(run_export(self._folder, self._sockets, self._address, self._lifecycle))
        await until_serving(address)
        return billing_pb2_grpc.BillingServiceStub(await self._stack.enter_async_context(connect(address)))


def ask_system_down(data_dir: Path | None, question: Callable[[StoresDown], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
    """The answer of the stores of a data folder; None when there is no such folder, or a process uses it.

    Errors: `CommandError`; `click.Abort` where a signal ends it.
    """
    folder = find_folder(data_dir)
    if folder is None or not folder.accounting_database.exists():
        return None
    try:
        with open_data_folder(folder.path, create=False), expected_errors():
            import uvloop

            return uvloop.run(_ask(folder, question))
    except DataFolderInUseError:
        return None


async def _ask(folder: DataFolder, question: Callable[[StoresDown], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    from services.cli.embedded import run_charging, socket_folder, until_serving
    from services.runtime.clients import connect
    from services.runtime.lifecycle import Lifecycle, StoppedError
    from tokenline.accounting.v1 import accounting_pb2_grpc

    # Hide the messages of services that wait for one another, because they are of no interest here.
    logging.basicConfig(level=logging.ERROR)
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    try:
        async with AsyncExitStack() as stack:
            sockets = stack.enter_context(socket_folder())
            _, address = await stack.enter_async_context(run_charging(folder, sockets, lifecycle))
            with lifecycle.unless_stopped():
                await until_serving(address)
                channel = await stack.enter_async_context(connect(address))
                accounting = accounting_pb2_grpc.AccountingServiceStub(channel)
                return await question(StoresDown(stack, folder, sockets, address, accounting, lifecycle))
    except StoppedError:
        if lifecycle.failure is not None:
            raise CommandError(f"{folder.path} cannot be read: {lifecycle.failure}") from lifecycle.failure
        raise click.Abort from None
