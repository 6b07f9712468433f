"""Catalogs as text: layered folders of *.yaml files, and layers that were published elsewhere.

A file holds any of the lists of a `Catalog`, and may name the default offering. All files of a folder and of the folders in it are
one layer; a later layer adds entries, or replaces those of the same ID: a vendor field by field, everything else as a whole.
Errors name file, line and field.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from services.registry.catalog import ID_FIELDS, Catalog, Flaw, flaws, flaws_of_change
from services.registry.catalog_message import catalog_message
from services.registry.vendors import Vendor, layered, vendor_flaws
from services.runtime.config import ConfigError, parse_yaml_with_lines
from tokenline.registry.v1 import registry_pb2

_FIRST_REVISION: Final = 1

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
    whole = _layered(read_folders(folders))
    whole.check(flaws(whole.catalog))
    return catalog_message(whole.catalog, _FIRST_REVISION)


def check_change(before: Sequence[Layer], after: Sequence[Layer]) -> None:
    """Whether these layers can follow those. Blocking. Errors: `ConfigError` for the first thing that is wrong."""
    whole = _layered(after)
    found = flaws(whole.catalog)
    try:
        known = _layered(before)
        known.check(flaws(known.catalog))
    except ConfigError:
        # This catalog is not in force anywhere.
        whole.check(found)
    else:
        whole.check(chain(found, flaws_of_change(known.catalog, whole.catalog)))


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
        self._fingerprint = fingerprint
        whole = _layered([*texts, *published])
        changes = flaws_of_change(self._valid, whole.catalog) if self._valid is not None else ()
        whole.check(chain(flaws(whole.catalog), changes))
        message = catalog_message(whole.catalog, self._revision)
        if message.digest != self._digest:
            self._revision += 1
            self._digest = message.digest
            self._valid = whole.catalog
        message.revision = self._revision
        return message


class _Place(msgspec.Struct, frozen=True):
    """Where an entry stands."""

    path: Path
    # The entry's path in its file, for example "models[3]".
    field: str
    line_of: Callable[[str], int]

    def error(self, field: str, message: str) -> ConfigError:
        """The error for a field of the entry; "" for the entry itself."""
        whole = f"{self.field}.{field}" if self.field and field else self.field or field
        return ConfigError(f"{self.path}:{self.line_of(whole)}: {whole}: {message}")


class _Layered(msgspec.Struct, frozen=True):
    """A whole catalog and where each of its entries stands."""

    catalog: Catalog
    # By section and ID; the catalog itself is ("", "").
    places: dict[tuple[str, str], _Place]

    def check(self, found: Iterable[Flaw]) -> None:
        """Errors: `ConfigError` for the first flaw."""
        for flaw in found:
            # A flaw of the catalog itself is told at the place where the field was set, if it was.
            place = self.places.get((flaw.section, flaw.entry_id or flaw.field)) or self.places["", ""]
            raise place.error(flaw.field, flaw.message)


def _files(folders: Sequence[Path]) -> list[list[Path]]:
    """The *.yaml files of each folder, by path. Errors: `ConfigError` when a folder cannot be listed."""
    if not folders:
        raise ConfigError("catalog_folders: must name at least one folder")
    layers = []
    for folder in folders:
        try:
            layers.append(_files_of(folder))
        except OSError as error:
            raise ConfigError(
                f"{error.filename or folder}: cannot be read: {error.strerror}; give a folder of *.yaml files"
            ) from error
    if not any(layers):
        raise ConfigError(f"{', '.join(map(str, folders))}: no *.yaml file is there; the catalog needs at least one")
    return layers


def _files_of(folder: Path) -> list[Path]:
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


def read_folder(folder: Path) -> Layer:
    """The files of a folder that has at least one. Blocking. Errors: `ConfigError` when something cannot be read."""
    return read_folders([folder])[0]


def read_folders(folders: Sequence[Path]) -> list[Layer]:
    """The files of all of them, of which at least one has some. Blocking. Errors: as of `read_folder`."""
    layers: list[Layer] = []
    for paths in _files(folders):
        layer: list[tuple[Path, str]] = []
        for path in paths:
            try:
                layer.append((path, path.read_text(encoding="utf-8")))
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise ConfigError(f"{path}: is not UTF-8 text: {error}") from error
        layers.append(tuple(layer))
    return layers


def _layered(layers: Sequence[Layer]) -> _Layered:
    """Puts the layers over one another. Errors: `ConfigError` for a file that is malformed, or an ID twice in a layer."""
    entries: dict[str, dict[str, Any]] = {section: {} for section in ID_FIELDS}
    places: dict[tuple[str, str], _Place] = {}
    settings = {"default_offering_id": "", "time_zone": ""}
    for layer in layers:
        seen: dict[tuple[str, str], _Place] = {}
        for path, text in layer:
            part, line_of = parse_yaml_with_lines(text, Catalog, str(path))
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
    lists = {section: tuple(by_id.values()) for section, by_id in entries.items()}
    catalog = Catalog(**lists, default_offering_id=settings["default_offering_id"], time_zone=settings["time_zone"])
    return _Layered(catalog, places)


def _refuse_flaws(vendor: Vendor, place: _Place) -> None:
    for field, message in vendor_flaws(vendor):
        raise place.error(field, message)


def _refuse_repetition(seen: dict[tuple[str, str], _Place], key: tuple[str, str], place: _Place, field: str) -> None:
    first = seen.setdefault(key, place)
    if first is not place:
        line = first.line_of(f"{first.field}.{field}" if first.field else field)
        raise place.error(field, f"stands at {first.path}:{line} too; within one folder, keep one of them")
