"""Requests of OpenAI's responses, read into the neutral form and written from it. Pure."""

from typing import Any, Final

from services.edge.dialects.profiled import fields_of, refuse_priced
from services.edge.dialects.responses.names import FIELDS, LIMIT, LIMIT_MIN, PRICED
from services.edge.dialects.responses.request import ResponsesRequest
from services.edge.dialects.translation.conversation import (
    ASSISTANT,
    DEVELOPER,
    INSTRUCTING,
    SYSTEM,
    TOOL,
    USER,
    Call,
    Conversation,
    Format,
    Image,
    Part,
    Result,
    Text,
    Thought,
    Tool,
    Turn,
)
from services.edge.dialects.translation.pairing import paired
from services.edge.dialects.translation.proofs import ProofKind
from services.edge.dialects.translation.refusals import PLAIN_VENDOR, cannot, object_of, objects_of, string_of, truth_of
from services.edge.dialects.translation.requests.openai import (
    EXPLICIT,
    SHARED,
    chosen,
    format_of,
    is_breakpoint,
    shared_settings,
    written_choice,
    written_user,
)
from services.edge.dialects.translation.requests.tools import chosen_tools, name_in_group
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed

# Fields that this reader takes, and those that mean something to this dialect's vendors alone.
_TAKEN: Final = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        LIMIT,
        "temperature",
        "top_p",
        "reasoning",
        "text",
    }
)
_LEFT_OUT: Final = frozenset({"truncation", "max_tool_calls"})
# Their values that are sold cost nothing and change nothing.
_FREE: Final = frozenset({"service_tier", "include", "top_logprobs", "context_management", "moderation"})
_READ: Final = _TAKEN | _LEFT_OUT | _FREE | {*SHARED}
_PRICED: Final = fields_of(PLAIN_VENDOR, PRICED)
_TOOL: Final = frozenset({"type", "name", "description", "parameters", "strict", "format"})
_ENCRYPTED: Final = "reasoning.encrypted_content"


def read(request: ResponsesRequest) -> Conversation:
    """The conversation. Errors: `Problem` 400 for what cannot be carried."""
    fields = request.fields
    refuse_priced(fields, _PRICED)
    dropped = dict.fromkeys((*request.dropped_options, *(name for name in _LEFT_OUT if fields.get(name) is not None)))
    turns = _Items(fields.get("instructions"), fields["input"]).turns
    tools = [
        tool
        for index, each in enumerate(objects_of(fields.get("tools"), "tools"))
        for tool in _tools(each, f"tools[{index}]", dropped)
    ]
    reasoning, text = object_of(fields.get("reasoning"), "reasoning"), object_of(fields.get("text"), "text")
    shared = shared_settings(fields)
    if text.get("verbosity") is not None:
        shared["verbosity"] = text["verbosity"]
    dropped |= dict.fromkeys(
        f"reasoning.{name}" for name in reasoning if name not in ("effort", "summary", "generate_summary", "mode")
    )
    dropped |= dict.fromkeys(f"text.{name}" for name in text if name not in ("format", "verbosity"))
    form = object_of(text.get("format"), "text.format")
    return Conversation(
        turns=paired(turns),
        tools=tools,
        choice=chosen(fields.get("tool_choice"), lambda each: string_of(each, "name", "tool_choice")),
        parallel=truth_of(fields, "parallel_tool_calls"),
        stop=[],
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        effort=string_of(reasoning, "effort", "reasoning") if reasoning.get("effort") is not None else "",
        shows_thought=(reasoning.get("summary") or reasoning.get("generate_summary")) is not None,
        format=format_of(form.get("type"), form, "text.format"),
        user=str(shared.get("user") or shared.get("safety_identifier") or ""),
        shared=shared,
        others={name: value for name, value in fields.items() if name not in _READ},
        dropped=tuple(dropped),
    )


class _Items:
    """Items as turns: thought, words and calls of the assistant in a row are one turn, and so are results."""

    def __init__(self, instructions: Any, given: Any) -> None:
        self.turns: list[Turn] = []
        if instructions:
            self.turns.append(Turn(SYSTEM, [Text(instructions)], "instructions"))
        if type(given) is str:
            self.turns.append(Turn(USER, [Text(given)], "input"))
            return
        for index, item in enumerate(given):
            self._item(item, f"input[{index}]")

    def _item(self, item: Tree, where: str) -> None:
        match item.get("type") or "message":
            case "message":
                parts = _parts(item.get("content"), f"{where}.content")
                role = item["role"]
                if role == ASSISTANT:
                    self._assistant(parts, where)
                elif parts:
                    self.turns.append(Turn(role, parts, where))
            case "reasoning":
                texts = [str(each.get("text", "")) for each in item.get("summary") or ()]
                self._assistant([Thought("\n\n".join(texts), item.get("encrypted_content") or "")], where)
            case "function_call" | "custom_tool_call" as kind:
                name = item["name"]
                if item.get("namespace") is not None:
                    name = name_in_group(string_of(item, "namespace", where), name)
                is_custom = kind == "custom_tool_call"
                arguments = item["input" if is_custom else "arguments"]
                self._assistant([Call(item["call_id"], name, arguments, where, is_custom)], where)
            case "function_call_output" | "custom_tool_call_output":
                texts_and_images = tuple(
                    part for part in _parts(item["output"], f"{where}.output") if type(part) is Text or type(part) is Image
                )
                self._result(Result(item["call_id"], texts_and_images, where), where)
            case kind:
                raise cannot(where, f"An item of type {kind!r} is known to the vendors of responses alone.")

    def _assistant(self, parts: list[Part], where: str) -> None:
        last = self.turns[-1] if self.turns else None
        if last is None or last.role != ASSISTANT:
            self.turns.append(Turn(ASSISTANT, parts, where))
        else:
            last.parts.extend(parts)

    def _result(self, result: Result, where: str) -> None:
        if self.turns and self.turns[-1].role == TOOL:
            self.turns[-1].parts.append(result)
        else:
            self.turns.append(Turn(TOOL, [result], where))


def _parts(content: Any, where: str) -> list[Part]:
    if type(content) is str:
        return [Text(content)]
    return [_part(part, f"{where}[{index}]") for index, part in enumerate(content)]


def _part(part: Tree, where: str) -> Part:
    match part["type"]:
        case "input_text" | "output_text" | "text":
            return Text(part["text"], is_breakpoint(part))
        case "refusal":
            return Text(part["refusal"])
        case "input_image":
            return Image(part["image_url"], where, part.get("detail") or "", is_breakpoint(part))
        case kind:
            raise cannot(where, f"A part of type {kind!r} is known to the vendors of responses alone.")


def _tools(tool: Tree, where: str, dropped: dict[str, None]) -> list[Tool]:
    """A tool, or those of a group, under names that tell groups apart: no other dialect has groups."""
    if tool["type"] != "namespace":
        return [_tool(tool, where, dropped)]
    group = string_of(tool, "name", where)
    described = tool.get("description") or ""
    grouped: list[Tool] = []
    for index, each in enumerate(objects_of(tool.get("tools"), f"{where}.tools")):
        one = _tool(each, f"{where}.tools[{index}]", dropped)
        words = "\n\n".join(filter(None, (described, one.description)))
        grouped.append(one._replace(name=name_in_group(group, one.name), description=words or None, group=(group, one.name)))
    return grouped


def _tool(tool: Tree, where: str, dropped: dict[str, None]) -> Tool:
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        raise cannot(f"{where}.type", "Only functions and custom tools can be carried.")
    dropped |= dict.fromkeys(f"tools[].{name}" for name, value in tool.items() if name not in _TOOL and value is not None)
    name, description = string_of(tool, "name", where), tool.get("description")
    if kind == "custom":
        return Tool(name, description, None, is_custom=True, grammar=tool.get("format"))
    schema = tool.get("parameters")
    schema = object_of(schema, f"{where}.parameters") if schema is not None else None
    return Tool(name, description, schema, truth_of(tool, "strict", where))


def write(conversation: Conversation, view: View) -> tuple[Tree, tuple[str, ...]]:
    """The fields of a request but its model, and the names of the client's fields that cannot be written.

    Errors: `Problem` 400 for what this dialect cannot have.
    """
    if conversation.stop:
        raise cannot("stop", "No vendor of this model stops at given texts. Leave them out.")
    dropped = tuple(name for name in conversation.others if name in FIELDS and name != "simulate")
    fields: Tree = {name: value for name, value in conversation.others.items() if name not in dropped}
    fields["input"] = [item for turn in conversation.turns for item in _written_items(turn, view)]
    if not fields["input"]:
        raise malformed("input", "Send at least one message that is not empty.", "invalid_value")
    tools = chosen_tools(conversation)
    if tools:
        fields["tools"] = [_written_tool(tool) for tool in tools]
        if (choice := written_choice(conversation, _written_name)) is not None:
            fields["tool_choice"] = choice
        if conversation.parallel is not None:
            fields["parallel_tool_calls"] = conversation.parallel
    if view.output_limit is not None:
        if view.output_limit < LIMIT_MIN:
            raise malformed(LIMIT, f"This model's vendor takes no output limit below {LIMIT_MIN} tokens.", "invalid_value")
        fields[LIMIT] = view.output_limit
    reasoning: Tree = {"effort": conversation.effort} if conversation.effort else {}
    if conversation.shows_thought:
        reasoning["summary"] = "auto"
    if reasoning:
        fields["reasoning"] = reasoning
    if view.keeps_proofs:
        fields["include"] = [_ENCRYPTED]
    for name, value in (("temperature", conversation.temperature), ("top_p", conversation.top_p)):
        if value is not None:
            fields[name] = value
    shared = dict(conversation.shared)
    text: Tree = {"verbosity": shared.pop("verbosity")} if "verbosity" in shared else {}
    if (form := conversation.format) is not None:
        text["format"] = _written_format(form)
    if text:
        fields["text"] = text
    fields |= shared
    written_user(conversation, fields)
    return fields, dropped


def _written_items(turn: Turn, view: View) -> list[Tree]:
    """The items of a turn; words that follow one another are one message."""
    role = DEVELOPER if turn.role == DEVELOPER else SYSTEM if turn.role in INSTRUCTING else turn.role
    items: list[Tree] = []
    content: list[Tree] = []
    for part in turn.parts:
        match part:
            case Text(text) if not text:
                continue
            case Text() | Image():
                if not content:
                    items.append({"type": "message", "role": role, "content": content})
                content.append(_written_part(part, view, is_said=role == ASSISTANT))
                continue
            case Call():
                items.append(_written_call(part))
            case Result():
                items.append(_written_result(part, view))
            case Thought(thought, sealed):
                proof = view.opened(sealed)
                if proof is None or proof.kind is not ProofKind.ENCRYPTED:
                    continue
                summary = [{"type": "summary_text", "text": thought}] if thought else []
                items.append({"type": "reasoning", "summary": summary, "encrypted_content": proof.payload})
        content = []
    return items


def _written_part(part: Text | Image, view: View, *, is_said: bool) -> Tree:
    if type(part) is Text:
        written: Tree = {"type": "output_text" if is_said else "input_text", "text": part.text}
    else:
        assert type(part) is Image
        written = {"type": "input_image", "image_url": part.url, "detail": part.detail or "auto"}
    if part.is_marked and view.has_marks and not is_said:
        written["prompt_cache_breakpoint"] = EXPLICIT
    return written


def _written_call(call: Call) -> Tree:
    if call.is_custom:
        return {"type": "custom_tool_call", "call_id": call.call_id, "name": call.name, "input": call.arguments}
    return {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments or "{}"}


def _written_result(result: Result, view: View) -> Tree:
    parts = result.parts
    if result.is_error:
        parts = (Text("Error:"), *parts)
    output: Any = [_written_part(part, view, is_said=False) for part in parts if part != Text("")]
    if len(parts) <= 1 and all(part == Text(part[0]) for part in parts):
        # Every vendor takes a plain text.
        output = parts[0][0] if parts else ""
    kind = "custom_tool_call_output" if result.is_custom else "function_call_output"
    return {"type": kind, "call_id": result.call_id, "output": output}


def _written_tool(tool: Tool) -> Tree:
    written: Tree = {"type": "custom" if tool.is_custom else "function", "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.is_custom:
        return {**written, "format": tool.grammar} if tool.grammar is not None else written
    return {**written, "parameters": tool.schema, "strict": bool(tool.strict)}


def _written_name(name: str, *, is_custom: bool) -> Tree:
    return {"type": "custom" if is_custom else "function", "name": name}


def _written_format(form: Format) -> Tree:
    if form.schema is None:
        return {"type": "json_object"}
    written: Tree = {"type": "json_schema", "name": form.name or "answer", "schema": form.schema}
    written["strict"] = True if form.strict is None else form.strict
    if form.description is not None:
        written["description"] = form.description
    return written
