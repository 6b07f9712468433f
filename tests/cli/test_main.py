import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from services.cli.main import _COMMANDS, command_line
from tests.cli.processes import tokenline


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
    import subprocess

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
