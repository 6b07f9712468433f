"""Catalog layers in etcd: what all registries of a cell serve over their folders, changed without a new rollout.

The key PREFIX + NAME is the layer NAME, a JSON object of file names and YAML texts, as a folder would have them; a name like
vendors/acme.yaml stands for a file in a folder of it. Layers lie over the folders, and over one another in the order of their
names. A layer is one key, so that it changes as a whole; the change is kept with it, below a prefix beside that of the layers.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from services.registry.catalog_folder import Layer, read_folders
from services.registry.changes import HISTORY_MAX, Change, Files, LayersNow, StaleError, layer_of
from services.runtime.config import ConfigError
from services.runtime.etcd import EtcdClient, KeyValue, Snapshot

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
    named = sorted(snapshot.keys.items())
    return tuple(layer_of(_files(prefix, name, stored), Path(f"etcd:{prefix}{name}")) for name, stored in named)


def _files(prefix: str, name: str, stored: KeyValue) -> dict[str, str]:
    """The texts of a layer by file. Errors: `ConfigError` for a key that is no layer."""
    try:
        return msgspec.json.decode(stored.value, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"etcd:{prefix}{name}: is no catalog layer: {error}; replace it with `tokenline catalog apply`, or remove it"
        ) from error


class EtcdLayers:
    """Reads and changes the layers. Errors of all methods: `EtcdError`, and those of `LayerStore`."""

    def __init__(self, etcd: EtcdClient, prefix: str, below: Sequence[Path]) -> None:
        """`below`: the folders that registries serve under the layers."""
        self._etcd = etcd
        self._prefix = prefix
        self._history_prefix = prefix.removesuffix("/") + "-history/"
        self._below = below

    async def read(self) -> LayersNow:
        # Before the layers: a change between the two reads then has a number that is taken already.
        numbers = await self._numbers()
        snapshot = await self._etcd.get_prefix(self._prefix)
        layers, broken = dict[str, Files](), set[str]()
        for name, stored in sorted(snapshot.keys.items()):
            try:
                layers[name] = _files(self._prefix, name, stored)
            except ConfigError:
                broken.add(name)
        return LayersNow(
            below=tuple(await asyncio.to_thread(read_folders, self._below)),
            layers=layers,
            place_of={name: Path(f"etcd:{self._prefix}{name}") for name in layers},
            broken=frozenset(broken),
            last_number=max(numbers, default=0),
            mark={name: stored.mod_revision for name, stored in snapshot.keys.items()},
        )

    async def write(self, now: LayersNow, files: Files | None, change: Change) -> None:
        key, kept = f"{self._prefix}{change.layer}", self._key_of(change.number)
        puts = {kept: msgspec.json.encode(change)}
        if files is not None:
            puts[key] = msgspec.json.encode(files)
            if len(puts[key]) > _LAYER_BYTES_MAX:
                raise ConfigError(
                    f"layer {change.layer!r}: has {len(puts[key])} bytes, the most are {_LAYER_BYTES_MAX}: make it several layers"
                )
        old = [self._key_of(number) for number in await self._numbers() if number <= change.number - HISTORY_MAX]
        deletes = [*old, *([key] if files is None else [])]
        # The layer is as it was read, and nobody else has made a change of this number.
        as_read = {key: now.mark.get(change.layer, 0), kept: 0}
        if await self._etcd.commit_if(as_read, puts, deletes) is None:
            raise StaleError

    async def history(self) -> Sequence[Change]:
        snapshot = await self._etcd.get_prefix(self._history_prefix)
        try:
            return [msgspec.json.decode(stored.value, type=Change) for _, stored in sorted(snapshot.keys.items())]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"etcd:{self._history_prefix}: has a key that is no change of a catalog: {error}") from error

    async def _numbers(self) -> list[int]:
        return [int(name) for name in (await self._etcd.get_prefix(self._history_prefix)).keys]

    def _key_of(self, number: int) -> str:
        return f"{self._history_prefix}{number:010}"
