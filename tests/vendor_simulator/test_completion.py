import json

import msgspec
import pytest

from services.vendor_simulator.answer import chunk_sizes
from services.vendor_simulator.chat_request import ChatRequest, parse_request
from services.vendor_simulator.completion import PlainEvents, plan
from services.vendor_simulator.errors import RefusedError
from services.vendor_simulator.text import count_tokens, text


def request(**fields: object) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "abcd"}], **fields}
    return parse_request(msgspec.json.encode(body))


def test_text_is_four_ascii_bytes_a_token_whatever_the_pieces() -> None:
    whole = text(0, 10_000)
    assert len(whole) == 40_000
    assert whole.isascii()
    assert text(0, 7) + text(7, 5_000) + text(5_007, 4_993) == whole
    assert json.loads(b'"' + whole + b'"').encode() == whole


@pytest.mark.parametrize(
    ("texts", "tokens"), [([], 0), ([""], 0), (["a"], 1), (["abcd"], 1), (["abc", "de"], 2), (["你好"], 2), (["é" * 4], 2)]
)
def test_input_is_counted_in_utf8_bytes_of_all_texts_together(texts: list[str], tokens: int) -> None:
    assert count_tokens(texts) == tokens


def test_text_parts_count_and_other_parts_do_not() -> None:
    parts = [{"type": "text", "text": "abcdefgh"}, {"type": "image_url", "image_url": {"url": "http://x/" + "y" * 99}}]
    messages = [{"role": "system", "content": "abcd"}, {"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert request(messages=messages).input_tokens == 3


@pytest.mark.parametrize(("tokens", "rate", "count", "largest"), [
    (0, 0, 0, 0), (1, 0, 1, 1), (64, 0, 64, 1), (65, 0, 64, 2), (10_000, 0, 64, 157),
    (100, 50, 100, 1), (100, 51, 50, 2), (7, 100, 4, 2), (3, 0.5, 3, 1),
])  # fmt: skip
def test_chunk_sizes(tokens: int, rate: float, count: int, largest: int) -> None:
    sizes = list(chunk_sizes(tokens, rate))
    assert sum(sizes) == tokens
    assert len(sizes) == count
    assert max(sizes, default=0) == largest
    assert min(sizes, default=1) >= 1


def test_output_is_cut_by_the_smaller_limit() -> None:
    assert plan(request(simulate={"output_tokens": 9}), "c", 0).finish_reason == "stop"
    cut = plan(request(max_tokens=7, max_completion_tokens=8, simulate={"output_tokens": 9}), "c", 0)
    assert (cut.output_tokens, cut.finish_reason) == (7, "length")
    exact = plan(request(max_tokens=9, simulate={"output_tokens": 9}), "c", 0)
    assert (exact.output_tokens, exact.finish_reason) == (9, "stop")
    none = plan(request(max_tokens=1, simulate={"output_tokens": 0}), "c", 0)
    assert (none.output_tokens, none.finish_reason) == (0, "stop")


def test_cached_and_reasoning_tokens_stay_within_input_and_output() -> None:
    completion = plan(request(simulate={"output_tokens": 5, "cached_input_tokens": 99, "reasoning_tokens": 99}), "c", 0)
    assert json.loads(completion.usage(5)) == {
        "prompt_tokens": 1,
        "completion_tokens": 5,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert completion.visible_tokens == 0


def test_choices_multiply_the_output() -> None:
    completion = plan(request(n=3, simulate={"output_tokens": 4, "reasoning_tokens": 1}), "c", 0)
    answer = json.loads(completion.answer())
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert {len(choice["message"]["content"]) for choice in answer["choices"]} == {12}
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    content = [json.loads(line.removeprefix(b"data: ")) for line in PlainEvents(completion).content(0, 2).split(b"\n\n")[:-1]]
    assert [chunk["choices"][0]["index"] for chunk in content] == [0, 1, 2]


def test_a_model_name_is_escaped() -> None:
    assert json.loads(plan(request(model='a"\\ü'), "c", 0).answer())["model"] == 'a"\\ü'


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"{", None, "is not JSON"),
        (b"[]", None, "Expected `object`"),
        (b'{"model":"\xff"}', None, "is not JSON"),
        (b'{"messages":[]}', "model", "Missing required parameter: 'model'"),
        (b'{"model":"m"}', "messages", "Missing required parameter: 'messages'"),
        (b'{"model":"m","messages":[]}', "messages", "empty array"),
        (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role", "'messages[0].role'"),
        (b'{"model":"m","messages":[{"role":"user","content":7}]}', "messages[0].content", "got `int`"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":0}', "max_tokens", ">= 1"),
        (b'{"model":"m","messages":[{"role":"user"}],"n":"2"}', "n", "got `str`"),
        (b'{"model":"m","messages":[{"role":"user"}],"simulate":{"output":1}}', "simulate", "unknown field `output`"),
        (b'{"model":"m","messages":[{"role":"user"}],"simulate":{"failure":"x"}}', "simulate.failure", "'x'"),
        (b'{"model":"m","messages":[{"role":"user"}],"simulate":{"output_tokens":-1}}', "simulate.output_tokens", ">= 0"),
    ],
)
def test_bad_bodies_are_refused_and_the_field_is_named(body: bytes, param: str | None, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_request(body)
    error = json.loads(caught.value.body)["error"]
    assert caught.value.status == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]
