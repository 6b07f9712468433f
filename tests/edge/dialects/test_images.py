"""Images: what is read of a request, what a vendor gets, and what passes of its images."""

import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.images.answer import ImagesAnswer
from services.edge.dialects.images.dialect import Images
from services.edge.dialects.images.request import ImagesRequest
from services.edge.http.problems import Problem, unavailable
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, Vector

ENDPOINT = Endpoint("acme", "openai_images", "http://acme.test/v1")
IMAGES = INDEX["generated_images"]
IMAGE = {"b64_json": "iVBORw0KGgo="}
USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 2},
    "output_tokens": 300,
    "output_tokens_details": {"text_tokens": 4, "image_tokens": 296},
    "total_tokens": 312,
}


def read(**fields: Any) -> ImagesRequest:
    return Images().read(Body(json.dumps({"model": "m", "prompt": "a cat", **fields}).encode(), "application/json"), {})


def refusal(**fields: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert caught.value.status == 400
    return caught.value


def written(endpoint: Endpoint = ENDPOINT, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = read(**fields).vendor_request(endpoint, "acme-m", None, streamed=False)
    assert (asked.path, asked.body.content_type) == ("/images/generations", "application/json")
    return json.loads(asked.body.content), asked.dropped


def body(*images: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"created": 5, "data": list(images), **members}).encode()


def fed(vendors: bytes, n: int = 2) -> tuple[ImagesAnswer, Step]:
    answer = read(n=n).answer(ENDPOINT)
    return answer, answer.feed_whole(vendors)


def vector(**counts: int) -> Vector:
    full = [0] * (max(INDEX[name] for name in counts) + 1)
    for name, number in counts.items():
        full[INDEX[name]] = number
    return tuple(full)


# Requests


def test_a_request_makes_as_many_images_as_it_says() -> None:
    request = read(n=3)
    assert (request.choices, request.streamed, request.makes_output, request.output_limit) == (3, False, True, None)
    assert (Images().charged, Images().name, read().choices) == (Charged.INPUT_AND_OUTPUT, "openai_images", 1)


def test_the_prompt_is_the_input_and_unknown_fields_count_with_it() -> None:
    size = read(prompt="héllo").size()
    assert (size.bytes_bound, list(size.texts()), size.messages, size.images, size.param) == (6, ["héllo"], 1, (), "prompt")
    assert read(prompt="héllo", odd="xx").size().bytes_bound == 6 + len('odd"xx"')
    assert read(prompt="a").conversation() != read(prompt="b").conversation()


def test_a_vendor_gets_what_was_read_and_always_a_number() -> None:
    fields: dict[str, Any] = {"size": "1024x1024", "quality": "high", "response_format": "b64_json", "user": "u", "stream": False}
    sent, dropped = written(**fields, n=2, odd=1)
    del fields["stream"]
    assert (sent, dropped) == ({"model": "acme-m", "prompt": "a cat", "n": 2, **fields}, ("odd",))
    assert written()[0]["n"] == 1
    assert written(n=None)[0]["n"] == 1


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": ""}, "prompt", "You must provide a prompt"),
        ({"prompt": None}, "prompt", "You must provide a prompt"),
        ({"prompt": ["a"]}, "prompt", "prompt must be a string"),
        ({"model": ""}, "model", "You must provide a model"),
        ({"n": 0}, "n", "n must be 1 to 10; it is 0"),
        ({"n": 11}, "n", "n must be 1 to 10; it is 11"),
        ({"n": 1.5}, "n", "n must be a whole number"),
        ({"n": "2"}, "n", "n must be a whole number"),
        ({"stream": True}, "stream", "Images are not streamed. Leave stream out."),
        ({"N": 9}, "N", "write n, in exactly these letters"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, message: str) -> None:
    problem = refusal(**fields)
    assert problem.param == param
    assert message in problem.message


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"partial_images": 2}, ENDPOINT),
        ({"service_tier": "priority"}, ENDPOINT),
        ({"quality": "high"}, ENDPOINT._replace(priced_fields=(("quality", frozenset({b'"low"'})),))),
        ({"odd": 1}, ENDPOINT._replace(unknown_fields=Unknown.REFUSED)),
        ({"num_images": 1, "num_samples": 9}, ENDPOINT._replace(unknown_fields=Unknown.PASSED)),
    ],
)
def test_what_costs_extra_or_makes_more_is_refused(fields: dict[str, Any], endpoint: Endpoint) -> None:
    with pytest.raises(Problem) as caught:
        written(endpoint, **fields)
    assert caught.value.status == 400


# Answers


def test_images_count_beside_the_vendors_tokens() -> None:
    _, step = fed(body(IMAGE, {"url": "https://a"}, usage=USAGE))
    assert step.counted is not None
    assert step.counted.counts == vector(input=10, image_input=2, output=4, image_output=296, generated_images=2)
    assert (step.counted.has_input, step.counted.has_output, step.finished, step.ended) == (True, True, True, True)


def test_output_that_is_not_told_apart_is_all_of_images() -> None:
    usage = {"input_tokens": 12, "output_tokens": 300, "total_tokens": 312}
    _, step = fed(body(IMAGE, usage=usage))
    assert step.counted is not None
    assert step.counted.counts == vector(input=12, image_output=300, generated_images=1)


def test_without_usage_the_images_alone_are_counted() -> None:
    _, step = fed(body(IMAGE, IMAGE))
    assert step.counted is not None
    assert (step.counted.counts, step.counted.has_input) == (vector(generated_images=2), False)


@pytest.mark.parametrize(
    "vendors",
    [
        body(),
        body(IMAGE, IMAGE, IMAGE),
        body({"error": {"code": "x"}}),
        body({"b64_json": ""}),
        body({"b64_json": 5}),
        body({"url": "https://" + "a" * 20_000}),
        b'{"created":5}',
        b'{"data":{}}',
        b'{"data":[5]}',
        b"[]",
        b"",
        b"\xff",
        b"<html>",
    ],
)
def test_an_answer_without_images_or_with_more_than_asked_for_is_none(vendors: bytes) -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(vendors)
    assert caught.value.outcome == "garbage"


def test_an_error_of_status_200_is_a_refusal() -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(b'{"error":{"message":"not this","code":"content_policy_violation"}}')
    assert caught.value.outcome == "refused"
    assert caught.value.fault is not None
    assert caught.value.fault.code == "content_policy_violation"


def test_an_image_that_failed_is_left_out() -> None:
    answer, step = fed(body(IMAGE, {"error": {"message": "x"}}))
    assert step.counted is not None
    assert step.counted.counts == vector(generated_images=1)
    assert json.loads(answer.end(Ending.COMPLETE, vector(generated_images=1)))["data"] == [IMAGE]


def test_a_client_gets_the_images_and_words_about_them_alone() -> None:
    image = {**IMAGE, "revised_prompt": "a small cat"}
    answer, _ = fed(body({**image, "odd": "x"}, size="1024x1024", quality="q" * 300, odd="text" * 99, background="opaque"))
    used = vector(input=7, generated_images=1)
    told = json.loads(answer.end(Ending.COMPLETE, used))
    assert told == {"created": 5, "data": [image], "size": "1024x1024", "background": "opaque"}


def test_the_usage_that_is_told_is_the_charged_one() -> None:
    answer, _ = fed(body(IMAGE, usage=USAGE))
    as_counted = vector(input=10, image_input=2, output=4, image_output=296)
    assert json.loads(answer.end(Ending.COMPLETE, as_counted))["usage"] == USAGE
    other = vector(input=10, image_output=500)
    assert json.loads(answer.end(Ending.COMPLETE, other))["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
        "output_tokens": 500,
        "total_tokens": 510,
    }


def test_a_usage_that_says_more_than_a_count_is_told_anew() -> None:
    as_counted = vector(input=10, image_input=2, output=4, image_output=296)
    answer, _ = fed(body(IMAGE, usage={**USAGE, "note": "n" * 700}))
    assert json.loads(answer.end(Ending.COMPLETE, as_counted))["usage"]["note"] == "n" * 700
    answer, _ = fed(body(IMAGE, usage={**USAGE, "note": "n" * 1_000}))
    assert json.loads(answer.end(Ending.COMPLETE, as_counted))["usage"] == {
        "input_tokens": 12,
        "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
        "output_tokens": 300,
        "total_tokens": 312,
    }


def test_a_strange_time_is_told_as_none() -> None:
    for created in ("soon", 1.5, None, [1]):
        answer, _ = fed(body(IMAGE, created=created))
        assert json.loads(answer.end(Ending.COMPLETE, vector(generated_images=1)))["created"] == 0


def test_nothing_is_streamed_and_a_problem_is_openais() -> None:
    answer = read().answer(ENDPOINT)
    with pytest.raises(VendorFailure):
        answer.feed(Event("", b"{}"))
    assert json.loads(answer.interrupted(unavailable("it"), "id"))["error"]["code"] == "service_unavailable"
    assert read(n=2).whole_bytes_max(9) == 65_536 + 2 * 64 * 1024 * 1024
