"""A data folder: who can read it, its disk, its databases, its catalog."""

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.cli.data_folder import NO_ROOM, DataFolder
from services.cli.doctor.finding import Check, Finding, of_disk

_ROOM_FOR_OTHERS: Final = 0o077
_DAY_S: Final = 86_400
# At most this number of files is named.
_NAMED: Final = 5
_TRIED_BYTES: Final = 65_536


def folder_checks(folder: DataFolder) -> list[tuple[str, Check]]:
    """The checks of a data folder, whether its system runs or not."""
    return [
        ("folder", lambda: _folder(folder)),
        ("disk", lambda: disk("disk", folder.path)),
        ("schema", lambda: _schemas(folder)),
        ("catalog", lambda: _catalog(folder)),
    ]


def disk(check: str, path: Path) -> Iterator[Finding]:
    """The file system of a path, or of the first folder above it that is there."""
    there = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    usage = shutil.disk_usage(there)
    # As the system's metrics count: without what the file system keeps for root alone.
    found = of_disk(check, usage.free, usage.used + usage.free)
    hindrance = _hindrance(there) if found.level != "fail" else ""
    if hindrance:
        remedy = "make room at once, or raise what this user may write: without it every commit stops"
        found = Finding(check, "fail", f"{there} takes no more data: {hindrance}, though {found.found}", remedy)
    yield found


def _hindrance(path: Path) -> str:
    """Says why nothing more can be written, which free room does not tell: a quota, a limit, a broken disk; empty where it can.

    The file that is tried has no name, so nobody sees it and nothing is left of it. Rights are another check's.
    """
    try:
        descriptor = os.open(path if path.is_dir() else path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in NO_ROOM else ""
    try:
        os.write(descriptor, bytes(_TRIED_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return os.strerror(error.errno or 0)
    finally:
        os.close(descriptor)
    return ""


def _folder(folder: DataFolder) -> Iterator[Finding]:
    path = folder.path
    if path.exists() and os.statvfs(path).f_flag & os.ST_RDONLY:
        told = f"{path} is on a file system that is mounted for reading alone"
        yield Finding("folder", "fail", told, "look for a broken disk in the kernel's log (`dmesg`), and mount it for writing")
        return
    closed = [str(each) for each, rights in _used(folder) if os.path.lexists(each) and not os.access(each, rights)]
    if closed:
        told = f"this user cannot use {', '.join(closed[:_NAMED])}{' and others' if len(closed) > _NAMED else ''}"
        remedy = f"give all to the user who runs Tokenline, and ask as that user: chown -R USER {shlex.quote(str(path))}"
        yield Finding("folder", "fail", told, f"{remedy}; chmod -R u+rwX {shlex.quote(str(path))}")
        return
    if not folder.accounting_database.exists():
        yield Finding("folder", "fail", f"{path} holds no data", f"`{folder.start}` starts a system there")
        return
    open_to_others = [each for each in (path, folder.hash_key_file, folder.admin_token_file) if _is_open(each)]
    if open_to_others:
        names = ", ".join(map(str, open_to_others))
        yield Finding("folder", "warn", f"others on this machine can read {names}", f"chmod -R go= {shlex.quote(str(path))}")
        return
    yield Finding("folder", "ok", f"{path}, for its owner alone")


def _used(folder: DataFolder) -> Iterator[tuple[Path, int]]:
    """All that a system opens, with the rights that it needs."""
    for each in (folder.path, folder.secrets_folder, folder.cdr_folder, folder.catalog_folder):
        yield each, os.R_OK | os.W_OK | os.X_OK
    for each in (folder.lock, *sorted(folder.path.glob("*.sqlite3*"))):
        yield each, os.R_OK | os.W_OK
    for each in (folder.hash_key_file, folder.admin_token_file):
        yield each, os.R_OK


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & _ROOM_FOR_OTHERS)


def _schemas(folder: DataFolder) -> Iterator[Finding]:
    from services.accounting.journal.sqlite import SCHEMA_VERSION as ACCOUNTING
    from services.authentication.sqlite_store import SCHEMA_VERSION as AUTHENTICATION
    from services.billing.sqlite_store import SCHEMA_VERSION as BILLING

    known = (
        (folder.accounting_database, ACCOUNTING),
        (folder.authentication_database, AUTHENTICATION),
        (folder.billing_database, BILLING),
    )
    wrong = [finding for path, version in known if path.exists() for finding in sqlite_schema("schema", path, version)]
    yield from [each for each in wrong if each.level != "ok"] or [
        Finding("schema", "ok", "all databases are as this release has them")
    ]


def sqlite_schema(check: str, path: Path, known: int) -> Iterator[Finding]:
    """The schema version of a SQLite file, which is only read."""
    from services.runtime.errors import SchemaError, ServiceError
    from services.runtime.sqlite import schema_version

    try:
        yield schema(check, path.name, schema_version(path), known)
    except (SchemaError, ServiceError) as error:
        yield Finding(check, "fail", str(error), "put the file back from a backup, or name the right one")


def schema(check: str, what: str, version: int, known: int) -> Finding:
    """How a schema's version compares with this release's."""
    if version > known:
        told = f"{what} has schema version {version}; this release knows up to {known}"
        return Finding(check, "fail", told, "run the newer release that wrote it")
    if version < known:
        told = f"{what} has schema version {version}; this release has {known}"
        return Finding(check, "warn", told, "it is brought up to date at the next start, or by `tokenline migrate`")
    return Finding(check, "ok", f"{what} has schema version {version}")


def _catalog(folder: DataFolder) -> Iterable[Finding]:
    from services.registry.catalog_folder import base_catalog_folder, files_of, load_catalog
    from services.runtime.config import ConfigError

    files = files_of(folder.catalog_folder) if folder.catalog_folder.is_dir() else []
    if not files:
        return [Finding("catalog", "ok", "the base catalog of this release, no layer over it")]
    try:
        load_catalog([base_catalog_folder(), folder.catalog_folder])
    except ConfigError as error:
        return [Finding("catalog", "fail", str(error), "correct the file; what was in force before stays so until the next start")]
    changed_s = max(each.stat().st_mtime for each in files)
    days = int((datetime.now(UTC).timestamp() - changed_s) // _DAY_S)
    return [Finding("catalog", "ok", f"valid; its layer was changed {f'{days:,} days ago' if days else 'today'}")]
