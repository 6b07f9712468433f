"""Answers of Anthropic's messages: read as events of no dialect, and told from them. Pure."""

from typing import Any, Final

from services.edge.dialects.anthropic_messages.answer import usage_of
from services.edge.dialects.anthropic_messages.problems import problem_body
from services.edge.dialects.json_text import encode
from services.edge.dialects.translation.answers.wire import data_of, new_id
from services.edge.dialects.translation.arguments import arguments_of
from services.edge.dialects.translation.proofs import Proof, ProofKind
from services.edge.dialects.translation.refusals import json_of
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
from services.edge.dialects.typed_events import Tree, event_of
from services.edge.http.problems import Problem
from services.token_classes import Vector

_REASONS: Final = {
    "max_tokens": Stop.LIMIT,
    "model_context_window_exceeded": Stop.CONTEXT,
    "stop_sequence": Stop.SEQUENCE,
    "tool_use": Stop.CALLS,
    "refusal": Stop.FILTER,
    # The vendor would go on if it were asked again.
    "pause_turn": Stop.LIMIT,
}
_WORDS: Final = {
    Stop.DONE: "end_turn",
    Stop.SEQUENCE: "stop_sequence",
    Stop.LIMIT: "max_tokens",
    Stop.CONTEXT: "model_context_window_exceeded",
    Stop.CALLS: "tool_use",
    Stop.FILTER: "refusal",
}
# Members of deltas that are pieces of a block.
_PIECES: Final = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_EVENT: Final = b"event: content_block_delta\ndata: "
_STOP: Final = event_of("message_stop", b'{"type":"message_stop"}')


class MessagesReader:
    """See `Reader`."""

    def __init__(self) -> None:
        self._signatures: dict[Any, Proof] = {}
        self._open: set[Any] = set()

    def read(self, out: bytes) -> list[Told]:
        """See `Reader`."""
        told: list[Told] = []
        for event in data_of(out):
            match event.get("type"):
                case "content_block_delta" if (key := event.get("index")) in self._open:
                    self._delta(key, event["delta"], told)
                case "content_block_start":
                    self._start(event.get("index"), event["content_block"], told)
                case "content_block_stop" if (key := event.get("index")) in self._open:
                    self._open.remove(key)
                    told.append(Done(key, self._signatures.pop(key, None)))
                case "message_delta" if (delta := event.get("delta")) and (reason := delta.get("stop_reason")):
                    # Some vendors tell a count in an event of its own, without a delta.
                    told.append(Stopped(_REASONS.get(reason, Stop.DONE), delta.get("stop_sequence")))
        return told

    def _start(self, key: Any, block: Tree, told: list[Told]) -> None:
        match block.get("type"):
            case "text":
                told.append(Begun(key, Kind.TEXT))
                text = block.get("text")
            case "thinking":
                told.append(Begun(key, Kind.THOUGHT))
                text = block.get("thinking")
                if type(signature := block.get("signature")) is str and signature:
                    self._signatures[key] = Proof(ProofKind.SIGNATURE, signature)
            case "redacted_thinking":
                told.append(Begun(key, Kind.THOUGHT))
                text = ""
                self._signatures[key] = Proof(ProofKind.REDACTED, str(block.get("data", "")))
            case "tool_use":
                told.append(Begun(key, Kind.CALL, str(block["id"]), str(block["name"])))
                # Some vendors tell it whole.
                text = json_of(block["input"]) if block.get("input") else ""
            case _:
                # A vendor's own block: it runs no tools for a translated call, so that none has a meaning.
                return
        self._open.add(key)
        if type(text) is str and text:
            told.append(Piece(key, text))

    def _delta(self, key: Any, delta: Tree, told: list[Told]) -> None:
        kind = delta.get("type")
        if kind in _PIECES:
            if type(text := delta.get(_PIECES[kind])) is str:
                told.append(Piece(key, text))
        elif kind == "signature_delta" and type(signature := delta.get("signature")) is str:
            self._signatures[key] = Proof(ProofKind.SIGNATURE, signature)


class MessagesTelling(Telling):
    """See `Telling`."""

    # Index of the next content block: a call's proof is a block of its own.
    _index = 0
    _refused = Stopped(Stop.FILTER)

    def interrupted(self, problem: Problem, charging_id: str, *, is_unsent: bool) -> bytes:
        """See `Telling`."""
        body = problem_body(problem, charging_id)
        return event_of("error", body) if self._streamed else body

    def _begin(self) -> bytes:
        # The input is counted at the end: the last event has it.
        usage = {"input_tokens": 0, "output_tokens": 0}
        message = self._message([], None, None, usage)
        return event_of("message_start", encode({"type": "message_start", "message": message}))

    def _open(self, block: Block) -> bytes:
        before = b""
        if block.proof is not None and block.kind in CALLS:
            before = self._started({"type": "redacted_thinking", "data": self._seal.close(block.proof)}) + self._stopped_block()
        if block.kind in CALLS:
            begun: Tree = {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
        elif block.kind is Kind.THOUGHT:
            begun = {"type": "thinking", "thinking": "", "signature": ""}
        else:
            begun = {"type": "text", "text": ""}
        return before + self._started(begun)

    def _started(self, block: Tree) -> bytes:
        event = {"type": "content_block_start", "index": self._index, "content_block": block}
        return event_of("content_block_start", encode(event))

    def _stopped_block(self) -> bytes:
        event = event_of("content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)
        self._set("_index", self._index + 1)
        return event

    def _piece(self, block: Block, text: str) -> bytes:
        if block.kind in CALLS:
            delta = b'{"type":"input_json_delta","partial_json":%b}' % encode(text)
        elif block.kind is Kind.THOUGHT:
            delta = b'{"type":"thinking_delta","thinking":%b}' % encode(text)
        else:
            delta = b'{"type":"text_delta","text":%b}' % encode(text)
        return b'%b{"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (_EVENT, self._index, delta)

    def _close(self, block: Block) -> bytes:
        before = b""
        if block.kind is Kind.THOUGHT and block.proof is not None:
            delta = b'{"type":"signature_delta","signature":%b}' % encode(self._seal.close(block.proof))
            before = b'%b{"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (_EVENT, self._index, delta)
        return before + self._stopped_block()

    def _finish(self, stopped: Stopped, used: Vector) -> bytes:
        delta = {"stop_reason": _WORDS[stopped.stop], "stop_sequence": stopped.sequence}
        event = {"type": "message_delta", "delta": delta, "usage": usage_of(used)}
        return event_of("message_delta", encode(event)) + _STOP

    def _whole(self, stopped: Stopped, used: Vector) -> bytes:
        content: list[Tree] = []
        for block in self._blocks:
            if block.proof is not None and block.kind in CALLS:
                content.append({"type": "redacted_thinking", "data": self._seal.close(block.proof)})
            content.append(self._block(block))
        return encode(self._message(content, _WORDS[stopped.stop], stopped.sequence, usage_of(used)))

    def _block(self, block: Block) -> Tree:
        if block.kind in CALLS:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": arguments_of(block.text)}
        if block.kind is Kind.THOUGHT:
            signature = self._seal.close(block.proof) if block.proof is not None else ""
            return {"type": "thinking", "thinking": block.text, "signature": signature}
        return {"type": "text", "text": block.text}

    def _message(self, content: list[Tree], reason: str | None, sequence: str | None, usage: Tree) -> Tree:
        return {
            "id": f"msg_{new_id()}",
            "type": "message",
            "role": "assistant",
            "model": self._model_id,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage,
        }
