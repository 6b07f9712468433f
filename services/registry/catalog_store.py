"""Catalog layers in etcd: what all registries of a cell serve over their folders, changed without a new rollout.

The key PREFIX + NAME is the layer NAME, a JSON object of file names and YAML texts, as a folder would have them; a name like
vendors/acme.yaml stands for a file in a folder of it. Layers lie over the folders, and over one another in the order of their
names. A layer is one key, so that it changes as a whole.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from services.registry.catalog_folder import Layer, check_change, read_folder, read_folders
from services.runtime.config import ConfigError
from services.runtime.etcd import EtcdClient, EtcdError, KeyValue, Snapshot

# etcd takes no larger request, of 1.5 MiB, as it comes.
_LAYER_BYTES_MAX: Final = 1_000_000


class PublishedLayers:
    """The layers as etcd has them now. `follow` must be running."""

    def __init__(self, etcd: EtcdClient, prefix: str) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._snapshot: Snapshot | None = None
        self.changed = asyncio.Event()

    async def follow(self) -> None:
        """Keeps up with etcd, for ever. While etcd is away, the layers that it said last stay."""
        async for snapshot in self._etcd.follow(self._prefix):
            self._snapshot = snapshot
            self.changed.set()

    def layers(self) -> tuple[Layer, ...]:
        """The layers in their order. Errors: `ConfigError` until etcd has said, and for a key that is no layer."""
        if self._snapshot is None:
            raise ConfigError(f"the layers below {self._prefix} have not been read from etcd yet; see the log of this process")
        return _layers(self._prefix, self._snapshot)


def _layers(prefix: str, snapshot: Snapshot) -> tuple[Layer, ...]:
    return tuple(_layer(prefix, name, each) for name, each in sorted(snapshot.keys.items()))


def _layer(prefix: str, name: str, stored: KeyValue) -> Layer:
    return tuple((Path(f"etcd:{prefix}{name}/{file}"), text) for file, text in sorted(_files(prefix, name, stored).items()))


def _files(prefix: str, name: str, stored: KeyValue) -> dict[str, str]:
    """The texts of a layer by file. Errors: `ConfigError` for a key that is no layer."""
    try:
        return msgspec.json.decode(stored.value, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"etcd:{prefix}{name}: is no catalog layer: {error}; publish it with `tokenline catalog publish`, or remove it"
        ) from error


class CatalogStore:
    """Changes the layers. Errors of all methods: `EtcdError`."""

    def __init__(self, etcd: EtcdClient, prefix: str) -> None:
        self._etcd = etcd
        self._prefix = prefix

    async def list(self) -> dict[str, list[str]]:
        """Name of each layer -> its files, in the order in which they lie over one another."""
        snapshot = await self._etcd.get_prefix(self._prefix)
        return {name: sorted(_files(self._prefix, name, each)) for name, each in sorted(snapshot.keys.items())}

    async def publish(self, name: str, folder: Path, below: Sequence[Path]) -> int:
        """Puts a folder's files in the place of a layer, if the whole is valid then; returns etcd's revision.

        `below`: the folders that registries serve under it. Errors: `ConfigError` for the first thing that is wrong.
        """
        texts = await asyncio.to_thread(read_folder, folder)
        value = msgspec.json.encode({path.relative_to(folder).as_posix(): text for path, text in texts})
        if len(value) > _LAYER_BYTES_MAX:
            raise ConfigError(f"{folder}: has {len(value)} bytes, a layer at most {_LAYER_BYTES_MAX}: make it several layers")
        return await self._change(name, (tuple(texts), value), below)

    async def remove(self, name: str, below: Sequence[Path]) -> int:
        """Takes a layer away, if the whole is valid without it. Errors: as of `publish`."""
        return await self._change(name, None, below)

    async def _change(self, name: str, new: tuple[Layer, bytes] | None, below: Sequence[Path]) -> int:
        snapshot = await self._etcd.get_prefix(self._prefix)
        if new is None and name not in snapshot.keys:
            known = ", ".join(sorted(snapshot.keys)) or "none"
            raise ConfigError(f"no layer {name!r} is published; there are: {known}")
        folders = await asyncio.to_thread(read_folders, below)
        others = {each: _layer(self._prefix, each, stored) for each, stored in snapshot.keys.items() if each != name}
        after = others if new is None else {**others, name: new[0]}
        try:
            before = {**others, name: _layer(self._prefix, name, snapshot.keys[name])} if name in snapshot.keys else others
        except ConfigError:
            # The stored layer is broken, so it is in force nowhere: any valid layer may take its place.
            before = after
        await asyncio.to_thread(check_change, [*folders, *_in_order(before)], [*folders, *_in_order(after)])
        revision = snapshot.keys[name].mod_revision if name in snapshot.keys else 0
        key = f"{self._prefix}{name}"
        changed = (
            await self._etcd.delete_if(key, mod_revision=revision)
            if new is None
            else await self._etcd.put_if(key, new[1], mod_revision=revision)
        )
        if changed is None:
            raise EtcdError(f"the layer {name!r} was changed meanwhile by somebody else; look at it and try again")
        return changed


def _in_order(layers: dict[str, Layer]) -> list[Layer]:
    return [layers[name] for name in sorted(layers)]
