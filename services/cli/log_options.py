"""Options of the commands that run services: how they log."""

from collections.abc import Callable
from typing import Any, Final, get_args

import click

from services.cli.failures import CommandError
from services.runtime.logs import Format, Level, LogWriter, UnknownLoggerError, start_logging

_LEVELS: Final = get_args(Level)


class LevelType(click.ParamType):  # type: ignore[type-arg]  # generic in its stubs alone
    """A level, of all loggers or of one: the logger's name, empty for all, and the level."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Level]:
        if isinstance(value, tuple):
            return value
        name, equals, level = str(value).rpartition("=")
        if level not in _LEVELS or (equals and not name):
            self.fail(f"{value!r} is no level like {', '.join(_LEVELS)}, nor a logger's like edge.routing=debug", param, ctx)
        return name, level  # type: ignore[return-value]  # it was just looked up


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `log_format`, None where it is not given, and `log_levels`."""
    levels = click.option(
        "--log-level",
        "log_levels",
        type=LevelType(),
        multiple=True,
        metavar="LEVEL",
        help=f"The least level that is logged: {', '.join(_LEVELS)}; of one logger: edge.routing=debug; several: give it again.",
    )
    formats = click.option("--log-format", type=click.Choice(get_args(Format)), help="Lines for people, or a JSON object each.")
    return formats(levels(command))


def begin_logging(log_format: Format, levels: dict[str, Level]) -> LogWriter:
    """Logs from now on. Errors: `CommandError`."""
    try:
        return start_logging(log_format, levels)
    except UnknownLoggerError as error:
        raise CommandError(str(error)) from error
