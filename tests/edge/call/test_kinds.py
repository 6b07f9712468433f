"""Kinds of calls that are to come: no output, bodies of several parts, counts for nothing; and what an event is on its way."""

import pytest

from services.edge.api.calls import metered
from services.edge.call.dialect import Charged, Dialect
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import FakeCharging
from tests.edge.call.line_dialect import END, FINISH, LineDialect, counted, say
from tests.edge.call.scene import SECRETS, Scene

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
PARTS = {"content-type": "multipart/form-data; boundary=part"}
FILE = bytes(range(10, 256)) * 4


async def test_embeddings_reserve_and_charge_their_input_alone() -> None:
    # Enough for the input, with nothing left for output.
    scene = Scene(FakeCharging(balance=9))
    scene.vendors.answers(b"count input=3", content_type="application/json")
    client = await scene.call("kind=embed", charged=Charged.INPUT)
    assert client.status == 200
    create = scene.charging.creates[0]
    assert (create.input_tokens_bound, create.output_tokens_limit, create.output_metered) == (9, 0, False)
    assert scene.vendors.asked[0].options["stream"] == "no"
    assert "limit" not in scene.vendors.asked[0].options
    assert (scene.used, scene.cause) == ((3, 0, 0, 0, 0), "normal")


async def test_embeddings_without_a_count_are_charged_by_estimate() -> None:
    scene = Scene()
    scene.vendors.answers(b"finish", content_type="application/json")
    await scene.call("kind=embed", "some words to embed", charged=Charged.INPUT)
    assert 0 < scene.used[0] <= scene.charging.creates[0].input_tokens_bound
    assert scene.used[3] == 0
    assert scene.provenance == "estimated"


async def test_bodies_of_several_parts_go_on_as_bytes() -> None:
    scene = Scene()
    scene.vendors.answers(say("heard"), FINISH, counted(input=3, output=2), END)
    body = b"--part\nmodel=solo stream=yes\nspeak\n--part\n" + FILE + b"\n--part--"
    client = await scene.call("", body=body, headers=PARTS)
    assert client.text == "heard"
    asked = scene.vendors.asked[0]
    assert asked.url == "http://acme/files"
    assert asked.headers[b"content-type"] == PARTS["content-type"].encode()
    assert FILE in asked.body
    assert scene.charging.creates[0].input_tokens_bound >= len(FILE)


async def test_a_free_count_opens_no_session() -> None:
    scene = Scene()
    scene.vendors.answers(b'say "17"', content_type="application/json")
    client = await scene.call("kind=count", charged=Charged.NOTHING)
    assert client.status == 200
    assert b"17" in client.body
    assert scene.charging.creates == []
    assert scene.vendors.asked[0].closed_at_s is not None


async def test_a_free_count_is_answered_by_the_next_route() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 503))
    scene.vendors.answers(b'say "17"', vendor="beta", content_type="application/json")
    client = await scene.call("kind=count model=pair", charged=Charged.NOTHING)
    assert b"17" in client.body
    assert scene.charging.creates == []


async def test_a_free_count_that_is_refused_tells_no_secret() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 400, SECRETS["ACME_KEY"].encode()))
    client = await scene.call("kind=count", charged=Charged.NOTHING)
    assert client.status == 400
    assert SECRETS["ACME_KEY"].encode() not in client.body


async def test_a_vendor_is_sent_what_the_dialect_wrote_and_its_own_key() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    client = await scene.call("stream=yes", "the prompt")
    asked = scene.vendors.asked[0]
    assert asked.headers == {
        b"content-type": b"text/x-line",
        b"x-lines": b"1",
        b"authorization": b"Bearer " + SECRETS["ACME_KEY"].encode(),
    }
    assert asked.body.endswith(b"\nthe prompt")
    assert client.header("x-request-id") == client.header("line-request-id")


async def test_events_are_whole_and_those_that_came_together_travel_together() -> None:
    scene = Scene()
    long = "ä" * 5_000
    together = [say("one"), say("two"), say(long)]
    # The third event comes in three pieces, the last two of them with others.
    stream = b"".join([*together, say("four"), say("five")])
    cut = len(together[0]) + len(together[1]) + 700
    scene.vendors.answers(
        stream[:cut], 0.1, stream[cut : cut + 500], 0.1, stream[cut + 500 :], FINISH, counted(input=3, output=9), END
    )
    client = await scene.call("stream=yes limit=6000")
    said = [piece.count(b"data: said ") for piece in client.pieces]
    assert said[:2] == [2, 3]
    assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in client.pieces)
    assert client.text == f"onetwo{long}fourfive"


async def test_an_event_is_passed_on_as_soon_as_it_has_come() -> None:
    scene = Scene()
    scene.vendors.answers(say("one"), 1.0, say("two"), 1.0, FINISH, 1.0, counted(input=3, output=2), END)
    client = await scene.call("stream=yes")
    assert [at for at, _ in client.messages] == [0.0, 0.0, 1.0, 3.0]


async def test_a_model_whose_vendors_speak_another_dialect_says_where_it_can_be_called() -> None:
    scene = Scene()
    client = await scene.call("stream=yes model=other")
    assert client.status == 400
    assert client.body == b"unsupported_dialect: The model `other` is not served in this dialect; call it at /v1/others."
    assert not scene.charging.creates


@pytest.mark.parametrize("model", ["solo", "whole"])
@pytest.mark.parametrize("content_type", ["", "text/plain", "text/event-stream", "application/json"])
async def test_an_answer_is_of_the_kind_that_was_asked_for_unless_it_names_the_other(model: str, content_type: str) -> None:
    scene = Scene()
    is_streamed = content_type == "text/event-stream" or (model == "solo" and content_type != "application/json")
    vendor = "acme" if model == "solo" else "slow"
    events = [say("hi"), FINISH, END] if is_streamed else [b'say "hi"\nfinish']
    scene.vendors.answers(*events, vendor=vendor, content_type=content_type)
    client = await scene.call(f"stream=yes model={model}")
    assert (client.status, client.text, scene.cause) == (200, "hi", "normal")


@pytest.mark.parametrize("missing", ["charged", "read", "problem_body"])
def test_a_route_without_a_meter_cannot_be_registered(missing: str) -> None:
    names = ("request_id_header", "charged", "is_json", "read", "problem_body", "status_of")
    members = {name: getattr(LineDialect(), name) for name in names}
    del members[missing]
    unmetered: Dialect = type("Images", (), {"name": "images", **members})()
    with pytest.raises(TypeError, match=f"/v1/images has no meter: Images lacks {missing}"):
        metered(("/v1/lines", LineDialect()), ("/v1/images", unmetered))


def test_a_route_says_what_is_charged_in_the_meters_own_words() -> None:
    free = LineDialect()
    free.charged = "nothing"  # type: ignore[assignment]  # what a careless author writes
    with pytest.raises(TypeError, match="/v1/images has no meter: LineDialect lacks charged, a Charged"):
        metered(("/v1/images", free))


def test_a_path_is_registered_once() -> None:
    with pytest.raises(TypeError, match="/v1/lines is registered twice"):
        metered(("/v1/lines", LineDialect()), ("/v1/lines", LineDialect(Charged.INPUT)))


@pytest.mark.parametrize(
    ("kind", "charged"), [("count", Charged.INPUT_AND_OUTPUT), ("embed", Charged.INPUT_AND_OUTPUT), ("", Charged.NOTHING)]
)
async def test_no_request_is_charged_otherwise_than_its_route(kind: str, charged: Charged) -> None:
    scene = Scene()
    client = await scene.call(f"kind={kind}", charged=charged)
    assert client.status == 500
    assert scene.vendors.asked == []
    assert scene.charging.creates == []


async def test_a_free_count_of_a_model_of_another_dialect_says_where_it_can_be_called() -> None:
    scene = Scene()
    client = await scene.call("kind=count model=other", charged=Charged.NOTHING)
    assert client.status == 400
    assert client.body == b"unsupported_dialect: The model `other` is not served in this dialect; call it at /v1/others."
