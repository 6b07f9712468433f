"""Time-outs that share a timer, in virtual time."""

import asyncio

from services.runtime.timeouts import Timeouts
from tests.simulation.virtual_time import VirtualLoop, run_virtually


def test_each_ends_after_its_own_time_unless_it_is_called_off() -> None:
    ended: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        timeouts: Timeouts[str] = Timeouts(5.0, lambda item: ended.append((item, loop.time())))
        timeouts.add("first")
        await asyncio.sleep(1.0)
        timeouts.add("called off")
        await asyncio.sleep(1.0)
        timeouts.add("third")
        timeouts.remove("called off")
        timeouts.remove("never there")
        await asyncio.sleep(10.0)
        timeouts.add("later")
        await asyncio.sleep(6.0)

    run_virtually(main(), VirtualLoop())
    assert [(item, round(time_s, 3)) for item, time_s in ended] == [("first", 5.0), ("third", 7.0), ("later", 17.0)]


def test_one_may_be_added_and_called_off_as_another_ends() -> None:
    ended: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def end(item: str) -> None:
            ended.append((item, loop.time()))
            timeouts.remove("second")
            if item == "first":
                timeouts.add("again")

        timeouts = Timeouts(2.0, end)
        timeouts.add("first")
        timeouts.add("second")
        await asyncio.sleep(10.0)

    run_virtually(main(), VirtualLoop())
    assert [(item, round(time_s, 3)) for item, time_s in ended] == [("first", 2.0), ("again", 4.0)]
