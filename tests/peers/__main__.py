"""`python -m tests.peers [--json] [NAME ...]`: Tokenline and other gateways side by side, as a Markdown table or JSON.

Peers that are not installed yet are fetched and built first, which takes minutes once; the run itself takes at most ten. Its
progress goes to standard error. Names leave out the others. What cannot be had here is named with what failed, and the others are
measured.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from services.cli.failures import CommandError
from services.cli.processes import Processes, terminated_as_interrupted
from tests.peers.install import NEW_API, ONE_API, PeerMissing
from tests.peers.litellm import LiteLlm
from tests.peers.measure import Bench
from tests.peers.one_api import OneApi
from tests.peers.report import Report, markdown
from tests.peers.systems import Room, System, Tokenline, VendorAlone

SYSTEMS: Final[dict[str, Callable[[Room, str], System]]] = {
    "vendor": lambda room, _: VendorAlone(room),
    "tokenline-sqlite": lambda room, name: Tokenline(room, name, postgresql=False),
    "tokenline-postgresql": lambda room, name: Tokenline(room, name, postgresql=True),
    "new-api": lambda room, name: OneApi(room, NEW_API, name, batched=False),
    "new-api-batched": lambda room, name: OneApi(room, NEW_API, name, batched=True),
    "one-api": lambda room, name: OneApi(room, ONE_API, name, batched=False),
    "one-api-batched": lambda room, name: OneApi(room, ONE_API, name, batched=True),
    "litellm": LiteLlm,
}


def measure(names: list[str]) -> Report:
    """Starts the systems and measures them. Blocking. Errors: `CommandError` when one ends, `TimeoutError` when one does not begin,

    `RuntimeError` when one refuses to be set up.
    """
    before = os.getloadavg()[0]
    began_s = time.monotonic()
    systems: list[System] = []
    missing: list[str] = []
    # Stores are stopped after those who use them: what is entered last is left first.
    with tempfile.TemporaryDirectory(prefix="tokenline-peers-") as temporary, ExitStack() as stores, ExitStack() as stack:
        folder = Path(temporary)
        processes = Processes(folder)
        room = Room(stores, processes, folder)
        stack.callback(processes.stop)
        for name in names:
            print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
            try:
                systems.append(SYSTEMS[name](room, name))
            except PeerMissing as error:
                missing.append(str(error))
        figures = Bench(processes, systems).run()
    return Report(
        systems=figures,
        missing=missing,
        load_average=[before, os.getloadavg()[0]],
        seconds=round(time.monotonic() - began_s, 1),
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description="Measure Tokenline and other gateways side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Which: {', '.join(SYSTEMS)}. Default: all.")
    parser.add_argument("--json", action="store_true", help="Print all figures as JSON instead of tables.")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in SYSTEMS]:
        parser.error(f"no system is named {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    try:
        with terminated_as_interrupted():
            report = measure(options.names or list(SYSTEMS))
    except (CommandError, RuntimeError, TimeoutError) as error:
        sys.exit(f"{error}; the others are measured when their names are given")
    print(msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else markdown(report))


if __name__ == "__main__":
    main()
