"""Vendors' secrets and addresses by the names that the catalog gives them, from files of a folder and from the environment.

Files are read again when they change, so that a secret is replaced while calls go on. No value stands in a log.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from services.runtime.config import ConfigError

logger = logging.getLogger(__name__)

_BYTES_MAX: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_VALUE: Final = re.compile(r"[!-~]*")


class VendorSecrets:
    """Values by name; a file counts before a variable of the environment. `follow` keeps them up to date."""

    def __init__(self, environment: Mapping[str, str], folder: Path | None, look_s: float = 1.0) -> None:
        """`folder` has a file a name; None: there is none. `look_s`: the interval of looks at it.

        Errors: `ConfigError` that names the folder, or the file in it, that is of no use.
        """
        self._environment = environment
        self._folder = folder
        self._look_s = look_s
        self._files = self._read()

    @property
    def current(self) -> Mapping[str, str]:
        """The values in force."""
        return {**self._environment, **self._files}

    async def follow(self, use: Callable[[Mapping[str, str]], None]) -> None:
        """Calls `use` with the values once they have changed, until cancelled. A file of no use is logged and changes nothing."""
        told, last = "", self._files
        while True:
            await asyncio.sleep(self._look_s)
            try:
                before, last = last, self._read()
            except ConfigError as error:
                if str(error) != told:
                    told = str(error)
                    logger.error("%s; what was read before stays in force", error)
                continue
            # Files are written one after the other, so that a change may be followed by another.
            if last == self._files or last != before:
                continue
            told = ""
            names = [name for name in sorted({*last, *self._files}) if last.get(name) != self._files.get(name)]
            self._files = last
            logger.info("secrets of vendors were replaced: %s", ", ".join(names))
            use(self.current)

    def _read(self) -> dict[str, str]:
        """The folder's values. Errors: `ConfigError`."""
        if self._folder is None:
            return {}
        try:
            # Kubernetes keeps the files of a Secret in a hidden folder, and has links to them.
            files = sorted(file for file in self._folder.iterdir() if not file.name.startswith("."))
            return {file.name: _value_of(file) for file in files}
        except OSError as error:
            raise ConfigError(f"{error.filename or self._folder}: cannot be read: {error.strerror or error}") from error


def is_word(value: str) -> bool:
    """Whether a secret or an address can be sent as it is: one word of printable ASCII."""
    return _VALUE.fullmatch(value) is not None


def _value_of(file: Path) -> str:
    """The value in a file, without white space around it. Errors: `OSError`; `ConfigError` that tells nothing of the value."""
    if not _NAME.fullmatch(file.name):
        raise ConfigError(f"{file}: must have the name of a vendor's secret or address, like TOKENLINE_EXAMPLE_API_KEY")
    with file.open("rb") as content:
        value = content.read(_BYTES_MAX + 1).decode("latin-1").strip()
    if len(value) > _BYTES_MAX or not is_word(value):
        raise ConfigError(f"{file}: must have one word of printable ASCII, of at most {_BYTES_MAX} bytes")
    return value
