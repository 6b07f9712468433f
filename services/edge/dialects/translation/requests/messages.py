"""Requests of Anthropic's messages, read into the neutral form. Pure."""

from typing import Any, Final

from services.edge.dialects.anthropic_messages.names import CUSTOM_TOOL, PRICED
from services.edge.dialects.anthropic_messages.priced import refuse_priced
from services.edge.dialects.anthropic_messages.request import MessagesRequest
from services.edge.dialects.translation.conversation import (
    ASSISTANT,
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
from services.edge.dialects.translation.pairing import paired, refuse_begun
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
# Members of a tool that change how it is told to the model, and of no other dialect.
_TOOL: Final = frozenset({"type", "name", "description", "input_schema", "strict"})
_OFF: Final = "none"


def read(request: MessagesRequest) -> Conversation:
    """The conversation. Errors: `Problem` 400 for what cannot be carried."""
    refuse_priced(request.fields, PLAIN_VENDOR)
    return _Reading(request.fields, is_counted=not request.makes_output).conversation()


class _Reading:
    """Reads one request."""

    def __init__(self, fields: Tree, *, is_counted: bool) -> None:
        """`is_counted`: only its tokens are counted, so that it may end anywhere."""
        self._fields = fields
        self._is_counted = is_counted
        self._dropped: dict[str, None] = {}
        self._turns: list[Turn] = []

    def conversation(self) -> Conversation:
        """See `read`."""
        fields = self._fields
        self._system(fields.get("system"))
        for index, message in enumerate(fields["messages"]):
            self._message(message, f"messages[{index}]")
        if not self._is_counted:
            refuse_begun(self._turns)
        if fields.get("cache_control") is not None:
            self._mark_last()
        tools = [self._tool(tool, f"tools[{index}]") for index, tool in enumerate(objects_of(fields.get("tools"), "tools"))]
        choice, parallel = _choice(fields.get("tool_choice"))
        effort, shows_thought, form = self._effort()
        user = object_of(fields.get("metadata"), "metadata").get("user_id")
        others = {name: value for name, value in fields.items() if name not in _READ}
        self._dropped |= dict.fromkeys(name for name in _LEFT_OUT if fields.get(name) is not None)
        return Conversation(
            turns=self._turns if self._is_counted else paired(self._turns),
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
