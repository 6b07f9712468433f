"""The mark by which the calls of one conversation are recognised."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from services.edge.call.dialect import Body, Dialect
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.conversation import mark_of
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.dialects.responses.dialect import Responses

CHAT = ChatCompletions()
RESPONSES = Responses()
EACH = pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES], ids=["chat", "messages", "responses"])
Message = dict[str, Any]


def _user(text: str, **members: Any) -> Message:
    return {"role": "user", "content": [{"type": "text", "text": text, **members}]}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _mark(dialect: Dialect, system: Any, *messages: Message, headers: Mapping[bytes, bytes] | None = None, **fields: Any) -> bytes:
    body: dict[str, Any] = {"model": "m", "max_tokens": 9, **fields}
    if dialect is RESPONSES:
        # A message of the user has parts of a type of their own.
        body["input"] = json.loads(json.dumps(messages).replace('"type": "text"', '"type": "input_text"'))
        body["instructions"] = system
    elif dialect is CHAT:
        body["messages"] = [{"role": "system", "content": system}, *messages]
    else:
        body["messages"] = list(messages)
        body["system"] = system
    return dialect.read(Body(json.dumps(body).encode(), "application/json"), headers or {}).conversation()


@EACH
def test_every_call_of_a_conversation_has_its_mark(dialect: Dialect) -> None:
    first = _mark(dialect, "You help.", _user("Mend the roof."))
    later = _mark(dialect, "You help.", _user("Mend the roof."), _assistant("How?"), _user("With tiles."))
    assert first == later
    assert len(first) == 8
    # The mark of a cache moves on to the newest message.
    assert _mark(dialect, "You help.", _user("Mend the roof.", cache_control={"type": "ephemeral"})) == first


@EACH
def test_another_beginning_is_another_conversation(dialect: Dialect) -> None:
    marks = {
        _mark(dialect, "You help.", _user("Mend the roof.")),
        _mark(dialect, "You do not help.", _user("Mend the roof.")),
        _mark(dialect, "You help.", _user("Mend the door.")),
        _mark(dialect, "You help.", _user("x" * 300 + "a" + "x" * 300)),
        _mark(dialect, "You help.", _user("x" * 300 + "a" + "x" * 301)),
        # The question stands after a long text.
        _mark(dialect, "You help.", _user("x" * 600 + "How?")),
        _mark(dialect, "You help.", _user("x" * 600 + "Why?")),
    }
    assert len(marks) == 7


def test_plain_messages_and_others_have_the_same_mark() -> None:
    plain = '{"model":"m","messages":[{"role":"system","content":"You help."},{"role":"user","content":"Hi"}]}'
    other = '{"model":"m","messages":[{"content":"You help.","role":"system"},{"role":"user","content":"Hi"},{"role":"tool"}]}'
    marks = {CHAT.read(Body(each.encode(), "application/json"), {}).conversation() for each in (plain, other)}
    assert len(marks) == 1
    alone = '{"model":"m","messages":[{"role":"system","content":"You help."}]}'
    assert CHAT.read(Body(alone.encode(), "application/json"), {}).conversation() == mark_of(["You help."])


@pytest.mark.parametrize("name", [b"x-session-affinity", b"session-id", b"x-claude-code-session-id"])
@EACH
def test_a_session_that_the_client_names_is_the_mark(dialect: Dialect, name: bytes) -> None:
    headers = {name: b"0f3b", b"user-agent": b"agent/1"}
    assert _mark(dialect, "You help.", _user("Hi"), headers=headers) == b"0f3b"
    assert _mark(dialect, "You help.", _user("Hi"), headers={name: b""}) == _mark(dialect, "You help.", _user("Hi"))


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_a_prompt_cache_key_is_the_mark_where_no_header_names_a_session(dialect: Dialect) -> None:
    assert _mark(dialect, "You help.", _user("Hi"), prompt_cache_key="thread-7") == b'"thread-7"'
    assert _mark(dialect, "You help.", _user("Hi"), prompt_cache_key=None) == _mark(dialect, "You help.", _user("Hi"))
    headers = {b"session-id": b"0f3b"}
    assert _mark(dialect, "You help.", _user("Hi"), prompt_cache_key="thread-7", headers=headers) == b"0f3b"


@pytest.mark.parametrize(
    ("dialect", "field"), [(Completions(), "prompt"), (Embeddings(), "input")], ids=["completions", "embeddings"]
)
def test_where_nothing_has_a_conversation_the_first_text_is_its_mark(dialect: Dialect, field: str) -> None:
    def mark(given: Any) -> bytes:
        return dialect.read(Body(json.dumps({"model": "m", field: given}).encode(), "application/json"), {}).conversation()

    assert mark("Once") == mark(["Once", "Twice"]) == mark_of(["Once"])
    assert mark("Twice") != mark("Once")
    assert mark([1, 2]) == mark_of([])


def test_a_plain_input_is_the_beginning_of_a_response() -> None:
    body = {"model": "m", "input": "Mend the roof.", "instructions": "You help."}
    mark = RESPONSES.read(Body(json.dumps(body).encode(), "application/json"), {}).conversation()
    assert mark == _mark(RESPONSES, "You help.", _user("Mend the roof."))


def test_the_version_of_claude_code_is_no_part_of_the_mark() -> None:
    def system(version: str) -> list[dict[str, str]]:
        texts = (f"x-anthropic-billing-header: cc_version={version}; cch=1;", "You are Claude Code.")
        return [{"type": "text", "text": text} for text in texts]

    marks = {_mark(MESSAGES, system(version), _user("Hi")) for version in ("2.1.1", "2.1.2")}
    assert len(marks) == 1
    assert marks != {_mark(MESSAGES, [{"type": "text", "text": "You are another."}], _user("Hi"))}


def test_a_free_count_has_the_mark_of_its_conversation() -> None:
    assert _mark(COUNT_TOKENS, "You help.", _user("Hi")) == _mark(MESSAGES, "You help.", _user("Hi"))


def test_of_many_texts_the_first_and_the_last_tell() -> None:
    texts = [f"text {number}" for number in range(100)]
    assert mark_of(texts) == mark_of([*texts[:4], "another", *texts[-4:]])
    assert mark_of(texts) != mark_of([*texts[:99], "another"])
    assert mark_of(texts) != mark_of(["another", *texts[1:]])
    assert mark_of([]) == b"00000000"
