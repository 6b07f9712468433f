"""`tokenline owners|move|recover` where there is one process; of several, the runbooks are executed."""

import json
from pathlib import Path

import pytest

from tests.cli.processes import run, up


def test_owners_moves_and_a_new_era_on_a_data_folder(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path))
    with up(tmp_path) as system:
        listed = json.loads(run("owners", *folder, "--output", "json").stdout)
        assert listed["era"] == 1
        assert len(listed["data"]) == 16
        assert "Partitions, era 1" in run("owners", *folder).stdout
        refused = run("move", "3", *folder)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "there is nowhere to move to" in refused.stderr
        running = run("recover", *folder)
        assert running.exit_code == 2
        assert "in use" in running.stderr
        system.stop()
    recovered = run("recover", *folder, "--output", "json")
    assert json.loads(recovered.stdout) == {"era": 2}
    with up(tmp_path) as system:
        assert json.loads(run("owners", *folder, "--output", "json").stdout)["era"] == 2
        assert json.loads(run("audit", *folder, "--output", "json").stdout)["breaches"] == []
        assert json.loads(run("reconcile", *folder, "--output", "json").stdout)["differences"] == []
        system.stop()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["move", "4096"], "4096 is not in the range"),
        (["move", "seven"], "'seven' is not a valid integer"),
        (["recover", "--config", "c.yaml", "--data-dir", "d"], "give --config or --data-dir, not both"),
        (["recover", "--config", "no-such.yaml"], "no-such.yaml: cannot be read"),
        (["recover", "--data-dir", "no-such-folder"], "no-such-folder"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert said in refused.stderr
