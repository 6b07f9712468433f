"""Round trips: whatever a conversation or an answer says, it says in every dialect, and comes back as it was."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.call.dialect import Body, Ending
from services.edge.dialects.translation.answers.chat import ChatReader, ChatTelling
from services.edge.dialects.translation.answers.messages import MessagesReader, MessagesTelling
from services.edge.dialects.translation.answers.responses import ResponsesReader, ResponsesTelling
from services.edge.dialects.translation.conversation import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    USER,
    Call,
    Conversation,
    Format,
    Image,
    Result,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from services.edge.dialects.translation.pairing import paired
from services.edge.dialects.translation.proofs import Proof, ProofKind, Seal, proof_in
from services.edge.dialects.translation.requests import chat, messages, messages_body, responses
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.translation.telling import Begun, Done, Kind, Piece, Stop, Stopped, Telling, Told
from services.edge.vendors.events import EventReader
from services.token_classes import NOTHING
from tests.edge.dialects.translation.ways import DIALECTS, WAYS, C, M, R, endpoint, events_in, translated

SEAL: Final = Seal("d", "vendor", "model")
READ: Final[dict[str, Any]] = {C: chat.read, M: messages.read, R: responses.read}
WRITE: Final[dict[str, Any]] = {C: chat.write, M: messages_body.write, R: responses.write}
READERS: Final[dict[str, Any]] = {C: ChatReader, M: MessagesReader, R: ResponsesReader}

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
objects = st.dictionaries(names, st.one_of(words, st.integers(-9, 9), st.lists(st.booleans(), max_size=2)), max_size=3)
images = st.sampled_from(["data:image/png;base64,iVBORw0K", "https://example.test/a.png"])


# Requests


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """A conversation that every dialect can have: calls are followed by their results, and the user speaks last."""
    made = [Turn(SYSTEM, [Text(draw(words))], "")] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        made.append(Turn(USER, [Text(draw(words)), *(Image(url, "") for url in draw(st.lists(images, max_size=2)))], ""))
        calls = [
            Call(f"call-{len(made)}-{index}", draw(names), msgspec.json.encode(draw(objects)).decode(), "")
            for index in range(draw(st.integers(0, 2)))
        ]
        made.append(Turn(ASSISTANT, [Text(draw(words)), *calls], ""))
        if calls:
            made.append(Turn(TOOL, [Result(call.call_id, (Text(draw(words)),), "") for call in calls], ""))
            made.append(Turn(ASSISTANT, [Text(draw(words))], ""))
    return [*made, Turn(USER, [Text(draw(words))], "")]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    tools = [
        Tool(name, draw(st.none() | words), {"type": "object", "properties": draw(objects)}, draw(st.sampled_from([True, False])))
        for name in draw(st.lists(names, max_size=3, unique=True))
    ]
    choices = [
        None,
        ToolChoice("auto"),
        ToolChoice("none"),
        ToolChoice("required"),
        *(ToolChoice("named", tool.name) for tool in tools),
    ]
    schema = draw(st.none() | objects)
    return Conversation(
        turns=draw(turns()),
        tools=tools,
        choice=draw(st.sampled_from(choices)) if tools else None,
        parallel=None,
        stop=[],
        temperature=None,
        top_p=None,
        effort=draw(st.sampled_from(["", "none", "low", "medium", "high", "xhigh", "max"])),
        shows_thought=False,
        format=None if schema is None else Format(schema, "answer", strict=True),
        user=draw(st.just("") | names),
        shared={},
        others={},
        dropped=(),
    )


def without_place(turn: Turn) -> Turn:
    """A turn without the places that it was read from, and without the detail of images that every dialect fills in."""
    parts: list[Any] = [part._replace(where="") if isinstance(part, Image | Call | Result) else part for part in turn.parts]
    return Turn(turn.role, [part._replace(detail="") if isinstance(part, Image) else part for part in parts], "")


def plain(conversation: Conversation, dialect: str) -> dict[str, Any]:
    """The meaning of a conversation, without what the dialect has no word for."""
    kept = conversation._asdict()
    kept["turns"] = [without_place(turn) for turn in conversation.turns]
    if dialect == M and conversation.format is not None:
        kept["format"] = Format(conversation.format.schema)
    kept["shared"] = {name: value for name, value in kept["shared"].items() if name != "user"}
    # Thinking that is asked for is shown; a vendor is always asked for its count.
    kept["shows_thought"] = kept["include_usage"] = None
    return kept


@given(conversation=conversations())
@settings(max_examples=60, deadline=None)
def test_a_conversation_comes_back_from_every_dialect(conversation: Conversation) -> None:
    view = View(output_max=8_000, output_limit=500, opened=proof_in, has_marks=False, keeps_proofs=False)
    for dialect, write in WRITE.items():
        fields, dropped = write(conversation, view)
        assert dropped == ()
        body = Body(msgspec.json.encode({"model": "m", **fields}), "application/json")
        request = DIALECTS[dialect].read(body, {})
        assert request.output_limit == 500
        assert plain(READ[dialect](request), dialect) == plain(conversation, dialect)


@given(conversation=conversations(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_conversation_goes_from_each_dialect_into_each_other(conversation: Conversation, data: st.DataObject) -> None:
    client, vendor = data.draw(st.sampled_from(WAYS))
    view = View(output_max=8_000, output_limit=500, opened=proof_in, has_marks=False, keeps_proofs=False)
    fields, _ = WRITE[client](conversation, view)
    request = translated(client, vendor, **fields)
    sent = request.vendor_request(endpoint(vendor), "vendor-m", None, streamed=True)
    body = msgspec.json.decode(sent.body.content)
    body["model"] = "m"
    found = READ[vendor](DIALECTS[vendor].read(Body(msgspec.json.encode(body), "application/json"), {}))
    assert plain(found, M) == plain(conversation, M) | {"others": found.others, "format": plain(found, M)["format"]}


@given(ids=st.lists(st.sampled_from(["", "a", "b"]), max_size=6))
def test_calls_and_results_are_paired_in_order_whatever_their_ids(ids: list[str]) -> None:
    calls = [Call(call_id, "f", "{}", "") for call_id in ids]
    results = [Result(call_id, (Text(str(index)),), "") for index, call_id in enumerate(ids)]
    right = paired([Turn(ASSISTANT, [*calls], ""), Turn(TOOL, [*results], "")])
    named = [part.call_id for part in right[0].parts if isinstance(part, Call)]
    assert [part.call_id for part in right[1].parts if isinstance(part, Result)] == named
    assert len(set(named)) == len(named)
    assert all(named)


@given(kind=st.sampled_from(ProofKind), payload=st.text(max_size=40), at=st.integers(0, 60), letter=st.characters())
def test_a_seal_opens_what_it_closed_and_nothing_else(kind: ProofKind, payload: str, at: int, letter: str) -> None:
    sealed = SEAL.close(Proof(kind, payload))
    assert SEAL.open(sealed) == proof_in(sealed) == Proof(kind, payload)
    changed = sealed[:at] + letter + sealed[at + 1 :]
    assert changed == sealed or SEAL.open(changed) is None
    assert SEAL.open(sealed[:-1]) is None
    for other in (Seal("x", "vendor", "model"), Seal("d", "x", "model"), Seal("d", "vendor", "x")):
        assert other.open(sealed) is None


# Answers


@st.composite
def answers(draw: st.DrawFn) -> list[Told]:
    """The events of an answer whose blocks' pieces come in any order."""
    blocks: list[list[Told]] = []
    for key in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from([Kind.TEXT, Kind.THOUGHT, Kind.CALL]))
        text = msgspec.json.encode(draw(objects)).decode() if kind is Kind.CALL else draw(words)
        at = draw(st.integers(0, len(text)))
        pieces = [Piece(key, piece) for piece in (text[:at], text[at:]) if piece]
        begun = Begun(key, kind, f"call-{key}", draw(names)) if kind is Kind.CALL else Begun(key, kind)
        blocks.append([begun, *pieces, Done(key)])
    # Merge them: each block's own order stays.
    told: list[Told] = []
    while any(blocks):
        told.append(draw(st.sampled_from([block for block in blocks if block])).pop(0))
    return [*told, Stopped(Stop.DONE)]


EMPTY: Final = Conversation([], [], None, None, [], None, None, "", False, None, "", {}, {}, ())


def telling(dialect: str, *, streamed: bool = True) -> Telling:
    match dialect:
        case "openai_chat":
            return ChatTelling("m", SEAL, EMPTY, streamed=streamed)
        case "anthropic_messages":
            return MessagesTelling("m", SEAL, streamed=streamed)
    return ResponsesTelling("m", SEAL, streamed=streamed, tools=())


class Heard:
    """What an answer says: its texts, its thought, its calls."""

    def __init__(self, told: Sequence[Told]) -> None:
        self.kinds: dict[Any, Kind] = {}
        texts: dict[Any, str] = {}
        heads: dict[Any, tuple[str, str]] = {}
        self.stop: Stop | None = None
        for each in told:
            match each:
                case Begun():
                    self.kinds[each.key] = each.kind
                    texts[each.key] = ""
                    heads[each.key] = each.call_id, each.name
                case Piece(key, text):
                    texts[key] += text
                case Stopped(stop):
                    self.stop = stop
        self.text = "".join(text for key, text in texts.items() if self.kinds[key] is Kind.TEXT)
        self.thought = "".join(text for key, text in texts.items() if self.kinds[key] is Kind.THOUGHT).replace("\n\n", "")
        self.calls = [(*heads[key], text) for key, text in texts.items() if self.kinds[key] is Kind.CALL]

    @property
    def said(self) -> Any:
        return self.text, self.thought, self.calls


def heard(dialect: str, stream: bytes) -> Heard:
    """What a client of the dialect hears."""
    reader = READERS[dialect]()
    return Heard(reader.read(stream))


def expected(told: Sequence[Told]) -> Any:
    """What is heard of it in any dialect: paragraphs of thought aside."""
    return Heard(told).said


@given(told=answers(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_answer_goes_from_each_dialect_into_each_other(told: list[Told], data: st.DataObject) -> None:
    client, vendor = data.draw(st.sampled_from(WAYS))
    writer = telling(vendor)
    stream = writer.tell(told) + writer.end(NOTHING, is_cut=False)
    answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
    out = b"".join(answer.feed(event).out for event in EventReader().feed(stream))
    out += answer.end(Ending.COMPLETE, NOTHING)
    assert heard(client, out).said == expected(told)
    assert_well_formed(client, out)


@given(told=answers(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_answer_that_is_cut_anywhere_is_a_beginning_and_has_an_end(told: list[Told], data: st.DataObject) -> None:
    client, vendor = data.draw(st.sampled_from(WAYS))
    writer = telling(vendor)
    events = EventReader().feed(writer.tell(told) + writer.end(NOTHING, is_cut=False))
    answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
    fed = [
        (step, step.said or step.thought or step.calls)
        for step in map(answer.feed, events[: data.draw(st.integers(1, len(events)))])
    ]
    sent = [step.out for step, _ in fed]
    if fed[-1][1]:
        # The quota did not cover it.
        sent.pop()
    out = b"".join(sent) + answer.end(Ending.CUT, NOTHING)
    assert_well_formed(client, out)
    text, thought, calls = heard(client, out).said
    whole_text, whole_thought, whole_calls = expected(told)
    assert whole_text.startswith(text)
    assert whole_thought.startswith(thought)
    assert all(whole[:2] == call[:2] and whole[2].startswith(call[2]) for whole, call in zip(whole_calls, calls, strict=False))


@given(told=answers())
@settings(max_examples=60, deadline=None)
def test_a_whole_answer_is_the_stream_in_one(told: list[Told]) -> None:
    text, thought, calls = expected(told)
    for dialect in DIALECTS:
        writer = telling(dialect, streamed=False)
        assert writer.tell(told) == b""
        answer = msgspec.json.decode(writer.end(NOTHING, is_cut=False))
        match dialect:
            case "openai_chat":
                message = answer["choices"][0]["message"]
                assert (message["content"] or "", message.get("reasoning_content", "").replace("\n\n", "")) == (text, thought)
                found = [
                    (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", ())
                ]
                assert found == calls
            case "anthropic_messages":
                blocks = answer["content"]
                assert "".join(block.get("text", "") for block in blocks) == text
                uses = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
                assert uses == [(call_id, name, msgspec.json.decode(arguments)) for call_id, name, arguments in calls]
            case _:
                items = [item for item in answer["output"] if item["type"] == "function_call"]
                assert [(item["call_id"], item["name"], item["arguments"]) for item in items] == calls


def assert_well_formed(dialect: str, out: bytes) -> None:
    """Each dialect's own grammar of a stream."""
    events = events_in(out)
    match dialect:
        case "openai_chat":
            assert events[-1] == "[DONE]"
            reasons = [choice["finish_reason"] for each in events[:-1] for choice in each["choices"]]
            assert [reason for reason in reasons if reason is not None] == reasons[-1:]
            assert events[0]["choices"][0]["delta"]["role"] == "assistant"
        case "anthropic_messages":
            kinds = [each["type"] for each in events]
            assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
            opened: list[int] = []
            for each in events[1:-2]:
                match each["type"]:
                    case "content_block_start":
                        assert not opened
                        opened.append(each["index"])
                    case "content_block_stop":
                        assert opened.pop() == each["index"]
                    case _:
                        assert opened == [each["index"]]
            assert not opened
        case _:
            assert [each["sequence_number"] for each in events] == list(range(len(events)))
            assert events[0]["type"] == "response.created"
            done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
            assert done == events[-1]["response"]["output"]
            begun = [each["item"]["id"] for each in events if each["type"] == "response.output_item.added"]
            assert begun == [item["id"] for item in done]
