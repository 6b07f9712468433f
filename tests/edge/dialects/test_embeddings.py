"""Embeddings: what is read of a request, what a vendor gets, and what passes of its vectors."""

import base64
import json
import struct
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.embeddings.answer import EmbeddingsAnswer
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.dialects.embeddings.request import EmbeddingsRequest
from services.edge.http.problems import Problem
from services.edge.tokens.estimate import estimate, low, most
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown, UsageReading
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, NOTHING, Vector

ENDPOINT = Endpoint("acme", "openai_embeddings", "http://acme.test/v1")
ONE = [0.5, -0.25]
TWO = [1.0, 0.0]


def read(**fields: Any) -> EmbeddingsRequest:
    return Embeddings().read(Body(json.dumps({"model": "m", "input": "hi", **fields}).encode(), "application/json"), {})


def refusal(**fields: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert caught.value.status == 400
    return caught.value


def written(endpoint: Endpoint = ENDPOINT, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = read(**fields).vendor_request(endpoint, "acme-m", None, streamed=False)
    assert (asked.path, asked.body.content_type) == ("/embeddings", "application/json")
    return json.loads(asked.body.content), asked.dropped


def packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def body(vectors: list[Any], usage: Any = None, **members: Any) -> bytes:
    """A vendor's answer in OpenAI's form, with other members over it."""
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
    told = {"prompt_tokens": 7, "total_tokens": 7} if usage is None else usage
    return json.dumps({"object": "list", "data": data, "model": "acme-m", "usage": told, **members}).encode()


def fed(vendors: bytes, **fields: Any) -> tuple[EmbeddingsAnswer, Step]:
    answer = read(**fields).answer(ENDPOINT)
    return answer, answer.feed_whole(vendors)


def charged(tokens: int) -> Vector:
    return tokens, 0, 0, 0, 0


SEVEN = charged(7)


def ended(vendors: bytes, used: Vector = SEVEN, **fields: Any) -> bytes:
    return fed(vendors, **fields)[0].end(Ending.COMPLETE, used)


# Requests


def test_it_makes_no_output_and_says_so() -> None:
    request = read()
    assert (request.makes_output, request.streamed, request.choices, request.output_limit) == (False, False, 1, None)
    assert (Embeddings().charged, Embeddings().name) == (Charged.INPUT, "openai_embeddings")


@pytest.mark.parametrize(
    ("value", "inputs", "texts", "tokens"),
    [
        ("héllo", 1, ["héllo"], 0),
        (["one", "two "], 2, ["one", "two "], 0),
        ([5, 0, 2**31 - 1], 1, [], 3),
        ([[5], [6, 7]], 2, [], 3),
    ],
)
def test_an_input_is_a_text_or_tokens_or_a_list_of_either(value: Any, inputs: int, texts: list[str], tokens: int) -> None:
    request = read(input=value)
    size = request.size()
    assert (size.inputs, list(size.texts()), size.messages, size.images, size.param) == (inputs, texts, 0, (), "input")
    assert size.bytes_bound == sum(len(text.encode()) for text in texts) + tokens
    assert written(input=value)[0]["input"] == value


@pytest.mark.parametrize("tokens", [1, 2, 30, 5_000])
def test_a_token_that_comes_as_a_number_counts_as_one(tokens: int) -> None:
    size = read(input=list(range(tokens))).size()
    assert (size.bytes_bound, estimate(size.text), most(size.text)) == (tokens,) * 3
    assert low(size.text) <= tokens


@pytest.mark.parametrize(
    ("value", "param", "message"),
    [
        ("", "input", "input is empty"),
        ([], "input", "input is empty"),
        ([""], "input[0]", "input[0] is empty"),
        (["a", ""], "input[1]", "input[1] is empty"),
        ([[]], "input[0]", "input[0] is empty"),
        ([[1], []], "input[1]", "input[1] is empty"),
        ([-1], "input[0]", "input[0] must be a token, a whole number from 0 to 2147483647."),
        ([[1, 2], [3, -4]], "input[1][1]", "input[1][1] must be a token"),
        ([2**31], "input[0]", "must be a token"),
        ([1.5], "input[0]", "must be a token"),
        ([True], "input[0]", "must be a token"),
        ([1, "a"], "input[1]", "must be a token"),
        (["a", 1], "input[1]", "input[1] must be a text, as the first is."),
        ([[1], 2], "input[1]", "input[1] must be a list of tokens, as the first is."),
        (None, "input", "You must provide an input"),
        (3, "input", "must be a text, a list of texts"),
        ({"text": "a"}, "input", "must be a text, a list of texts"),
        (["x"] * 2_049, "input", "input has 2049 inputs; send at most 2048 in one request."),
    ],
)
def test_an_input_of_nothing_or_of_another_kind_is_refused_by_its_place(value: Any, param: str, message: str) -> None:
    problem = refusal(input=value)
    assert problem.param == param
    assert message in problem.message


def test_the_most_inputs_are_taken() -> None:
    assert read(input=["x"] * 2_048).size().inputs == 2_048


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 8_193}, "dimensions"),
        ({"dimensions": 2.5}, "dimensions"),
        ({"stream": True}, "stream"),
        ({"Input": "again"}, "Input"),
    ],
)
def test_a_field_that_cannot_be_served_is_refused(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_a_vendor_gets_what_was_read() -> None:
    found, dropped = written(input=["a"], encoding_format="base64", dimensions=256, user="u", stream=False, input_type="query")
    assert found == {"model": "acme-m", "input": ["a"], "encoding_format": "base64", "dimensions": 256, "user": "u"}
    assert dropped == ("input_type",)
    extra = ENDPOINT._replace(extra_fields=frozenset({"input_type"}))
    assert written(extra, input_type="query")[0]["input_type"] == "query"
    with pytest.raises(Problem, match="input_type is not a field"):
        written(ENDPOINT._replace(unknown_fields=Unknown.REFUSED), input_type="query")


def test_an_answer_is_bounded_by_its_inputs_and_their_dimensions() -> None:
    sizes = [
        read(input=["x"] * inputs, dimensions=dimensions).whole_bytes_max(0) for inputs, dimensions in ((1, 4), (2, 4), (2, 400))
    ]
    assert sizes == [65_536 + 256 + 4 * 32, 65_536 + 2 * (256 + 4 * 32), 65_536 + 2 * (256 + 400 * 32)]
    assert read().whole_bytes_max(0) == 65_536 + 256 + 8_192 * 32
    # Numbers with all of their digits are within it.
    longest = json.dumps([-2.2250738585072014e-308] * 400).encode()
    assert len(longest) < 400 * 32


# Answers


@pytest.mark.parametrize(
    ("encoding", "vectors"), [("float", [ONE, TWO]), (None, [ONE, TWO]), ("base64", [packed(ONE), packed(TWO)])]
)
def test_vectors_pass_byte_for_byte(encoding: str | None, vectors: list[Any]) -> None:
    vendors = b" " + body(vectors) + b"\n"
    answer, step = fed(vendors, input=["a", "b"], encoding_format=encoding)
    assert step == Step(counted=VendorCount((7, 0, 0, 0, 0), True, True, False), finished=True, ended=True)
    assert answer.end(Ending.COMPLETE, SEVEN) == vendors
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    "vendors",
    [
        body([ONE]),
        body([ONE, TWO, ONE]),
        body([]),
        body([ONE, [1.0]]),
        body([ONE, []]),
        body([ONE, None]),
        body([ONE, "!!!!"]),
        body([packed(ONE), packed(TWO)[:-4]]),
        body([ONE, ["a", "b"]]),
        body([ONE, [[1.0], [2.0]]]),
        body([ONE, [None, 1]]),
        # Readers would compute with what is no number, or stop at it; and digits without end are a text.
        body([ONE, TWO]).replace(b"0.25", b"1e999"),
        body([ONE, TWO]).replace(b"0.25", b"NaN"),
        body([ONE, TWO]).replace(b"0.25", b"Infinity"),
        body([ONE, TWO]).replace(b"0.25", b"0." + b"3" * 30),
        body([packed([float("nan"), 0.5]), packed(TWO)]),
        body([packed(ONE), packed([float("-inf"), 0.5])]),
        body([ONE, TWO]).replace(b'"index": 1', b'"index": 0'),
        body([ONE, TWO]).replace(b'"index": 1', b'"index": 2'),
        body([ONE, TWO]).replace(b'"data"', b'"date"'),
        b"",
        b"[]",
        b'{"data": 3}',
        body([ONE, TWO])[:-1],
    ],
)
def test_an_answer_without_one_vector_for_each_input_is_none(vendors: bytes) -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(vendors, input=["a", "b"])
    assert caught.value.outcome == "garbage"


def test_a_number_has_at_most_32_bytes() -> None:
    longest = b"0." + b"3" * 29
    assert len(b"-" + longest) == 32
    vendors = body([[0.5, -0.25], TWO]).replace(b"-0.25", b"-" + longest).replace(b"0.5, ", b"0.5,")
    assert fed(vendors, input=["a", "b"])[0].end(Ending.COMPLETE, SEVEN) == vendors
    with pytest.raises(VendorFailure, match="garbage"):
        fed(vendors.replace(longest, longest + b"3"), input=["a", "b"])


def test_vectors_of_another_length_than_asked_for_are_none() -> None:
    assert fed(body([ONE]), dimensions=2)
    with pytest.raises(VendorFailure, match="garbage"):
        fed(body([ONE]), dimensions=3)


def test_an_error_in_place_of_vectors_is_the_vendors_refusal() -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(b'{"error":{"message":"no such model","code":"model_not_found"}}')
    assert caught.value.outcome == "refused"
    assert caught.value.fault is not None
    assert caught.value.fault.code == "model_not_found"


def test_no_vendor_streams_vectors() -> None:
    with pytest.raises(VendorFailure, match="garbage"):
        read().answer(ENDPOINT).feed(Event("", body([ONE])))


@pytest.mark.parametrize(
    ("encoding", "sent", "told"), [("base64", ONE, packed(ONE)), ("float", packed(ONE), ONE), (None, packed(ONE), ONE)]
)
def test_vectors_in_the_other_encoding_are_written_in_the_one_asked_for(encoding: str | None, sent: Any, told: Any) -> None:
    found = json.loads(ended(body([sent]), encoding_format=encoding))
    assert found["data"] == [{"object": "embedding", "index": 0, "embedding": told}]
    assert (found["usage"], found["model"]) == ({"prompt_tokens": 7, "total_tokens": 7}, "acme-m")


@pytest.mark.parametrize(("encoding", "sent"), [("base64", [1e300, 0.0]), ("float", packed([float("nan"), 0.0]))])
def test_a_number_that_the_encoding_cannot_have_makes_no_answer(encoding: str, sent: Any) -> None:
    with pytest.raises(VendorFailure, match="garbage"):
        fed(body([sent]), encoding_format=encoding)


@pytest.mark.parametrize(
    "vendors",
    [
        body([ONE, TWO], words="w" * 40),
        body([ONE, TWO]).replace(b'"index": 0', b'"text": "hidden", "index": 0'),
        body([ONE, TWO], object="embeddings"),
        body([ONE, TWO], id="i" * 257),
        body([ONE, TWO]).replace(b'"object": "list"', b'"obje\\u0063t": "list"'),
        body([ONE, TWO]).replace(b'"object": "list",', b'"object": "list", ' + b" " * 70_000),
        b'{"data": [{"embedding": [0.5, -0.25]}, {"embedding": [1.0, 0.0]}], "model": "acme-m", '
        b'"usage": {"prompt_tokens": 7, "total_tokens": 7}}',
        b'{"data": [{"index": 1, "object": "embedding", "embedding": [1.0, 0.0]}, '
        b'{"index": 0, "object": "embedding", "embedding": [0.5, -0.25]}], "model": "acme-m", "object": "list", '
        b'"usage": {"prompt_tokens": 7, "total_tokens": 7}}',
    ],
)
def test_whatever_else_an_answer_has_is_left_out(vendors: bytes) -> None:
    assert json.loads(ended(vendors, input=["a", "b"])) == json.loads(body([ONE, TWO]))
    assert ended(vendors, input=["a", "b"]) != vendors


def test_of_a_name_twice_the_last_holds_and_is_told_alone() -> None:
    first = b'"data": [{"object": "embedding", "index": 0, "embedding": [9.0]}], "model"'
    twice = body([ONE]).replace(b'"object": "list", ', b'"object": "list", ' + first.removesuffix(b'"model"'))
    assert twice.count(b'"data"') == 2
    assert json.loads(ended(twice)) == json.loads(body([ONE]))
    assert b"9.0" not in ended(twice)


# Counts


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 0, "total_tokens": 0}, {"prompt_tokens": -3}, "many", []])
def test_an_answer_without_a_count_leaves_the_input_to_ours(usage: Any) -> None:
    answer, step = fed(body([ONE], usage))
    assert step.counted is not None
    assert (step.counted.has_input, step.counted.has_output) == (False, True)
    # What is charged is told.
    found = json.loads(answer.end(Ending.COMPLETE, (11, 2, 0, 0, 0)))
    assert found["usage"] == {"prompt_tokens": 13, "total_tokens": 13}
    assert found["data"] == json.loads(body([ONE]))["data"]


def test_a_count_of_output_is_none() -> None:
    _, step = fed(body([ONE], {"prompt_tokens": 7, "completion_tokens": 900, "total_tokens": 907}))
    assert step.counted is not None
    assert step.counted.counts == (7, 0, 0, 0, 0)
    reading = UsageReading(paths=((INDEX["output"], ("written",)),))
    answer = EmbeddingsAnswer(reading, "m", 1, None, is_base64=False)
    counted = answer.feed_whole(body([ONE], {"prompt_tokens": 7, "written": 900})).counted
    assert counted is not None
    assert counted.counts == (7, 0, 0, 0, 0)


def test_a_total_alone_is_the_input() -> None:
    _, step = fed(body([ONE], {"total_tokens": 12}))
    assert step.counted is not None
    assert step.counted.counts == (12, 0, 0, 0, 0)


def test_the_charged_usage_is_told_where_the_vendors_does_not_hold() -> None:
    vendors = body([ONE], {"prompt_tokens": 10**9, "total_tokens": 10**9})
    assert json.loads(ended(vendors, charged(5)))["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert json.loads(ended(body([ONE]), NOTHING))["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


def test_a_text_beside_a_count_is_not_relayed() -> None:
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    long = body([ONE], {**usage, "note": "a" * 140_000})
    assert json.loads(ended(long)) == json.loads(body([ONE]))
    # A name that comes again and again, in a body that can be read.
    again = body([ONE]).replace(b'"model": "acme-m"', b", ".join([b'"model": "%b"' % (b"a" * 250)] * 20) + b', "model": "acme-m"')
    assert b"aaa" not in ended(again)
