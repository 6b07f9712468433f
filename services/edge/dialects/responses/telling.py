"""Events that the edge itself writes: the end of items that were cut, and a whole answer as a stream. Pure."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from services.edge.dialects.responses.names import ITEM_EVENT, PART_EVENTS, TEXTS, Place
from services.edge.dialects.responses.output import Item, Output
from services.edge.dialects.typed_events import Tree

# Events that tell a text of a part, by its list and the name of the text; of an item, by the name alone.
_OF_PART: Final = {
    ("content", "output_text"): "response.output_text",
    ("content", "refusal"): "response.refusal",
    ("content", "reasoning_text"): "response.reasoning_text",
    ("summary", "summary_text"): "response.reasoning_summary_text",
}
_OF_ITEM: Final = {"function_call": "response.function_call_arguments", "custom_tool_call": "response.custom_tool_call_input"}
_PARTS: Final = {parts: (begin, member) for begin, (parts, member) in PART_EVENTS.items()}


def new_response(model_id: str) -> Tree:
    """A response of which nothing is known yet, without its output."""
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model_id,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def closing(output: Output) -> list[Tree]:
    """The events that end what has begun: open texts, their parts, their items. The items are incomplete then."""
    events: list[Tree] = []
    for index in sorted(output.items):
        item = output.items[index]
        if () not in item.done:
            events += _ends(item, index)
            if item.tree.get("status") == "in_progress":
                item.put(("status",), "incomplete")
            events.append({"type": f"{ITEM_EVENT}.done", "output_index": index, "item": item.tree})
    return events


def opening(output: list[Any]) -> list[Tree]:
    """The events that tell an output from its begin to its end."""
    events: list[Tree] = []
    for index, tree in enumerate(output):
        if not isinstance(tree, dict):
            continue
        item = Item(tree)
        events.append({"type": f"{ITEM_EVENT}.added", "output_index": index, "item": _begun(tree)})
        events += _pieces(item, index)
        events.append({"type": f"{ITEM_EVENT}.done", "output_index": index, "item": tree})
    return events


def _begun(tree: Tree) -> Tree:
    """An item before its parts and its text are told."""
    begun = {name: [] if name in _PARTS and isinstance(value, list) else value for name, value in tree.items()}
    if (begin := _OF_ITEM.get(str(tree.get("type")))) is not None:
        begun[TEXTS[begin][2]] = ""
    return {**begun, "status": "in_progress"} if "status" in tree else begun


def _pieces(item: Item, index: int) -> Iterator[Tree]:
    """The events within an item, each text in one piece."""
    for head, begin, place, text in _texts(item, index):
        list_name, member, name = place
        part = item.at((list_name, head[member])) if list_name else None
        if part is not None:
            yield {"type": f"{_PARTS[list_name][0]}.added", **head, "part": {**part, name: ""}}
        yield {"type": f"{begin}.delta", **head, "delta": text, **_logprobs(begin)}
        yield from _end(item, head, begin, place, text)


def _ends(item: Item, index: int) -> Iterator[Tree]:
    """The ends of the texts and parts of an item that are not told yet."""
    for head, begin, place, text in _texts(item, index):
        yield from _end(item, head, begin, place, text)


def _end(item: Item, head: Tree, begin: str, place: Place, text: str) -> Iterator[Tree]:
    list_name, member, name = place
    steps = (list_name, head[member], name) if list_name else (name,)
    if steps not in item.done:
        more = {"name": item.at(("name",))} if begin == _OF_ITEM["function_call"] else _logprobs(begin)
        yield {"type": f"{begin}.done", **head, name: text, **more}
    if list_name and steps[:2] not in item.done:
        yield {"type": f"{_PARTS[list_name][0]}.done", **head, "part": item.at(steps[:2])}


def _texts(item: Item, index: int) -> Iterator[tuple[Tree, str, Place, str]]:
    """The texts of an item: the members of their events, the beginning of these events' type, the place, the text."""
    tree = item.tree
    head: Tree = {"item_id": tree.get("id", ""), "output_index": index}
    begin = _OF_ITEM.get(str(tree.get("type")))
    if begin is not None and isinstance(text := tree.get(TEXTS[begin][2]), str):
        yield head, begin, TEXTS[begin], text
    for list_name in ("summary", "content"):
        parts = tree.get(list_name)
        for at, part in enumerate(parts if isinstance(parts, list) else ()):
            begin = _OF_PART.get((list_name, str(part.get("type")))) if isinstance(part, dict) else None
            if begin is not None and isinstance(text := part.get(TEXTS[begin][2]), str):
                yield {**head, TEXTS[begin][1]: at}, begin, TEXTS[begin], text


def _logprobs(begin: str) -> Tree:
    """The member that the official SDKs read of every text."""
    return {"logprobs": []} if begin == "response.output_text" else {}
