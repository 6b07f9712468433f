"""Requests of OpenAI's chat completions, read into the neutral form and written from it. Pure."""

from typing import Any, Final

from services.edge.dialects.chat.fields import CHAT, KNOWN, PRICED
from services.edge.dialects.chat.request import ChatRequest
from services.edge.dialects.profiled import fields_of, refuse_priced
from services.edge.dialects.translation.arguments import as_arguments
from services.edge.dialects.translation.conversation import (
    ASSISTANT,
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
    ToolChoice,
    Turn,
)
from services.edge.dialects.translation.pairing import paired
from services.edge.dialects.translation.proofs import ProofKind
from services.edge.dialects.translation.refusals import PLAIN_VENDOR, cannot, object_of, objects_of, string_of, texts_of, truth_of
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
from services.edge.dialects.translation.requests.tools import as_function, chosen_tools
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.typed_events import Tree

# Fields that this reader takes.
_TAKEN: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "tools", "tool_choice"}
) | {"parallel_tool_calls", "stop", "temperature", "top_p", "reasoning_effort", "response_format", "verbosity", "store"}
# Fields without which the answer would be another, and the reason that no other dialect has them.
_REFUSED: Final = {
    "functions": "Write them as tools.",
    "function_call": "Write it as tool_choice.",
    "logprobs": "Other dialects tell no probabilities of tokens.",
}
_READ: Final = _TAKEN | _REFUSED.keys() | PRICED.keys() | {*SHARED}
_PRICED: Final = fields_of(PLAIN_VENDOR, CHAT.priced)
_STOPS_MAX: Final = 4
_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
# Between texts that stand together.
_BLANK_LINE: Final = "\n\n"


def read(request: ChatRequest) -> Conversation:
    """The conversation. Errors: `Problem` 400 for what cannot be carried."""
    fields = request.fields
    refuse_priced(fields, _PRICED)
    if request.choices > 1:
        raise cannot("n", "Other dialects make one answer. Leave it out, and send a request for each.")
    for name, why in _REFUSED.items():
        if fields.get(name):
            raise cannot(name, f"{why} Leave it out." if name == "logprobs" else why)
    dropped = dict.fromkeys(request.options.dropped)
    if fields.get("store") is True:
        dropped["store"] = None
    turns: list[Turn] = []
    for index, each in enumerate(fields["messages"]):
        turn = _turn(each, f"messages[{index}]", dropped)
        if turn.role == TOOL and turns and turns[-1].role == TOOL:
            # Results of calls side by side stand together.
            turns[-1].parts.extend(turn.parts)
        else:
            turns.append(turn)
    tools = [_tool(each, f"tools[{index}]", dropped) for index, each in enumerate(objects_of(fields.get("tools"), "tools"))]
    shared = shared_settings(fields)
    if fields.get("verbosity") is not None:
        shared["verbosity"] = fields["verbosity"]
    effort = fields.get("reasoning_effort")
    return Conversation(
        turns=paired(turns),
        tools=tools,
        choice=_choice(fields.get("tool_choice")),
        parallel=truth_of(fields, "parallel_tool_calls"),
        stop=texts_of(fields.get("stop"), "stop"),
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        effort=string_of(fields, "reasoning_effort", "") if effort is not None else "",
        # A chat has no place for the proof of it, and its own vendor shows none.
        shows_thought=False,
        format=_format(fields.get("response_format")),
        user=str(shared.get("user") or shared.get("safety_identifier") or ""),
        shared=shared,
        others={name: value for name, value in fields.items() if name not in _READ},
        dropped=tuple(dropped),
        include_usage=request.options.include_usage,
        continuous_usage=request.options.continuous_usage,
    )


def _turn(message: Tree, where: str, dropped: dict[str, None]) -> Turn:
    """The turn of a message."""
    role = message["role"]
    if role == "function" or message.get("function_call") is not None:
        raise cannot(where, "Functions of the older kind are known to chat completions alone. Write them as tools.")
    if message.get("name") is not None:
        dropped["messages[].name"] = None
    parts = _parts(message.get("content"), f"{where}.content")
    if role == TOOL:
        texts = tuple(part for part in parts if type(part) is Text or type(part) is Image)
        return Turn(TOOL, [Result(string_of(message, "tool_call_id", where), texts, where)], where)
    if refusal := message.get("refusal"):
        parts.append(Text(refusal))
    for index, call in enumerate(objects_of(message.get("tool_calls"), f"{where}.tool_calls")):
        parts.append(_call(call, f"{where}.tool_calls[{index}]"))
    return Turn(role, parts, where)


def _parts(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if type(content) is str:
        return [Text(content)]
    return [_part(part, f"{where}[{index}]") for index, part in enumerate(content)]


def _part(part: Tree, where: str) -> Part:
    match part["type"]:
        case "text" | "refusal" as kind:
            return Text(part[kind], is_breakpoint(part))
        case "image_url":
            image = part["image_url"]
            if type(image) is str:
                return Image(image, where, is_marked=is_breakpoint(part))
            return Image(image["url"], where, image.get("detail") or "", is_breakpoint(part))
        case kind:
            raise cannot(where, f"A part of type {kind!r} is known to chat completions alone.")


def _call(call: Tree, where: str) -> Call:
    kind = "custom" if call.get("custom") is not None else "function"
    function = object_of(call.get(kind), f"{where}.{kind}")
    arguments = string_of(function, "input" if kind == "custom" else "arguments", f"{where}.{kind}")
    return Call(string_of(call, "id", where), string_of(function, "name", f"{where}.{kind}"), arguments, where, kind == "custom")


def _tool(tool: Tree, where: str, dropped: dict[str, None]) -> Tool:
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        raise cannot(f"{where}.type", "Only functions and custom tools can be carried.")
    function = object_of(tool.get(kind), f"{where}.{kind}")
    name = string_of(function, "name", f"{where}.{kind}")
    description = function.get("description")
    if kind == "custom":
        return Tool(name, description, None, is_custom=True, grammar=function.get("format"))
    for each in function:
        if each not in _FUNCTION:
            dropped[f"tools[].function.{each}"] = None
    schema = function.get("parameters")
    schema = object_of(schema, f"{where}.function.parameters") if schema is not None else None
    return Tool(name, description, schema, truth_of(function, "strict", f"{where}.function"))


def _choice(choice: Any) -> ToolChoice | None:
    if type(choice) is dict and choice.get("type") == "allowed_tools":
        return chosen(object_of(choice.get("allowed_tools"), "tool_choice.allowed_tools"), _name_of)
    return chosen(choice, _name_of)


def _name_of(chosen_one: Tree) -> str:
    kind = "custom" if chosen_one.get("type") == "custom" else "function"
    return string_of(object_of(chosen_one.get(kind), f"tool_choice.{kind}"), "name", f"tool_choice.{kind}")


def _format(form: Any) -> Format | None:
    members = object_of(form, "response_format")
    described = object_of(members.get("json_schema"), "response_format.json_schema")
    return format_of(members.get("type"), described, "response_format")


def write(conversation: Conversation, view: View) -> tuple[Tree, tuple[str, ...]]:
    """The fields of a request but its model, and the names of the client's fields that cannot be written.

    Errors: `Problem` 400 for what this dialect cannot have.
    """
    dropped = tuple(name for name in conversation.others if name in KNOWN and name != "simulate")
    fields: Tree = {name: value for name, value in conversation.others.items() if name not in dropped}
    fields["messages"] = [message for turn in conversation.turns for message in _messages(turn, view)]
    tools = chosen_tools(conversation)
    if tools:
        fields["tools"] = [_written_tool(as_function(tool)) for tool in tools]
        if (choice := written_choice(conversation, _written_name)) is not None:
            fields["tool_choice"] = choice
        if conversation.parallel is not None:
            fields["parallel_tool_calls"] = conversation.parallel
    if view.output_limit is not None:
        fields["max_completion_tokens"] = view.output_limit
    if len(conversation.stop) > _STOPS_MAX:
        raise cannot("stop", f"This model's vendor takes at most {_STOPS_MAX}; there are {len(conversation.stop)}.")
    if conversation.stop:
        fields["stop"] = conversation.stop
    if conversation.effort:
        fields["reasoning_effort"] = conversation.effort
    if (form := conversation.format) is not None:
        fields["response_format"] = _written_format(form)
    for name, value in (("temperature", conversation.temperature), ("top_p", conversation.top_p)):
        if value is not None:
            fields[name] = value
    fields |= conversation.shared
    written_user(conversation, fields)
    return fields, dropped


def _messages(turn: Turn, view: View) -> list[Tree]:
    """The messages of a turn; none for one that has nothing."""
    if turn.role == TOOL:
        return _written_results(turn, view)
    if turn.role != ASSISTANT:
        role = SYSTEM if turn.role in INSTRUCTING else USER
        content = _content([part for part in turn.parts if type(part) is Text or type(part) is Image], view)
        return [{"role": role, "content": content}] if turn.parts else []
    texts = [part.text for part in turn.parts if type(part) is Text and part.text]
    message: Tree = {"role": ASSISTANT, "content": _BLANK_LINE.join(texts) if texts else None}
    calls: list[Tree] = []
    thoughts: list[str] = []
    signature = ""
    for part in turn.parts:
        if type(part) is Thought:
            proof = view.opened(part.sealed)
            if proof is not None and proof.kind is ProofKind.THOUGHT:
                thoughts.append(part.text)
            elif proof is not None and proof.kind is ProofKind.CALL:
                signature = proof.payload
        elif type(part) is Call:
            calls.append(_written_call(part, signature))
            signature = ""
    if calls:
        message["tool_calls"] = calls
        if thoughts:
            # Models want the thought back that led to calls, and no other.
            message["reasoning_content"] = _BLANK_LINE.join(thoughts)
    return [message] if texts or calls else []


def _written_call(call: Call, signature: str) -> Tree:
    arguments = call.arguments if not call.is_custom else as_arguments(call.arguments)
    function = {"name": call.name, "arguments": arguments or "{}"}
    written: Tree = {"id": call.call_id, "type": "function", "function": function}
    if signature:
        written["extra_content"] = {"google": {"thought_signature": signature}}
    return written


def _written_results(turn: Turn, view: View) -> list[Tree]:
    """A message for each result; their images follow in one of the user, because results are text here."""
    messages: list[Tree] = []
    images: list[Text | Image] = []
    for part in turn.parts:
        assert type(part) is Result
        texts = [each for each in part.parts if type(each) is Text]
        if part.is_error:
            texts.insert(0, Text("Error:"))
        messages.append({"role": TOOL, "tool_call_id": part.call_id, "content": _content(list(texts), view)})
        shown = [each for each in part.parts if type(each) is Image]
        if shown:
            images += [Text(f"Images in the result of {part.call_id}:"), *shown]
    if images:
        messages.append({"role": USER, "content": _content(images, view)})
    return messages


def _content(parts: list[Text | Image], view: View) -> str | list[Tree]:
    """Texts alone as one text, which every vendor takes; parts where there are images, or marks of what is to be cached."""
    marks = view.has_marks and any(part.is_marked for part in parts)
    if not marks and all(type(part) is Text for part in parts):
        return _BLANK_LINE.join(part.text for part in parts if type(part) is Text and part.text)
    return [_written_part(part, view) for part in parts if type(part) is Image or part != Text("")]


def _written_part(part: Text | Image, view: View) -> Tree:
    if type(part) is Text:
        written: Tree = {"type": "text", "text": part.text}
    else:
        assert type(part) is Image
        image: Tree = {"url": part.url}
        if part.detail in ("low", "high", "auto"):
            image["detail"] = part.detail
        written = {"type": "image_url", "image_url": image}
    if part.is_marked and view.has_marks:
        written["prompt_cache_breakpoint"] = EXPLICIT
    return written


def _written_tool(tool: Tool) -> Tree:
    function: Tree = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _written_name(name: str, *, is_custom: bool) -> Tree:
    return {"type": "function", "function": {"name": name}}


def _written_format(form: Format) -> Tree:
    if form.schema is None:
        return {"type": "json_object"}
    described: Tree = {"name": form.name or "answer", "schema": form.schema, "strict": True if form.strict is None else form.strict}
    if form.description is not None:
        described["description"] = form.description
    return {"type": "json_schema", "json_schema": described}
