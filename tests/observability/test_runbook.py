"""The runbook of alerts: a section for each, whose commands work and whose questions are about what is there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import msgspec
import pytest

from infra.observability.rules import ALERTS, RUNBOOK
from services.cli.main import command_line
from services.edge.api.admin.journal import entry_json
from tests.cli.processes import Up
from tests.observability.conftest import admin
from tests.observability.prometheus import unknown
from tests.runbooks import FOLDER, executable_sections, execute, section
from tokenline.accounting.v1 import accounting_pb2 as pb

PAGE: Final = Path(RUNBOOK).name
TEXT: Final = (FOLDER / PAGE).read_text(encoding="utf-8")
COMMANDS_S_MAX: Final = 120


def test_each_alert_has_a_section_that_says_how_serious_it_is() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(\w+)\.", TEXT, re.MULTILINE))
    assert sections == {each.name: each.severity.capitalize() for each in ALERTS}
    assert set(re.findall(r"\(#(\w+)\)", TEXT)) <= {name.lower() for name in sections}


def test_questions_are_about_what_a_running_system_shows(known: dict[str, set[str]]) -> None:
    blocks = re.findall(r"^```promql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    questions = [line for block in blocks for line in block.splitlines()]
    assert len(questions) > 20
    assert unknown({each: each for each in questions}, known) == []


def test_commands_that_it_names_are_there() -> None:
    operations = (FOLDER.parent / "operations.md").read_text(encoding="utf-8")
    named = {tuple(words.split()) for words in re.findall(r"\btokenline((?: [a-z]+)+)", TEXT + operations)}
    assert len(named) >= 10
    for words in named:
        at: click.Command = command_line
        for word in words:
            if not isinstance(at, click.Group):
                break
            found = at.get_command(click.Context(at), word)
            assert found is not None, words
            at = found


def test_what_was_absorbed_is_found_in_the_journal_as_it_is_printed() -> None:
    pattern = re.findall(r"grep '(\"absorbed_amount.*?)'", TEXT)[0]
    for amount, found in ((8_000_000, 0), (0, 1)):
        entry = pb.JournalEntry(session_settled=pb.SessionSettled(charged_amount=5, absorbed_amount=amount))
        line = msgspec.json.encode(entry_json(entry))
        assert subprocess.run(["grep", "--quiet", pattern], input=line, check=False).returncode == found, line


@pytest.mark.parametrize("title", sorted(executable_sections(PAGE)))
def test_commands_work_as_they_stand(title: str, system: Up, tmp_path: Path) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "TOKENLINE_URL": system.demo.admin_url,
        "TOKENLINE_TOKEN": system.demo.admin_token,
    }
    # Commands that look at the last minutes find something, however long ago the system was made.
    admin(system.demo, "/accounts")
    for block in section(PAGE, title):
        assert execute(block.commands, environment, tmp_path, COMMANDS_S_MAX)
