"""`tokenline owners|move|recover`: the partitions of a cell and who owns them."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from services.cli.client import find_system
from services.cli.data_folder import DEFAULT_DATA_DIR, open_data_folder
from services.cli.failures import CommandError, expected_errors
from services.cli.printing import common_options, fields_of, print_answer, table, text_of


@click.command("owners")
@common_options
def owners_command(data_dir: Path | None, output: str) -> None:
    """Show the owner of each partition.

    epoch: rises with each new owner. tail: journal rows that the next owner would have to replay. lag: journal rows that are not
    exported yet.
    """
    listed = find_system(data_dir).ask("GET", "/partitions")
    numbers = ("part_id", "epoch", "last_sequence_number", "tail", "lag")
    columns = ("part_id", "owner", *numbers[1:])

    def tables() -> list[Any]:
        rows = ([each[column] for column in columns] for each in listed["data"])
        return [table(f"Partitions, era {listed['era']}", columns, rows, right=numbers)]

    print_answer(listed, output, tables)


@click.command("move")
@click.argument("partition", type=click.IntRange(0, 4_095), metavar="PARTITION")
@click.option("--to", "address", metavar="ADDRESS", help="Its next owner, as `tokenline owners` shows it. Default: any other one.")
@common_options
def move_command(partition: int, address: str | None, data_dir: Path | None, output: str) -> None:
    """Have another replica of accounting own PARTITION, for as long as that replica lives. No call fails for it."""
    wanted = {} if address is None else {"address": address}
    moved = find_system(data_dir).ask("POST", f"/partitions/{partition}/move", wanted)
    print_answer(moved, output, lambda: fields_of(moved))


@click.command("recover")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="The config of its accounting.")
@common_options
def recover_command(config_file: Path | None, data_dir: Path | None, output: str) -> None:
    """Begin a new era, after a database or etcd was restored from a backup.

    The processes that serve the cell end and start again in the new era; earlier claims and marks no longer count. This does not
    bring back what a backup lacks: look first for what is missing. Name a cell by its accounting's config, or by --data-dir a data
    folder whose system is down.
    """
    if config_file is not None and data_dir is not None:
        raise click.UsageError("give --config or --data-dir, not both")
    with expected_errors():
        import uvloop

        if config_file is not None:
            recovered = uvloop.run(_recover_cell(config_file))
        else:
            folder = (data_dir or DEFAULT_DATA_DIR).expanduser().absolute()
            with open_data_folder(folder, create=False) as opened:
                if not opened.accounting_database.exists():
                    raise CommandError(f"{opened.accounting_database} is not there; give --data-dir, or --config")
                recovered = uvloop.run(recover_folder(opened.accounting_database))
    following = text_of("start what is down; then run `tokenline audit` and `tokenline reconcile`")
    print_answer(recovered, output, lambda: [*fields_of(recovered), following])


async def recover_folder(database: Path) -> dict[str, Any]:
    """Begins a new era of a journal in a file that nobody uses. Errors: those of `Database.open`."""
    from services.accounting.journal.sqlite import SqliteStore

    store = await SqliteStore.open(database)
    try:
        return {"era": await store.raise_era(0)}
    finally:
        await store.close()


async def _recover_cell(config_file: Path) -> dict[str, Any]:
    from services.accounting.cell.coordinator import WrongCellError, enter_new_era
    from services.accounting.cell.server_groups import raise_era
    from services.accounting.config import AccountingConfig
    from services.accounting.journal.postgresql import PostgresqlStore
    from services.accounting.journal.store import Share
    from services.runtime.clock import SystemClock
    from services.runtime.config import read_yaml
    from services.runtime.etcd import EtcdClient, EtcdError
    from services.runtime.postgresql import COMMAND_WAIT_S_MAX

    config = read_yaml(config_file, AccountingConfig)
    if config.database:
        return await recover_folder(Path(config.database))
    async with AsyncExitStack() as stack:
        stores = []
        cell_id = ""
        for number, server in enumerate(config.servers):
            store = await PostgresqlStore.open(server, SystemClock(), COMMAND_WAIT_S_MAX)
            stack.push_async_callback(store.close)
            cell_id = (await store.initialise(config.partitions, Share(number, len(config.servers)), cell_id)).cell_id
            stores.append(store)
        if config.etcd is None:
            return {"era": await raise_era(stores, 0)}
        etcd = await stack.enter_async_context(EtcdClient(config.etcd))
        try:
            await etcd.reach(config.etcd_prefix, COMMAND_WAIT_S_MAX)
            return {"era": await enter_new_era(etcd, config.etcd_prefix, stores, cell_id, config.partitions)}
        except (EtcdError, WrongCellError) as error:
            raise CommandError(str(error)) from error
