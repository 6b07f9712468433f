"""The usage so far in each event of a stream, where the client asks for it; the charge is the end's."""

from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of
from tests.edge.call.line_dialect import END, FINISH, count, counted, say, words
from tests.edge.call.scene import Scene


def told(body: bytes) -> list[tuple[int, ...]]:
    """The usages of a stream's events, in order."""
    lines = [event.removeprefix("data: used ") for event in body.decode().split("\n\n") if event.startswith("data: used ")]
    return [tuple(map(int, line.split())) for line in lines]


async def test_each_event_tells_the_meters_present_count() -> None:
    scene = Scene()
    scene.vendors.answers(say("one two "), say("three"), say(" four", count(input=40, output=9)), FINISH, END)
    caller = await scene.call("model=solo stream=yes usage=running")
    so_far = told(caller.body)
    assert [usage[3] for usage in so_far] == [estimate(size_of("one two ")), estimate(size_of("one two three")), 9]
    # The input is estimated until the vendor has counted it.
    assert so_far[0][0] == so_far[1][0] != 40
    assert so_far[2] == (40, 0, 0, 9, 0)
    assert scene.used == (40, 0, 0, 9, 0)


async def test_the_end_is_the_charge_whatever_was_told_on_the_way() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), counted(input=7, output=90), say(words(10)), counted(input=7, output=120), FINISH, END)
    caller = await scene.call("model=solo stream=yes usage=running")
    assert told(caller.body)[-1] != scene.used == (7, 0, 0, 120, 0)
    assert caller.body.endswith(b"data: [complete] 7 0 0 120 0\n\n")


async def test_who_does_not_ask_is_told_nothing() -> None:
    scene = Scene()
    scene.vendors.answers(say("one two "), FINISH, counted(input=4, output=2), END)
    assert told((await scene.call("model=solo stream=yes")).body) == []
