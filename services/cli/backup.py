"""`tokenline backup` and `tokenline restore`: a data folder as it is at one moment, while its system runs, and back.

The order of the copies makes one state of many files. Releases leave the outbox after accounting has them, so the outbox comes
before the journal. Bills and CDR files are made from the journal, so they come before it too: they may lack its last entries,
which are exported at the next start, and are never ahead of it. The catalog comes last, because accounts have bought what it names.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

import click
import msgspec

from services.cli.cell import recover_folder
from services.cli.client import find_folder
from services.cli.data_folder import DataFolder, open_data_folder, sync_folder
from services.cli.failures import CommandError, expected_errors, os_error_text
from services.cli.printing import common_options, fields_of, print_answer, text_of

_MANIFEST: Final = "backup.json"
_FORM: Final = 1
_PRIVATE: Final = 0o600


class _File(msgspec.Struct, frozen=True):
    """One file of a backup."""

    size_bytes: int
    sha256: str


class _Manifest(msgspec.Struct, frozen=True):
    """The contents of a backup."""

    form: int
    release: str
    # All that was acknowledged before this time is in it.
    begun_at: str
    files: dict[str, _File]


@click.command("backup")
@click.argument("target", type=click.Path(path_type=Path), metavar="TO")
@common_options
def backup_command(*, target: Path, data_dir: Path | None, output: str) -> None:
    """Copy a data folder to the new folder TO while its system runs, or is down.

    All that was acknowledged before the backup began is in it: calls, orders, keys, limits, the catalog. Calls that are under way
    are settled after a restore at what they had reported. The secrets of the folder are in it, so keep it where nobody else reads
    it. Vendors' secrets are not, because they are in the environment.
    """
    folder = find_folder(data_dir)
    if folder is None:
        raise CommandError("give --data-dir: a cell's databases are backed up by their own tools")
    if not folder.accounting_database.exists():
        raise CommandError(f"{folder.path} holds no data; give the folder of a `tokenline up` with --data-dir")
    target = target.expanduser().absolute()
    begun_at = _now()
    with expected_errors(), _made_whole(target) as copy:
        os.umask(0o077)
        _copy_folder(folder, DataFolder(copy))
        files = {name: _settled(copy / name) for name in _names(copy)}
        _write_manifest(copy, _Manifest(_FORM, version("tokenline"), begun_at, files))
    told = {
        "backup": str(target),
        "begun_at": begun_at,
        "files": len(files),
        "size_bytes": sum(each.size_bytes for each in files.values()),
    }
    word = text_of("it holds secrets, keep it where nobody else reads it; `tokenline restore` brings it back")
    print_answer(told, output, lambda: [*fields_of(told), word])


@click.command("restore")
@click.argument("source", type=click.Path(path_type=Path), metavar="FROM")
@common_options
def restore_command(*, source: Path, data_dir: Path | None, output: str) -> None:
    """Make a data folder of the backup FROM, and check it; ends with 1 if audit or reconcile finds something.

    The folder must not be there yet, or be empty. Nothing that came after the backup is in it: keys that were revoked since are
    valid again. The journal begins a new era.
    """
    folder = find_folder(data_dir)
    if folder is None:
        raise CommandError("give --data-dir, the folder to make")
    source = source.expanduser().absolute()
    manifest = _read_manifest(source)
    with expected_errors(), _made_whole(folder.path) as copy:
        os.umask(0o077)
        for name, expected in manifest.files.items():
            _copy_file(source / name, copy / name)
            if _settled(copy / name) != expected:
                raise CommandError(f"{source / name} is not what was backed up; take another backup")
        begun = asyncio.run(recover_folder(DataFolder(copy).accounting_database))
    found = _check(folder)
    wrong = [*found["audit"]["breaches"], *found["reconcile"]["differences"]]
    told = {"restored": str(folder.path), "begun_at": manifest.begun_at, **begun, "wrong": wrong}
    sentence = f"`{folder.start}` starts it; keys that were revoked after {manifest.begun_at} are valid again"
    print_answer({**told, **found}, output, lambda: [*fields_of(told), text_of(sentence)])
    sys.exit(1 if wrong else 0)


def _now() -> str:
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


@contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """A folder that gets its name once all of it is there, and is removed if that fails. Errors: `CommandError`."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already; give a folder that is not, nothing is overwritten")
    making = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        making.mkdir(mode=0o700)
        yield making
        for folder in (making, *(each for each in making.rglob("*") if each.is_dir())):
            sync_folder(folder)
        making.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise CommandError(f"{os_error_text(error)}; check that there is room, and that the place can be written") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _copy_folder(folder: DataFolder, copy: DataFolder) -> None:
    """Copies all that a system needs, in the order that makes one state of it."""
    from services.runtime.sqlite import copy_database

    _copy_files(folder.secrets_folder, copy.secrets_folder)
    for source, target in (
        (folder.outbox, copy.outbox),
        (folder.authentication_database, copy.authentication_database),
        (folder.billing_database, copy.billing_database),
    ):
        if source.exists():
            copy_database(source, target)
    if copy.billing_database.exists():
        for name in asyncio.run(_known_files(copy.billing_database)):
            if (folder.cdr_folder / name).exists():
                _copy_file(folder.cdr_folder / name, copy.cdr_folder / name)
    copy_database(folder.accounting_database, copy.accounting_database)
    _copy_files(folder.catalog_folder, copy.catalog_folder)
    _copy_files(folder.catalog_history_folder, copy.catalog_history_folder)


async def _known_files(database: Path) -> list[str]:
    """CDR files that this state of billing knows, with their manifests; any later ones it would write anew, perhaps otherwise."""
    from services.billing.cdr_file import manifest_name
    from services.billing.sqlite_store import SqliteStore

    store = await SqliteStore.open(database)
    try:
        names = [file.name for part_id in await store.cursors() for file in await store.files(part_id)]
    finally:
        await store.close()
    return [each for name in names for each in (name, manifest_name(name))]


def _check(folder: DataFolder) -> dict[str, Any]:
    """The reports of audit and reconcile on a folder that no system uses."""
    from services.cli.admin import CHECKS, check_of_system_down

    # Makes what a system that starts there would make.
    with open_data_folder(folder.path):
        pass
    return {what: check_of_system_down(what, folder.path, write_missing=True) or {} for what in CHECKS}


# Files


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _copy_files(source: Path, target: Path) -> None:
    """Copies the files of a folder, if it is there, and of those in it."""
    if source.is_dir():
        for name in _names(source):
            _copy_file(source / name, target / name)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _settled(path: Path) -> _File:
    """A file that is on the disk now, and for its owner alone."""
    path.chmod(_PRIVATE)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return _File(file.tell(), digest)


def _write_manifest(folder: Path, manifest: _Manifest) -> None:
    (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    _settled(folder / _MANIFEST)


def _read_manifest(folder: Path) -> _Manifest:
    """Errors: `CommandError`."""
    path = folder / _MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CommandError(f"{folder} is no backup: it has no {_MANIFEST}; give the folder that `tokenline backup` made") from error
    except OSError as error:
        raise CommandError(os_error_text(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}; take another backup") from error
    if manifest.form != _FORM:
        raise CommandError(f"{path} is of form {manifest.form}, and this release reads {_FORM}; use the release that made it")
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise CommandError(f"{path} names {name!r}, which is no file in a backup; take another backup")
    return manifest
