"""Settings that chat completions and responses share. Pure."""

from collections.abc import Callable
from hashlib import blake2s
from typing import Any, Final, Protocol

from services.edge.dialects.translation.conversation import Conversation, Format, ToolChoice
from services.edge.dialects.translation.refusals import object_of, objects_of, truth_of
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import malformed

# A mark of what is to be cached.
BREAKPOINT: Final = "prompt_cache_breakpoint"
EXPLICIT: Final = {"mode": "explicit"}
SHARED: Final = (
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
)
# A user's name has at most this many characters.
_USER_CHARACTERS_MAX: Final = 64


class WrittenName(Protocol):
    """Writes the choice of one tool as a dialect does."""

    def __call__(self, name: str, *, is_custom: bool) -> Tree:
        """The choice of the tool of this name."""
        ...


def shared_settings(fields: Tree) -> Tree:
    """The settings that both dialects have under one name."""
    return {name: fields[name] for name in SHARED if fields.get(name) is not None}


def is_breakpoint(part: Tree) -> bool:
    """Whether the prompt is to be cached up to the end of a part."""
    return part.get(BREAKPOINT) is not None


def chosen(choice: Any, name_of: Callable[[Tree], str]) -> ToolChoice | None:
    """A choice of tools; `name_of` reads the name in one that names a tool. Errors: `Problem` 400."""
    if choice is None:
        return None
    if type(choice) is str:
        if choice not in ("none", "auto", "required"):
            raise malformed("tool_choice", "tool_choice must be none, auto, required or an object.", "invalid_value")
        return ToolChoice(choice)
    members = object_of(choice, "tool_choice")
    if "mode" in members:
        names = tuple(name_of(each) for each in objects_of(members.get("tools"), "tool_choice.tools"))
        return ToolChoice("required" if members["mode"] == "required" else "auto", allowed=names)
    if members.get("type") not in ("function", "custom"):
        raise malformed("tool_choice.type", "tool_choice.type must be function, custom or allowed_tools.", "invalid_value")
    return ToolChoice("named", name_of(members))


def written_choice(conversation: Conversation, named: WrittenName) -> Any:
    """The choice of tools, of those that are sent; None where nothing was said."""
    choice = conversation.choice
    if choice is None:
        return None
    if choice.mode != "named":
        return choice.mode
    return named(choice.name, is_custom=any(tool.is_custom and tool.name == choice.name for tool in conversation.tools))


def format_of(kind: Any, described: Tree, where: str) -> Format | None:
    """The form of an answer's text. Errors: `Problem` 400."""
    match kind:
        case None | "text":
            return None
        case "json_object":
            return Format()
        case "json_schema":
            name, description = described.get("name"), described.get("description")
            schema = object_of(described.get("schema"), f"{where}.schema")
            return Format(schema, name if type(name) is str else "", truth_of(described, "strict", where), description)
    raise malformed(f"{where}.type", f"{where}.type must be text, json_object or json_schema.", "invalid_value")


def written_user(conversation: Conversation, fields: Tree) -> None:
    """Writes the user where another dialect named one; a name that is too long is replaced by its digest."""
    user = conversation.user
    if user and not ("user" in fields or "safety_identifier" in fields):
        is_short = len(user) <= _USER_CHARACTERS_MAX
        fields["user"] = user if is_short else blake2s(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
