"""`tokenline serve SERVICE`: one service as a process of its own."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from services.cli.failures import CommandError, CommandFailed, expected_errors
from services.cli.log_options import begin_logging, log_options

if TYPE_CHECKING:
    from services.runtime.logs import Format, Level

# Service name -> its config type and what runs it. Only those of the service that is run are imported.
SERVICES: Final[dict[str, tuple[str, str]]] = {
    "authentication": ("services.authentication.config:AuthenticationConfig", "services.authentication.app:run_authentication"),
    "registry": ("services.registry.config:RegistryConfig", "services.registry.app:run_registry"),
    "accounting": ("services.accounting.config:AccountingConfig", "services.accounting.app:run_accounting"),
    "billing": ("services.billing.config:BillingConfig", "services.billing.app:run_billing"),
    "edge": ("services.edge.config:EdgeConfig", "services.edge.app:run_edge"),
    "carrier-simulator": (
        "services.carrier_simulator.config:CarrierSimulatorConfig",
        "services.carrier_simulator.app:run_carrier_simulator",
    ),
    "vendor-simulator": (
        "services.vendor_simulator.config:VendorSimulatorConfig",
        "services.vendor_simulator.app:run_vendor_simulator",
    ),
}


class _Run(Protocol):
    def __call__(self, config: Any, lifecycle: Any) -> AbstractAsyncContextManager[str]: ...


@click.command("serve")
@click.argument("service", type=click.Choice(list(SERVICES)), metavar="SERVICE")
@click.option("--config", "config_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Its YAML config.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=TEXT",
    help="A text field in the place of the file's, like advertised_address=HOST:PORT: what differs between replicas of one file.",
)
@log_options
def serve_command(
    service: str,
    config_file: Path,
    settings: tuple[str, ...],
    log_format: "Format | None",
    log_levels: "tuple[tuple[str, Level], ...]",
) -> None:
    """Run SERVICE, one of authentication, registry, accounting, billing, edge, carrier-simulator and vendor-simulator.

    Prints its address once it listens. SIGTERM drains it and ends with 0; a failed background task ends with 1, a config
    that cannot be used with 2. The options for the log count before its config.
    """
    from services.runtime.config import read_yaml

    config_type, run = SERVICES[service]
    with expected_errors():
        config = read_yaml(config_file, resolve_name(config_type), _settings(settings))

        telemetry = config.telemetry
        log = begin_logging(
            log_format or telemetry.log_format, {"": telemetry.log_level, **telemetry.log_levels, **dict(log_levels)}
        )

        import uvloop

        try:
            uvloop.run(_serve(service, resolve_name(run), config))
        finally:
            log.flush()


def _settings(settings: tuple[str, ...]) -> dict[str, str]:
    for each in settings:
        if not each.partition("=")[0].isidentifier() or "=" not in each:
            raise CommandError(f"--set {each}: give it as FIELD=TEXT, for example advertised_address=10.0.0.7:7003")
    return dict(each.split("=", 1) for each in settings)


async def _serve(service: str, run: _Run, config: Any) -> None:
    from services.runtime.clock_watch import ClockWatch
    from services.runtime.lifecycle import Lifecycle, StoppedError, started
    from services.runtime.metrics import listen_to_prometheus
    from services.runtime.telemetry import start_telemetry

    telemetry = start_telemetry(service, config.telemetry)
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listen_to_prometheus(config.telemetry))
            await stack.enter_async_context(lifecycle.background("clock", ClockWatch().run()))
            with lifecycle.unless_stopped():
                address = await stack.enter_async_context(run(config, lifecycle))
            click.echo(f"{service} listens on {address}")
            started()
            await lifecycle.wait()
    except StoppedError:
        pass
    finally:
        telemetry.shutdown()
    if lifecycle.failure is not None:
        raise CommandFailed(f"{service} failed: {lifecycle.failure}")
