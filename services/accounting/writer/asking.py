"""Callers of an owner, and the wait for an answer."""

import asyncio
from typing import NamedTuple, Protocol

from services.accounting.core.account.state import Account
from services.accounting.core.commands import AccountView, Answer, Command
from services.accounting.core.entries import Actor


class Caller(Protocol):
    """A receiver of answers. `answer` is called after the commit; `flush` once after the last answer of a commit."""

    def answer(self, tag: int, answer: Answer) -> None:
        """Takes the answer to the command submitted with `tag`."""
        ...

    def flush(self) -> None:
        """Sends the answers that were taken."""
        ...


class Pending(NamedTuple):
    """A command that is not answered yet."""

    command: Command
    caller: Caller
    tag: int
    # The giver of the command; None: nobody is named. He is no part of it: a repeat by somebody else is the same command.
    actor: Actor | None = None


class Submits(Protocol):
    """An owner, or several as one."""

    def submit(self, command: Command, caller: Caller, tag: int, actor: Actor | None = None) -> None:
        """See `Owner.submit`."""
        ...


class OneAnswer:
    """A caller that waits for a single answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, tag: int, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def flush(self) -> None:
        pass


async def ask(owner: Submits, command: Command, actor: Actor | None = None) -> Answer:
    """Submits one command, given by `actor`, and waits for its answer."""
    caller = OneAnswer()
    owner.submit(command, caller, 0, actor)
    return await caller.future


def view_of(answer: Answer) -> Account:
    """The account of an `AccountView`."""
    assert isinstance(answer, AccountView)
    return answer.account
