"""A data folder: who can read it, its disk, its databases, its catalog."""

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.cli.data_folder import DataFolder
from services.cli.doctor.finding import Check, Finding, of_disk

_ROOM_FOR_OTHERS: Final = 0o077
_DAY_S: Final = 86_400


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
    yield of_disk(check, usage.free, usage.used + usage.free)


def _folder(folder: DataFolder) -> Iterator[Finding]:
    path = folder.path
    if not folder.accounting_database.exists():
        yield Finding("folder", "fail", f"{path} holds no data", f"`{folder.start}` starts a system there")
        return
    if not os.access(path, os.W_OK):
        yield Finding(
            "folder",
            "fail",
            f"{path} cannot be written to",
            f"give it to the user who runs Tokenline: chown -R USER {shlex.quote(str(path))}",
        )
        return
    open_to_others = [each for each in (path, folder.hash_key_file, folder.admin_token_file) if _is_open(each)]
    if open_to_others:
        names = ", ".join(map(str, open_to_others))
        yield Finding("folder", "warn", f"others on this machine can read {names}", f"chmod -R go= {shlex.quote(str(path))}")
        return
    yield Finding("folder", "ok", f"{path}, for its owner alone")


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
