"""Services as processes of their own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from services.registry.catalog_folder import base_catalog_folder
from tests.cli.processes import in_time, started


def config_file(folder: Path, service: str, **fields: Any) -> str:
    """A config file; it has JSON, which is YAML."""
    file = folder / f"{service}.yaml"
    file.write_bytes(msgspec.json.encode({"listen_address": "127.0.0.1:0", **fields}))
    return str(file)


@contextlib.contextmanager
def served(folder: Path, service: str, **fields: Any) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """A process of `tokenline serve`, and its address."""
    with started("serve", service, "--config", config_file(folder, service, **fields)) as process:
        assert process.stdout is not None
        with in_time(process):
            line = process.stdout.readline()
        assert " listens on " in line, process.communicate()[1]
        yield process, line.rstrip("\n").rpartition(" listens on ")[2]


def served_registry(folder: Path, **fields: Any) -> Any:
    return served(folder, "registry", catalog_folders=[str(base_catalog_folder())], **fields)
