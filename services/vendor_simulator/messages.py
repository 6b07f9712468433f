"""Anthropic's messages: the request as it is read, and the answer whole and as a stream of named events."""

from typing import Annotated, Any, Final, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, Events, Passage, count
from services.vendor_simulator.errors import RefusedError, messages_error_body
from services.vendor_simulator.quirks import ShapedEvents, shape_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import count_tokens
from services.vendor_simulator.usage import messages_usage

_IGNORED: Final = msgspec.Raw()
_SIGNATURE: Final = "c2ltdWxhdGVkIHNpZ25hdHVyZQ=="
_STOP_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One content block; its text, its thinking and its tool's input and result count."""

    type: str
    text: str = ""
    thinking: str = ""
    content: "str | list[Block] | dict[str, Any] | None" = None
    input: Any = None
    # Known, so that names which Go would fold to those above are told from them; not read.
    cache_control: msgspec.Raw = _IGNORED
    citations: msgspec.Raw = _IGNORED
    source: msgspec.Raw = _IGNORED
    title: msgspec.Raw = _IGNORED
    context: msgspec.Raw = _IGNORED
    signature: msgspec.Raw = _IGNORED
    data: msgspec.Raw = _IGNORED
    id: msgspec.Raw = _IGNORED
    name: msgspec.Raw = _IGNORED
    caller: msgspec.Raw = _IGNORED
    tool_use_id: msgspec.Raw = _IGNORED
    is_error: msgspec.Raw = _IGNORED


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: str
    content: str | list[Block]
    # Known, not read.
    output_config: msgspec.Raw = _IGNORED


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end user of a request."""

    user_id: str | None = None


class MessagesRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    messages: list[Message]
    # Left out only where tokens are merely counted.
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    tools: list[Any] | None = None
    metadata: Metadata | None = None
    simulate: Simulate = PLAIN

    @property
    def user(self) -> str | None:
        """The end user, where the request names one."""
        return self.metadata.user_id if self.metadata is not None else None

    @property
    def last_text(self) -> str:
        """The text of the last message that is no system prompt; "" where it brings results of tools."""
        said = next((message.content for message in reversed(self.messages) if message.role != "system"), "")
        if isinstance(said, str):
            return said
        return "" if any(block.type == "tool_result" for block in said) else "\n".join(block.text for block in said)

    @property
    def texts(self) -> list[str]:
        """The tools as JSON, all text, thinking, tool inputs and tool results, in the order in which Anthropic caches them."""
        texts: list[str] = []
        if self.tools:
            texts.append(msgspec.json.encode(self.tools).decode())
        _collect(self.system, texts)
        for message in self.messages:
            _collect(message.content, texts)
        return texts

    @property
    def counted_tokens(self) -> int:
        """The tokens of all texts together."""
        return count_tokens(self.texts)

    @property
    def output_tokens_max(self) -> int:
        """The output limit where it is heeded; else the most that can be simulated."""
        simulate = self.simulate
        if simulate.ignores_limit or simulate.heeds == "max_completion_tokens" or self.max_tokens is None:
            return OUTPUT_TOKENS_MAX
        return self.max_tokens


def _collect(content: str | list[Block] | dict[str, Any] | None, texts: list[str]) -> None:
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        for block in content:
            texts += (block.text, block.thinking)
            if block.input is not None:
                texts.append(msgspec.json.encode(block.input).decode())
            _collect(block.content, texts)


# Harmless names that clients send; with them the strict reader takes nearly every body.
_IGNORED_NAMES: Final = (
    "betas", "cache_control", "container", "context_management", "diagnostics", "fallbacks", "inference_geo", "mcp_servers",
    "output_config", "output_format", "service_tier", "speed", "stop_sequences", "temperature", "thinking", "tool_choice",
    "top_k", "top_p",
)  # fmt: skip
_strict_type: Final = msgspec.defstruct(
    "StrictMessagesRequest",
    [(name, msgspec.Raw, _IGNORED) for name in _IGNORED_NAMES],
    bases=(MessagesRequest,),
    frozen=True,
    forbid_unknown_fields=True,
)
_strict: Final = msgspec.json.Decoder(cast(type[MessagesRequest], _strict_type))
_BLOCK_NAMES: Final[Names] = {"type": None, "text": None, "thinking": None, "input": None}
_BLOCK_NAMES["content"] = _BLOCK_NAMES
_NAMES: Final[Names] = {
    "model": None,
    "messages": {"role": None, "content": _BLOCK_NAMES},
    "max_tokens": None,
    "system": _BLOCK_NAMES,
    "stream": None,
    "tools": None,
    "metadata": {"user_id": None},
    "simulate": None,
}


def parse_messages(body: bytes) -> MessagesRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = parse_count(body)
    if request.max_tokens is None:
        message = "max_tokens: Field required"
        raise RefusedError(400, messages_error_body(message, "invalid_request_error", None))
    return request


def parse_count(body: bytes) -> MessagesRequest:
    """The request in `body` where tokens are merely counted. Errors: as `parse_messages`."""
    request = read_body(body, _strict, _NAMES, messages_error_body)
    if not request.messages:
        message = "messages: at least one message is required"
        raise RefusedError(400, messages_error_body(message, "invalid_request_error", None))
    return request


def counted(request: MessagesRequest) -> bytes:
    """The answer to a count of tokens."""
    return b'{"input_tokens":%d}' % (request.counted_tokens + _other_input(request.simulate))


def _other_input(simulate: Simulate) -> int:
    return simulate.modalities.image_input_tokens + simulate.modalities.audio_input_tokens


class MessageAnswer(CountedAnswer, frozen=True):
    """The answer to one call."""

    message_id: str
    model: str

    @property
    def stop_reason(self) -> str:
        """Anthropic's word for the end."""
        return _STOP_REASONS[self.counts.finish]

    @property
    def hides_thinking(self) -> bool:
        """Whether the answer begins with a thinking block that has a signature and no text."""
        return bool(self.counts.silent_tokens)

    def opening(self, content: list[Any], stop_reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        """The message object."""
        message = {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }
        if self.counts.simulate.usage_report.place == "none":
            del message["usage"]
        return message

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        content: list[dict[str, Any]] = []
        if self.hides_thinking:
            content.append({"type": "thinking", "thinking": "", "signature": _SIGNATURE})
        for passage in self.counts.passages(0, self.visible_tokens):
            block = _block(passage, passage.text)
            if passage.kind == "reasoning":
                block["signature"] = _SIGNATURE
            elif passage.kind == "tool":
                block["input"] = _tool_input(passage.text)
            content.append(block)
        message = self.opening(content, self.stop_reason, messages_usage(self.counts, self.output_tokens))
        return shape_body(msgspec.json.encode(message), self.counts.simulate.quirks)

    def events(self) -> Events:
        """The answer as a stream."""
        events = MessageEvents(self)
        quirks = self.counts.simulate.quirks
        return ShapedEvents(events, quirks, MESSAGE_STOP) if quirks else events


def _tool_input(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        # A limit cut the arguments.
        return {"partial": arguments}


def _block(passage: Passage, text: str) -> dict[str, Any]:
    if passage.kind == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": ""}
    if passage.kind == "text":
        return {"type": "text", "text": text}
    return {"type": "tool_use", "id": f"toolu_{passage.call}", "name": passage.tool, "input": {}}


MESSAGE_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_DELTA: Final = {
    "reasoning": b'{"type":"thinking_delta","thinking":%b}',
    "text": b'{"type":"text_delta","text":%b}',
    "tool": b'{"type":"input_json_delta","partial_json":%b}',
}


class MessageEvents:
    """The events of a message's stream, each as its `event:` line, its `data:` line and its blank line."""

    def __init__(self, answer: MessageAnswer) -> None:
        self._answer = answer
        self._counts = answer.counts
        self._report = answer.counts.simulate.usage_report
        # Number of blocks that stand before the first segment.
        self._blocks_before = 1 if answer.hides_thinking else 0

    def head(self) -> bytes:
        """The start of the message, a ping, and the thinking block that shows no thinking."""
        usage = messages_usage(self._counts, min(1, self._counts.output_tokens), added=False)
        if self._report.place == "zeros_until_end":
            usage = {"input_tokens": 0, "output_tokens": 0}
        message = self._answer.opening([], None, usage)
        head = _event("message_start", {"type": "message_start", "message": message}) + _PING
        if self._answer.hides_thinking:
            head += _start(0, {"type": "thinking", "thinking": "", "signature": ""}) + _signature(0) + _stop(0)
        return head

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them."""
        events = []
        for passage in self._counts.passages(start, count):
            index = self._blocks_before + passage.segment
            if passage.first:
                events.append(_start(index, _block(passage, "")))
                if passage.kind == "tool":
                    events.append(_delta(index, "tool", ""))
            if passage.text:
                events.append(_delta(index, passage.kind, passage.text))
            if passage.last:
                if passage.kind == "reasoning":
                    events.append(_signature(index))
                events.append(_stop(index))
        return b"".join(events)

    def end(self) -> bytes:
        """The usage, the reason of the end, and the end."""
        usage: dict[str, Any] | None = messages_usage(self._counts, self._counts.output_tokens)
        end = b""
        if self._report.place == "none":
            usage = None
        elif self._report.place == "twice":
            # The first of two reports is early, and its nulls keep the counts that were said before.
            early = {"output_tokens": min(1, self._counts.output_tokens), "input_tokens": None, "cache_read_input_tokens": None}
            end += self._message_delta(None, early)
        return end + self._message_delta(self._answer.stop_reason, usage) + MESSAGE_STOP

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        return b"event: error\ndata: %b\n\n" % body

    def _message_delta(self, stop_reason: str | None, usage: dict[str, Any] | None) -> bytes:
        event: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}}
        if usage is not None:
            # How a cache write splits is said at the start only.
            event["usage"] = {name: value for name, value in usage.items() if name not in ("cache_creation", "service_tier")}
        return _event("message_delta", event)


def _start(index: int, block: dict[str, Any]) -> bytes:
    return _event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})


def _stop(index: int) -> bytes:
    return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index


def _signature(index: int) -> bytes:
    delta = {"type": "signature_delta", "signature": _SIGNATURE}
    return _event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})


def _delta(index: int, kind: str, text: str) -> bytes:
    delta = _DELTA[kind] % msgspec.json.encode(text)
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (index, delta)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


def plan_message(request: MessagesRequest, message_id: str) -> MessageAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    input_tokens = request.counted_tokens + _other_input(simulate) + simulate.added_input_tokens
    return MessageAnswer(count(simulate, input_tokens, request.output_tokens_max), message_id, request.model)
