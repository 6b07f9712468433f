"""Changes of a catalog's layers: planned against all that is there, applied in one step, kept so that they can be taken back.

A `LayerStore` keeps layers and the history of their changes. What it holds is what registries serve.
"""

import datetime
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from services.registry.catalog import Catalog
from services.registry.catalog_folder import Layer, check_change
from services.registry.origins import Origins
from services.registry.shelf import ShelfChange, change_of
from services.runtime.config import ConfigError

# A layer's files: name, such as vendors/acme.yaml -> YAML text.
Files = Mapping[str, str]

# Changes that can still be looked at and taken back.
HISTORY_MAX: Final = 100


class StaleError(Exception):
    """Somebody else changed the layers after they were read."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was applied to a layer."""

    # Rises by one with each change of any layer.
    number: int
    time: datetime.datetime
    # The person, as the machine knows them.
    by: str
    layer: str
    # "apply", "remove" or "rollback".
    action: str
    # The change in a line.
    summary: str
    # The layer's files before it, as compressed JSON; None: there was no such layer.
    packed_before: bytes | None

    def before(self) -> Files | None:
        """The layer's files before the change; None: there was no such layer."""
        if self.packed_before is None:
            return None
        return msgspec.json.decode(zlib.decompress(self.packed_before), type=dict[str, str])


def packed(files: Files | None) -> bytes | None:
    """Files as a change keeps them."""
    return None if files is None else zlib.compress(msgspec.json.encode(files), 9)


class LayersNow(NamedTuple):
    """Layers at a moment."""

    # Those that no change touches, the lowest first.
    below: tuple[Layer, ...]
    # By name, in the order in which they lie over one another.
    layers: Mapping[str, Files]
    # Where a layer of the store stands, for people: a path to which the file's name is added.
    place_of: Mapping[str, Path]
    # Names of layers that cannot be read, so that no registry has them in force.
    broken: frozenset[str]
    # The number of the last change; 0: there was none.
    last_number: int
    # The store's own mark of this state.
    mark: Any


class LayerStore(Protocol):
    """Layers and their history. Errors of all methods: `ConfigError` for what cannot be read; those of the store's client."""

    async def read(self) -> LayersNow:
        """All layers."""
        ...

    async def write(self, now: LayersNow, files: Files | None, change: Change) -> None:
        """Puts files in the place of the change's layer, or takes it away, and keeps the change: both or neither.

        Errors: `StaleError` when the layers are no longer as they were read; nothing is changed then.
        """
        ...

    async def history(self) -> Sequence[Change]:
        """The last changes, at most `HISTORY_MAX`, by rising number."""
        ...


class Plan(NamedTuple):
    """A change that is valid and not yet applied."""

    layer: str
    files: Files | None
    # The folder that the files come from.
    source: Path
    now: LayersNow
    catalog: Catalog
    # None: nothing valid is in force, with which it could be compared.
    shelf: ShelfChange | None

    def summary(self) -> str:
        """The change in a line."""
        if self.shelf is None:
            return "the first valid catalog"
        leaving = {model_id for moment in self.shelf.moments for model_id in moment.leaves}
        added = self.shelf.added_offerings
        coming = {model_id for moment in self.shelf.moments for model_id in moment.comes_beside(added)}
        moved = {(move.tariff_id, move.model_id) for moment in self.shelf.moments for move in moment.moves}
        entries = {(change.section, change.entry_id) for change in self.shelf.fields}
        parts = (
            (len(leaving), "model leaves an offering", "models leave offerings"),
            (len(added), "offering comes", "offerings come"),
            (len(coming), "model comes", "models come"),
            (len(moved), "price moves", "prices move"),
            (len(entries), "entry changes", "entries change"),
        )
        told = [f"{count} {one if count == 1 else many}" for count, one, many in parts if count]
        return ", ".join(told) or "nothing changes"


def planned(now: LayersNow, layer: str, files: Files | None, source: Path, moment: datetime.datetime) -> Plan:
    """The change that these files make in the place of a layer, from a moment on; None: that its removal makes. Blocking.

    `source`: where the files come from, for errors. Errors: `FlawsError` for all that is wrong or malformed; `ConfigError`
    for the removal of a layer that is not there.
    """
    if files is None and layer not in now.layers and layer not in now.broken:
        known = ", ".join(sorted({*now.layers, *now.broken})) or "none"
        raise ConfigError(f"no layer {layer!r} is published; there are: {known}")
    if others_broken := sorted(now.broken - {layer}):
        raise ConfigError(f"layer {others_broken[0]!r} cannot be read, so that nothing is valid: remove it first")
    before = in_order(now)
    others = {name: each for name, each in now.layers.items() if name != layer}
    after = others if files is None else {**others, layer: files}
    # A layer that cannot be read is in force nowhere, so any valid one may follow.
    catalogs = check_change(None if now.broken else before, _in_order(now, after, {**now.place_of, layer: source}))
    shelf = change_of(catalogs[0], catalogs[1], moment) if catalogs[0] is not None else None
    return Plan(layer, files, source, now, catalogs[1], shelf)


def replaced(plan: Plan) -> list[str]:
    """Entries of the planned layer that take the place of one below, or change a vendor there, as "LIST ID". Blocking."""
    names = sorted(name for name in plan.now.layers if name < plan.layer)
    below = (*plan.now.below, *(layer_of(plan.now.layers[name], plan.now.place_of[name]) for name in names))
    own = Origins([layer_of(plan.files or {}, plan.source)]).ids()
    return sorted(f"{section} {entry_id}" for section, entry_id in own & Origins(below).ids())


def in_order(now: LayersNow) -> list[Layer]:
    """All layers, the lowest first."""
    return _in_order(now, now.layers, now.place_of)


def _in_order(now: LayersNow, layers: Mapping[str, Files], place_of: Mapping[str, Path]) -> list[Layer]:
    return [*now.below, *(layer_of(layers[name], place_of[name]) for name in sorted(layers))]


def layer_of(files: Files, place: Path) -> Layer:
    """The files with the paths that people know them by."""
    return tuple((place / name, text) for name, text in sorted(files.items()))


async def apply(store: LayerStore, plan: Plan, by: str, action: str, moment: datetime.datetime) -> Change:
    """Applies a plan and keeps it in the history. Errors: as of `LayerStore.write`."""
    change = Change(
        number=plan.now.last_number + 1,
        time=moment,
        by=by,
        layer=plan.layer,
        action=action,
        summary=plan.summary(),
        packed_before=packed(plan.now.layers.get(plan.layer)),
    )
    await store.write(plan.now, plan.files, change)
    return change


def change_numbered(history: Sequence[Change], number: int) -> Change:
    """A change of the history. Errors: `ConfigError` when it has no such one."""
    for change in history:
        if change.number == number:
            return change
    known = f"it has {history[0].number} to {history[-1].number}" if history else "it is empty"
    raise ConfigError(f"the history has no change {number}; {known}")
