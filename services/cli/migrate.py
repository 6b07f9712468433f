"""`tokenline migrate`: schemas as this release needs them, before it is rolled out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from services.cli.failures import expected_errors
from services.cli.serve import SERVICES

_SERVICES: Final = ("accounting", "authentication", "billing")


@click.command("migrate")
@click.argument("service", type=click.Choice(_SERVICES), metavar="SERVICE")
@click.option("--config", "config_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Its YAML config.")
def migrate_command(service: str, config_file: Path) -> None:
    """Bring the database of SERVICE, one of accounting, authentication and billing, up to date.

    A service does that at its start, too; run it before with a user who may make tables, and the service needs one who may only
    read and write. Of several at once one works, and the others wait for it; a schema newer than this release is refused.
    """
    from pkgutil import resolve_name

    from services.runtime.config import read_yaml

    with expected_errors():
        import uvloop

        config = read_yaml(config_file, resolve_name(SERVICES[service][0]))
        uvloop.run(_migrate(service, config))
    click.echo(f"the database of {service} is up to date")


async def _migrate(service: str, config: Any) -> None:
    for store in await _opened(service, config):
        await store.close()


async def _opened(service: str, config: Any) -> Sequence[Any]:
    from importlib import import_module

    from services.runtime.clock import SystemClock

    if config.database:
        sqlite = import_module(f"services.{service}.sqlite_store").SqliteStore
        return [await sqlite.open(Path(config.database))]
    postgresql = import_module(f"services.{service}.postgresql_store").PostgresqlStore
    if service == "accounting":
        return [await postgresql.open(server, SystemClock()) for server in config.servers]
    return [await postgresql.open(config.postgresql)]
