"""`tokenline catalog`: the layers over the base catalog, checked, compared, applied and taken back."""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from services.cli.catalog_explain import explanation, explanation_tables
from services.cli.catalog_report import change_json, history_table, names_text, plan_json, plan_tables
from services.cli.data_folder import DEFAULT_DATA_DIR, DataFolder
from services.cli.failures import CommandError, CommandFailed, expected_errors
from services.cli.printing import fields_of, print_answer, table

if TYPE_CHECKING:
    from services.registry.changes import Change, Files, LayersNow, LayerStore, Plan

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# A change that takes more of the models on sale out of an offering, or moves more of the prices, needs a flag.
_SHARE_MAX: Final = 0.1
_DEFAULT_LAYER: Final = "branch"


class _Where(NamedTuple):
    """The catalog that a command is about: that of a registry's config, or that of a data folder."""

    config_file: Path | None
    data_dir: Path | None

    @asynccontextmanager
    async def store(self) -> AsyncIterator["LayerStore"]:
        from services.registry.catalog_folder import base_catalog_folder
        from services.registry.catalog_store import EtcdLayers
        from services.registry.config import RegistryConfig
        from services.registry.layer_folder import FolderLayers
        from services.runtime.config import read_yaml
        from services.runtime.etcd import EtcdClient

        if self.config_file is None:
            folder = self.data_folder()
            yield FolderLayers(folder.catalog_folder, folder.catalog_history_folder, [base_catalog_folder()])
            return
        config = read_yaml(self.config_file, RegistryConfig)
        if config.etcd is None:
            raise CommandError(f"{self.config_file}: has no etcd; put the files into one of its catalog_folders instead")
        async with EtcdClient(config.etcd) as etcd:
            yield EtcdLayers(etcd, config.etcd_prefix, [Path(folder) for folder in config.catalog_folders])

    def data_folder(self) -> DataFolder:
        """The data folder that is meant where no config is given."""
        return DataFolder((self.data_dir or DEFAULT_DATA_DIR).expanduser().absolute())

    def layer(self, name: str | None) -> str:
        """The layer of a name. Errors: `UsageError` for one that cannot be."""
        from services.registry.layer_folder import LAYER

        if self.config_file is None:
            if name not in (None, LAYER):
                raise click.UsageError(f"--layer goes with --config only: a data folder has one layer, {LAYER}")
            return LAYER
        name = _DEFAULT_LAYER if name is None else name
        if not name.replace("-", "").isalnum() or not name.isascii():
            raise click.UsageError(f"--layer must be of letters, digits and -; it is {name!r}")
        return name


def _options(function: F) -> F:
    config = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The config of a registry that has etcd: its folders and published layers.",
    )
    data_dir = click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The data folder of `tokenline up`. Default: ~/.tokenline.",
    )
    output = click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the answer is printed.")
    return config(data_dir(output(function)))


def _layer_option(function: F) -> F:
    return click.option("--layer", metavar="NAME", help=f"With --config: the published layer. Default: {_DEFAULT_LAYER}.")(function)


def _applying_options(function: F) -> F:
    yes = click.option("--yes", is_flag=True, help="Apply it without being asked.")
    large = click.option(
        "--large-change",
        is_flag=True,
        help=f"Apply it although more than {_SHARE_MAX:.0%} of the models leave an offering, or of the prices move.",
    )
    return yes(large(function))


@click.group("catalog")
def catalog_group() -> None:
    """Check, compare, apply and take back what is for sale.

    A layer is a folder of *.yaml files over the base catalog. --config names the layers that all registries of a cell have in etcd;
    without it, the layer is DATA_DIR/catalog, for `tokenline up`.
    """


@catalog_group.command("list")
@_options
def list_layers(config_file: Path | None, data_dir: Path | None, output: str) -> None:
    """List the layers; a later one lies over the earlier."""
    where = _Where(config_file, data_dir)

    async def work(store: "LayerStore") -> "LayersNow":
        return await store.read()

    now = _run(where, work)
    answer = {"data": [{"layer": name, "files": sorted(files)} for name, files in now.layers.items()], "broken": sorted(now.broken)}
    rows = [[name, ", ".join(sorted(files))] for name, files in now.layers.items()]
    rows += [[name, "cannot be read: remove it, or apply another"] for name in sorted(now.broken)]
    print_answer(answer, output, lambda: [table("Layers over the base catalog", ("layer", "files"), rows)])


@catalog_group.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a catalog's files, by which editors complete and check them."""
    import msgspec

    from services.registry.reference import schema

    click.echo(msgspec.json.format(msgspec.json.encode(schema())))


@catalog_group.command("validate")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@_layer_option
@_options
def validate_layer(folder: Path, layer: str | None, config_file: Path | None, data_dir: Path | None, output: str) -> None:
    """Check the whole catalog as it would be with FOLDER in the place of the layer; exit 1 if it is not valid."""
    from services.registry.changes import replaced

    where = _Where(config_file, data_dir)
    plan = _planned(where, where.layer(layer), folder)
    counts = {section: len(getattr(plan.catalog, section)) for section in ("vendors", "models", "tariffs", "offerings")}
    answer = {"valid": True, **counts, "replaces": replaced(plan)}
    print_answer(answer, output, lambda: fields_of(answer))


@catalog_group.command("diff")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@_layer_option
@_options
def diff_layer(folder: Path, layer: str | None, config_file: Path | None, data_dir: Path | None, output: str) -> None:
    """Show what FOLDER in the place of the layer would change: models that leave the shelf, prices that move, and for whom."""
    where = _Where(config_file, data_dir)
    plan = _planned(where, where.layer(layer), folder)
    print_answer(plan_json(plan), output, lambda: plan_tables(plan))


@catalog_group.command("apply")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@_layer_option
@_applying_options
@_options
def apply_layer(
    folder: Path, layer: str | None, config_file: Path | None, data_dir: Path | None, output: str, **allowed: bool
) -> None:
    """Put the *.yaml files of FOLDER, and of the folders in it, in the place of the layer.

    The whole catalog must be valid then. The change is shown first and asked for; it is in force within a second.
    """
    where = _Where(config_file, data_dir)
    _apply(where, _planned(where, where.layer(layer), folder), "apply", output, **allowed)


@catalog_group.command("remove")
@click.argument("layer", metavar="LAYER")
@_applying_options
@_options
def remove_layer(layer: str, config_file: Path | None, data_dir: Path | None, output: str, **allowed: bool) -> None:
    """Take LAYER away, if the whole catalog is valid without it."""
    where = _Where(config_file, data_dir)
    _apply(where, _planned(where, where.layer(layer), None), "remove", output, **allowed)


@catalog_group.command("history")
@_options
def show_history(config_file: Path | None, data_dir: Path | None, output: str) -> None:
    """List the last changes: when, by whom, and what each of them changed."""
    where = _Where(config_file, data_dir)

    async def work(store: "LayerStore") -> list["Change"]:
        return list(await store.history())

    changes = _run(where, work)
    print_answer({"data": [change_json(each) for each in changes]}, output, lambda: [history_table(changes)])


@catalog_group.command("rollback")
@click.argument("number", type=click.IntRange(min=1), metavar="NUMBER")
@_applying_options
@_options
def roll_back(number: int, config_file: Path | None, data_dir: Path | None, output: str, **allowed: bool) -> None:
    """Take a change back: its layer becomes what it was before the change of that NUMBER.

    Later changes of that layer are taken back too; other layers stay. It is a change itself, and can be taken back.
    """
    from services.registry.changes import change_numbered, planned

    where = _Where(config_file, data_dir)

    async def work(store: "LayerStore") -> "Plan":
        change = change_numbered(await store.history(), number)
        now = await store.read()
        source = Path(f"change {number}")
        return await asyncio.to_thread(planned, now, change.layer, change.before(), source, datetime.now(UTC))

    _apply(where, _run(where, work), "rollback", output, **allowed)


@catalog_group.command("explain")
@click.argument("entry_id", metavar="ID")
@click.option("--model", "model_id", metavar="ID", help="The model whose price is explained.")
@click.option("--at", "moment", metavar="TIME", help="As it is then, like 2027-01-01T00:00:00+08:00. Default: now.")
@_options
def explain_entry(
    entry_id: str, model_id: str | None, moment: str | None, config_file: Path | None, data_dir: Path | None, output: str
) -> None:
    """Say where an offering, a tariff, a model or another entry stands, and which rows and adjustments make a price."""
    from services.registry.catalog_folder import catalog_of
    from services.registry.changes import in_order
    from services.registry.origins import Origins

    where, at = _Where(config_file, data_dir), _moment(moment)

    async def work(store: "LayerStore") -> dict[str, Any]:
        layers = in_order(await store.read())
        catalog = await asyncio.to_thread(catalog_of, layers)
        return explanation(catalog, Origins(layers), entry_id, model_id, at)

    answer = _run(where, work)
    print_answer(answer, output, lambda: explanation_tables(answer))


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError(f"--at must be a time with its offset, like 2027-01-01T00:00:00+08:00; it is {text!r}")
    return moment


def _planned(where: _Where, layer: str, folder: Path | None) -> "Plan":
    """The plan of a folder's files, or of the layer's removal. Errors: `CommandFailed` with all that is wrong with the catalog."""
    from services.registry.catalog_folder import read_folder
    from services.registry.changes import planned

    async def work(store: "LayerStore") -> "Plan":
        files: Files | None = None if folder is None else read_folder(folder)
        now = await store.read()
        return await asyncio.to_thread(planned, now, layer, files, folder or Path(layer), datetime.now(UTC))

    return _run(where, work)


def _apply(where: _Where, plan: "Plan", action: str, output: str, *, yes: bool, large_change: bool) -> None:
    from services.registry.changes import apply

    if where.config_file is None and not where.data_folder().path.is_dir():
        raise CommandError(f"{where.data_folder().path} is no data folder; `tokenline up` makes it, or name another by --data-dir")
    if output == "table":
        print_answer({}, output, lambda: plan_tables(plan))
    if plan.files == plan.now.layers.get(plan.layer):
        raise CommandFailed(f"layer {plan.layer} has these files already; nothing was changed")
    _refuse_large(plan, large_change=large_change)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("nobody is here to be asked; look at the change above and give --yes")
        click.confirm("Apply this change?", abort=True, err=True)

    async def work(store: "LayerStore") -> "Change":
        return await apply(store, plan, _person(), action, datetime.now(UTC))

    change = _run(where, work)
    answer = {"number": change.number, "layer": change.layer, "summary": change.summary}
    print_answer(answer, output, lambda: fields_of(answer))


def _refuse_large(plan: "Plan", *, large_change: bool) -> None:
    if plan.shelf is None or large_change:
        return
    for share, what in (
        (plan.shelf.models_share, "the models on sale leave an offering"),
        (plan.shelf.prices_share, "the prices move"),
    ):
        if share > _SHARE_MAX:
            leaving = sorted({model_id for moment in plan.shelf.moments for model_id in moment.leaves})
            shown = f": {names_text(leaving)}" if leaving else ""
            raise CommandFailed(
                f"{share:.0%} of {what}, more than {_SHARE_MAX:.0%}{shown}. Nothing was changed; if it is meant: --large-change"
            )


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user often has no name.
        return "unknown"


def _run(where: _Where, work: Callable[["LayerStore"], Awaitable[T]]) -> T:
    with expected_errors():
        import uvloop

        from services.registry.catalog_folder import FlawsError
        from services.registry.changes import StaleError
        from services.runtime.etcd import EtcdError

        async def run() -> T:
            async with where.store() as store:
                return await work(store)

        try:
            return uvloop.run(run())
        except FlawsError as error:
            raise CommandFailed("\n".join(error.flaws)) from error
        except StaleError as error:
            raise CommandError("the catalog was changed meanwhile by somebody else; look at it and try again") from error
        except EtcdError as error:
            raise CommandError(str(error)) from error
