"""The page of the commands is made from the commands of today, and the README's names are commands."""

import re
from pathlib import Path

from services.cli.reference import PAGE, commands, page

README = Path(__file__).parents[2] / "README.md"


def test_the_page_is_that_of_todays_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make generate`"


def test_every_command_that_the_readme_names_is_there() -> None:
    there = {names for names, _ in commands()}
    groups = {names[0] for names in there if len(names) > 1}
    named = re.findall(r"^tokenline ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) > 20
    for command, part in named:
        assert ((command, part) if command in groups else (command,)) in there, (command, part)
