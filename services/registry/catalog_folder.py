"""Catalogs as text: layered folders of *.yaml files, and layers that were published elsewhere.

A file holds any of the lists of a `Catalog`, and may name the default offering. All files of a folder and of the folders in it are
one layer; a later layer adds entries, or replaces those of the same ID: a vendor field by field, everything else as a whole.
Errors name file, line and field.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import msgspec

from services.registry.catalog import ID_FIELDS, SETTINGS, Catalog, Flaw, flaws, flaws_of_change
from services.registry.catalog_message import catalog_message
from services.registry.shelf import ShelfChange, change_of
from services.registry.vendors import Vendor, layered, vendor_flaws
from services.runtime.config import ConfigError, parse_yaml_with_lines
from tokenline.registry.v1 import registry_pb2

logger = logging.getLogger(__name__)

_FIRST_REVISION: Final = 1
# One mistake can have a thousand consequences.
_FLAWS_MAX: Final = 50
# Models that a line of the log names.
_MODELS_TOLD: Final = 20

# The files of a layer and their texts.
Layer = tuple[tuple[Path, str], ...]

# Tells a changed file from one that was read before: name, and modification, size and identity on disk.
_Fingerprint = tuple[tuple[str, int, int, int, int], ...]


def base_catalog_folder() -> Path:
    """The folder of the catalog that is shipped with the product."""
    return Path(__file__).parent / "base_catalog"


def load_catalog(folders: Sequence[Path]) -> registry_pb2.Catalog:
    """The catalog of these layers, the base first, as a registry serves it after its start.

    Blocking. Errors: `ConfigError` for the first thing that is wrong, or a file that cannot be read.
    """
    return catalog_message(catalog_of(read_folders(folders)), _FIRST_REVISION)


def catalog_of(layers: Sequence[Layer]) -> Catalog:
    """The catalog of these layers. Blocking. Errors: as of `check_change`."""
    whole = _layered(layers)
    whole.check(flaws(whole.catalog))
    return whole.catalog


def check_change(before: Sequence[Layer] | None, after: Sequence[Layer]) -> tuple[Catalog | None, Catalog]:
    """The catalogs of these layers, of which the second can follow the first; None: that is not valid, so in force nowhere.

    Blocking. Errors: `FlawsError` for all that is wrong, or for a file that is malformed.
    """
    known = None
    if before is not None:
        with contextlib.suppress(ConfigError):
            known = catalog_of(before)
    whole = _layered(after)
    whole.check(flaws(whole.catalog))
    if known is not None:
        whole.check(flaws_of_change(known, whole.catalog))
    return known, whole.catalog


class CatalogReader:
    """Reads the layers again when they have changed. Blocking; for one thread at a time."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._fingerprint: tuple[_Fingerprint, Sequence[Layer]] | None = None
        self._valid: Catalog | None = None
        self._digest = ""
        self._revision = _FIRST_REVISION - 1

    def read_if_changed(self, published: Sequence[Layer] = ()) -> registry_pb2.Catalog | None:
        """The catalog of the folders under these layers, if something of it has changed since the last call and it is valid.

        Its revision is one above that of the catalog before if its content is another, else the same.
        Errors: `ConfigError` once for each invalid state of the files, and every time for what cannot be read.
        """
        # Take fingerprints before reading, so that a file written meanwhile differs at the next call.
        fingerprint = (_fingerprint(self._folders), published)
        if fingerprint == self._fingerprint:
            return None
        self._fingerprint = None
        texts = read_folders(self._folders)
        if _fingerprint(self._folders) != fingerprint[0]:
            # Files were changed meanwhile: what was read may be of two states.
            return None
        self._fingerprint = fingerprint
        whole = _layered([*texts, *published])
        whole.check(flaws(whole.catalog))
        if self._valid is not None:
            whole.check(flaws_of_change(self._valid, whole.catalog))
        message = catalog_message(whole.catalog, self._revision)
        if message.digest != self._digest:
            if self._valid is not None:
                _tell(change_of(self._valid, whole.catalog, datetime.now(UTC)))
            self._revision += 1
            self._digest = message.digest
            self._valid = whole.catalog
        message.revision = self._revision
        return message


class FlawsError(ConfigError):
    """A catalog is not valid. The message is that of the first flaw."""

    def __init__(self, flaws: Sequence[str]) -> None:
        super().__init__(flaws[0])
        # At most `_FLAWS_MAX`, as "FILE:LINE: FIELD: what is wrong".
        self.flaws: Final = tuple(flaws)


class _Place(msgspec.Struct, frozen=True):
    """Where an entry stands."""

    path: Path
    # The entry's path in its file, for example "models[3]".
    field: str
    line_of: Callable[[str], int]

    def error(self, field: str, message: str) -> "FlawsError":
        """The error for a field of the entry; "" for the entry itself."""
        whole = f"{self.field}.{field}" if self.field and field else self.field or field
        return FlawsError([f"{self.path}:{self.line_of(whole)}: {whole}: {message}"])


class _Layered(msgspec.Struct, frozen=True):
    """A whole catalog and where each of its entries stands."""

    catalog: Catalog
    # By section and ID; the catalog itself is ("", "").
    places: dict[tuple[str, str], _Place]

    def check(self, found: Iterable[Flaw]) -> None:
        """Errors: `FlawsError` for the first flaws."""
        if told := [self._told(flaw) for flaw in islice(found, _FLAWS_MAX)]:
            raise FlawsError(told)

    def _told(self, flaw: Flaw) -> str:
        # A flaw of the catalog itself is told at the place where the field was set, if it was.
        place = self.places.get((flaw.section, flaw.entry_id or flaw.field)) or self.places["", ""]
        return str(place.error(flaw.field, flaw.message))


def _tell(change: ShelfChange) -> None:
    """Says in the log which models leave the shelf, since a file alone may do that, without a question."""
    for moment in change.moments:
        if moment.leaves:
            models = list(moment.leaves)
            logger.warning(
                "%d models leave offerings %s: %s%s; is that meant? `tokenline catalog diff` shows a change before it is made",
                len(models),
                f"at {moment.moment}" if moment.moment else "now",
                ", ".join(models[:_MODELS_TOLD]),
                ", ..." if len(models) > _MODELS_TOLD else "",
            )


def _files(folders: Sequence[Path]) -> list[list[Path]]:
    """The *.yaml files of each folder, by path. Errors: `ConfigError` when a folder cannot be listed."""
    if not folders:
        raise ConfigError("catalog_folders: must name at least one folder")
    layers = []
    for folder in folders:
        try:
            layers.append(files_of(folder))
        except OSError as error:
            raise ConfigError(
                f"{error.filename or folder}: cannot be read: {error.strerror}; give a folder of *.yaml files"
            ) from error
    if not any(layers):
        raise ConfigError(f"{', '.join(map(str, folders))}: no *.yaml file is there; the catalog needs at least one")
    return layers


def files_of(folder: Path) -> list[Path]:
    """The *.yaml files of a folder and of the folders in it, by path. Blocking. Errors: `OSError` when it cannot be listed."""
    # Kubernetes keeps a mounted folder's files a second time, in a folder whose name begins with a point.
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    inner = [path for each in shown if each.is_dir() for path in each.iterdir() if not path.name.startswith(".")]
    return sorted(path for path in (*shown, *inner) if path.suffix == ".yaml" and not path.is_dir())


def _fingerprint(folders: Sequence[Path]) -> _Fingerprint:
    marks = []
    for path in chain.from_iterable(_files(folders)):
        try:
            status = path.stat()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        marks.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(marks)


def read_folder(folder: Path) -> dict[str, str]:
    """The files of a folder that has at least one, by their path in it. Blocking. Errors: as of `read_folders`."""
    return {path.relative_to(folder).as_posix(): text for path, text in read_folders([folder])[0]}


def read_folders(folders: Sequence[Path]) -> list[Layer]:
    """The files of all of them, of which at least one has some. Blocking. Errors: `ConfigError` when something cannot be read."""
    return [tuple((path, _text(path)) for path in paths) for paths in _files(folders)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FlawsError([f"{path}: is not UTF-8 text: {error}"]) from error


@lru_cache(maxsize=512)
def parsed(path: Path, text: str) -> tuple[Catalog, Callable[[str], int]]:
    """A file's part of a catalog, and the line of a field in it. Kept, since a change leaves most files as they are.

    Errors: `FlawsError` for a file that is malformed.
    """
    try:
        return parse_yaml_with_lines(text, Catalog, str(path))
    except ConfigError as error:
        raise FlawsError([str(error)]) from error


def _layered(layers: Sequence[Layer]) -> _Layered:
    """Puts the layers over one another. Errors: `FlawsError` for a file that is malformed, or an ID twice in a layer."""
    entries: dict[str, dict[str, Any]] = {section: {} for section in ID_FIELDS}
    places: dict[tuple[str, str], _Place] = {}
    settings: dict[str, Any] = {name: getattr(Catalog(), name) for name in SETTINGS}
    for layer in layers:
        seen: dict[tuple[str, str], _Place] = {}
        for path, text in layer:
            part, line_of = parsed(path, text)
            # Should nothing be said about the default offering anywhere, the first file is as good a place as any.
            places.setdefault(("", ""), _Place(path, "", line_of))
            for section, id_field in ID_FIELDS.items():
                for index, entry in enumerate(getattr(part, section)):
                    entry_id = getattr(entry, id_field)
                    place = _Place(path, f"{section}[{index}]", line_of)
                    _refuse_repetition(seen, (section, entry_id), place, id_field)
                    below = entries[section].get(entry_id)
                    if isinstance(below, Vendor):
                        # Check each layer by itself, before one lies over the other.
                        _refuse_flaws(below, places["vendors", entry_id])
                        _refuse_flaws(entry, place)
                    entries[section][entry_id] = layered(below, entry) if isinstance(below, Vendor) else entry
            for name in settings:
                if value := getattr(part, name):
                    settings[name] = value
                    _refuse_repetition(seen, ("", name), _Place(path, "", line_of), name)
        places.update(seen)
    lists: dict[str, Any] = {section: tuple(by_id.values()) for section, by_id in entries.items()}
    return _Layered(Catalog(**lists, **settings), places)


def _refuse_flaws(vendor: Vendor, place: _Place) -> None:
    for field, message in vendor_flaws(vendor):
        raise place.error(field, message)


def _refuse_repetition(seen: dict[tuple[str, str], _Place], key: tuple[str, str], place: _Place, field: str) -> None:
    first = seen.setdefault(key, place)
    if first is not place:
        line = first.line_of(f"{first.field}.{field}" if first.field else field)
        raise place.error(field, f"stands at {first.path}:{line} too; within one folder, keep one of them")
