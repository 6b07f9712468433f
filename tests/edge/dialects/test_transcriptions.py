"""Transcriptions: what is read of a form, what a vendor gets, and what passes of its text."""

import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.transcriptions.answer import TranscriptionAnswer
from services.edge.dialects.transcriptions.dialect import Transcriptions
from services.edge.dialects.transcriptions.form import File, Form, read_form
from services.edge.dialects.transcriptions.request import TranscriptionRequest
from services.edge.http.problems import Problem, unavailable
from services.edge.tokens.sound import sound_of
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, Vector
from tests.edge.tokens.sounds import wav

ENDPOINT = Endpoint("acme", "openai_transcriptions", "http://acme.test/v1")
TYPE = "multipart/form-data; boundary=b"
SOUND = wav(2)
SEGMENTS = [{"start": 0, "end": 1.5, "text": " Hello,\n\nworld "}, {"start": 3_661.25, "end": 3_662.0, "text": "-->"}]


def part(name: str, value: bytes | str, *, filename: str | None = None, content_type: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    typed = f"\r\ncontent-type: {content_type}" if content_type else ""
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"{named}{typed}\r\n\r\n'
    return head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


FILE = part("file", SOUND, filename="talk.WAV", content_type="audio/wav")
MODEL = part("model", "m")


def form(*parts: bytes, content_type: str = TYPE) -> Body:
    return Body(b"".join(parts) + b"--b--\r\n", content_type)


def read(*parts: bytes) -> TranscriptionRequest:
    return Transcriptions().read(form(MODEL, *parts, FILE), {})


def refusal(body: Body) -> Problem:
    with pytest.raises(Problem) as caught:
        Transcriptions().read(body, {})
    assert caught.value.status == 400
    return caught.value


def written(*parts: bytes, endpoint: Endpoint = ENDPOINT) -> tuple[Form, tuple[str, ...]]:
    asked = read(*parts).vendor_request(endpoint, "acme-m", None, streamed=False)
    assert asked.path == "/audio/transcriptions"
    return read_form(asked.body), asked.dropped


def fed(whole: Any, wanted: str = "json") -> tuple[TranscriptionAnswer, Step]:
    answer = read(part("response_format", wanted)).answer(ENDPOINT)
    return answer, answer.feed_whole(whole if isinstance(whole, bytes) else json.dumps(whole).encode())


def vector(**counts: int) -> Vector:
    full = [0] * max(5, max(INDEX[name] for name in counts) + 1)
    for name, number in counts.items():
        full[INDEX[name]] = number
    return tuple(full)


# Requests


def test_a_request_is_a_file_and_a_text() -> None:
    request = read(part("prompt", "héllo"), part("odd", "x"))
    size = request.size()
    assert (size.sounds, size.param, size.messages, list(size.texts())) == ((sound_of(SOUND),), "file", 0, ["héllo"])
    assert size.bytes_bound == 6 + len("oddx")
    assert (request.makes_output, request.streamed, request.choices, request.output_limit) == (True, False, 1, None)
    assert (Transcriptions().charged, Transcriptions().is_json) == (Charged.INPUT_AND_OUTPUT, False)
    assert request.whole_bytes_max(1) > 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [("json", "json"), ("text", "json"), ("verbose_json", "verbose_json"), ("srt", "verbose_json"), ("vtt", "verbose_json")],
)
def test_a_vendor_is_asked_for_the_form_in_which_it_counts(wanted: str, asked: str) -> None:
    sent, _ = written(part("response_format", wanted), part("language", "en"))
    assert sent.fields == (("model", "acme-m"), ("language", "en"), ("response_format", asked))


def test_a_vendor_gets_the_file_under_a_name_of_ours() -> None:
    sent, dropped = written(
        part("timestamp_granularities[]", "word"), part("timestamp_granularities[]", "segment"), part("odd", "x")
    )
    assert sent.file == File(SOUND, "wav", "audio/wav")
    assert [value for name, value in sent.fields if name == "timestamp_granularities[]"] == ["word", "segment"]
    assert dropped == ("odd",)
    raw = read().vendor_request(ENDPOINT, "acme-m", None, streamed=False)
    assert b'filename="sound.wav"' in raw.body.content
    boundary = raw.body.content_type.removeprefix("multipart/form-data; boundary=")
    assert len(boundary) == 48
    assert raw.body != read().vendor_request(ENDPOINT, "acme-m", None, streamed=False).body


@pytest.mark.parametrize(
    ("filename", "content_type", "file"),
    [
        ("a.mp3", "audio/mpeg", ("mp3", "audio/mpeg")),
        ("a", "", ("", "application/octet-stream")),
        ("a.b/../c", "audio/x y", ("", "application/octet-stream")),
        ("a%22%0d%0a.mp3", "Audio/MPEG", ("mp3", "audio/mpeg")),
    ],
)
def test_of_a_files_name_its_end_alone_is_kept(filename: str, content_type: str, file: tuple[str, str]) -> None:
    read_one = read_form(form(MODEL, part("file", SOUND, filename=filename, content_type=content_type))).file
    assert (read_one.ending, read_one.content_type) == file


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (form(FILE), "model", "You must provide a model"),
        (form(MODEL), "file", "You must provide one file"),
        (form(MODEL, FILE, FILE), "file", "The form has 2 files. Send one."),
        (form(MODEL, part("file", b"", filename="a.wav")), "file", "file is empty. Send the sound."),
        (form(MODEL, MODEL, FILE), "model", "model stands 2 times in the form"),
        (form(MODEL, FILE, part("Model", "x")), "Model", "write model, in exactly these letters"),
        (form(MODEL, FILE, part("FILE", "x")), "FILE", "write file, in exactly these letters"),
        (form(MODEL, FILE, part("prompt", "x", filename="p")), "prompt", "Send it as a plain field of the form."),
        (form(MODEL, FILE, part("prompt", b"\xff")), "prompt", "prompt is not valid UTF-8"),
        (form(MODEL, FILE, part("prompt", "x" * 300_000)), "prompt", "prompt has 300000 bytes; send at most 262144."),
        (form(MODEL, FILE, part("a b", "x")), None, "A part of the form has the name"),
        (form(MODEL, FILE, part("response_format", "xml")), "response_format", "response_format must be one of json, text"),
        (form(MODEL, FILE, part("stream", "true")), "stream", "Transcriptions are not streamed. Leave stream out."),
        (form(MODEL, FILE, *(part(f"f{index}", "x") for index in range(64))), None, "not valid multipart/form-data"),
        (form(MODEL, FILE, content_type="application/json"), None, "Send the body as multipart/form-data"),
        (form(MODEL, FILE, content_type="multipart/form-data"), None, "Send the body as multipart/form-data"),
        (form(MODEL, FILE, content_type="multipart/form-data; boundary=c"), None, "not valid multipart/form-data"),
        (Body(MODEL + FILE, TYPE), None, "not valid multipart/form-data"),
        (Body(b"", TYPE), None, "not valid multipart/form-data"),
        (Body(b"{}", TYPE), None, "not valid multipart/form-data"),
    ],
)
def test_what_is_wrong_is_named(body: Body, param: str | None, message: str) -> None:
    problem = refusal(body)
    assert (problem.param, message in problem.message) == (param, True), problem.message


@pytest.mark.parametrize(
    ("added", "endpoint"),
    [
        (part("include[]", "logprobs"), ENDPOINT),
        (part("known_speaker_references[]", "data:audio/wav;base64,"), ENDPOINT),
        (part("language", "en"), ENDPOINT._replace(priced_fields=(("language", frozenset({b'"de"'})),))),
        (part("odd", "x"), ENDPOINT._replace(unknown_fields=Unknown.REFUSED)),
        (part("models[]", "x"), ENDPOINT._replace(unknown_fields=Unknown.PASSED)),
    ],
)
def test_what_costs_extra_is_refused(added: bytes, endpoint: Endpoint) -> None:
    with pytest.raises(Problem) as caught:
        written(added, endpoint=endpoint)
    assert caught.value.status == 400


def test_fields_that_a_profile_names_pass() -> None:
    endpoint = ENDPOINT._replace(extra_fields=frozenset({"hotwords"}), priced_fields=(("language", frozenset({b'"de"'})),))
    sent, dropped = written(part("hotwords", "x"), part("language", "de"), endpoint=endpoint)
    assert (sent.fields[1:3], dropped) == ((("hotwords", "x"), ("language", "de")), ())
    passed, _ = written(part("odd", "x"), endpoint=ENDPOINT._replace(unknown_fields=Unknown.PASSED))
    assert ("odd", "x") in passed.fields


# Answers


@pytest.mark.parametrize(
    ("members", "counts", "has_input", "has_output"),
    [
        ({"usage": {"type": "duration", "seconds": 3}}, vector(audio_milliseconds=3_000), True, False),
        ({"duration": 2.0004}, vector(audio_milliseconds=2_001), True, False),
        ({"duration": 9, "usage": {"type": "duration", "seconds": 3}}, vector(audio_milliseconds=3_000), True, False),
        (
            {"usage": {"input_tokens": 14, "input_token_details": {"audio_tokens": 10, "text_tokens": 4}, "output_tokens": 5}},
            vector(input=4, audio_input=10, output=5),
            True,
            True,
        ),
        ({}, vector(input=0), False, False),
        ({"usage": 5}, vector(input=0), False, False),
    ],
)
def test_a_count_is_in_seconds_or_in_tokens(members: dict[str, Any], counts: Vector, has_input: bool, has_output: bool) -> None:
    _, step = fed({"text": "Hello", **members})
    assert step.counted is not None
    assert (step.counted.counts, step.counted.has_input, step.counted.has_output) == (counts, has_input, has_output)
    assert (step.said, step.finished, step.ended, step.counted.is_odd) == ("Hello", True, True, False)


@pytest.mark.parametrize("seconds", [-1, "3", True, 1e300, [3]])
def test_a_length_that_is_none_is_odd(seconds: Any) -> None:
    _, step = fed({"text": "Hello", "usage": {"seconds": seconds}})
    assert step.counted is not None
    assert (step.counted.is_odd, step.counted.has_input) == (True, False)


@pytest.mark.parametrize("whole", [{}, {"text": 5}, [], 5, b"", b"Hello", b"\xff"])
def test_an_answer_without_text_is_none(whole: Any) -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(whole)
    assert caught.value.outcome == "garbage"


def test_an_error_of_status_200_is_a_refusal() -> None:
    with pytest.raises(VendorFailure) as caught:
        fed({"error": {"message": "too long", "code": "audio_too_long"}})
    assert caught.value.outcome == "refused"


def test_the_usage_that_is_told_is_the_charged_one() -> None:
    answer, _ = fed({"text": "Hello", "language": "english", "usage": {"seconds": 1}})
    told = json.loads(answer.end(Ending.COMPLETE, vector(audio_milliseconds=2_001)))
    assert told == {"text": "Hello", "language": "english", "usage": {"type": "duration", "seconds": 3}}
    told = json.loads(answer.end(Ending.COMPLETE, vector(input=4, audio_input=10, output=5)))
    assert told["usage"] == {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}


def test_a_client_gets_the_form_that_it_asked_for() -> None:
    whole = {"text": "Hello, world", "segments": SEGMENTS}
    forms = {wanted: fed(whole, wanted)[0] for wanted in ("text", "srt", "vtt")}
    ended = {wanted: answer.end(Ending.COMPLETE, vector(input=0)).decode() for wanted, answer in forms.items()}
    assert ended["text"] == "Hello, world"
    assert ended["srt"] == ("1\n00:00:00,000 --> 00:00:01,500\nHello,\nworld\n\n2\n01:01:01,250 --> 01:01:02,000\n-->\n")
    assert ended["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello,\nworld\n\n01:01:01.250 --> ")
    assert [forms[each].content_type.partition(";")[0] for each in forms] == ["text/plain", "text/plain", "text/vtt"]


@pytest.mark.parametrize(
    "segments", [None, {}, [5], [{}], [{"start": "x", "end": 1, "text": "a"}], [{"start": 1e400, "end": 1, "text": "a"}]]
)
def test_subtitles_without_times_are_no_answer(segments: Any) -> None:
    for wanted in ("srt", "vtt"):
        with pytest.raises(VendorFailure):
            fed({"text": "a", "segments": segments}, wanted)


# Members beside the text

SPOKEN = "Hello, world. It rains. Nobody came. " * 100
MEASURES = {
    **{"seek": 0, "start": 1.0, "end": 2.9399999976158142, "tokens": [50364, 2425, 11, 1002, 13, 50414], "temperature": 0.0},
    **{"avg_logprob": -0.28603288531303406, "compression_ratio": 1.2363636493682861, "no_speech_prob": 0.00985979475080967},
}


def said(wanted: str = "verbose_json", **members: Any) -> str:
    return fed({"text": "ab", **members}, wanted)[1].said


def test_segments_and_words_that_tell_the_text_again_are_free() -> None:
    segments = [{"id": index, **MEASURES, "text": f" {text}."} for index, text in enumerate(SPOKEN.strip(". ").split(". "))]
    words = [{"word": word.strip(".,"), "start": 0.1, "end": 0.20000000298023224} for word in SPOKEN.split()]
    about: dict[str, Any] = {"task": "transcribe", "language": "english", "duration": 3.0, "text": SPOKEN.strip()}
    assert len(segments) == 300
    assert said(**about, segments=segments, words=words) == SPOKEN.strip()
    assert said(segments=[{"text": " a"}, {"text": " b "}], words=[{"word": "a"}, {"word": "b"}]) == "ab"


def test_segments_and_words_that_tell_another_text_are_said() -> None:
    assert said(segments=[{"text": "b"}, {"text": "a"}]) == "abba"
    assert said(segments=[{"text": "ab"}, {"text": "secret"}]) == "ababsecret"
    assert said(words=[{"word": "  a"}]) == "ab  a"
    # As subtitles, too; a text alone has none.
    segments = [{"start": 0, "end": 1, "text": "secret"}]
    assert [said(wanted, segments=segments) for wanted in ("srt", "vtt", "text")] == ["absecret", "absecret", "ab"]


def test_members_beside_the_text_are_free_up_to_a_bound() -> None:
    # Beside a name, quotes and braces: {"odd":"..."}.
    assert said(odd="x" * (4_096 - 10), usage={"seconds": 1, "odd": "y" * 9_999}) == "ab"
    assert said(odd="x" * (4_096 - 10) + "secret") == 'abcret"}'
    # Times of no text: each is {"text":"","start":1}, with a comma, in {"segments":[...]}.
    assert len(said(segments=[{"text": "", "start": 1}] * 1_000)) == 2 + 1_000 * 22 - 1 + 15 - 4_096


def test_nothing_is_streamed_and_a_problem_is_openais() -> None:
    answer = read().answer(ENDPOINT)
    with pytest.raises(VendorFailure):
        answer.feed(Event("", b"{}"))
    assert json.loads(answer.interrupted(unavailable("it"), "id"))["error"]["code"] == "service_unavailable"
