"""How commands print: as JSON, or as tables for people."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import JustifyMethod

# A time of the administrative API. People are shown its seconds, in a form that options take, too.
_TIME: Final = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")

F = TypeVar("F", bound=Callable[..., Any])


def common_options(function: F) -> F:
    """The options of every command that asks a running system."""
    data_dir = click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data folder of the system.")
    output = click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the answer is printed.")
    return data_dir(output(function))


def print_answer(answer: dict[str, Any], output: str, tables: Callable[[], Iterable[Any]]) -> None:
    """Prints the answer as it came, or `tables` of it."""
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
        return
    # Piped output is not folded, because there is no terminal whose width would matter.
    print_tables(tables(), 1_000)


def print_tables(tables: Iterable[Any], width_of_none: int) -> None:
    """Prints tables and lines in the width of the terminal, or in `width_of_none` where there is none."""
    from rich.console import Console

    class Printer(Console):
        def on_broken_pipe(self) -> None:
            # The entry point says how a command ends whose reader has enough.
            raise  # noqa: PLE0704  # it is called while the error is handled

    console = Printer(highlight=False)
    if not console.is_terminal:
        console.width = width_of_none
    for each in tables:
        console.print(each)


def print_amounts(answer: dict[str, Any], output: str, tables: Callable[[], Iterable[Any]]) -> None:
    """Prints an answer with amounts: its JSON says once that they are micro-units, `tables` of it are in whole units."""
    print_answer({"amounts_in": "micro_units", **answer}, output, tables)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> Any:
    """A table of text and of whole numbers, which get their thousands apart; the columns in `right` stand to the right."""
    from rich import box

    from services.cli.rows import Rows

    table = Rows(title, box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        # The first names its row: it stays whole, so that it can be copied.
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column.replace("_", " "), justify=justify, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(text_of(f"{value:,}" if isinstance(value, int) else value) for value in row))
    return table


def text_of(value: str | None) -> Any:
    """As it is: brackets in what people name things are not markup."""
    from rich.text import Text

    return Text("" if value is None else _TIME.sub(r"\1 \2Z", value))


def fields_of(answer: dict[str, Any]) -> list[Any]:
    """A line for each field that has a value; amounts are in whole units by then, so that what they are in JSON is not said."""
    told = {field: value for field, value in answer.items() if value not in (None, []) and field != "amounts_in"}
    return [text_of(f"{field}: {_in_line(value)}") for field, value in told.items()]


def outline(value: Any, indent: str = "") -> list[str]:
    """Lines of an answer with parts in it, each part further in than its name."""
    if isinstance(value, dict):
        lines = []
        for name, part in value.items():
            if part and isinstance(part, (dict, list)) and not _is_flat(part):
                lines += [f"{indent}{name}:", *outline(part, indent + "  ")]
            else:
                lines.append(f"{indent}{name}: {_in_line(part)}")
        return lines
    return [f"{indent}- {_in_line(each)}" for each in value]


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value)


def _in_line(value: Any) -> str:
    if value is True or value == {}:
        # An empty part says by being there that its rule holds.
        return "yes"
    if value is False:
        return "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_line(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_in_line, value))
    return str(value)
