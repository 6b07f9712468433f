"""Speech: what is read of a request, what a vendor gets, and what passes of its sound."""

import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.speech.dialect import Speech
from services.edge.dialects.speech.request import SpeechRequest
from services.edge.http.problems import Problem, unavailable
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown
from services.edge.vendors.vendor import VendorFailure

ENDPOINT = Endpoint("acme", "openai_speech", "http://acme.test/v1")


def read(**fields: Any) -> SpeechRequest:
    body = {"model": "m", "input": "Grüße 🙂", "voice": "v", **fields}
    return Speech().read(Body(json.dumps(body).encode(), "application/json"), {})


def written(endpoint: Endpoint = ENDPOINT, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = read(**fields).vendor_request(endpoint, "acme-m", None, streamed=False)
    assert (asked.path, asked.body.content_type, asked.relays_bytes) == ("/audio/speech", "application/json", True)
    return json.loads(asked.body.content), asked.dropped


def test_all_that_a_vendor_reads_counts_by_its_characters() -> None:
    request = read()
    assert (request.size().characters, request.size().param) == (7, "input")
    assert read(instructions="slowly", odd="x").size().characters == 7 + 6 + len('odd"x"')
    assert (request.makes_output, request.streamed, request.choices, request.output_limit) == (False, True, 1, None)
    assert (Speech().charged, Speech().name) == (Charged.INPUT, "openai_speech")
    assert request.conversation() != read(input="b").conversation()


def test_a_vendor_gets_what_was_read() -> None:
    fields: dict[str, Any] = {"instructions": "slowly", "response_format": "wav", "speed": 1.5, "stream_format": "audio"}
    sent, dropped = written(**fields, odd=1)
    assert sent == {"model": "acme-m", "input": "Grüße 🙂", "voice": "v", **fields}
    assert dropped == ("odd",)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"model": ""}, "model", "You must provide a model"),
        ({"input": ""}, "input", "You must provide an input"),
        ({"input": ["a"]}, "input", "input must be a string"),
        ({"instructions": 5}, "instructions", "instructions must be a string"),
        (
            {"response_format": "midi"},
            "response_format",
            "response_format must be one of mp3, opus, aac, flac, wav, pcm; it is 'midi'.",
        ),
        ({"Input": "b"}, "Input", "write input, in exactly these letters"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [({"stream_format": "sse"}, ENDPOINT), ({"odd": 1}, ENDPOINT._replace(unknown_fields=Unknown.REFUSED))],
)
def test_what_comes_in_another_form_is_refused(fields: dict[str, Any], endpoint: Endpoint) -> None:
    with pytest.raises(Problem) as caught:
        written(endpoint, **fields)
    assert caught.value.status == 400


@pytest.mark.parametrize(("wanted", "content_type"), [(None, "audio/mpeg"), ("opus", "audio/opus"), ("pcm", "audio/pcm")])
def test_sound_passes_as_it_comes(wanted: str | None, content_type: str) -> None:
    answer = read(response_format=wanted).answer(ENDPOINT)
    assert answer.content_type == content_type
    assert answer.feed(Event("", b"\x00data: x\n\n")) == Step(out=b"\x00data: x\n\n", sound_bytes=10)
    assert (answer.end(Ending.COMPLETE, (0,) * 5), answer.interrupted(unavailable("it"), "id")) == (b"", b"")


@pytest.mark.parametrize(
    ("body", "outcome"), [(b'{"error":{"message":"no","code":"x"}}', "refused"), (b"{}", "garbage"), (b"", "garbage")]
)
def test_an_answer_that_is_no_sound_is_none(body: bytes, outcome: str) -> None:
    with pytest.raises(VendorFailure) as caught:
        read().answer(ENDPOINT).feed_whole(body)
    assert caught.value.outcome == outcome


def test_sound_has_an_end_by_the_characters_that_are_paid_for() -> None:
    mebibyte = bytes(1024 * 1024)
    # Four of pauses, and a quarter for each of four characters.
    answer = read(input="abcd").answer(ENDPOINT)
    for _ in range(5):
        assert answer.feed(Event("", mebibyte)).sound_bytes == len(mebibyte)
    with pytest.raises(VendorFailure, match="garbage"):
        answer.feed(Event("", b"x"))
