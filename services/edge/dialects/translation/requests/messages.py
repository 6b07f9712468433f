"""Requests of Anthropic's messages, read into the neutral form and written from it. Pure."""

import re
from hashlib import blake2s
from typing import Any, Final

import msgspec

from services.edge.dialects.anthropic_messages.names import CUSTOM_TOOL, FIELDS, PRICED
from services.edge.dialects.anthropic_messages.priced import refuse_priced
from services.edge.dialects.anthropic_messages.request import MessagesRequest
from services.edge.dialects.translation.arguments import arguments_of, as_arguments
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
    is_marked,
)
from services.edge.dialects.translation.proofs import Proof, ProofKind
from services.edge.dialects.translation.refusals import (
    PLAIN_VENDOR,
    cannot,
    json_of,
    object_of,
    objects_of,
    string_of,
    texts_of,
    truth_of,
)
from services.edge.dialects.translation.requests.tools import as_function, chosen_tools
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed

# Fields that this reader takes; all others go to the vendor's profile, or are left out.
_TAKEN: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "betas",
        "stop_sequences",
        "temperature",
        "top_p",
    }
) | {"thinking", "output_config", "output_format", "metadata", "cache_control"}
# Fields that mean something to Anthropic's vendors alone. Priced ones have a value here that costs nothing.
_LEFT_OUT: Final = frozenset({"context_management", "compaction", "diagnostics"})
_READ: Final = _TAKEN | _LEFT_OUT | PRICED.keys()
# A budget of thinking up to this many tokens is that effort; a larger one is "high".
BUDGETS: Final = ((4_096, "low"), (16_384, "medium"))
_MARKS_MAX: Final = 4
# Members of a tool that change how it is told to the model, and of no other dialect.
_TOOL: Final = frozenset({"type", "name", "description", "input_schema", "strict"})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DATA_URL: Final = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+);base64,")
_CACHED: Final = {"type": "ephemeral"}
_NO_SCHEMA: Final = {"type": "object", "properties": {}}
_EFFORTS: Final = {"minimal": "low"}
_OFF: Final = "none"


def read(request: MessagesRequest) -> Conversation:
    """The conversation. Errors: `Problem` 400 for what cannot be carried."""
    refuse_priced(request.fields, PLAIN_VENDOR)
    return _Reading(request.fields).conversation()


class _Reading:
    """Reads one request."""

    def __init__(self, fields: Tree) -> None:
        self._fields = fields
        self._dropped: dict[str, None] = {}
        self._turns: list[Turn] = []

    def conversation(self) -> Conversation:
        """See `read`."""
        fields = self._fields
        self._system(fields.get("system"))
        for index, message in enumerate(fields["messages"]):
            self._message(message, f"messages[{index}]")
        _refuse_begun(self._turns)
        if fields.get("cache_control") is not None:
            self._mark_last()
        tools = [self._tool(tool, f"tools[{index}]") for index, tool in enumerate(objects_of(fields.get("tools"), "tools"))]
        choice, parallel = _choice(fields.get("tool_choice"))
        effort, shows_thought, form = self._effort()
        user = object_of(fields.get("metadata"), "metadata").get("user_id")
        others = {name: value for name, value in fields.items() if name not in _READ}
        self._dropped |= dict.fromkeys(name for name in _LEFT_OUT if fields.get(name) is not None)
        return Conversation(
            turns=self._turns,
            tools=tools,
            choice=choice,
            parallel=parallel,
            stop=texts_of(fields.get("stop_sequences"), "stop_sequences"),
            temperature=fields.get("temperature"),
            top_p=fields.get("top_p"),
            effort=effort,
            shows_thought=shows_thought,
            format=form,
            user=user if type(user) is str else "",
            shared={},
            others=others,
            dropped=tuple(self._dropped),
        )

    def _drop(self, name: str) -> None:
        self._dropped[name] = None

    def _marked(self, block: Tree) -> bool:
        """Whether the prompt is to be cached up to the end of a block; other dialects' marks have no time of their own."""
        mark = block.get("cache_control")
        if type(mark) is dict and mark.get("ttl") not in (None, "5m"):
            self._drop("cache_control.ttl")
        return mark is not None

    def _mark_last(self) -> None:
        """Marks the last part that can be cached, as a mark on the whole request means."""
        for turn in reversed(self._turns):
            for index in range(len(turn.parts) - 1, -1, -1):
                part = turn.parts[index]
                if type(part) is Text or type(part) is Image:
                    turn.parts[index] = part._replace(is_marked=True)
                    return
                if type(part) is Result and part.parts:
                    last = part.parts[-1]._replace(is_marked=True)
                    turn.parts[index] = part._replace(parts=(*part.parts[:-1], last))
                    return

    # Turns

    def _system(self, system: Any) -> None:
        if system is None:
            return
        if type(system) is str:
            parts: list[Part] = [Text(system)]
        else:
            parts = [self._text(block, f"system[{index}]") for index, block in enumerate(system)]
        self._turns.append(Turn(SYSTEM, parts, "system"))

    def _text(self, block: Tree, where: str) -> Text:
        if block["type"] != "text":
            raise cannot(where, f"Only text can stand here; this is {block['type']!r}.")
        return Text(block["text"], self._marked(block))

    def _message(self, message: Tree, where: str) -> None:
        role, content = message["role"], message.get("content")
        if message.get("output_config") is not None:
            self._drop(f"{where}.output_config")
        if type(content) is str:
            self._turns.append(Turn(role, [Text(content)], where))
            return
        results: list[Part] = []
        parts: list[Part] = []
        for index, block in enumerate(content or ()):
            place = f"{where}.content[{index}]"
            if block["type"] == "tool_result" and role == USER:
                results.append(self._result(block, place))
            else:
                parts.append(self._part(block, role, place))
        if results:
            self._turns.append(Turn(TOOL, results, where))
        if parts:
            self._turns.append(Turn(role, parts, where))

    def _part(self, block: Tree, role: str, where: str) -> Part:
        match block["type"]:
            case "text":
                return Text(block["text"], self._marked(block))
            case "image" if role == USER:
                return self._image(block, where)
            case "document" if role == USER:
                return self._document(block, where)
            case "thinking" if role == ASSISTANT:
                signature = block.get("signature")
                return Thought(block["thinking"], signature if type(signature) is str else "")
            case "redacted_thinking" if role == ASSISTANT:
                return Thought("", string_of(block, "data", where))
            case "tool_use" if role == ASSISTANT:
                given = object_of(block.get("input"), f"{where}.input")
                return Call(string_of(block, "id", where), string_of(block, "name", where), json_of(given), where)
            case kind:
                raise cannot(where, f"A block of type {kind!r} in a turn of the {role} is known to Anthropic's dialect alone.")

    def _image(self, block: Tree, where: str) -> Image:
        source = block["source"]
        if block.get("transformations") is not None:
            self._drop(f"{where}.transformations")
        if source.get("type") == "url":
            url = string_of(source, "url", f"{where}.source")
        else:
            media_type, data = string_of(source, "media_type", f"{where}.source"), string_of(source, "data", f"{where}.source")
            url = f"data:{media_type};base64,{data}"
        return Image(url, where, is_marked=self._marked(block))

    def _document(self, block: Tree, where: str) -> Text:
        """A document that is text, without its title, its context and the citations of it."""
        source = block["source"]
        for name in ("title", "context", "citations"):
            if block.get(name) is not None:
                self._drop(f"{where}.{name}")
        if source.get("type") == "text":
            return Text(source["data"], self._marked(block))
        content = source.get("content")
        if type(content) is str:
            return Text(content, self._marked(block))
        raise cannot(f"{where}.source", "Send the document as its text.")

    def _result(self, block: Tree, where: str) -> Result:
        content = block.get("content")
        if content is None or type(content) is str:
            parts: list[Text | Image] = [Text(content)] if content else []
        else:
            parts = self._parts_of_result(content, f"{where}.content")
        if self._marked(block):
            last = parts[-1] if parts else Text("")
            parts[-1:] = [last._replace(is_marked=True)]
        return Result(string_of(block, "tool_use_id", where), tuple(parts), where, truth_of(block, "is_error", where) or False)

    def _parts_of_result(self, blocks: list[Tree], where: str) -> list[Text | Image]:
        parts = [self._part(block, USER, f"{where}[{index}]") for index, block in enumerate(blocks)]
        return [part for part in parts if type(part) is Text or type(part) is Image]

    # Settings

    def _tool(self, tool: Tree, where: str) -> Tool:
        kind = tool.get("type")
        if kind not in (None, CUSTOM_TOOL):
            raise cannot(f"{where}.type", f"Models of other vendors do not know the tool {kind!r}. Define it with an input_schema.")
        for name, value in tool.items():
            if name not in _TOOL and value is not None:
                self._drop(f"tools[].{name}")
        description = tool.get("description")
        schema = object_of(tool.get("input_schema"), f"{where}.input_schema")
        strict = truth_of(tool, "strict", where)
        return Tool(string_of(tool, "name", where), description if type(description) is str else None, schema, strict)

    def _effort(self) -> tuple[str, bool, Format | None]:
        """The effort of thinking, whether it is shown, and the form of the answer."""
        config = object_of(self._fields.get("output_config"), "output_config")
        thinking = object_of(self._fields.get("thinking"), "thinking")
        form = config.get("format") or self._fields.get("output_format")
        for name, value in config.items():
            if name not in ("effort", "format") and value is not None:
                self._drop(f"output_config.{name}")
        effort = config.get("effort") or ""
        if type(effort) is not str:
            raise malformed("output_config.effort", "output_config.effort must be a string, such as high.", "invalid_type")
        match thinking.get("type"):
            case "disabled":
                effort = _OFF
            case "enabled" if not effort:
                budget = thinking.get("budget_tokens") or 0
                effort = next((name for most, name in BUDGETS if budget <= most), "high")
        shows_thought = thinking.get("type") in ("enabled", "adaptive") and thinking.get("display") != "omitted"
        return effort, shows_thought, Format(object_of(form, "output_config.format").get("schema")) if form else None


def _choice(choice: Any) -> tuple[ToolChoice | None, bool | None]:
    """The choice of tools, and whether several calls may be made at once."""
    if choice is None:
        return None, None
    members = object_of(choice, "tool_choice")
    parallel = False if truth_of(members, "disable_parallel_tool_use", "tool_choice") else None
    match members.get("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "tool":
            return ToolChoice("named", string_of(members, "name", "tool_choice")), parallel
    raise malformed("tool_choice.type", "tool_choice.type must be auto, any, tool or none.", "invalid_value")


def write(conversation: Conversation, view: View) -> tuple[Tree, tuple[str, ...]]:
    """The fields of a request but its model, and the names of the client's fields that cannot be written.

    Errors: `Problem` 400 for what this dialect cannot have.
    """
    _refuse_begun(conversation.turns)
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
            dropped.append("response_format")
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


def _refuse_begun(turns: list[Turn]) -> None:
    """Refuses a conversation that ends with the assistant's words: in messages alone an answer goes on with them."""
    if turns and turns[-1].role == ASSISTANT:
        raise cannot(turns[-1].where, "The last turn is the assistant's, whose words not every dialect goes on with. Leave it out.")


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
        raise cannot("prompt_cache_breakpoint", why)
