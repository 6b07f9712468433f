"""`tokenline migrate`: schemas as this release needs them, before it is rolled out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from services.cli.failures import CommandError, expected_errors
from services.cli.serve import SERVICES

# By service: the module of its SQLite store and that of its PostgreSQL store.
STORES: Final = {
    "accounting": ("services.accounting.journal.sqlite", "services.accounting.journal.postgresql"),
    "authentication": ("services.authentication.sqlite_store", "services.authentication.postgresql_store"),
    "billing": ("services.billing.sqlite_store", "services.billing.postgresql_store"),
}


@click.command("migrate")
@click.argument("service", type=click.Choice(tuple(STORES)), metavar="SERVICE")
@click.option("--config", "config_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Its YAML config.")
@click.option(
    "--grant-to", "user", default="", metavar="USER", help="PostgreSQL's user whom the service has, if it is another one."
)
def migrate_command(service: str, config_file: Path, user: str) -> None:
    """Bring the database of SERVICE, one of accounting, authentication and billing, up to date.

    A service does that at its start, too; run it before with a user who may make tables, and the service needs one who may only
    read and write: --grant-to lets USER do that. Of several at once one works, and the others wait for it; a schema newer than
    this release is refused.
    """
    from pkgutil import resolve_name

    from services.runtime.config import read_yaml

    with expected_errors():
        import uvloop

        config = read_yaml(config_file, resolve_name(SERVICES[service][0]))
        uvloop.run(_migrate(service, config, user))
    click.echo(f"the database of {service} is up to date")


async def _migrate(service: str, config: Any, user: str) -> None:
    from services.runtime.postgresql import let_read_and_write

    if user and config.database:
        raise CommandError("--grant-to goes with postgresql: SQLite has no users")
    for store in await _opened(service, config):
        await store.close()
    if user:
        for server in config.servers if service == "accounting" else (config.postgresql,):
            await let_read_and_write(server, service, user)


async def _opened(service: str, config: Any) -> Sequence[Any]:
    from importlib import import_module

    from services.runtime.clock import SystemClock
    from services.runtime.postgresql import COMMAND_WAIT_S_MAX

    sqlite_module, postgresql_module = STORES[service]
    if config.database:
        sqlite = import_module(sqlite_module).SqliteStore
        return [await sqlite.open(Path(config.database))]
    postgresql = import_module(postgresql_module).PostgresqlStore
    if service == "accounting":
        return [await postgresql.open(server, SystemClock(), COMMAND_WAIT_S_MAX) for server in config.servers]
    return [await postgresql.open(config.postgresql, COMMAND_WAIT_S_MAX)]
