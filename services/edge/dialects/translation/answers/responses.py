"""Answers of OpenAI's responses: read as events of no dialect, and told from them. Pure."""

from collections.abc import Hashable, Sequence
from typing import Any, Final

from services.edge.dialects.json_text import encode
from services.edge.dialects.responses.answer import usage_of
from services.edge.dialects.responses.names import (
    COMPLETED,
    CREATED,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    ITEM_EVENT,
    LIMIT,
    TEXT_DELTA,
)
from services.edge.dialects.responses.telling import new_response
from services.edge.dialects.translation.answers.wire import data_of, new_id
from services.edge.dialects.translation.arguments import input_of
from services.edge.dialects.translation.conversation import Tool
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
from services.edge.dialects.typed_events import Tree, event_of
from services.edge.http.problems import SERVER_ERROR, Problem, problem_body
from services.token_classes import Vector

_FILTER: Final = "content_filter"
# Kinds of pieces: the list that their part is in, the member with its place there, and the kind of block.
_PIECES: Final = {
    "response.output_text.delta": ("content_index", Kind.TEXT),
    "response.refusal.delta": ("content_index", Kind.REFUSAL),
    "response.reasoning_summary_text.delta": ("summary_index", Kind.THOUGHT),
    "response.reasoning_text.delta": ("content_index", Kind.THOUGHT),
    "response.function_call_arguments.delta": ("", Kind.CALL),
    "response.custom_tool_call_input.delta": ("", Kind.CUSTOM_CALL),
}
_ITEMS: Final = {"reasoning": Kind.THOUGHT, "function_call": Kind.CALL, "custom_tool_call": Kind.CUSTOM_CALL}
_PART_KINDS: Final = {"output_text": (Kind.TEXT, "text"), "refusal": (Kind.REFUSAL, "refusal")}
_BLANK_LINE: Final = "\n\n"


class ResponsesReader:
    """See `Reader`. A text that is told in no pieces is taken from its item."""

    def __init__(self) -> None:
        # Blocks of each item by its index that are open, in order, with the part that spoke last.
        self._open: dict[Any, dict[Hashable, Any]] = {}
        self._has_spoken: set[Any] = set()
        self._done: set[Any] = set()

    def read(self, out: bytes) -> list[Told]:
        """See `Reader`."""
        told: list[Told] = []
        for event in data_of(out):
            kind = event["type"]
            if kind in _PIECES:
                self._piece(event, *_PIECES[kind], told)
            elif kind == "response.output_item.added":
                self._begin(event["output_index"], event["item"], told)
            elif kind == "response.output_item.done":
                self._end(event["output_index"], event["item"], told)
            elif kind in (COMPLETED, INCOMPLETE):
                response = event["response"]
                for index, item in enumerate(response.get("output") or ()):
                    self._end(index, item, told)
                told.append(Stopped(_stop_of(response)))
        return told

    def _begin(self, index: Any, item: Any, told: list[Told]) -> None:
        # An item may turn out to be of another kind than it was begun as.
        if self._open.get(index) or index in self._done or type(item) is not dict:
            return
        blocks = self._open[index] = {}
        kind = _ITEMS.get(str(item.get("type")))
        if kind is not None:
            blocks[index] = None
            told.append(Begun(index, kind, str(item.get("call_id", "")), str(item.get("name", ""))))

    def _piece(self, event: Tree, member: str, kind: Kind, told: list[Told]) -> None:
        index, text = event["output_index"], event["delta"]
        blocks = self._open.setdefault(index, {})
        if index in self._done or type(text) is not str:
            return
        place = event.get(member) if member else None
        key: Hashable = (index, place) if kind in (Kind.TEXT, Kind.REFUSAL) else index
        if key not in blocks:
            blocks[key] = place
            told.append(Begun(key, kind))
        elif blocks[key] is not None and blocks[key] != place:
            # Another part of a summary.
            told.append(Piece(key, _BLANK_LINE))
        blocks[key] = place
        self._has_spoken.add(index)
        told.append(Piece(key, text))

    def _end(self, index: Any, item: Any, told: list[Told]) -> None:
        if index in self._done or type(item) is not dict:
            return
        self._begin(index, item, told)
        if index not in self._has_spoken:
            self._tell(index, item, told)
        proof = item.get("encrypted_content") if item.get("type") == "reasoning" else None
        for key in self._open.pop(index, {}):
            told.append(Done(key, Proof(ProofKind.ENCRYPTED, proof) if type(proof) is str and proof else None))
        self._done.add(index)

    def _tell(self, index: Any, item: Tree, told: list[Told]) -> None:
        """Tells the texts of an item that no piece told."""
        match item.get("type"):
            case "function_call" | "custom_tool_call" as kind:
                text = item.get("arguments" if kind == "function_call" else "input")
                told += [Piece(index, text)] if type(text) is str and text else []
            case "reasoning":
                texts = [str(each.get("text", "")) for each in _listed(item.get("summary")) if type(each) is dict]
                told += [Piece(index, _BLANK_LINE.join(texts))] if texts else []
            case "message":
                for place, part in enumerate(_listed(item.get("content"))):
                    known = _PART_KINDS.get(str(part.get("type"))) if type(part) is dict else None
                    if known is not None and type(text := part.get(known[1])) is str and text:
                        self._open[index][index, place] = place
                        told += [Begun((index, place), known[0]), Piece((index, place), text)]


def _listed(value: Any) -> list[Any]:
    """The elements of a list; none of any other value."""
    return value if type(value) is list else []


def _stop_of(response: Tree) -> Stop:
    if response.get("status") != "incomplete":
        return Stop.DONE
    details = response.get("incomplete_details")
    return Stop.FILTER if type(details) is dict and details.get("reason") == _FILTER else Stop.LIMIT


class ResponsesTelling(Telling):
    """See `Telling`. The last event tells the whole output again."""

    _tells_again = True

    def __init__(self, model_id: str, seal: Seal, *, streamed: bool, tools: Sequence[Tool]) -> None:
        """`tools`: those of the request, custom ones and grouped ones among them, which are plain functions elsewhere."""
        super().__init__(model_id, seal, streamed=streamed)
        self._custom = {tool.name for tool in tools if tool.is_custom}
        self._groups = {tool.name: tool.group for tool in tools if tool.group is not None}
        # Made once it is told; item IDs are made of its own.
        self._response: Tree = {}
        self._id = ""
        self._number = 0
        # Items whose end was told.
        self._output: list[Tree] = []
        # The begin of each piece of the open text.
        self._text_head = b""
        # Whether the open thought has a summary.
        self._has_summary = False

    def interrupted(self, problem: Problem, charging_id: str, *, is_unsent: bool) -> bytes:
        """See `Telling`. Numbers go on rising."""
        if not self._streamed:
            return problem_body(problem)
        number = self._number
        if is_unsent:
            self.take_back()
        self._number = number
        if not self._response:
            self._identify()
        error = {"code": problem.code or SERVER_ERROR, "message": problem.message}
        open_ones = [self._item(block, "incomplete") for block in self._blocks[self._head :] if block.is_open]
        output = [*self._output, *open_ones]
        return self._event(FAILED, {"response": {**self._response, "status": "failed", "error": error, "output": output}})

    def _event(self, kind: str, members: Tree) -> bytes:
        event = event_of(kind, encode({"type": kind, "sequence_number": self._number, **members}))
        self._set("_number", self._number + 1)
        return event

    def _identify(self) -> None:
        self._id = new_id()
        self._response = {**new_response(self._model_id), "id": f"resp_{self._id}"}

    def _begin(self) -> bytes:
        self._identify()
        begun = {"response": {**self._response, "output": []}}
        return self._event(CREATED, begun) + self._event(IN_PROGRESS, begun)

    # Items

    def _kind(self, block: Block) -> Kind:
        return Kind.CUSTOM_CALL if block.kind is Kind.CALL and block.name in self._custom else block.kind

    def _text(self, block: Block) -> str:
        """The text of a block: of a function that stands for a custom tool its input."""
        if self._kind(block) is Kind.CUSTOM_CALL and block.kind is Kind.CALL:
            return input_of(block.text)
        return block.text

    def _item_id(self, block: Block) -> str:
        prefix = {Kind.THOUGHT: "rs", Kind.CALL: "fc", Kind.CUSTOM_CALL: "ctc"}.get(self._kind(block), "msg")
        return f"{prefix}_{self._id}{block.index:04x}"

    def _item(self, block: Block, status: str) -> Tree:
        """The item of a block: at its begin, or with all of its text."""
        is_begun = status == "in_progress"
        text = "" if is_begun else self._text(block)
        match self._kind(block):
            case Kind.THOUGHT:
                summary = [{"type": "summary_text", "text": text}] if text else []
                item: Tree = {"id": self._item_id(block), "type": "reasoning", "summary": summary}
                if not is_begun:
                    item["encrypted_content"] = self._seal.close(block.proof) if block.proof is not None else None
                return item
            case Kind.CALL:
                arguments = text or ("" if is_begun or block.is_cut else "{}")
                return self._call(block, status, "function_call", "arguments", arguments)
            case Kind.CUSTOM_CALL:
                return self._call(block, status, "custom_tool_call", "input", text)
        content = [] if is_begun else [_part(block.kind, text)]
        return {"id": self._item_id(block), "type": "message", "status": status, "role": "assistant", "content": content}

    def _call(self, block: Block, status: str, kind: str, member: str, text: str) -> Tree:
        call: Tree = {"id": self._item_id(block), "type": kind, "status": status, "call_id": block.call_id, "name": block.name}
        if (group := self._groups.get(block.name)) is not None:
            call["namespace"], call["name"] = group
        return {**call, member: text}

    def _proof_item(self, block: Block) -> Tree | None:
        """An item of thought with the proof of a call, which comes before it."""
        if block.proof is None or block.kind not in CALLS:
            return None
        sealed = self._seal.close(block.proof)
        return {"id": f"rs_{self._id}{block.index:04x}", "type": "reasoning", "summary": [], "encrypted_content": sealed}

    def _add(self, item: Tree) -> bytes:
        """The event of an item that is whole."""
        event = self._event(f"{ITEM_EVENT}.done", {"output_index": len(self._output), "item": item})
        self._undo.append(self._output, item)
        return event

    # Events

    def _open(self, block: Block) -> bytes:
        before = b""
        if (proof := self._proof_item(block)) is not None:
            begun = {**proof, "encrypted_content": None}
            before = self._event(f"{ITEM_EVENT}.added", {"output_index": len(self._output), "item": begun}) + self._add(proof)
        item = self._item(block, "in_progress")
        before += self._event(f"{ITEM_EVENT}.added", {"output_index": len(self._output), "item": item})
        if block.kind in (Kind.TEXT, Kind.REFUSAL):
            before += self._event("response.content_part.added", {**self._at(block), "part": _part(block.kind, "")})
            place = encode({"type": TEXT_DELTA, **self._at(block)})[:-1]
            self._set("_text_head", b'event: %b\ndata: %b,"delta":' % (TEXT_DELTA.encode(), place))
        self._set("_has_summary", False)
        return before

    def _at(self, block: Block) -> Tree:
        """The place of a block's text in an event."""
        place: Tree = {"item_id": self._item_id(block), "output_index": len(self._output)}
        if block.kind is Kind.THOUGHT:
            place["summary_index"] = 0
        elif block.kind in (Kind.TEXT, Kind.REFUSAL):
            place["content_index"] = 0
        return place

    def _piece(self, block: Block, text: str) -> bytes:
        match self._kind(block):
            case Kind.TEXT:
                event = b'%b%b,"sequence_number":%d,"logprobs":[]}\n\n' % (self._text_head, encode(text), self._number)
                self._set("_number", self._number + 1)
                return event
            case Kind.REFUSAL:
                return self._event("response.refusal.delta", {**self._at(block), "delta": text})
            case Kind.THOUGHT:
                before = b""
                if not self._has_summary:
                    self._set("_has_summary", True)
                    part = {"type": "summary_text", "text": ""}
                    before = self._event("response.reasoning_summary_part.added", {**self._at(block), "part": part})
                return before + self._event("response.reasoning_summary_text.delta", {**self._at(block), "delta": text})
            case Kind.CALL:
                return self._event("response.function_call_arguments.delta", {**self._at(block), "delta": text})
            case Kind.CUSTOM_CALL if block.kind is Kind.CUSTOM_CALL:
                return self._event("response.custom_tool_call_input.delta", {**self._at(block), "delta": text})
        # The input of a function that stands for a custom tool is known when its JSON is whole.
        return b""

    def _close(self, block: Block) -> bytes:
        item = self._item(block, "incomplete" if block.is_cut else "completed")
        text, place, kind = self._text(block), self._at(block), self._kind(block)
        out = b""
        match kind:
            case Kind.TEXT | Kind.REFUSAL:
                name = "output_text" if kind is Kind.TEXT else "refusal"
                part = _part(kind, text)
                told = {"text": text, "logprobs": []} if kind is Kind.TEXT else {"refusal": text}
                out = self._event(f"response.{name}.done", {**place, **told})
                out += self._event("response.content_part.done", {**place, "part": part})
            case Kind.THOUGHT if not block.is_empty:
                out = self._event("response.reasoning_summary_text.done", {**place, "text": text})
                part = {"type": "summary_text", "text": text}
                out += self._event("response.reasoning_summary_part.done", {**place, "part": part})
            case Kind.CALL:
                if block.is_empty and item["arguments"]:
                    out = self._event("response.function_call_arguments.delta", {**place, "delta": item["arguments"]})
                done = {**place, "arguments": item["arguments"], "name": item["name"]}
                out += self._event("response.function_call_arguments.done", done)
            case Kind.CUSTOM_CALL:
                if block.kind is Kind.CALL and text:
                    out = self._event("response.custom_tool_call_input.delta", {**place, "delta": text})
                out += self._event("response.custom_tool_call_input.done", {**place, "input": text})
        return out + self._add(item)

    def _ended(self, stopped: Stopped, output: list[Tree], used: Vector) -> tuple[str, Tree]:
        """The kind of the last event, and its response."""
        ended: Tree = {**self._response, "status": "completed", "output": output, "usage": usage_of(used)}
        if stopped.stop in (Stop.LIMIT, Stop.CONTEXT, Stop.FILTER):
            reason = _FILTER if stopped.stop is Stop.FILTER else LIMIT
            return INCOMPLETE, {**ended, "status": "incomplete", "incomplete_details": {"reason": reason}}
        return COMPLETED, ended

    def _finish(self, stopped: Stopped, used: Vector) -> bytes:
        kind, response = self._ended(stopped, self._output, used)
        return self._event(kind, {"response": response})

    def _whole(self, stopped: Stopped, used: Vector) -> bytes:
        self._identify()
        output: list[Tree] = []
        for block in self._blocks:
            if (proof := self._proof_item(block)) is not None:
                output.append(proof)
            output.append(self._item(block, "incomplete" if block.is_cut else "completed"))
        return encode(self._ended(stopped, output, used)[1])


def _part(kind: Kind, text: str) -> Tree:
    if kind is Kind.REFUSAL:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
