"""The top-level fields of a chat completion, and the treatment of each. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from services.edge.dialects.json_text import (
    NULL,
    Fields,
    Raw,
    by_fold,
    elements,
    encode,
    is_set,
    members,
    plain,
    refuse_folds,
    truth,
)
from services.edge.dialects.unmetered import refuse_unmetered
from services.edge.http.problems import Problem, malformed
from services.edge.vendors.profile import Endpoint, Unknown

LIMITS: Final = ("max_tokens", "max_completion_tokens")
# Fields that are read, typed, and written anew.
READ: Final = frozenset({"model", "messages", "stream", "stream_options", "n", *LIMITS})
# Fields that are passed on unchanged. Those of the prompt count in its size.
SETTINGS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "metadata",
        "store",
        # Instructions to the vendor simulator.
        "simulate",
    }
)
PROMPT: Final = frozenset({"tools", "tool_choice", "functions", "function_call", "response_format"})
# Fields that cost extra at most vendors, except for these values; an endpoint's own word replaces this.
PRICED: Final = {
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "web_search_options": frozenset[bytes](),
    "modalities": frozenset({b'["text"]'}),
    "audio": frozenset[bytes](),
    # Tokens of a prediction that the model rejects are charged as output.
    "prediction": frozenset[bytes](),
}
# Tools that the client runs. Others run at the vendor: they cost extra, and add input after the reservation.
CLIENT_TOOLS: Final = frozenset({b'"function"', b'"custom"'})
KNOWN: Final = READ | SETTINGS | PROMPT | PRICED.keys()
KNOWN_BY_FOLD: Final = by_fold(KNOWN)


class DialectFields(NamedTuple):
    """The top-level fields of a dialect."""

    known: frozenset[str]
    # By field, or path into one: its values that cost nothing extra; an endpoint's own word about the field replaces it.
    priced: tuple[tuple[str, frozenset[bytes]], ...]


CHAT: Final = DialectFields(KNOWN, (*PRICED.items(), ("tools[].type", CLIENT_TOOLS)))
_OPTIONS: Final = frozenset({"include_usage", "continuous_usage_stats", "include_obfuscation"})
_OPTIONS_BY_FOLD: Final = by_fold(_OPTIONS)


class StreamOptions(NamedTuple):
    """The options of a stream."""

    # Whether the client wants the count at the end of its stream, and that so far in each chunk.
    include_usage: bool = False
    include_obfuscation: Raw | None = None
    # Unknown ones, which no vendor gets.
    dropped: tuple[str, ...] = ()
    continuous_usage: bool = False

    @property
    def written(self) -> Raw:
        """As a vendor gets them: it is always asked for its count."""
        if self.include_obfuscation is None:
            return Raw(b'{"include_usage":true}')
        return Raw(b'{"include_usage":true,"include_obfuscation":%b}' % bytes(self.include_obfuscation))


NO_OPTIONS: Final = StreamOptions()


def read_stream_options(fields: Fields, *, streamed: bool) -> StreamOptions:
    """The options in a request. Errors: `Problem` 400 that names the option."""
    if not is_set(fields, "stream_options"):
        return NO_OPTIONS
    options = members(fields["stream_options"], "stream_options")
    refuse_folds(options, _OPTIONS_BY_FOLD, "stream_options")
    if not streamed:
        raise malformed("stream_options", "stream_options is taken only with stream: true.", "invalid_value")
    include_usage = bool(truth(options, "include_usage", "stream_options.include_usage"))
    # By the name that vLLM gave it. The last count is the charge, so it is told too.
    continuous_usage = bool(truth(options, "continuous_usage_stats", "stream_options.continuous_usage_stats"))
    pads = truth(options, "include_obfuscation", "stream_options.include_obfuscation") is not None
    dropped = tuple(f"stream_options.{name}" for name in options if name not in _OPTIONS)
    obfuscation = options["include_obfuscation"] if pads else None
    return StreamOptions(include_usage or continuous_usage, obfuscation, dropped, continuous_usage)


class PricedPath(NamedTuple):
    """A value that costs extra unless it is one of these."""

    # Names and "[]", which stands for each element of a list; after the top-level field.
    steps: tuple[str, ...]
    free_values: frozenset[bytes]


class EndpointFields(NamedTuple):
    """An endpoint's fields."""

    known: frozenset[str]
    extra: frozenset[str]
    # By top-level field.
    priced: dict[str, tuple[PricedPath, ...]]
    by_fold: dict[str, str]


@lru_cache(maxsize=1_024)
def endpoint_fields(
    extra: frozenset[str], priced: tuple[tuple[str, frozenset[bytes]], ...], dialect: DialectFields = CHAT
) -> EndpointFields:
    """The fields of an endpoint with `extra_fields` and `priced_fields`; a path may lead into a field, as in `tools[].type`."""
    paths: dict[str, list[PricedPath]] = {}
    for path, free_values in priced:
        field, *steps = path.replace("[]", ".[]").split(".")
        paths.setdefault(field, []).append(PricedPath(tuple(steps), free_values))
    for path, free_values in dialect.priced:
        field, *steps = path.replace("[]", ".[]").split(".")
        if field not in paths and field not in extra:
            paths[field] = [PricedPath(tuple(steps), free_values)]
    by_field = {field: tuple(each) for field, each in paths.items()}
    return EndpointFields(dialect.known, extra, by_field, by_fold({*dialect.known, *extra, *paths}))


def write_field(written: Fields, name: str, raw: Raw, endpoint: Endpoint, own: EndpointFields, dropped: list[str]) -> None:
    """Writes a field that the edge does not read, or leaves it out.

    Errors: `Problem` 400 where it costs extra, or the endpoint's profile refuses it.
    """
    if name in own.priced:
        for path in own.priced[name]:
            raw = free_of_charge(raw, path, name)
        written[name] = raw
    elif name in own.known or name in own.extra:
        written[name] = raw
    else:
        refuse_folds((name,), own.by_fold)
        if endpoint.unknown_fields is Unknown.REFUSED:
            message = f"{name} is not a field that this model's vendor is known to take. Leave it out."
            raise malformed(name, message, "unknown_parameter")
        if endpoint.unknown_fields is Unknown.PASSED:
            refuse_unmetered(name, plain(raw))
            written[name] = raw
        else:
            dropped.append(name)


def write_fields(
    fields: Fields, endpoint: Endpoint, dialect: DialectFields, ours: Mapping[str, Raw | None]
) -> tuple[Fields, list[str]]:
    """A vendor's fields in the client's order, and the names of those that its profile drops.

    `ours` stand in place of the client's; None: left out. Errors: `Problem` 400 where a field costs extra, or is refused.
    """
    own = endpoint_fields(endpoint.extra_fields, endpoint.priced_fields, dialect)
    written: Fields = {}
    dropped: list[str] = []
    for name, raw in fields.items():
        if name not in ours:
            write_field(written, name, raw, endpoint, own, dropped)
        elif (our := ours[name]) is not None:
            written[name] = our
    return written, dropped


def unknown_text(fields: Fields, dialect: DialectFields) -> str:
    """The names and the JSON of unknown fields: a vendor that takes them may read them as input."""
    unknown = [name.encode() + bytes(raw) for name, raw in fields.items() if name not in dialect.known]
    return b"".join(unknown).decode()


def free_of_charge(raw: Raw, path: PricedPath, param: str) -> Raw:
    """The value, written so that every reader finds the same at the path. Errors: `Problem` 400 where it costs extra."""
    return _free(raw, path.steps, path.free_values, param)


def _free(raw: Raw, steps: tuple[str, ...], free_values: frozenset[bytes], param: str) -> Raw:
    if bytes(raw) == b"null":
        return NULL
    if not steps:
        compact = encode(plain(raw))
        if compact not in free_values:
            raise _costs_extra(param, free_values)
        return Raw(compact)
    step, *rest = steps
    if step == "[]":
        free = []
        for index, each in enumerate(elements(raw, param)):
            where = f"{param}[{index}]"
            if rest:
                _require(each, rest[0], free_values, where)
            free.append(_free(each, tuple(rest), free_values, where))
        return Raw(encode(free))
    fields: Fields = members(raw, param)
    refuse_folds(fields, by_fold((step,)), param)
    if step in fields:
        fields[step] = _free(fields[step], tuple(rest), free_values, f"{param}.{step}")
    return Raw(encode(fields))


def _require(raw: Raw, name: str, free_values: frozenset[bytes], param: str) -> None:
    """Refuses an element without its kind, because a vendor may take it for one that costs extra. Errors: `Problem` 400."""
    if bytes(members(raw, param).get(name, NULL)) == b"null":
        values = ", ".join(sorted(value.decode() for value in free_values))
        raise malformed(f"{param}.{name}", f"{param}.{name} is missing. Send one of: {values}.", "missing_required_parameter")


def _costs_extra(param: str, free_values: frozenset[bytes]) -> Problem:
    values = ", ".join(sorted(value.decode() for value in free_values if value != b"null"))
    remedy = f"Leave it out, or send one of: {values}." if values else "Leave it out."
    return malformed(param, f"{param} costs extra at this model's vendor and is not sold here. {remedy}", "unsupported_value")
