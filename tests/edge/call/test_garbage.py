"""A call's objects go with the call. In a circle they would wait for the garbage collector, each with a body of megabytes."""

import gc

import pytest

from services.edge.call.call import Call
from tests.edge.call.line_dialect import END, FINISH, counted, say, whole
from tests.edge.call.scene import Scene


def calls_alive() -> list[Call]:
    return [each for each in gc.get_objects() if isinstance(each, Call)]


@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize("streams", [True, False])
async def test_a_call_leaves_no_circle(stream: str, *, streams: bool) -> None:
    scene = Scene()
    if streams:
        scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    else:
        scene.vendors.answers(whole('say "hello"', "count input=3 output=2"), content_type="application/json")
    gc.collect()
    # Other tests end while calls of theirs are under way.
    before = calls_alive()
    gc.disable()
    try:
        status = (await scene.call(f"model=solo stream={stream} limit=500")).status
        left = [each for each in calls_alive() if all(each is not other for other in before)]
    finally:
        gc.enable()
    assert (status, left) == (200, [])
