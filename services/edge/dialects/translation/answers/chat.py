"""Answers of OpenAI's chat completions: read as events of no dialect, and told from them. Pure."""

from collections.abc import Hashable
from typing import Any, Final

from services.edge.dialects.chat.answer import with_usage
from services.edge.dialects.json_text import encode
from services.edge.dialects.openai_usage import usage_object
from services.edge.dialects.translation.answers.wire import data_of, new_id
from services.edge.dialects.translation.arguments import is_object
from services.edge.dialects.translation.conversation import Conversation
from services.edge.dialects.translation.proofs import Proof, ProofKind, Seal
from services.edge.dialects.translation.telling import (
    CALLS,
    Begun,
    Block,
    Done,
    Kind,
    Piece,
    Stop,
    Stopped,
    Telling,
    Told,
)
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import Problem, problem_body
from services.token_classes import Vector

_REASONS: Final = {
    "length": Stop.LIMIT,
    "tool_calls": Stop.CALLS,
    "function_call": Stop.CALLS,
    "content_filter": Stop.FILTER,
}
_WORDS: Final = {Stop.LIMIT: "length", Stop.CONTEXT: "length", Stop.CALLS: "tool_calls", Stop.FILTER: "content_filter"}
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
# The thought itself is the proof.
_THOUGHT_ITSELF: Final = Proof(ProofKind.THOUGHT)
_DONE: Final = b"data: [DONE]\n\n"


class ChatReader:
    """See `Reader`. No piece tells the end of a call: it is done once its arguments are whole and another block begins."""

    def __init__(self) -> None:
        # The block of words that is open; calls that are open, with their pieces so far.
        self._words: tuple[int, Kind] | None = None
        self._calls: dict[Hashable, list[str]] = {}
        self._blocks = 0

    def read(self, out: bytes) -> list[Told]:
        """See `Reader`."""
        told: list[Told] = []
        for chunk in data_of(out):
            for choice in chunk["choices"]:
                if choice["index"]:
                    # One answer was asked for: another one counts, and nobody is told it.
                    continue
                delta = choice["delta"]
                for name in _THOUGHTS:
                    if (text := delta.get(name)) and type(text) is str:
                        self._say(Kind.THOUGHT, text, told)
                        break
                if (text := delta.get("content")) and type(text) is str:
                    self._say(Kind.TEXT, text, told)
                if (text := delta.get("refusal")) and type(text) is str:
                    self._say(Kind.REFUSAL, text, told)
                for piece in delta.get("tool_calls") or ():
                    self._call(piece, told)
                if (reason := choice.get("finish_reason")) is not None:
                    self._end_words(told)
                    told.append(Stopped(_REASONS.get(reason, Stop.DONE)))
        return told

    def _say(self, kind: Kind, text: str, told: list[Told]) -> None:
        if self._words is None or self._words[1] is not kind:
            self._end_words(told)
            self._end_calls(told)
            self._words = self._blocks, kind
            told.append(Begun(self._blocks, kind))
            self._blocks += 1
        told.append(Piece(self._words[0], text))

    def _end_words(self, told: list[Told]) -> None:
        if self._words is not None:
            key, kind = self._words
            told.append(Done(key, _THOUGHT_ITSELF if kind is Kind.THOUGHT else None))
            self._words = None

    def _end_calls(self, told: list[Told]) -> None:
        for key, pieces in list(self._calls.items()):
            if is_object("".join(pieces)):
                told.append(Done(key))
                del self._calls[key]

    def _call(self, piece: Tree, told: list[Told]) -> None:
        kind = "custom" if "custom" in piece else "function"
        function = piece.get(kind) or {}
        key = "call", piece["index"]
        if piece.get("id"):
            self._end_words(told)
            self._end_calls(told)
            proof = _signature(piece)
            told.append(Begun(key, Kind.CALL, piece["id"], str(function.get("name") or ""), proof))
            self._calls[key] = []
        text = function.get("arguments") or function.get("input")
        if not text or type(text) is not str:
            return
        if key not in self._calls and not text.strip():
            # White space after the end.
            return
        if key in self._calls:
            self._calls[key].append(text)
        told.append(Piece(key, text))


def _signature(piece: Tree) -> Proof | None:
    """Gemini's proof of the thought that led to a call."""
    place: Any = piece
    for name in ("extra_content", "google", "thought_signature"):
        place = place.get(name) if type(place) is dict else None
    return Proof(ProofKind.CALL, place) if type(place) is str else None


class ChatTelling(Telling):
    """See `Telling`. A chat has no field for proofs of thought, so none is told."""

    def __init__(self, model_id: str, seal: Seal, conversation: Conversation, *, streamed: bool) -> None:
        super().__init__(model_id, seal, streamed=streamed)
        self._include_usage = conversation.include_usage
        self.tells_usage = with_usage if conversation.continuous_usage else None
        # The begin of every chunk.
        self._chunk_head = b""
        # Calls so far.
        self._calls = 0

    def interrupted(self, problem: Problem, charging_id: str, *, is_unsent: bool) -> bytes:
        """See `Telling`."""
        body = problem_body(problem)
        return b"data: %b\n\n" % body if self._streamed else body

    def _chunk(self, delta: bytes, reason: bytes = b"null") -> bytes:
        return b'%b"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (self._chunk_head, delta, reason)

    def _identity(self, kind: str) -> Tree:
        return {"id": f"chatcmpl-{new_id()}", "object": kind, "created": 0, "model": self._model_id}

    def _begin(self) -> bytes:
        self._chunk_head = b"data: %b," % encode(self._identity("chat.completion.chunk"))[:-1]
        return self._chunk(b'{"role":"assistant","content":""}')

    def _open(self, block: Block) -> bytes:
        if block.kind not in CALLS:
            return b""
        call = {"index": self._calls, **_call_of(block, "")}
        self._set("_calls", self._calls + 1)
        return self._chunk(encode({"tool_calls": [call]}))

    def _piece(self, block: Block, text: str) -> bytes:
        match block.kind:
            case Kind.TEXT:
                return self._chunk(b'{"content":%b}' % encode(text))
            case Kind.THOUGHT:
                return self._chunk(b'{"reasoning_content":%b}' % encode(text))
            case Kind.REFUSAL:
                return self._chunk(b'{"refusal":%b}' % encode(text))
            case Kind.CUSTOM_CALL:
                delta = b'{"tool_calls":[{"index":%d,"custom":{"input":%b}}]}'
            case Kind.CALL:
                delta = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}'
        return self._chunk(delta % (self._calls - 1, encode(text)))

    def _close(self, block: Block) -> bytes:
        # No arguments are an empty object here.
        return self._piece(block, "{}") if block.kind is Kind.CALL and block.is_empty and not block.is_cut else b""

    def _finish(self, stopped: Stopped, used: Vector) -> bytes:
        out = self._chunk(b"{}", encode(_WORDS.get(stopped.stop, "stop")))
        if self.tells_usage is not None:
            out = self.tells_usage(out, used)
        if self._include_usage:
            usage = encode(usage_object(used, "prompt", "completion"))
            out += b'%b"choices":[],"usage":%b}\n\n' % (self._chunk_head, usage)
        return out + _DONE

    def _whole(self, stopped: Stopped, used: Vector) -> bytes:
        message: Tree = {"role": "assistant", "content": None, "refusal": None}
        for name, kind in (("content", Kind.TEXT), ("refusal", Kind.REFUSAL), ("reasoning_content", Kind.THOUGHT)):
            texts = [block.text for block in self._blocks if block.kind is kind]
            if texts:
                message[name] = "".join(texts)
        calls = [_call_of(block, _arguments(block)) for block in self._blocks if block.kind in CALLS]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _WORDS.get(stopped.stop, "stop")}
        return encode(
            {**self._identity("chat.completion"), "choices": [choice], "usage": usage_object(used, "prompt", "completion")}
        )


def _call_of(block: Block, arguments: str) -> Tree:
    if block.kind is Kind.CUSTOM_CALL:
        return {"id": block.call_id, "type": "custom", "custom": {"name": block.name, "input": arguments}}
    return {"id": block.call_id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _arguments(block: Block) -> str:
    return block.text or ("{}" if block.kind is Kind.CALL and not block.is_cut else "")
