"""Clients that leave: what they pay, what nobody pays, and how long a vendor is listened to."""

import asyncio

import pytest

from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import HANG, CallClient, FakeCharging
from tests.edge.call.line_dialect import END, FINISH, count, counted, event, say, think, words
from tests.edge.call.scene import Scene, catalog
from tokenline.registry.v1 import registry_pb2 as registry

NOTHING = (0, 0, 0, 0, 0)


def sent(pieces: int) -> "Left":
    """Leaves once so many pieces have come."""
    return Left(pieces)


class Left:
    """See `sent`."""

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces

    def __call__(self, client: CallClient) -> bool:
        return len(client.pieces) == self._pieces


def exactly(tokens: int) -> str:
    """A text that the "exact" model's tokenizer counts as so many tokens."""
    return " the" * tokens


async def test_the_share_that_was_sent_is_paid_and_the_rest_is_not() -> None:
    # V 1,500, R 1,000, T 1,250: 1,200 are charged and 300 are not paid.
    scene = Scene()
    await _loaded(scene)
    scene.vendors.answers(say(exactly(1_000)), 0.5, say(exactly(250)), FINISH, counted(input=40, output=1_500), END)
    await scene.left("model=exact stream=yes limit=1250", sent(1))
    assert (scene.used, scene.unpaid) == ((40, 0, 0, 1_200, 0), (0, 0, 0, 300, 0))
    assert (scene.cause, scene.provenance) == ("client_gone", "vendor")
    assert scene.charging.released_at_s == [0.5]


async def _loaded(scene: Scene) -> None:
    """Loads the tokenizer with a first call."""
    scene.vendors.answers(say("hi"), FINISH, END)
    await scene.call("model=exact stream=yes")
    scene.charging.forget()


async def test_a_part_of_a_token_is_charged_as_one() -> None:
    scene = Scene()
    await _loaded(scene)
    scene.vendors.answers(say(exactly(100)), 0.5, say(exactly(200)), FINISH, counted(input=40, output=1_000), END)
    await scene.left("model=exact stream=yes limit=300", sent(1))
    assert (scene.used[3], scene.unpaid[3]) == (334, 666)


async def test_reasoning_before_the_last_relayed_byte_is_charged_whole() -> None:
    scene = Scene()
    await _loaded(scene)
    scene.vendors.answers(say(exactly(100)), 0.5, say(exactly(100)), FINISH, counted(input=40, output=200, reasoning=5_000), END)
    await scene.left("model=exact stream=yes limit=200", sent(1))
    assert scene.used == (40, 0, 0, 100, 5_000)
    assert scene.unpaid == (0, 0, 0, 100, 0)


async def test_reasoning_that_was_shown_is_charged_as_far_as_it_was_sent() -> None:
    scene = Scene()
    await _loaded(scene)
    scene.vendors.answers(
        think(exactly(100)), 0.5, think(exactly(100)), say(exactly(50)), FINISH, counted(input=40, output=50, reasoning=200), END
    )
    await scene.left("model=exact stream=yes limit=256", sent(1))
    assert scene.used == (40, 0, 0, 0, 100)
    assert scene.unpaid == (0, 0, 0, 50, 100)


async def test_nobody_listens_on_where_more_than_256_tokens_are_to_come() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), 0.5, say(words(10)), FINISH, counted(input=3, output=110), END)
    await scene.left("stream=yes limit=1000", sent(1))
    assert scene.vendors.asked[0].closed_at_s == 0
    assert scene.vendors.asked[0].was_cut
    assert scene.provenance == "partial"
    assert scene.used[3] == pytest.approx(100, rel=0.3)


async def test_what_is_to_come_is_that_of_all_choices() -> None:
    scene = Scene()
    # Of 400 at most 100 have come.
    scene.vendors.answers(say(words(100)), 0.5, say(words(10)), FINISH, counted(input=3, output=110), END)
    await scene.left("stream=yes limit=200 n=2", sent(1))
    assert (scene.vendors.asked[0].closed_at_s, scene.provenance) == (0, "partial")


async def test_an_answer_that_has_said_how_it_ends_is_listened_to_for_its_count() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, 1.5, counted(input=3, output=110), END)
    await scene.left("stream=yes limit=8000", sent(1))
    assert scene.used == (3, 0, 0, 110, 0)
    assert (scene.provenance, scene.vendors.asked[0].closed_at_s) == ("vendor", 1.5)


async def test_nobody_listens_longer_than_two_seconds() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, 2.5, counted(input=3, output=110), END)
    await scene.left("stream=yes limit=8000", sent(1))
    assert scene.vendors.asked[0].closed_at_s == 2
    assert scene.provenance == "partial"


async def test_a_vendor_that_goes_on_beyond_its_limit_is_cut() -> None:
    scene = Scene()
    pieces = [item for _ in range(100) for item in (say(words(20)), 0.01)]
    scene.vendors.answers(say(words(100)), 0.5, *pieces, HANG)
    await scene.left("stream=yes limit=200", sent(1))
    asked = scene.vendors.asked[0]
    assert asked.was_cut
    assert asked.closed_at_s is not None
    assert asked.closed_at_s < 0.7
    assert scene.used[3] == pytest.approx(100, rel=0.3)
    # What came in the meantime is the vendor's work.
    assert 200 < scene.unpaid[3] < 400


async def test_a_vendor_that_breaks_while_it_is_listened_to() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), FINISH, 1.0, VendorFailure("broken", 200))
    await scene.left("stream=yes limit=8000", sent(1))
    assert scene.provenance == "partial"
    assert scene.used[3] == pytest.approx(100, rel=0.3)


async def test_a_vendor_that_can_not_be_drained_is_cut_at_once() -> None:
    scene = Scene(snapshot=catalog())
    scene.vendors.answers(say(words(100)), FINISH, 1.0, counted(input=3, output=110), END, vendor="rude")
    await scene.left("model=undrained stream=yes", sent(1))
    assert scene.vendors.asked[0].closed_at_s == 0


async def test_a_client_that_leaves_at_the_end_pays_as_if_it_had_stayed() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), 1.0, END)
    await scene.left("stream=yes", sent(1))
    assert (scene.used, scene.unpaid) == ((3, 0, 0, 2, 0), NOTHING)


@pytest.mark.parametrize(
    ("abandoned", "charged", "unpaid"),
    [
        (registry.ABANDONED_ANSWER_NOTHING, NOTHING, (3, 0, 0, 20, 0)),
        (registry.ABANDONED_ANSWER_INPUT, (3, 0, 0, 0, 0), (0, 0, 0, 20, 0)),
        (registry.ABANDONED_ANSWER_MADE, (3, 0, 0, 20, 0), NOTHING),
    ],
)
async def test_a_whole_answer_that_nobody_waited_for(abandoned: int, charged: tuple[int, ...], unpaid: tuple[int, ...]) -> None:
    scene = Scene(snapshot=catalog(abandoned_answer=abandoned))
    scene.vendors.answers(say(words(18), count(input=3, output=20)), 60.0)
    client, task = scene.begin("stream=no limit=500")
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert (scene.used, scene.unpaid) == (charged, unpaid)
    assert scene.cause == "client_gone"
    assert scene.attempts == [("acme", "broken", 0)]
    assert scene.vendors.asked[0].was_cut


@pytest.mark.parametrize(("charges_input", "paid"), [(True, True), (False, False)])
async def test_a_stream_that_was_left_before_any_output(charges_input: bool, paid: bool) -> None:
    scene = Scene(snapshot=catalog(charge_input_when_client_gone_before_output=charges_input))
    scene.vendors.answers(60.0)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(20.0)
    assert client.body == b": keep-alive\n\n"
    client.leave()
    await task
    scene.check()
    assert bool(scene.used[0]) == paid
    assert bool(scene.unpaid[0]) != paid
    assert scene.used[3] == scene.unpaid[3] == 0


async def test_work_of_a_vendor_whose_output_was_never_sent_is_not_forgotten() -> None:
    scene = Scene()
    scene.vendors.answers(event("opaque 800"), 60.0)
    client, task = scene.begin("stream=yes")
    client.reading = asyncio.Event()
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert scene.used == NOTHING
    assert scene.unpaid[4] == 100
    assert scene.unpaid[0] > 0


async def test_a_client_that_leaves_while_its_answer_waits_for_quota() -> None:
    scene = Scene(FakeCharging(window=100))
    scene.charging.update_gate = asyncio.Event()
    scene.vendors.streams(say("word ") for _ in range(1_000))
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(5.0)
    client.leave()
    await task
    scene.check()
    assert scene.cause == "client_gone"
    assert 70 < scene.used[3] <= 100
    assert scene.vendors.asked[0].was_cut


async def test_a_client_that_leaves_while_the_first_events_are_sent_pays_for_them() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), 60.0)
    client, task = scene.begin("stream=yes")
    client.reading = asyncio.Event()
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert scene.cause == "client_gone"
    assert scene.used[0] > 0
    assert scene.used[3] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(("leaves", "cause"), [(True, "client_gone"), (False, "revoked")])
async def test_a_whole_answer_that_had_to_wait_for_quota_still_ends_when_it_must(leaves: bool, cause: str) -> None:
    scene = Scene(FakeCharging(window=200))
    scene.vendors.answers(say(words(400)), 0.5, say(words(10)), 60.0)
    client, task = scene.begin("stream=no limit=5000")
    await asyncio.sleep(1.0)
    assert len(scene.charging.updates) == 1
    (client.leave if leaves else scene.principals.revoke)()
    await task
    scene.check()
    assert scene.cause == cause
    assert (scene.vendors.asked[0].closed_at_s, scene.charging.released_at_s) == (1.0, [1.0])
    assert scene.used == NOTHING
    assert scene.unpaid[3] == pytest.approx(410, rel=0.1)
