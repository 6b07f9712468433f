"""OpenAI's responses: the answer whole and as a stream of typed events."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.vendor_simulator.answer import CountedAnswer, Events, Passage, count
from services.vendor_simulator.quirks import ShapedEvents, shape_body
from services.vendor_simulator.responses_request import ResponsesRequest
from services.vendor_simulator.usage import responses_usage

Tree = dict[str, Any]
# Encrypted thought takes about this many letters a token.
_ENCRYPTED: Final = "gAAAAABs"
# Kinds of events of a segment's text: the beginning of their type, and the member that has the whole text.
_TEXTS: Final = {
    "reasoning": ("response.reasoning_summary_text", "text"),
    "text": ("response.output_text", "text"),
    "tool": ("response.function_call_arguments", "arguments"),
}


class ResponseAnswer(CountedAnswer, frozen=True):
    """The answer to one call."""

    request: ResponsesRequest
    number: str
    # Unix time.
    created_s: int

    @property
    def is_cut(self) -> bool:
        """Whether a limit cut the output."""
        return self.counts.finish == "length"

    @property
    def hides_reasoning(self) -> bool:
        """Whether the answer begins with thought that nobody can read."""
        return bool(self.counts.silent_tokens)

    def response(self, status: str, output: list[Tree], usage: Tree | None) -> Tree:
        """The response object."""
        request = self.request
        is_cut = status == "incomplete"
        return {
            "id": f"resp_{self.number}",
            "object": "response",
            "created_at": self.created_s,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": {},
            "model": request.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": request.store is not False,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": request.tools or [],
            "top_p": 1.0,
            "usage": usage,
            "user": request.user,
        }

    def ended(self) -> Tree:
        """The response at its end."""
        usage = responses_usage(self.counts) if self.counts.simulate.usage_report.place != "none" else None
        output = [self.hidden()] if self.hides_reasoning else []
        passages = list(self.counts.passages(0, self.visible_tokens))
        output += [self.item(each, each.text, is_done=not self.is_cut or each is not passages[-1]) for each in passages]
        return self.response("incomplete" if self.is_cut else "completed", output, usage)

    def hidden(self) -> Tree:
        """The item of thought that nobody can read."""
        return self._reasoning([], self.counts.silent_tokens)

    def item(self, passage: Passage, text: str, *, is_done: bool) -> Tree:
        """A segment's item with its text so far."""
        place = f"{self.number}_{passage.segment}"
        status = "completed" if is_done else "incomplete"
        match passage.kind:
            case "reasoning":
                return self._reasoning([{"type": "summary_text", "text": text}], self.counts.reasoning_tokens)
            case "text":
                content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
                return {"type": "message", "id": f"msg_{place}", "status": status, "role": "assistant", "content": content}
            case "tool":
                call = {"call_id": f"call_{passage.call}", "name": passage.tool, "arguments": text}
                return {"type": "function_call", "id": f"fc_{place}", "status": status, **call}

    def _reasoning(self, summary: list[Tree], tokens: int) -> Tree:
        item: Tree = {"type": "reasoning", "id": f"rs_{self.number}", "summary": summary}
        return item | {"encrypted_content": _ENCRYPTED * tokens} if self.request.wants_encrypted else item

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        return shape_body(msgspec.json.encode(self.ended()), self.counts.simulate.quirks)

    def events(self) -> Events:
        """The answer as a stream."""
        events = ResponseEvents(self)
        quirks = self.counts.simulate.quirks
        return ShapedEvents(events, quirks, b"") if quirks else events


class ResponseEvents:
    """The events of a response's stream, each as its `event:` line, its `data:` line and its blank line."""

    def __init__(self, answer: ResponseAnswer) -> None:
        self._answer = answer
        self._numbers = itertools.count()
        # Number of items that stand before the first segment.
        self._items_before = 1 if answer.hides_reasoning else 0
        # The text of the segment under way.
        self._pieces: list[str] = []

    def head(self) -> bytes:
        """The start of the response, and the item of thought that nobody can read."""
        begun = self._answer.response("in_progress", [], None)
        events = self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)
        if self._answer.hides_reasoning:
            item = self._answer.hidden()
            begun = {name: value for name, value in item.items() if name != "encrypted_content"}
            events += self._event("response.output_item.added", output_index=0, item=begun)
            events += self._event("response.output_item.done", output_index=0, item=item)
        return events

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them."""
        return b"".join(event for passage in self._answer.counts.passages(start, count) for event in self._passage(passage))

    def end(self) -> bytes:
        """The end, with the whole output and the usage."""
        ended = self._answer.ended()
        return self._event(f"response.{ended['status']}", response=ended)

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        error = msgspec.json.decode(body)["error"]
        failed = self._answer.response("failed", [], None) | {"error": {"code": error["code"], "message": error["message"]}}
        return self._event("response.failed", response=failed)

    def _passage(self, passage: Passage) -> Iterator[bytes]:
        answer = self._answer
        index = self._items_before + passage.segment
        begin, member = _TEXTS[passage.kind]
        place: Tree = {"item_id": answer.item(passage, "", is_done=False)["id"], "output_index": index}
        part_begin = "response.reasoning_summary_part" if passage.kind == "reasoning" else "response.content_part"
        parts = {"reasoning": "summary", "text": "content"}.get(passage.kind)
        if parts is not None:
            place[f"{parts}_index"] = 0
        more: Tree = {"logprobs": []} if passage.kind == "text" else {}
        if passage.first:
            self._pieces.clear()
            empty = answer.item(passage, "", is_done=False)
            begun = {name: [] if name == parts else value for name, value in empty.items() if name != "encrypted_content"}
            if "status" in begun:
                begun["status"] = "in_progress"
            yield self._event("response.output_item.added", output_index=index, item=begun)
            if parts is not None:
                yield self._event(f"{part_begin}.added", **place, part=empty[parts][0])
        if passage.text:
            self._pieces.append(passage.text)
            yield self._event(f"{begin}.delta", **place, delta=passage.text, **more)
        if not passage.last:
            return
        text = "".join(self._pieces)
        whole = answer.item(
            passage, text, is_done=not (answer.is_cut and index + 1 == self._items_before + len(answer.counts.segments))
        )
        if passage.kind == "tool":
            more = {"name": passage.tool}
        yield self._event(f"{begin}.done", **place, **{member: text}, **more)
        if parts is not None:
            yield self._event(f"{part_begin}.done", **place, part=whole[parts][0])
        yield self._event("response.output_item.done", output_index=index, item=whole)

    def _event(self, kind: str, **members: Any) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": next(self._numbers), **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def plan_response(request: ResponsesRequest, number: str, created_s: int) -> ResponseAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    others = simulate.modalities.image_input_tokens + simulate.modalities.audio_input_tokens + simulate.added_input_tokens
    counts = count(simulate, request.counted_tokens + others, request.output_tokens_max)
    return ResponseAnswer(counts, request, number, created_s)
