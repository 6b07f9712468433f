import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.cli.main import _COMMANDS, command_line
from tests.cli.processes import IN_PLACE, tokenline

CAPACITY = ("capacity", "--inputs", "docs/capacity.yaml")


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(command_line, ["--help"])
    assert shown.exit_code == 0
    for name, (_, _, summary) in _COMMANDS.items():
        assert name in shown.output
        assert summary in shown.output


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    module, attribute, _ = _COMMANDS[name]
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert CliRunner().invoke(command_line, [name, "--help"]).exit_code == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    refused = tokenline("charge")
    assert refused.returncode == 2
    assert "No such command 'charge'" in refused.stderr


def test_commands_that_only_ask_import_no_service() -> None:
    program = (
        "import sys, services.cli.main, services.cli.admin, services.cli.up, services.cli.serve, services.cli.bench\n"
        "print([name for name in ('grpc', 'litestar', 'aiohttp', 'rich.table', 'opentelemetry') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("form", [(), ("--output", "json")])
def test_an_output_that_cannot_be_written_is_told_and_no_answer(form: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([*IN_PLACE, *CAPACITY, *form], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", [(), ("--output", "json")])
def test_a_reader_that_has_enough_is_no_error(form: tuple[str, ...]) -> None:
    with subprocess.Popen([*IN_PLACE, *CAPACITY, *form], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 128 + signal.SIGPIPE)


def test_a_terminal_of_another_encoding_gets_what_it_has_letters_for(tmp_path: Path) -> None:
    shown = tokenline("doctor", "--config", f"billing={tmp_path}/账单.yaml", PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "/??.yaml: cannot be read" in shown.stdout


def test_errors_follow_the_form_of_the_answer() -> None:
    for form, command in ((("--json",), "price"), (("--output", "json"), "audit")):
        refused = tokenline(command, *form, "--no-such-option")
        assert json.loads(refused.stderr)["error"]["exit_status"] == refused.returncode == 2
