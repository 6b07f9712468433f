"""Runbooks as programs: their sections, the blocks below them, and what these must print."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parents[1] / "docs" / "runbooks"
_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# Steps end in order; nothing may be skipped over an error.
_SHELL: Final = "set -euo pipefail\n"


class Block(NamedTuple):
    """Commands, and what they must print, if it is said."""

    commands: str
    printed: str


def executable_sections(page: str) -> set[str]:
    """The titles that have something to execute."""
    parts = re.split(r"^## ", (FOLDER / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0] for part in parts if "```sh\n" in part}


def section(page: str, title: str) -> list[Block]:
    """The blocks below a heading."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    (found,) = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n")]
    blocks = [Block(*each) for each in _BLOCK.findall(found)]
    assert blocks, title
    return blocks


def execute(commands: str, environment: Mapping[str, str], folder: Path, seconds: float) -> str:
    """Runs commands in a shell; returns what they printed. Errors: `AssertionError` when one fails."""
    script = _SHELL + commands
    done = subprocess.run(
        ["bash", "-c", script], env=dict(environment), capture_output=True, text=True, check=False, timeout=seconds, cwd=folder
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check_printed(block: Block, printed: str) -> None:
    """Compares with what the page says, in which … stands for what differs."""
    if block.printed:
        wanted = [re.escape(part) for part in re.split(r"\s*…\s*", block.printed.strip())]
        said = "\n".join(line.rstrip() for line in printed.strip().splitlines())
        assert re.fullmatch(r"(?s:.*?)".join(wanted), said), f"{said!r} is not {block.printed!r}"
