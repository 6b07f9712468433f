"""Threads for long work, which accounts have in turn."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from services.edge.call.threads import Threads, in_thread, serve
from tests.waiting import until


class Work:
    """Work of accounts that lasts until it is said, and the accounts in whose name it was begun, in that order."""

    def __init__(self, count: int) -> None:
        self.threads = Threads("test-work", count)
        self.may_end = threading.Semaphore(0)
        self.begun: list[str] = []

    def _do(self, account_id: str) -> None:
        self.begun.append(account_id)
        self.may_end.acquire()

    async def begin(self, account_id: str, count: int) -> "list[asyncio.Task[None]]":
        """Work that has come as far as it can."""
        tasks = [asyncio.create_task(self.threads.run(account_id, self._do, account_id)) for _ in range(count)]
        for _ in range(4):
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
def one() -> Iterator[Work]:
    work = Work(1)
    yield work
    work.may_end.release(100)
    work.threads.close()


@pytest.fixture
def six() -> Iterator[Work]:
    work = Work(6)
    yield work
    work.may_end.release(100)
    work.threads.close()


async def test_an_account_alone_has_half_and_the_next_one_waits_for_nothing(six: Work) -> None:
    tasks = await six.begin("busy", 50)
    await until(lambda: len(six.begun) >= 3)
    tasks += await six.begin("other", 1)
    await until(lambda: len(six.begun) >= 4)
    assert six.begun == ["busy", "busy", "busy", "other"]
    six.may_end.release(51)
    await asyncio.gather(*tasks)
    assert six.begun[4:] == ["busy"] * 47


async def test_accounts_have_a_thread_in_turn_however_much_of_one_waits(one: Work) -> None:
    tasks = [*await one.begin("busy", 4), *await one.begin("other", 2), *await one.begin("third", 1)]
    one.may_end.release(len(tasks))
    await asyncio.gather(*tasks)
    assert one.begun == ["busy", "busy", "other", "third", "busy", "other", "busy"]


async def test_work_that_nobody_awaits_any_more_is_not_begun(one: Work) -> None:
    _, second, third = await one.begin("busy", 3)
    second.cancel()
    third.cancel()
    await asyncio.wait([second, third])
    last = await one.begin("other", 1)
    one.may_end.release(2)
    await asyncio.gather(*last)
    assert one.begun == ["busy", "other"]


async def test_a_turn_that_comes_as_its_work_is_given_up_goes_to_the_next(one: Work) -> None:
    assert one.threads._places.take("other", 1.0)
    [given_up] = await one.begin("busy", 1)
    one.threads._over("other")
    given_up.cancel()
    await asyncio.wait([given_up])
    assert one.threads._places._costs == {}
    assert one.begun == []


async def test_a_thread_is_busy_until_its_work_ends_also_where_nobody_awaits_it(one: Work) -> None:
    [first] = await one.begin("busy", 1)
    first.cancel()
    await asyncio.wait([first])
    [second] = await one.begin("other", 1)
    # Were the place free already, this would have been handed to the thread.
    assert one.threads._waiting.keys() == {"other"}
    one.may_end.release(2)
    await second
    assert one.begun == ["busy", "other"]


async def test_work_that_fails_gives_its_thread_back(one: Work) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await one.threads.run("busy", divmod, 1, 0)


async def test_work_is_done_in_the_turn_of_the_account_that_is_served(one: Work) -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    await one.begin("busy", 1)

    async def served() -> tuple[int, int]:
        serve(one.threads, "other")
        return await in_thread(divmod, 7, 2)

    task = asyncio.create_task(served())
    for _ in range(4):
        await asyncio.sleep(0)
    assert one.threads._waiting.keys() == {"other"}
    one.may_end.release(1)
    assert await task == (3, 1)
