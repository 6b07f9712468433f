"""The page of the commands, made from them. `python -m services.cli.reference` writes docs/commands.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from services.cli.main import command_line

PAGE: Final = Path(__file__).parents[2] / "docs" / "commands.md"

_SHORT: Final = 1_000
_HEAD: Final = """\
# Commands

Generated from `services/cli` (`make generate`). `tokenline COMMAND --help` says all of one.

## The system that is meant
Commands that ask a running system find it by `--data-dir DIR`, the folder of a `tokenline up`; else by `TOKENLINE_URL`, its
address for operators, and `TOKENLINE_TOKEN` or a file that `TOKENLINE_TOKEN_FILE` names; else in `~/.tokenline`. With
`TOKENLINE_WAIT_S`, a number of seconds, a command that finds nobody at the address asks again for so long. `audit`,
`reconcile`, `explain` and `journal` also read the data folder of a system that is down. Folders may have spaces in their names:
`--data-dir "$HOME/my data"`.

## What is printed
Tables for people, with amounts in whole units (`9.9 CNY`, `5,000,000 TOKEN`) and times to the second in UTC; where a table does
not fit the terminal, a block of lines for each row, so that IDs stay whole and can be copied. `--output json` prints what the
system answers: amounts as integers of micro-units, which `amounts_in` says, and times with all their digits. `journal` prints
entries as they are kept, in micro-units and microseconds, for people too. Errors follow: JSON on standard error,
`{"error": {"message", "code", "exit_status"}}`, where `code` is the system's own word, such as `account_not_found`, or null.

## Exit status
| status | meaning |
|---|---|
| 0 | it is done; of a check: nothing is wrong |
| 1 | the answer is no: the system refused; `audit`, `reconcile`, `doctor`, `catalog validate` or `replay` found what is not \
right; `up` or `serve` ran, and a service failed later; a question was answered with no |
| 2 | it could not be tried: wrong usage, a config or folder that cannot be used, an output that cannot be written, \
a system that is out of reach, not ready or at fault |
| 128 and more | ended by the signal of that number above 128, such as 143 for SIGTERM before it had \
begun, and 141 where nobody reads the output any more; a system that runs and is told to stop ends with 0 |

## Completion
Completes commands, options and their choices, for the session; in the shell's start-up file, for good:
```
eval "$(_TOKENLINE_COMPLETE=bash_source tokenline)"                 # bash: ~/.bashrc
eval "$(_TOKENLINE_COMPLETE=zsh_source tokenline)"                  # zsh: ~/.zshrc, after compinit
_TOKENLINE_COMPLETE=fish_source tokenline | source                  # fish: ~/.config/fish/config.fish
```

## All commands
| command | does |
|---|---|
"""


def page() -> str:
    """The page, as Markdown."""
    rows = (f"| `tokenline {' '.join(names)}` | {command.get_short_help_str(_SHORT)} |" for names, command in commands())
    return _HEAD + "\n".join(rows) + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that do something, by their names, in the order in which groups list them."""
    yield from _below(command_line, (), click.Context(command_line))


def _below(group: click.Group, names: tuple[str, ...], context: click.Context) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _below(command, (*names, name), context)
        else:
            yield (*names, name), command


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
