"""Requests of Anthropic's messages, written from the neutral form. Pure."""

import re
from hashlib import blake2s
from typing import Any, Final

import msgspec

from services.edge.dialects.anthropic_messages.names import FIELDS
from services.edge.dialects.translation.arguments import arguments_of, as_arguments
from services.edge.dialects.translation.conversation import (
    ASSISTANT,
    INSTRUCTING,
    USER,
    Call,
    Conversation,
    Image,
    Part,
    Result,
    Text,
    Thought,
    Tool,
    Turn,
    is_marked,
)
from services.edge.dialects.translation.pairing import refuse_begun
from services.edge.dialects.translation.proofs import Proof, ProofKind
from services.edge.dialects.translation.refusals import cannot
from services.edge.dialects.translation.requests.tools import as_function, chosen_tools
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed

_MARKS_MAX: Final = 4
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DATA_URL: Final = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+);base64,")
_CACHED: Final = {"type": "ephemeral"}
_NO_SCHEMA: Final = {"type": "object", "properties": {}}
_EFFORTS: Final = {"minimal": "low"}
# The effort of no thinking at all.
_OFF: Final = "none"


def write(conversation: Conversation, view: View) -> tuple[Tree, tuple[str, ...]]:
    """The fields of a request but its model, and the names of the client's fields that cannot be written.

    Errors: `Problem` 400 for what this dialect cannot have.
    """
    refuse_begun(conversation.turns)
    dropped = [name for name in conversation.others if name in FIELDS and name != "simulate"]
    dropped += [name for name in conversation.shared if name not in ("user", "safety_identifier")]
    fields: Tree = {name: value for name, value in conversation.others.items() if name not in dropped}
    fields["max_tokens"] = view.output_limit or view.output_max
    system, messages = _written_turns(conversation.turns, view)
    if not messages:
        raise malformed("messages", "Send at least one message of the user that is not empty.", "invalid_value")
    if system:
        fields["system"] = system
    fields["messages"] = messages
    tools = chosen_tools(conversation)
    if tools:
        fields["tools"] = [_written_tool(as_function(tool)) for tool in tools]
    if (choice := _written_choice(conversation, has_tools=bool(tools))) is not None:
        fields["tool_choice"] = choice
    if conversation.stop:
        fields["stop_sequences"] = conversation.stop
    if conversation.user:
        fields["metadata"] = {"user_id": conversation.user}
    _write_thinking(conversation, fields, dropped)
    _write_sampling(conversation, fields, dropped)
    _check_marks(fields)
    return fields, tuple(dropped)


def _write_thinking(conversation: Conversation, fields: Tree, dropped: list[str]) -> None:
    config: Tree = {}
    effort = conversation.effort
    if effort == _OFF:
        fields["thinking"] = {"type": "disabled"}
    elif effort:
        fields["thinking"] = {"type": "adaptive"}
        config["effort"] = _EFFORTS.get(effort, effort)
    if (form := conversation.format) is not None:
        if form.schema is None:
            dropped.append("output_config.format")
        else:
            config["format"] = {"type": "json_schema", "schema": form.schema}
    if config:
        fields["output_config"] = config


def _write_sampling(conversation: Conversation, fields: Tree, dropped: list[str]) -> None:
    """The temperature is at most 1 here, and free only without thinking."""
    thinks = conversation.effort not in ("", _OFF)
    for name, value in (("temperature", conversation.temperature), ("top_p", conversation.top_p)):
        if value is None:
            continue
        if thinks:
            dropped.append(name)
        elif name == "temperature" and _number(value) > 1:
            fields[name] = 1
            dropped.append(name)
        else:
            fields[name] = value


def _number(value: Any) -> float:
    try:
        return float(bytes(value).decode() if isinstance(value, msgspec.Raw) else value)
    except (TypeError, ValueError):
        # The vendor judges it.
        return 0


def _written_turns(turns: list[Turn], view: View) -> tuple[list[Tree], list[Tree]]:
    """The system's blocks, and the messages: neighbours of one role are one message."""
    system: list[Tree] = []
    messages: list[Tree] = []
    for turn in turns:
        is_system = turn.role in INSTRUCTING
        blocks = [block for part in turn.parts if (block := _block(part, view)) is not None]
        if is_system and not messages:
            system += blocks
            continue
        if is_system:
            # It keeps its place, marked as the system's, because no role stands for it in the middle.
            blocks = [{**block, "text": f"<system>\n{block['text']}\n</system>"} for block in blocks]
        if not blocks:
            continue
        role = ASSISTANT if turn.role == ASSISTANT else USER
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    return system, messages


def _block(part: Part, view: View) -> Tree | None:
    """A content block; None for what is left out: an empty text, thought that is not this vendor's."""
    match part:
        case Text(text):
            return _markable({"type": "text", "text": text}, view, is_marked=part.is_marked) if text else None
        case Image():
            return _written_image(part, view)
        case Thought(text, sealed):
            proof = view.opened(sealed)
            return None if proof is None else _written_thought(text, proof)
        case Call():
            given = part.arguments if not part.is_custom else as_arguments(part.arguments)
            return {"type": "tool_use", "id": _id(part.call_id), "name": part.name, "input": arguments_of(given)}
        case Result():
            return _written_result(part, view)


def _written_result(result: Result, view: View) -> Tree:
    content = [block for part in result.parts if (block := _block(part._replace(is_marked=False), view)) is not None]
    written: Tree = {"type": "tool_result", "tool_use_id": _id(result.call_id), "content": content}
    if result.is_error:
        written["is_error"] = True
    return _markable(written, view, is_marked=is_marked(result))


def _markable(block: Tree, view: View, *, is_marked: bool) -> Tree:
    return {**block, "cache_control": _CACHED} if is_marked and view.has_marks else block


def _written_thought(text: str, proof: Proof) -> Tree | None:
    match proof.kind:
        case ProofKind.SIGNATURE:
            return {"type": "thinking", "thinking": text, "signature": proof.payload}
        case ProofKind.REDACTED:
            return {"type": "redacted_thinking", "data": proof.payload}
    return None


def _written_image(image: Image, view: View) -> Tree:
    url = image.url
    if url.startswith("data:"):
        found = _DATA_URL.match(url)
        if found is None:
            raise cannot(image.where, "The data URL of an image must read data:MEDIA_TYPE;base64,DATA.")
        source = {"type": "base64", "media_type": found.group(1), "data": url[found.end() :]}
    else:
        source = {"type": "url", "url": url}
    return _markable({"type": "image", "source": source}, view, is_marked=image.is_marked)


def _id(call_id: str) -> str:
    """An ID as this dialect takes it; another one is replaced by its digest."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"toolu_{blake2s(call_id.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _written_tool(tool: Tool) -> Tree:
    schema = tool.schema or _NO_SCHEMA
    written: Tree = {"name": tool.name, "input_schema": schema if "type" in schema else {"type": "object", **schema}}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _written_choice(conversation: Conversation, *, has_tools: bool) -> Tree | None:
    choice, one_at_a_time = conversation.choice, conversation.parallel is False
    if not has_tools or (choice is None and not one_at_a_time):
        return None
    kind = {"none": "none", "required": "any", "named": "tool"}.get(choice.mode if choice else "", "auto")
    written: Tree = {"type": kind}
    if choice is not None and choice.mode == "named":
        written["name"] = choice.name
    if one_at_a_time and kind != "none":
        written["disable_parallel_tool_use"] = True
    return written


def _check_marks(fields: Tree) -> None:
    blocks = [*fields.get("system", ()), *(block for message in fields["messages"] for block in message["content"])]
    marks = sum("cache_control" in block for block in blocks)
    if marks > _MARKS_MAX:
        why = f"{marks} parts have one, and that vendor takes at most {_MARKS_MAX}. Leave out the others."
        raise cannot("cache_control", why)
