"""Completions: what is read of a request, what a vendor gets, and what a client gets of the answer."""

import hashlib
import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.completions.request import CompletionsRequest
from services.edge.dialects.metadata import FREE_BYTES, FREE_BYTES_A_PIECE
from services.edge.http.problems import Problem, vendor_failed
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown
from services.edge.vendors.vendor import VendorFailure

ENDPOINT = Endpoint("acme", "openai_completions", "http://acme.test/v1")
USED = (5, 0, 0, 9, 0)
USAGE = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
DONE = b"data: [DONE]\n\n"


def read(**fields: Any) -> CompletionsRequest:
    return Completions().read(Body(json.dumps({"model": "m", "prompt": "Once", **fields}).encode(), "application/json"), {})


def refusal(**fields: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert caught.value.status == 400
    return caught.value


def written(
    endpoint: Endpoint = ENDPOINT, limit: int | None = None, streamed: bool = False, **fields: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = read(**fields).vendor_request(endpoint, "acme-m", limit, streamed=streamed)
    assert asked.path == "/completions"
    return json.loads(asked.body.content), asked.dropped


def chunk(*choices: dict[str, Any], **members: Any) -> Event:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "acme-m"}
    return Event("", json.dumps({**head, "choices": list(choices), **members}).encode())


def said(text: str, index: int = 0, finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish, **members}


def events(out: bytes) -> list[Any]:
    lines = out.decode().split("\n\n")
    assert lines.pop() == ""
    return [line if line == "data: [DONE]" else json.loads(line.removeprefix("data: ")) for line in lines]


def whole(*choices: dict[str, Any], **members: Any) -> bytes:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "acme-m"}
    return json.dumps({**head, "choices": list(choices), "usage": USAGE, **members}).encode()


# Requests


def test_a_prompt_is_read_with_the_dialects_own_limit() -> None:
    request = read()
    assert (request.model_id, request.streamed, request.choices, request.makes_output) == ("m", False, 1, True)
    assert (request.output_field, request.output_limit) == ("max_tokens", 16)
    assert (Completions().charged, Completions().name) == (Charged.INPUT_AND_OUTPUT, "openai_completions")
    assert written()[0] == {"model": "acme-m", "prompt": "Once", "max_tokens": 16}


@pytest.mark.parametrize(
    ("fields", "choices", "inputs"),
    [({"prompt": ["a", "b", "c"]}, 3, 3), ({"prompt": [[1], [2]], "n": 4}, 8, 2), ({"prompt": [1, 2], "n": 2, "best_of": 2}, 2, 1)],
)
def test_each_prompt_has_its_own_answers(fields: dict[str, Any], choices: int, inputs: int) -> None:
    request = read(**fields)
    assert (request.choices, request.size().inputs, request.size().param) == (choices, inputs, "prompt")
    assert "best_of" not in written(**fields)[0]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": ""}, "prompt", "prompt is empty"),
        ({"prompt": []}, "prompt", "prompt is empty"),
        ({"prompt": [[1], [-2]]}, "prompt[1][0]", "must be a token"),
        ({"prompt": None}, "prompt", "You must provide a prompt"),
        ({"model": None}, "model", "You must provide a model"),
        ({"best_of": 3}, "best_of", "would make answers that are charged and sent to nobody. Leave it out, or make it n, 1."),
        ({"best_of": 2, "n": 3}, "best_of", "make it n, 3."),
        ({"n": 129}, "n", "n must be 1 to 128"),
        ({"n": 64, "prompt": ["a", "b", "c"]}, "n", "n times the prompts is 192; ask for at most 128 answers in one request."),
        ({"prompt": ["a"] * 129}, "prompt", "prompt has 129 inputs; send at most 128"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens must be 1 to"),
        ({"logprobs": 6}, "logprobs", "logprobs must be 0 to 5"),
        ({"logprobs": True}, "logprobs", "logprobs must be a whole number"),
        ({"echo": True, "prompt": [1, 2]}, "echo", "echo repeats texts alone"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only with stream: true"),
        ({"Max_Tokens": 5}, "Max_Tokens", "write max_tokens"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_field(fields: dict[str, Any], param: str, message: str) -> None:
    problem = refusal(**fields)
    assert problem.param == param
    assert message in problem.message


def test_a_vendor_gets_what_was_read_and_no_larger_limit() -> None:
    fields: dict[str, Any] = {
        "suffix": " end",
        "max_tokens": 40,
        "echo": True,
        "logprobs": 2,
        "stop": ["."],
        "user": "u",
        "guided": 1,
    }
    found, dropped = written(limit=30, streamed=True, **fields)
    assert found == {
        **{name: value for name, value in fields.items() if name != "guided"},
        "model": "acme-m",
        "prompt": "Once",
        "max_tokens": 30,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert dropped == ("guided",)
    assert written(limit=50, max_tokens=40)[0]["max_tokens"] == 40
    assert "stream_options" not in written(ENDPOINT._replace(takes_stream_options=False), streamed=True)[0]
    with pytest.raises(Problem, match="service_tier costs extra"):
        written(service_tier="priority")


def test_a_suffix_is_read_with_each_prompt_and_unknown_fields_too() -> None:
    request = read(prompt=["ab", "cde"], suffix="wxyz")
    assert (request.size().bytes_bound, list(request.size().texts())) == (5 + 2 * 4, ["ab", "cde", "wxyz", "wxyz"])
    assert read(prompt="ab", guided="cd").size().bytes_bound == 2 + len('guided"cd"')
    passing = ENDPOINT._replace(unknown_fields=Unknown.PASSED)
    assert written(passing, guided="cd")[0]["guided"] == "cd"
    with pytest.raises(Problem, match="would be another limit of the output"):
        written(passing, max_completion_tokens=9)


def test_a_whole_answer_has_room_for_what_was_asked_for() -> None:
    plain = read().whole_bytes_max(10)
    assert plain == 65_536 + 10 * 256
    assert read(logprobs=2).whole_bytes_max(10) == 65_536 + 10 * 256 * 4
    assert read(prompt="x" * 100, echo=True, n=2).whole_bytes_max(10) == plain + 200 * 6
    assert read(prompt="x" * 100, echo=True, logprobs=0).whole_bytes_max(10) == 65_536 + 10 * 512 + 100 * (6 + 256)


# Streams


def test_a_stream_passes_text_by_text_and_ends_as_it_was_charged() -> None:
    answer = read(stream=True, stream_options={"include_usage": True}).answer(ENDPOINT)
    steps = [answer.feed(each) for each in (chunk(said("one ")), chunk(said("two", finish="stop")), chunk(usage=USAGE))]
    assert [step.said for step in steps] == ["one ", "two", ""]
    assert [step.finished for step in steps] == [False, True, True]
    assert steps[2].counted is not None
    assert steps[2].counted.counts == USED
    assert answer.feed(Event("", b"[DONE]")).ended
    first, second = (events(step.out)[0] for step in steps[:2])
    assert first == json.loads(chunk(said("one ")).data)
    assert (second["choices"], second["object"]) == ([said("two", finish="stop")], "text_completion")
    usage, done = events(answer.end(Ending.COMPLETE, USED))
    assert (usage["choices"], usage["object"], usage["usage"]["total_tokens"]) == ([], "text_completion", 14)
    assert done == "data: [DONE]"


def test_usage_is_told_to_who_asked_alone() -> None:
    answer = read(stream=True).answer(ENDPOINT)
    answer.feed(chunk(said("one", finish="stop")))
    answer.feed(chunk(usage=USAGE))
    assert answer.end(Ending.COMPLETE, USED) == DONE


def test_a_cut_stream_ends_each_choice_by_its_length() -> None:
    answer = read(stream=True, n=2).answer(ENDPOINT)
    answer.feed(chunk(said("one")))
    last, done = events(answer.end(Ending.CUT, USED))
    assert last["choices"] == [said("", 0, "length"), said("", 1, "length")]
    assert (last["id"], last["object"], done) == ("cmpl-1", "text_completion", "data: [DONE]")


def test_a_broken_stream_ends_in_the_problem() -> None:
    answer = read(stream=True).answer(ENDPOINT)
    answer.feed(chunk(said("one")))
    out = answer.interrupted(vendor_failed("It broke off."), "id")
    assert events(out)[0]["error"]["message"] == "It broke off."


@pytest.mark.parametrize("streamed", [True, False])
def test_a_prompt_that_is_echoed_is_no_output(streamed: bool) -> None:
    answer = read(prompt=["Once", "Twice "], n=1, echo=True, stream=streamed).answer(ENDPOINT)
    pieces = [said("On"), said("ce upon"), said("Twice ", 1), said("told", 1), said("ce a time"), said("Twice ", 1)]
    assert [answer.feed(chunk(piece)).said for piece in pieces] == ["", " upon", "", "told", "ce a time", "Twice "]


def test_an_echo_of_other_words_is_output() -> None:
    answer = read(prompt="Once", echo=True, stream=True).answer(ENDPOINT)
    assert answer.feed(chunk(said("On"))).said == ""
    assert answer.feed(chunk(said("ly Once"))).said == "ly Once"
    assert read(stream=True).answer(ENDPOINT).feed(chunk(said("Once"))).said == "Once"


def test_text_that_is_none_counts() -> None:
    step = read(stream=True).answer(ENDPOINT).feed(chunk(said(["a", "b"])))  # type: ignore[arg-type]  # a strange vendor
    assert step.said == "ab"
    assert events(step.out)[0]["choices"][0]["text"] == ""


# Whole answers


def test_a_whole_answer_passes_with_the_charged_usage() -> None:
    vendors = whole(said("one", 0, "stop"), said("two", 1, "length"))
    answer = read(n=2).answer(ENDPOINT)
    step = answer.feed_whole(vendors)
    assert (step.said, step.finished, step.ended) == ("onetwo", True, True)
    assert json.loads(answer.end(Ending.COMPLETE, USED)) == json.loads(vendors)
    told = json.loads(answer.end(Ending.COMPLETE, (5, 0, 0, 3, 0)))
    assert (told["usage"]["completion_tokens"], told["choices"]) == (3, json.loads(vendors)["choices"])


def test_a_whole_answer_is_assembled_from_a_stream() -> None:
    answer = read(n=2, logprobs=1).answer(ENDPOINT)
    assert answer.content_type == "application/json"
    answer.feed(chunk(said("one ", logprobs=probabilities("one ", 0))))
    answer.feed(chunk(said("B", 1)))
    answer.feed(chunk(said("two", finish="stop", logprobs=probabilities("two", 4))))
    answer.feed(chunk(usage=USAGE))
    assert json.loads(answer.end(Ending.CUT, USED)) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 7,
        "model": "acme-m",
        "choices": [
            {
                "text": "one two",
                "index": 0,
                "finish_reason": "stop",
                "logprobs": {
                    "tokens": ["one ", "two"],
                    "token_logprobs": [-0.5, -0.5],
                    "top_logprobs": [{"one ": -0.5}, {"two": -0.5}],
                    "text_offset": [0, 4],
                },
            },
            {"text": "B", "index": 1, "finish_reason": "length", "logprobs": None},
        ],
        "usage": USAGE,
    }


def test_a_whole_answer_for_a_client_that_streams_comes_as_one_chunk() -> None:
    answer = read(stream=True).answer(ENDPOINT)
    step = answer.feed_whole(whole(said("one", 0, "stop")))
    (found,) = events(step.out)
    assert (found["choices"], found["object"]) == ([said("one", 0, "stop")], "text_completion")
    assert "usage" not in found
    assert answer.end(Ending.COMPLETE, USED) == DONE


@pytest.mark.parametrize("vendors", [b"", b"[]", b'{"choices":[]}', b"{}"])
def test_no_choices_are_no_answer(vendors: bytes) -> None:
    with pytest.raises(VendorFailure, match="garbage"):
        read().answer(ENDPOINT).feed_whole(vendors)


def test_an_error_is_the_vendors_refusal() -> None:
    with pytest.raises(VendorFailure) as caught:
        read().answer(ENDPOINT).feed_whole(b'{"error":{"message":"This is a chat model","code":"x"}}')
    assert caught.value.outcome == "refused"
    step = read(stream=True).answer(ENDPOINT).feed(Event("", b'{"error":{"message":"no"}}'))
    assert step.fault is not None


def test_an_answer_without_a_name_gets_one() -> None:
    answer = read(stream=True).answer(ENDPOINT)
    (found,) = events(answer.feed(Event("", json.dumps({"choices": [said("one")]}).encode())).out)
    assert found["id"].startswith("cmpl-")


# Probabilities of tokens


def probabilities(text: str, offset: int, **others: float) -> dict[str, Any]:
    return {"tokens": [text], "token_logprobs": [-0.5], "top_logprobs": [{text: -0.5, **others}], "text_offset": [offset]}


# The answer's other metadata has taken what is free of it.
SPENT: Any = {"x": [list(range(30))] * 200}


def counted(told: Any, text: str = "word", **fields: Any) -> str:
    answer = read(stream=True, **fields).answer(ENDPOINT)
    answer.feed(chunk(said(""), **SPENT))
    step: Step = answer.feed(chunk(said(text, logprobs=told)))
    assert step.said.startswith(text)
    return step.said.removeprefix(text)


def test_probabilities_that_were_asked_for_are_free() -> None:
    assert counted(probabilities("word", 0), logprobs=0) == ""
    assert counted(probabilities("word", 0, other=-1.0, more=-2), logprobs=2) == ""
    assert counted({"tokens": ["wo", "rd"], "text_offset": [4_096, 4_098]}, logprobs=0) == ""
    assert counted({**probabilities("é", 0), "tokens": ["bytes:\\xc3\\xa9"]}, text="é", logprobs=0) == ""
    assert counted({**probabilities("word", 0), "token_logprobs": [None], "top_logprobs": [None]}, logprobs=0) == ""


@pytest.mark.parametrize(
    ("logprobs", "told"),
    [
        ({**probabilities("word", 0), "tokens": ["word", " and more"]}, " and more"),
        ({**probabilities("word", 0), "tokens": ["word", {"x": "hidden"}]}, "hidden"),
        ({"tokens": ["word"], "top_logprobs": [{"a": -1.0, "b": -1.0, "long": "hidden"}]}, "hidden"),
        # A token is the next part of the text.
        ({"tokens": ["hide"]}, "hide"),
        ({"tokens": ["rd", "wo"]}, "rd"),
        ({"tokens": ["bytes:\\x68\\x69\\x64\\x65"]}, "x68"),
        # Alternatives are tokens too.
        ({"tokens": ["word"], "top_logprobs": [{"h" * 300: -1.0}]}, "h" * 300),
        # The places of tokens rise, by no more than the text.
        ({"tokens": ["wo", "rd"], "text_offset": [0, 5]}, "[0,5]"),
        ({"tokens": ["wo", "rd"], "text_offset": [2, 0]}, "[2,0]"),
        ({"tokens": ["word"], "top_logprobs": [{f"hidden{number}": -1.0 for number in range(90)}]}, "hidden89"),
        ({"tokens": ["word"], "top_logprobs": [{f"{number:02}": -1.0 for number in range(90)}]}, '"89":-1.0'),
        ({"tokens": ["word"], "token_logprobs": ["hidden"]}, "hidden"),
        # The digits of one number, and of one offset, are a text.
        ({"tokens": ["word"], "token_logprobs": [12**200]}, str(12**200)),
        ({"tokens": ["word"], "text_offset": [12**200]}, str(12**200)),
        ({"tokens": ["word"], "top_logprobs": [{"a": 12**200}]}, str(12**200)),
        ({"tokens": ["word"], "notes": "hidden"}, "hidden"),
        ("hidden", "hidden"),
        ({"tokens": ["word"], "text_offset": list(range(100))}, json.dumps(list(range(100)), separators=(",", ":"))),
    ],
)
def test_whatever_else_they_tell_is_output(logprobs: Any, told: str) -> None:
    assert told in counted(logprobs, logprobs=1)


def test_probabilities_that_nobody_asked_for_are_output() -> None:
    assert counted({"tokens": ["hidden"]}).startswith("hidden")


EVENTS = 400


def test_a_text_has_at_most_a_token_for_each_byte_of_all_that_was_told() -> None:
    answer = read(stream=True, logprobs=0).answer(ENDPOINT)
    answer.feed(chunk(said(""), **SPENT))
    text, numbers = "four" * 16, [-0.123456789]
    told = [answer.feed(chunk(said(text, logprobs={"token_logprobs": numbers * count}))).said for count in (60, 68, 65)]
    assert [each == text for each in told] == [True, True, False]


@pytest.mark.parametrize("text", ["w", "word"])
@pytest.mark.parametrize(("letters", "asked"), [(5, 5), (60, 5), (60, 1)])
def test_alternatives_are_free_as_far_as_they_can_be_tokens(text: str, letters: int, asked: int) -> None:
    answer = read(stream=True, logprobs=asked).answer(ENDPOINT)
    beyond = told = 0
    for number in range(EVENTS):
        others = {hashlib.sha256(b"%d %d" % (number, each)).hexdigest()[:letters]: -1.0 for each in range(asked)}
        step = answer.feed(chunk(said(text, logprobs=probabilities(text, number, **others))))
        beyond += len(step.said) - len(text)
        told += len(text) + letters * asked
    # One of 128 bytes for each, then twice the text; and what is free of all metadata.
    free = (asked + 1) * (128 + 2 * EVENTS * len(text)) + FREE_BYTES + EVENTS * FREE_BYTES_A_PIECE
    assert beyond >= told - free
    assert (beyond > 50_000) is (letters == 60 and asked == 5)
    if letters == 5 and text == "word":
        assert beyond == 0
