"""`tokenline catalog`: the layers that are published in etcd, for all registries of a cell."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from services.cli.failures import CommandError, expected_errors
from services.cli.printing import fields_of, print_answer, table

F = TypeVar("F", bound=Callable[..., Any])


def _options(function: F) -> F:
    config = click.option(
        "--config", "config_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The registry's config."
    )
    output = click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the answer is printed.")
    return config(output(function))


@click.group("catalog")
def catalog_group() -> None:
    """Publish and remove catalog layers in etcd."""


@catalog_group.command("list")
@_options
def list_layers(config_file: Path, output: str) -> None:
    """List the published layers; a later one lies over the earlier."""
    listed = _run(config_file, lambda store, _: store.list())
    answer = {"data": [{"layer": name, "files": files} for name, files in listed.items()]}
    rows = [[name, ", ".join(files)] for name, files in listed.items()]
    print_answer(answer, output, lambda: [table("Published layers", ("layer", "files"), rows)])


@catalog_group.command("publish")
@click.argument("layer", metavar="LAYER")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@_options
def publish_layer(layer: str, folder: Path, config_file: Path, output: str) -> None:
    """Put the *.yaml files of FOLDER, and of the folders in it, in the place of LAYER.

    The whole catalog must be valid then; it is in force within a second.
    """
    if not layer.replace("-", "").isalnum() or not layer.isascii():
        raise click.UsageError("LAYER must be of letters, digits and -")
    revision = _run(config_file, lambda store, below: store.publish(layer, folder, below))
    print_answer({"layer": layer, "revision": revision}, output, lambda: fields_of({"layer": layer, "revision": revision}))


@catalog_group.command("remove")
@click.argument("layer", metavar="LAYER")
@_options
def remove_layer(layer: str, config_file: Path, output: str) -> None:
    """Take LAYER away, if the whole catalog is valid without it."""
    revision = _run(config_file, lambda store, below: store.remove(layer, below))
    print_answer({"layer": layer, "revision": revision}, output, lambda: fields_of({"layer": layer, "revision": revision}))


def _run(config_file: Path, work: Callable[[Any, list[Path]], Awaitable[Any]]) -> Any:
    with expected_errors():
        import uvloop

        from services.registry.catalog_store import CatalogStore
        from services.registry.config import RegistryConfig
        from services.runtime.config import read_yaml
        from services.runtime.etcd import EtcdClient, EtcdError

        config = read_yaml(config_file, RegistryConfig)
        if config.etcd is None:
            raise CommandError(f"{config_file}: has no etcd; put the files into one of its catalog_folders instead")
        etcd_config = config.etcd

        async def run() -> Any:
            async with EtcdClient(etcd_config) as etcd:
                return await work(CatalogStore(etcd, config.etcd_prefix), [Path(folder) for folder in config.catalog_folders])

        try:
            return uvloop.run(run())
        except EtcdError as error:
            raise CommandError(str(error)) from error
