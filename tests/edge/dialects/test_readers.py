"""What the edge lets through means one thing to readers in Python, Go and JavaScript."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.call.dialect import Request
from services.edge.http.problems import Problem
from tests.edge.dialects.readers.record import CASES, LIMIT, RECORDED, endpoint, read, sent

ROWS: list[dict[str, Any]] = json.loads(RECORDED.read_text())
READERS = ("go", "javascript")


def accepted(dialect: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["dialect"] == dialect and row["sent"] is not None]


def limit_of(request: Request) -> int:
    return min(request.output_limit or LIMIT, LIMIT)


def test_the_record_is_of_these_cases_and_of_what_the_edge_sends_now() -> None:
    # Otherwise: python -m tests.edge.dialects.readers.record
    assert [(row["dialect"], row["body"]) for row in ROWS] == CASES
    assert [row["sent"] for row in ROWS] == [sent(dialect, body) for dialect, body in CASES]


@pytest.mark.parametrize("row", accepted("openai_chat"), ids=lambda row: row["body"][-40:])
@pytest.mark.parametrize("reader", READERS)
def test_readers_of_a_chat_read_what_the_edge_has_read(row: dict[str, Any], reader: str) -> None:
    request = read(row["dialect"], row["body"])
    other = row[f"{reader}_of_sent"]
    assert (other["model"], other["n"] or 1, other["stream"]) == (request.model_id, request.choices, request.streamed)
    assert (other["max_tokens"], other["max_completion_tokens"]) == (limit_of(request), 0)
    assert other["stream_options"] == {"include_usage": request.streamed}
    texts = [message["content"] for message in other["messages"] if isinstance(message["content"], str)]
    texts += [part["text"] for message in other["messages"] if isinstance(message["content"], list) for part in message["content"]]
    assert texts == list(request.size().texts())


@pytest.mark.parametrize(
    "row", accepted("openai_completions") + accepted("openai_embeddings"), ids=lambda row: f"{row['dialect']} {row['body'][-40:]}"
)
@pytest.mark.parametrize("reader", READERS)
def test_readers_of_inputs_read_what_the_edge_has_read(row: dict[str, Any], reader: str) -> None:
    request = read(row["dialect"], row["body"])
    other = row[f"{reader}_of_sent"]
    size = request.size()
    assert (other["model"], other["stream"], other["max_completion_tokens"], other["best_of"]) == (
        request.model_id,
        request.streamed,
        0,
        0,
    )
    assert other["stream_options"] == {"include_usage": request.streamed}
    assert (other["n"] or 1) * size.inputs == request.choices or not request.makes_output
    assert other["max_tokens"] == (limit_of(request) if request.makes_output else 0)
    inputs = other["prompt"] if request.makes_output else other["input"]
    inputs = [inputs] if isinstance(inputs, str) or isinstance(inputs[0], int) else inputs
    assert len(inputs) == size.inputs
    if isinstance(inputs[0], str):
        assert [*inputs, *[other["suffix"]] * bool(other["suffix"])] == list(size.texts())
    else:
        assert sum(map(len, inputs)) == size.bytes_bound


def texts_of(blocks: list[dict[str, Any]] | None) -> list[str]:
    """The texts of blocks and of those in them, in order."""
    found: list[str] = []
    for block in blocks or ():
        found += [block["text"]] if block["text"] else []
        found += texts_of(block["content"])
    return found


@pytest.mark.parametrize("row", accepted("anthropic_messages"), ids=lambda row: row["body"][-40:])
@pytest.mark.parametrize("reader", READERS)
def test_readers_of_messages_read_what_the_edge_has_read(row: dict[str, Any], reader: str) -> None:
    request = read(row["dialect"], row["body"])
    other = row[f"{reader}_of_sent"]
    assert (other["model"], other["stream"], other["max_tokens"]) == (request.model_id, request.streamed, limit_of(request))
    asked = json.loads(row["body"]).get("thinking") or {}
    assert other["thinking"] == {"type": asked.get("type", ""), "budget_tokens": asked.get("budget_tokens", 0)}
    texts = [text for turn in other["messages"] for text in texts_of(turn["content"])]
    assert texts + texts_of(other["system"]) == list(request.size().texts())


def texts_in(items: list[dict[str, Any]] | None) -> list[str]:
    """The texts of items, of their parts and their outputs, in order."""
    found: list[str] = []
    for item in items or ():
        found += [item["text"]] if item["text"] else []
        found += texts_in(item["content"]) + texts_in(item["output"])
    return found


@pytest.mark.parametrize("row", accepted("openai_responses"), ids=lambda row: row["body"][-40:])
@pytest.mark.parametrize("reader", READERS)
def test_readers_of_a_response_read_what_the_edge_has_read(row: dict[str, Any], reader: str) -> None:
    request = read(row["dialect"], row["body"])
    other = row[f"{reader}_of_sent"]
    assert (other["model"], other["stream"], other["max_output_tokens"]) == (request.model_id, request.streamed, limit_of(request))
    assert (other["store"], other["background"], other["previous_response_id"]) == (False, False, "")
    instructions = [other["instructions"]] if other["instructions"] else []
    assert texts_in(other["input"]) + instructions == list(request.size().texts())


@pytest.mark.parametrize(("dialect", "many"), [("openai_chat", 15), ("anthropic_messages", 20), ("openai_responses", 20)])
def test_a_body_that_readers_read_differently_is_refused_or_written_anew(dialect: str, many: int) -> None:
    differing = [row for row in ROWS if row["dialect"] == dialect and row["go_of_body"] != row["javascript_of_body"]]
    assert len(differing) >= many
    for row in differing:
        assert row["sent"] is None or row["go_of_sent"] == row["javascript_of_sent"]


# Any request

NAMES = ["model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "tools", "user", "odd"]
FOLDED = [name.upper() for name in NAMES] + [
    "\u017ftream",
    "max_to\u212aens",
    "Model",
    "mode\\u006c",
    "\\u006e",
    "\\u004e",
    "Max_Tokens",
]
MEMBER_NAMES = ["role", "content", "name", "Content", "ROLE", "c\\u006fntent", "odd"]
TEXTS = st.sampled_from(['"x"', '"user"', '"\\u4f60"', '"\\ud800"', '"\\ud83d\\ude42"', '""'])
NUMBERS = st.sampled_from(["1", "2", "100", "1.0", "1e2", "-1", "0", "9007199254740993", "1E400"])


def objects(names: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The text of an object in which names may come twice."""
    member = st.tuples(st.sampled_from(names), values).map(lambda pair: f'"{pair[0]}":{pair[1]}')
    return st.lists(member, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


def lists(elements: st.SearchStrategy[str], min_size: int = 0) -> st.SearchStrategy[str]:
    """The text of a list."""
    return st.lists(elements, min_size=min_size, max_size=2).map(lambda texts: "[" + ",".join(texts) + "]")


def body_with(pairs: list[tuple[str, str]]) -> str:
    """A body that is whole without the pairs."""
    return '{"model":"m","messages":[{"role":"user","content":"x"}]' + "".join(f',"{name}":{value}' for name, value in pairs) + "}"


MESSAGE = objects(MEMBER_NAMES, TEXTS | NUMBERS).map(lambda text: text.replace("{", '{"role":"user",', 1).replace(",}", "}"))
OPTIONS = objects(["include_usage", "Include_Usage", "odd"], st.sampled_from(["true", "false", "null"]))
VALUES = TEXTS | NUMBERS | st.sampled_from(["true", "false", "null"]) | OPTIONS | lists(MESSAGE)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(["n", "max_tokens", "max_completion_tokens"]), NUMBERS),
    st.tuples(st.sampled_from(["stream"]), st.sampled_from(["true", "false"])),
    st.tuples(st.sampled_from(["messages"]), lists(MESSAGE, 1)),
    st.tuples(st.sampled_from(NAMES + FOLDED), VALUES),
)
BODIES = st.lists(FIELDS, max_size=5).map(body_with)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len({name.casefold() for name in names}) == len(names)
    return dict(pairs)


@given(BODIES)
def test_whatever_is_let_through_has_each_name_once_and_means_what_was_read(body: str) -> None:
    try:
        request = read("openai_chat", body)
        wire = request.vendor_request(endpoint("openai_chat"), request.model_id, LIMIT, streamed=request.streamed).body.content
    except Problem as problem:
        assert problem.status == 400
        return
    whole = json.loads(wire)
    assert len(set(map(str.casefold, whole))) == len(whole) == len(json.loads(wire, object_pairs_hook=list))
    assert (whole["model"], whole.get("n") or 1, bool(whole.get("stream"))) == (
        request.model_id,
        request.choices,
        request.streamed,
    )
    assert whole["max_tokens"] == min(request.output_limit or LIMIT, LIMIT)
    assert "max_completion_tokens" not in whole
    messages = messages_of(wire)
    assert [message["content"] for message in messages if message.get("content")] == [
        text for text in request.size().texts() if text
    ]


def messages_of(wire: bytes) -> list[dict[str, Any]]:
    """The messages of a body, of which no name may come twice in any spelling."""
    pairs = dict(json.loads(wire, object_pairs_hook=list))
    return [once(message) for message in pairs["messages"]]
