"""The data folder of `tokenline up`: what lies where, and that one process at a time uses it.

lock                        held while a process uses the folder; its text is that process's ID
secrets/                    hash_key, admin_token and demo_key, made at the first start
*.sqlite3                   accounting, authentication, billing
cdr/                        CDR files
catalog/                    the user's own catalog layer over the shipped one
carrier-simulator.json      payments of `--simulate-carrier`
catalog-history/            its last changes, made with `tokenline catalog apply`
demo.json                   how to reach the running system; there only while it is ready
"""

import contextlib
import errno
import os
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from services.cli.failures import CommandError, os_error_text
from services.runtime.locks import InUseError, exclusive

DEFAULT_DATA_DIR: Final = Path("~/.tokenline")
# How writes fail that find no room: the disk's, the quota's, or what the process may write to one file.
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_REMEDIES: Final = {
    **dict.fromkeys(NO_ROOM, "make room or "),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give it to the user who runs this, or "),
    errno.EROFS: "mount its disk for writing, or ",
}

_CATALOG_README: Final = """\
Files named *.yaml in this folder are a catalog layer over the one that is shipped: entries add to it, or replace those of
the same ID: a vendor field by field, everything else as a whole. Each ID stands once in the folder. A change is taken up within a
second; an invalid one is refused and the log says why.
"""


class DataFolderInUseError(CommandError):
    """Another process holds the folder's lock."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """The content of demo.json."""

    # Clients', which ends in /v1, and operators', which does not.
    base_url: str
    admin_url: str
    api_key: str
    account_id: str
    admin_token: str
    pid: int


class DataFolder:
    """A data folder's paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"
        self.hash_key_file = path / "secrets" / "hash_key"
        self.admin_token_file = path / "secrets" / "admin_token"
        self.accounting_database = path / "accounting.sqlite3"
        self.authentication_database = path / "authentication.sqlite3"
        self.billing_database = path / "billing.sqlite3"
        self.outbox = path / "outbox.sqlite3"
        self.cdr_folder = path / "cdr"
        self.catalog_folder = path / "catalog"
        self.catalog_history_folder = path / "catalog-history"
        self.demo_file = path / "demo.json"
        self.secrets_folder = path / "secrets"
        self.carrier_file = path / "carrier-simulator.json"
        self._demo_key_file = path / "secrets" / "demo_key"

    @property
    def start(self) -> str:
        """The command that starts a system here, for a shell."""
        return f"tokenline up --data-dir {shlex.quote(str(self.path))}"

    def read_demo(self) -> Demo | None:
        """How to reach the system that runs here; None when none is ready. Errors: `CommandError`."""
        try:
            return msgspec.json.decode(self.demo_file.read_bytes(), type=Demo)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CommandError(os_error_text(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CommandError(f"{self.demo_file}: {error}; `tokenline up` writes it anew") from error

    def write_demo(self, demo: Demo) -> None:
        """Says that the system is ready. Errors: `OSError`."""
        _write_private(self.demo_file, msgspec.json.format(msgspec.json.encode(demo)) + b"\n")

    def remove_demo(self) -> None:
        """Says that the system is not ready."""
        self.demo_file.unlink(missing_ok=True)

    def read_admin_token(self) -> str:
        """The token of the administrative API. Errors: `OSError`."""
        return self.admin_token_file.read_text(encoding="ascii").strip()

    def read_demo_key(self) -> str:
        """The demo account's API key; empty when there is none. Errors: `OSError`."""
        try:
            return self._demo_key_file.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return ""

    def carrier_keys(self) -> tuple[Path, Path]:
        """The files of the key that signs for the simulated carrier, and of its public half; made once. Errors: `OSError`."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        private, public = self.secrets_folder / "carrier_key.pem", self.secrets_folder / "carrier_key.pub.pem"
        if not private.exists() or not public.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            _write_private(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return private, public

    def write_demo_key(self, api_key: str) -> None:
        """Keeps the demo account's API key for the next starts. Errors: `OSError`."""
        _write_private(self._demo_key_file, api_key.encode("ascii") + b"\n")


@contextmanager
def open_data_folder(path: Path, create: bool = True) -> Iterator[DataFolder]:
    """Takes the folder for this process; with `create`, makes what is missing in it.

    Errors: `DataFolderInUseError`; `CommandError` when it cannot be used.
    """
    folder = DataFolder(path.expanduser().absolute())
    with contextlib.ExitStack() as stack:
        try:
            if create:
                folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not folder.accounting_database.exists():
                raise CommandError(f"{folder.path} holds no data; `{folder.start}` starts a system there")
            stack.enter_context(exclusive(folder.lock, f"data folder {folder.path}"))
            if create and not os.access(folder.path, os.R_OK | os.W_OK | os.X_OK):
                # Files that are there already could be written to, so that only the last step of the start would fail.
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder.path))
            # A killed process leaves its file, which would tell of a system that is not there.
            folder.remove_demo()
            if create:
                _fill(folder)
        except InUseError as error:
            raise DataFolderInUseError(f"{error}; stop it or choose another folder") from error
        except FileExistsError as error:
            raise CommandError(f"data folder {error.filename}: is not a folder; choose another with --data-dir") from error
        except OSError as error:
            raise unusable(folder.path, error) from error
        yield folder


def unusable(path: Path, error: OSError) -> CommandError:
    """Says what hinders the use of a data folder, and what to do; one that has data is not to be given up for another."""
    remedy = _REMEDIES.get(error.errno or 0, "")
    # A failed write, unlike a failed open, does not know its file.
    return CommandError(f"data folder {error.filename or path}: {error.strerror}; {remedy}choose another with --data-dir")


def _fill(folder: DataFolder) -> None:
    folder.hash_key_file.parent.mkdir(mode=0o700, exist_ok=True)
    if not folder.hash_key_file.exists():
        if folder.authentication_database.exists():
            raise CommandError(
                f"{folder.hash_key_file} is missing and no API key is valid without it; put it back, or remove "
                f"{folder.authentication_database} to issue all keys anew"
            )
        _write_private(folder.hash_key_file, secrets.token_hex(32).encode() + b"\n")
    if not folder.admin_token_file.exists():
        _write_private(folder.admin_token_file, secrets.token_hex(32).encode() + b"\n")
    folder.cdr_folder.mkdir(exist_ok=True)
    from services.registry.layer_folder import mend

    mend(folder.catalog_folder)
    folder.catalog_folder.mkdir(exist_ok=True)
    readme = folder.catalog_folder / "README.txt"
    if not readme.exists():
        readme.write_text(_CATALOG_README, encoding="utf-8")


def _write_private(path: Path, content: bytes) -> None:
    """Writes or replaces a file that only its owner reads: all of it or nothing, durably. Errors: `OSError`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the names in the folder survive the loss of power. Errors: `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
