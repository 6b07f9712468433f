"""The release before token classes became a vector, as processes of its own, out of the repository's history."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.waiting import WAIT_S

COMMIT: Final = "9192b26"
_ROOT: Final = Path(__file__).parents[1]


def unpacked(folder: Path) -> Path:
    """The folder with its code; the test is skipped where the history is not here."""
    archive = folder / "release.tar"
    try:
        subprocess.run(
            ["git", "archive", f"--output={archive}", COMMIT, "services", "protos/gen"], cwd=_ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"the history with {COMMIT}, the release before token classes became a vector, is not here")
    return folder


@asynccontextmanager
async def serving(
    code: Path, folder: Path, service: str, config: dict[str, Any], **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A service of that release, whose standard output is to be read; ended by SIGTERM. Its log is `folder`/old-SERVICE.log."""
    config_file = folder / f"old-{service}.yaml"
    config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
    path = os.pathsep.join([str(code), str(code / "protos" / "gen")])
    with (folder / f"old-{service}.log").open("w", encoding="utf-8") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services", "serve", service, "--config", str(config_file)),
            cwd=code,
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), WAIT_S)
