"""`tokenline up`: everything in one process on embedded defaults, with a demo account that can be used at once."""

import asyncio
import logging
import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from services.cli.data_folder import DEFAULT_DATA_DIR, NO_ROOM, DataFolder, Demo, unusable
from services.cli.embedded import Serving
from services.cli.failures import CommandError, CommandFailed, expected_errors
from services.cli.log_options import begin_logging, log_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.cli.embedded import Running
    from services.runtime.logs import Format, Level
    from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
    from tokenline.authentication.v1 import authentication_pb2_grpc

logger = logging.getLogger(__name__)

# The demo account. Its idempotency key stays, so that each start finds the account of the last one.
_IDEMPOTENCY_KEY: Final = "demo"
_GRANT_AMOUNT: Final = 10_000_000_000 * 1_000_000
_GRANT_VALID_DAYS: Final = 365
_DAY_S: Final = 86_400
# Below this share of a grant the account gets another one.
_GRANT_AGAIN_BELOW: Final = _GRANT_AMOUNT // 10
_TIMEOUT_S: Final = 10.0
_READY_POLL_S: Final = 0.02
_READY_NOTICE_S: Final = 10.0
# Cheap, widely known, and the example of the README; a catalog without it has its first one tried.
_EXAMPLE: Final = "deepseek-v4-flash"


@click.command("up")
@click.option("--data-dir", default=DEFAULT_DATA_DIR, type=click.Path(path_type=Path), metavar="DIR", help="Default: ~/.tokenline.")
@click.option("--host", default="127.0.0.1", metavar="H", help="Where clients are served. Default: 127.0.0.1.")
@click.option("--port", default=8080, type=click.IntRange(0, 65_535), metavar="N", help="Default: 8080; 0: any that is free.")
@click.option(
    "--admin-port",
    default=8081,
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Where operators are served, on 127.0.0.1. Default: 8081; 0: any that is free.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may call from a browser, like http://localhost:3000; several: give it again. Default: none.",
)
@click.option("--simulate-carrier", is_flag=True, help="Hand the phone bill on to a simulated operator (docs/phone-bill.md).")
@log_options
@click.option("--access-log", is_flag=True, help="Log a line for each request that was served.")
def up_command(
    *,
    data_dir: Path,
    log_format: "Format | None",
    log_levels: "tuple[tuple[str, Level], ...]",
    **serving: Any,
) -> None:
    """Run everything in one process and print how to call it.

    SIGTERM drains it and ends with 0. What it cannot start with, the folder, the port, ends with 2; a service that fails
    later ends with 1.
    """
    with expected_errors():
        log = begin_logging(log_format or "text", dict(log_levels))
        level = logging.getLogger().level
        if "" not in dict(log_levels):
            # Until the system is ready only what is wrong is said.
            logging.getLogger().setLevel(logging.WARNING)

        import uvloop

        # Databases and CDRs are nobody else's, also in a folder that was there before.
        os.umask(0o077)
        try:
            uvloop.run(_up(data_dir, Serving(**serving), level))
        except OSError as error:
            # A write that finds no room does not know its file.
            if error.errno not in NO_ROOM or error.filename:
                raise
            raise unusable(data_dir, error) from error
        finally:
            log.flush()


async def _up(data_dir: Path, serving: Serving, level: int) -> None:
    """`level` of the log holds from when the system is ready."""
    from services.cli.embedded import run_all
    from services.runtime.clock_watch import ClockWatch
    from services.runtime.lifecycle import Lifecycle, StoppedError, started
    from services.runtime.telemetry import TelemetryConfig, start_telemetry

    telemetry = start_telemetry("up", TelemetryConfig())
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    ready = False
    try:
        async with lifecycle.background("clock", ClockWatch().run()), run_all(data_dir, lifecycle, serving) as running:
            with lifecycle.unless_stopped():
                demo, model_id, vendors = await make_ready(running)
            started()
            try:
                running.folder.write_demo(demo)
                ready = True
                logging.getLogger().setLevel(level)
                click.echo(_greeting(demo, model_id, vendors))
                await lifecycle.wait()
            finally:
                running.folder.remove_demo()
    except StoppedError:
        pass
    finally:
        telemetry.shutdown()
    if lifecycle.failure is not None:
        raise (CommandFailed if ready else CommandError)(f"a service failed: {lifecycle.failure}")


async def make_ready(running: "Running") -> tuple[Demo, str, list[str]]:
    """Waits until the edge is ready, then makes sure of the demo account.

    Returns it, a model to try, and the vendors that are called for real.

    Errors: `ServiceError`, `OSError`.
    """
    from services.runtime.clients import answer, connect
    from tokenline.accounting.v1 import accounting_pb2_grpc
    from tokenline.authentication.v1 import authentication_pb2_grpc
    from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

    base_url = running.base_url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")
    await _until_ready(running.admin_url)
    async with connect(running.registry) as channel:
        registry = registry_pb2_grpc.RegistryServiceStub(channel)
        catalog = (await answer(registry.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=_TIMEOUT_S))).catalog
    async with connect(running.accounting) as accounting_channel, connect(running.authentication) as authentication_channel:
        account = await _open_account(accounting_pb2_grpc.AccountingServiceStub(accounting_channel))
        authentication = authentication_pb2_grpc.AuthenticationServiceStub(authentication_channel)
        api_key = await _demo_key(authentication, account.account_id, running.folder)
    offering = next(offering for offering in catalog.offerings if offering.offering_id == account.offering_id)
    demo = Demo(
        base_url=base_url,
        admin_url=running.admin_url,
        api_key=api_key,
        account_id=account.account_id,
        admin_token=running.folder.read_admin_token(),
        pid=os.getpid(),
    )
    real = [
        vendor.vendor_id
        for vendor in catalog.vendors
        if os.environ.get(vendor.api_key_env) or (vendor.base_url_env and os.environ.get(vendor.base_url_env))
    ]
    return demo, _example(offering.model_ids or [model.model_id for model in catalog.models]), real


def _example(model_ids: "Sequence[str]") -> str:
    """A model to try, of those that the demo account may use."""
    return _EXAMPLE if _EXAMPLE in model_ids else next(iter(model_ids))


async def _until_ready(admin_url: str) -> None:
    from services.cli.client import is_ready

    for polls in count(1):
        ready, missing = await asyncio.to_thread(is_ready, admin_url)
        if ready:
            return
        if polls % round(_READY_NOTICE_S / _READY_POLL_S) == 0:
            logger.warning("not ready yet, waiting for: %s", ", ".join(missing))
        await asyncio.sleep(_READY_POLL_S)


async def _open_account(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> "accounting_pb2.Account":
    """The demo account, with TOKEN to spend."""
    from google.protobuf.duration_pb2 import Duration

    from services.runtime.clients import answer
    from services.runtime.errors import ServiceError
    from services.runtime.identifiers import derived_name
    from tokenline.accounting.v1 import accounting_pb2
    from tokenline.errors.v1 import errors_pb2
    from tokenline.registry.v1 import registry_pb2

    account_id = derived_name("acct", _IDEMPOTENCY_KEY)
    # It holds the folder of the services' sockets, where nobody else may enter.
    actor = accounting_pb2.Actor(subject="tokenline up", proof="local_socket", role="service")
    opening = accounting_pb2.OpenAccountRequest(account_id=account_id, actor=actor)
    account = (await answer(accounting.OpenAccount(opening, timeout=_TIMEOUT_S))).account
    for number in count(1):
        if _tokens_remaining(account) >= _GRANT_AGAIN_BELOW:
            break
        granting = accounting_pb2.GrantBucketRequest(
            account_id=account_id,
            unit=accounting_pb2.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN),
            amount=_GRANT_AMOUNT,
            valid_for=Duration(seconds=_GRANT_VALID_DAYS * _DAY_S),
            idempotency_key=f"{_IDEMPOTENCY_KEY}-{number}",
            actor=actor,
        )
        try:
            # Under the key of an earlier grant this changes nothing, and the next number is tried.
            await answer(accounting.GrantBucket(granting, timeout=_TIMEOUT_S))
        except ServiceError as error:
            if error.reason != errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT:
                raise
        asking = accounting_pb2.GetAccountRequest(account_id=account_id)
        account = (await answer(accounting.GetAccount(asking, timeout=_TIMEOUT_S))).account
    return account


def _tokens_remaining(account: "accounting_pb2.Account") -> int:
    from tokenline.registry.v1 import registry_pb2

    return sum(bucket.remaining for bucket in account.buckets if bucket.unit.unit == registry_pb2.UNIT_TOKEN)


async def _demo_key(
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", account_id: str, folder: DataFolder
) -> str:
    """The demo account's API key: that of the last start, or a new one where that was revoked."""
    from services.runtime.clients import answer
    from services.runtime.errors import ServiceError
    from services.runtime.identifiers import derived_name, random_name
    from tokenline.authentication.v1 import authentication_pb2
    from tokenline.errors.v1 import errors_pb2

    lost = (errors_pb2.ERROR_REASON_KEY_UNKNOWN, errors_pb2.ERROR_REASON_KEY_REVOKED, errors_pb2.ERROR_REASON_INVALID_ARGUMENT)
    if api_key := folder.read_demo_key():
        resolving = authentication_pb2.ResolveKeyRequest(api_key=api_key)
        try:
            await answer(authentication.ResolveKey(resolving, timeout=_TIMEOUT_S))
        except ServiceError as error:
            if error.reason == errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED:
                return api_key
            if error.reason not in lost:
                raise
        else:
            return api_key
    joining = authentication_pb2.CreateMemberRequest(
        account_id=account_id, idempotency_key=derived_name("member", account_id, _IDEMPOTENCY_KEY)
    )
    member = (await answer(authentication.CreateMember(joining, timeout=_TIMEOUT_S))).member
    issuing = authentication_pb2.CreateKeyRequest(
        account_id=account_id, member_id=member.member_id, idempotency_key=random_name(_IDEMPOTENCY_KEY)
    )
    issued = await answer(authentication.CreateKey(issuing, timeout=_TIMEOUT_S))
    folder.write_demo_key(issued.api_key)
    return issued.api_key


def _greeting(demo: Demo, model_id: str, vendors: list[str]) -> str:
    answered = f"{', '.join(vendors)} called for real; the built-in simulator answers for all others"
    return f"""\
Tokenline is ready.

  base URL   {demo.base_url}
  demo key   {demo.api_key}
  operators  {demo.admin_url}
  vendors    {answered if vendors else "the built-in simulator answers for all"}

  curl {demo.base_url}/chat/completions -H 'Authorization: Bearer {demo.api_key}' -H 'Content-Type: application/json' \
-d '{{"model": "{model_id}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

With the openai SDK for Python:

  from openai import OpenAI
  client = OpenAI(base_url="{demo.base_url}", api_key="{demo.api_key}")
  client.chat.completions.create(model="{model_id}", messages=[{{"role": "user", "content": "Hello!"}}])

Stop it with Ctrl-C.
"""
