"""Named calls in a rolling update: a replica of the release before reads their rows and checkpoints, and forgets names alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from services.accounting.core.commands import Granted, KnownCall
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint, encode_row
from tests.accounting.ledger import CATALOG, UNIT, Ledger, state_of, usage
from tests.release_before import unpacked

# Replays rows, and reads and writes a checkpoint, by that release's own code.
READER = """
import json, sys
from services.accounting.account import evolve
from services.accounting.journal import decode_checkpoint, decode_row, encode_checkpoint
given = json.load(sys.stdin)
account = None
for seq, row in given["rows"]:
    for index, entry in enumerate(decode_row(bytes.fromhex(row), "it")):
        account = evolve(account, entry, seq, index)
read = decode_checkpoint(bytes.fromhex(given["checkpoint"]), "it")
print(json.dumps([encode_checkpoint(each).hex() for each in (account, read)]))
"""


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("release-before"))


def test_a_reader_of_the_release_before_forgets_names_and_nothing_else(release_before: Path) -> None:
    ledger = Ledger(CATALOG.for_first_release())
    ledger.grant(1_000 * UNIT)

    def named(key: str) -> str:
        command = msgspec.structs.replace(ledger.create_command(3, 4), idempotency_key=key, content_digest=b"0123456789abcdef")
        assert isinstance(ledger.ask(command), Granted)
        return command.charging_id

    ended, running = named("ended"), named("running")
    ledger.release(ended, 2, usage(3, 2))
    given = {
        "rows": [(seq, encode_row(entries).hex()) for seq, entries in ledger.rows],
        "checkpoint": encode_checkpoint(ledger.state).hex(),
    }
    path = os.pathsep.join([str(release_before), str(release_before / "protos" / "gen")])
    reader = subprocess.run(
        [sys.executable, "-c", READER],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        cwd=release_before,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    expected = state_of(ledger.state)
    assert len(expected.pop("keyed")) == 2
    for session in expected["sessions"].values():
        # Attempts at vendors and a label, which it has none of, and its place among the names: the last of its fields.
        assert (session.pop(), session.pop(), bool(session.pop())) == ((), "", True)
    for text in json.loads(reader.stdout):
        read = state_of(decode_checkpoint(bytes.fromhex(text), "it"))
        assert read.pop("keyed") == {}
        for session in read["sessions"].values():
            del session[-3:]
        assert read == expected
        # A new replica goes on from there: the call is settled, and its name was forgotten.
        ledger.account = decode_checkpoint(bytes.fromhex(text), "it")
        assert ledger.release(running, 2, usage(3, 1)).charged == 4 * UNIT
        again = named("running")
        assert isinstance(
            ledger.ask(
                msgspec.structs.replace(ledger.create_command(3, 4), idempotency_key="running", content_digest=b"0123456789abcdef")
            ),
            KnownCall,
        )
        ledger.release(again, 2, usage(1))
