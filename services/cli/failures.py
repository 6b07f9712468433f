"""Expected errors as one line on standard error, and the exit status that tells what kind they are."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


class CommandError(click.ClickException):
    """The command cannot be carried out: wrong usage, a bad config, a system out of reach. Exit status 2.

    `code` is the system's own word, where it answered and was at fault.
    """

    exit_code = 2

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_of_a_service_behind(self) -> bool:
        """Whether the edge answered, and a service that it asks did not."""
        return self.code == "service_unavailable"


class NoAnswerError(CommandError):
    """Nothing came in time; who is silent, the edge or a service that it asks, is not known."""


class CommandFailed(click.ClickException):
    """The answer is no: the system refused, or what a check found is not right. Exit status 1.

    `code` is the system's own word for its refusal, for programs.
    """

    exit_code = 1

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turns what configs, files, sockets, stores and services raise into a `CommandError`."""
    from services.runtime.config import ConfigError
    from services.runtime.errors import SchemaError, ServiceError
    from services.runtime.locks import InUseError

    try:
        yield
    except (ConfigError, InUseError, SchemaError, ServiceError) as error:
        raise CommandError(str(error)) from error
    except BrokenPipeError:
        # Mostly of the output's own reader, which the entry point knows.
        raise
    except OSError as error:
        raise CommandError(os_error_text(error)) from error


def os_error_text(error: OSError) -> str:
    """The file, if it is about one, and what is wrong, without the number."""
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what
