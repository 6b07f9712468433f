"""Embeddings and completions of the simulator: the requests as they are read, and what they answer."""

import base64
import json
import math
import struct
from typing import Any

import pytest

from services.vendor_simulator.completions import CompletionsAnswer, parse_completions, plan_completions
from services.vendor_simulator.embeddings import EmbeddingsAnswer, parse_embeddings, plan_embeddings
from services.vendor_simulator.errors import RefusedError
from services.vendor_simulator.text import text


def embedded(**fields: Any) -> EmbeddingsAnswer:
    return plan_embeddings(parse_embeddings(json.dumps({"model": "m", "input": "x", **fields}).encode()))


def completed(**fields: Any) -> CompletionsAnswer:
    body = json.dumps({"model": "m", "prompt": "x", **fields}).encode()
    return plan_completions(parse_completions(body), "cmpl-1", 7)


def events(answer: CompletionsAnswer, *counts: int) -> list[Any]:
    made = answer.events()
    body = made.head()
    start = 0
    for count in counts:
        body += made.content(start, count)
        start += count
    lines = (body + made.end()).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


@pytest.mark.parametrize(
    ("value", "tokens", "vectors"),
    [("abcdefgh", 2, 1), (["abcd", "efghi"], 3, 2), ([7, 8, 9], 3, 1), ([[7], [8, 9]], 3, 2)],
)
def test_each_input_has_a_vector_of_length_1(value: Any, tokens: int, vectors: int) -> None:
    answer = json.loads(embedded(input=value, dimensions=5).answer())
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert [each["index"] for each in answer["data"]] == list(range(vectors))
    for each in answer["data"]:
        assert len(each["embedding"]) == 5
        assert math.hypot(*each["embedding"]) == pytest.approx(1, abs=1e-6)


def test_base64_has_the_same_numbers() -> None:
    plain, packed = (json.loads(embedded(encoding_format=each).answer())["data"][0]["embedding"] for each in ("float", "base64"))
    assert list(struct.unpack("<1536f", base64.b64decode(packed))) == plain


def test_usage_can_be_left_out() -> None:
    assert "usage" not in json.loads(embedded(simulate={"usage": "none"}).answer())


@pytest.mark.parametrize("value", ["", [], [""], [[1], []], ["a", 1], [1, [2]], [-1], [1.5], None, ["x"] * 2_049])
def test_an_input_of_nothing_or_of_several_kinds_is_refused(value: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        embedded(input=value)
    assert caught.value.status == 400


def test_each_prompt_has_answers_of_its_own() -> None:
    answer = json.loads(completed(prompt=["abcd", "efgh"], n=2, simulate={"output_tokens": 3}).answer())
    assert [(each["index"], each["text"], each["finish_reason"]) for each in answer["choices"]] == [
        (index, text(0, 3).decode(), "stop") for index in range(4)
    ]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 12)


def test_a_limit_that_is_left_out_is_16() -> None:
    answer = json.loads(completed(simulate={"output_tokens": 50}).answer())
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 16)
    assert json.loads(completed(max_tokens=20, simulate={"output_tokens": 50}).answer())["usage"]["completion_tokens"] == 20


def test_a_stream_echoes_says_and_counts() -> None:
    answer = completed(
        prompt="abcdefgh", echo=True, logprobs=1, stream=True, stream_options={"include_usage": True}, simulate={"output_tokens": 3}
    )
    found = events(answer, 1, 2)
    texts = [choice["text"] for event in found for choice in event["choices"]]
    assert texts == ["abcdefgh", text(0, 1).decode(), text(1, 2).decode(), ""]
    assert found[2]["choices"][0]["logprobs"] == {
        "tokens": [text(1, 1).decode(), text(2, 1).decode()],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{text(1, 1).decode(): -0.5}, {text(2, 1).decode(): -0.5}],
        "text_offset": [12, 16],
    }
    assert (found[-1]["choices"], found[-1]["usage"]["total_tokens"]) == ([], 5)
    assert [event["usage"] for event in found[:-1]] == [None] * 4


def test_names_fold_as_in_go() -> None:
    assert parse_completions(b'{"model":"m","Model":"other","prompt":"x","PROMPT":"y"}').model == "other"
    assert parse_completions(b'{"model":"m","prompt":"x","PROMPT":"y"}').prompt == "y"
    assert parse_embeddings(b'{"model":"m","input":"x","Input":["y","z"]}').inputs == ["y", "z"]
