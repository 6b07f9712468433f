"""Vendors as their author writes them: profiles of their APIs, and the rules that each must keep.

A layer may change single fields of a vendor that a layer below it has, and of each of its endpoints; the fields left out stay.
Pure.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from services.registry.rules import FieldFlaw, choice_flaws, effective_time_flaws, micro_amount, text_flaws
from services.token_classes import TOKEN_CLASSES

# The dialects, and the fields of the output limit that each has.
LIMIT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai_chat": ("max_tokens", "max_completion_tokens"),
    "anthropic_messages": ("max_tokens",),
    "openai_responses": ("max_output_tokens",),
    # They make no output.
    "openai_embeddings": (),
    "openai_completions": ("max_tokens",),
    # Their output is bounded by the number of images.
    "openai_images": (),
    # A vendor bounds the text by the sound.
    "openai_transcriptions": (),
    # They make no output.
    "rerank": (),
    "openai_speech": (),
}
DIALECTS: Final = tuple(LIMIT_FIELDS)
# Dialects in which no conversation can be had: a model is called in them only where it names them.
NAMED_DIALECTS: Final = frozenset(
    {"openai_embeddings", "openai_completions", "openai_images", "openai_transcriptions", "rerank", "openai_speech"}
)
# Dialects whose answers come as one.
WHOLE_DIALECTS: Final = frozenset({"openai_images", "openai_transcriptions", "rerank"})
# Those of them in which no output is made.
OUTPUTLESS_DIALECTS: Final = frozenset({"openai_embeddings", "rerank", "openai_speech"})
AUTHENTICATIONS: Final = ("bearer", "x_api_key")
UNKNOWN_FIELDS: Final = ("dropped", "refused", "passed")
UNKNOWN_CONTENT: Final = ("refused", "passed")
PROMPT_CACHING: Final = ("none", "automatic", "marks")
# Dialects of conversations whose requests need no marks of what is to be cached.
_CACHING_DIALECTS: Final = frozenset({"openai_chat", "openai_responses"})
REASONING_COUNTS: Final = ("as_total_shows", "inside", "beside")
PRICED_AT: Final = ("start", "end")
# Fees that an operator keeps of a vendor's claims, in the order in which they are told.
FEES: Final = ("platform", "compute", "channel")
ERROR_MEANINGS: Final = ("request", "account", "rate_limit", "overloaded", "content", "context")

# Fields that the meter itself reads and writes, in any dialect. Passed on by a profile, they would let a client choose its price.
METERED_FIELDS: Final = frozenset(
    {
        "model", "messages", "system", "input", "instructions", "prompt", "stream", "stream_options", "n", "best_of",
        "max_tokens", "max_completion_tokens", "max_output_tokens",
        "store", "background", "previous_response_id", "conversation",
    }
)  # fmt: skip

_ENVIRONMENT_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_PROBE_PATH: Final = re.compile(r"/[A-Za-z0-9._~/?=&-]*")
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Names joined by dots; [] after a name stands for each element of its list.
_PATH: Final = re.compile(rf"{_FIELD.pattern}(\[\])?(\.{_FIELD.pattern}(\[\])?)*")
_REQUIRED: Final = ("display_name", "base_url", "api_key_env", "base_url_env")

T = TypeVar("T", bound=msgspec.Struct)


class UsageReading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Places in a vendor's usage that its dialect does not have."""

    # One of `REASONING_COUNTS`; left out: as_total_shows.
    reasoning: str | None = None
    # Token class -> further paths from the usage object, tried after those of the dialect.
    paths: dict[str, tuple[str, ...]] | None = None
    # Further places of the usage object, as paths from the event or the answer.
    places: tuple[str, ...] | None = None


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One dialect that a vendor speaks; vendors.md says what a field that is left out means."""

    # Where it begins, no slash at the end; left out: the vendor's base_url.
    base_url: str | None = None
    # One of `AUTHENTICATIONS`: how the secret is sent.
    authentication: str | None = None
    # The field of the output limit that the vendor heeds, such as max_completion_tokens.
    output_limit_field: str | None = None
    # Whether the output limit counts reasoning.
    limit_counts_reasoning: bool | None = None
    # Whether it streams.
    streams: bool | None = None
    # Whether it takes stream_options.include_usage.
    takes_stream_options: bool | None = None
    # Whether a stream that its client left may be read to its end for the vendor's count.
    drainable: bool | None = None
    # Fields that the vendor takes beyond its dialect's own and that cost nothing extra.
    extra_fields: tuple[str, ...] | None = None
    # Field that costs extra, or a path to it -> its values that do not.
    priced_fields: dict[str, tuple[Any, ...]] | None = None
    # One of `UNKNOWN_FIELDS`: what becomes of other top-level fields.
    unknown_fields: str | None = None
    # One of `UNKNOWN_CONTENT`: what becomes of unknown members and blocks in messages.
    unknown_content: str | None = None
    # One of `PROMPT_CACHING`, in OpenAI's dialects; messages always have marks.
    prompt_caching: str | None = None
    usage: UsageReading | None = None
    # A path that costs nothing and is answered with 200 while the vendor works; left out: none is known.
    probe_path: str | None = None


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vendor's endpoints by dialect."""

    openai_chat: Endpoint | None = None
    anthropic_messages: Endpoint | None = None
    openai_responses: Endpoint | None = None
    openai_embeddings: Endpoint | None = None
    openai_completions: Endpoint | None = None
    openai_images: Endpoint | None = None
    openai_transcriptions: Endpoint | None = None
    rerank: Endpoint | None = None
    openai_speech: Endpoint | None = None

    def by_dialect(self) -> dict[str, Endpoint]:
        """The endpoints that are given, in the order of `DIALECTS`."""
        return {dialect: endpoint for dialect in DIALECTS if (endpoint := getattr(self, dialect)) is not None}


class VendorError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The meaning of a vendor's error; every condition that is given must match."""

    # 0: any.
    http_status: int = 0
    # The error's code or type, as text; empty: any.
    code: str = ""
    # A part of its message, without regard to case; empty: any.
    message_part: str = ""
    # One of `ERROR_MEANINGS`: the cause, which says whether another route is tried.
    meaning: str


class FeeShares(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The shares that the operator keeps of a vendor's claims, to 6 decimals: at most 1 together. The vendor gets the rest."""

    # From then on, with an offset; left out in the first, which holds from the beginning.
    effective_time: datetime.datetime | None = None
    # For the platform: access, charging, settlement.
    platform: Decimal = Decimal(0)
    # For the computing power that the operator lends the vendor.
    compute: Decimal = Decimal(0)
    # For the way to the customers.
    channel: Decimal = Decimal(0)


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model company whose models are sold, or what a layer changes of one. All but vendor_id may stand in a layer below."""

    vendor_id: str
    # The name that people know it by.
    display_name: str | None = None
    # Where its OpenAI-compatible API begins, with http or https and no slash at the end.
    base_url: str | None = None
    # The environment variable of the edge that holds the vendor's secret.
    api_key_env: str | None = None
    # The environment variable of the edge that replaces base_url, and that of every endpoint, where it is set.
    base_url_env: str | None = None
    # The tariff by which it is owed for its models, where a route names no other.
    wholesale_tariff_id: str | None = None
    # One of `PRICED_AT`: the moment of a call whose prices it charges; left out: its start.
    priced_at: str | None = None
    # Shares that the operator keeps of the vendor's claims, by rising effective_time; left out: nothing.
    fees: tuple[FeeShares, ...] | None = None
    # None: OpenAI chat completions at base_url.
    endpoints: Endpoints | None = None
    # The first that matches counts.
    errors: tuple[VendorError, ...] = ()


_FILLED: Final = {
    dialect: Endpoint(
        authentication=authentication,
        output_limit_field=LIMIT_FIELDS[dialect][0] if LIMIT_FIELDS[dialect] else "",
        limit_counts_reasoning=True,
        streams=dialect not in WHOLE_DIALECTS,
        takes_stream_options=True,
        drainable=dialect != "openai_speech",
        extra_fields=(),
        priced_fields={},
        unknown_fields="dropped",
        unknown_content="passed",
        prompt_caching="none",
        usage=UsageReading(reasoning="as_total_shows", paths={}, places=()),
        probe_path="",
    )
    for dialect, authentication in (
        ("openai_chat", "bearer"),
        ("anthropic_messages", "x_api_key"),
        ("openai_responses", "bearer"),
        ("openai_embeddings", "bearer"),
        ("openai_completions", "bearer"),
        ("openai_images", "bearer"),
        ("openai_transcriptions", "bearer"),
        ("rerank", "bearer"),
        ("openai_speech", "bearer"),
    )
}


def filled(vendor: Vendor) -> dict[str, Endpoint]:
    """The endpoints of a valid vendor by dialect, in the order of `DIALECTS`, with every field set."""
    given = (vendor.endpoints or Endpoints()).by_dialect() or {"openai_chat": Endpoint()}
    at_vendor = Endpoint(base_url=vendor.base_url)
    return {dialect: _over(_over(_FILLED[dialect], at_vendor), endpoint) for dialect, endpoint in given.items()}


def layered(below: Vendor, above: Vendor) -> Vendor:
    """A vendor after a layer has changed it.

    A list or a map of the layer replaces the one below; only its errors are put before those below, and a field that it gives a
    price is no longer free. A layer that moves the vendor's base_url moves the endpoints that it names, too, and takes away those
    that would go on at an address of their own.
    """
    named = (above.endpoints or Endpoints()).by_dialect()
    moves = above.base_url not in (None, below.base_url)
    kept = {}
    for dialect, endpoint in (below.endpoints or Endpoints()).by_dialect().items():
        if moves and endpoint.base_url is not None:
            if dialect not in named:
                continue
            moved = msgspec.structs.replace(endpoint, base_url=None)
        else:
            moved = endpoint
        priced = (named[dialect].priced_fields if dialect in named else None) or {}
        if moved.extra_fields is not None:
            extra = tuple(each for each in moved.extra_fields if each not in priced)
            moved = msgspec.structs.replace(moved, extra_fields=extra)
        kept[dialect] = moved
    changed = _over(msgspec.structs.replace(below, endpoints=Endpoints(**kept) if kept else None), above)
    return msgspec.structs.replace(changed, errors=above.errors + below.errors)


def missing_flaws(vendor: Vendor) -> Iterator[FieldFlaw]:
    """Required fields that no layer has given."""
    for name in _REQUIRED:
        if getattr(vendor, name) is None:
            yield name, "is missing; only a vendor of a layer below may leave it out"


def vendor_flaws(vendor: Vendor) -> Iterator[FieldFlaw]:
    """Everything that is wrong in what an entry gives."""
    if vendor.display_name is not None:
        yield from text_flaws("display_name", vendor.display_name)
    if vendor.priced_at is not None:
        yield from choice_flaws("priced_at", vendor.priced_at, PRICED_AT)
    yield from _fee_flaws(vendor.fees or ())
    yield from _address_flaws("base_url", vendor.base_url)
    for field in ("api_key_env", "base_url_env"):
        name = getattr(vendor, field)
        if name is not None and not _ENVIRONMENT_VARIABLE.fullmatch(name):
            yield field, f"must name an environment variable like TOKENLINE_EXAMPLE_API_KEY; it is {name!r}"
    for dialect, endpoint in (vendor.endpoints or Endpoints()).by_dialect().items():
        for field, message in _endpoint_flaws(dialect, endpoint):
            yield f"endpoints.{dialect}.{field}", message
    for index, error in enumerate(vendor.errors):
        yield from _error_flaws(f"errors[{index}]", error)


def _fee_flaws(fees: tuple[FeeShares, ...]) -> Iterator[FieldFlaw]:
    before: datetime.datetime | None = None
    for index, each in enumerate(fees):
        field = f"fees[{index}]"
        time = each.effective_time
        if index and time is None:
            yield f"{field}.effective_time", "is missing; only the first shares hold from the beginning"
        elif not index and time is not None:
            yield f"{field}.effective_time", "must be left out: the first shares hold from the beginning; put others before them"
        elif time is not None:
            yield from effective_time_flaws(f"{field}.effective_time", time)
            if before is not None and time.tzinfo and before.tzinfo and time <= before:
                yield f"{field}.effective_time", "must be later than that of the shares before it"
        before = time
        readable = True
        for name in FEES:
            try:
                micro_amount(getattr(each, name))
            except ValueError as error:
                readable = False
                yield f"{field}.{name}", str(error)
        whole = sum((getattr(each, name) for name in FEES), Decimal(0)) if readable else Decimal(0)
        if whole > 1:
            yield field, f"must come to at most 1, since the vendor gets the rest; {' and '.join(FEES)} come to {whole}"


def _over(below: T, above: T) -> T:
    """The struct below with what the one above gives, structs in it likewise."""
    changes: dict[str, Any] = {}
    for name in below.__struct_fields__:
        old, new = getattr(below, name), getattr(above, name)
        if new is not None:
            changes[name] = _over(old, new) if isinstance(old, msgspec.Struct) else new
    return msgspec.structs.replace(below, **changes)


def _address_flaws(field: str, address: str | None) -> Iterator[FieldFlaw]:
    if address is None:
        return
    try:
        url = urlsplit(address)
        addressed = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        addressed = False
    if not addressed:
        yield field, f"must be an http or https address like https://api.example.com/v1; it is {address!r}"
    elif address.endswith("/"):
        yield field, f"must not end in a slash; write {address.rstrip('/')}"
    elif url.query or url.fragment or url.username is not None or re.search(r"\s", address):
        yield field, f"must have no query, fragment, user or space; it is {address!r}"


def _endpoint_flaws(dialect: str, endpoint: Endpoint) -> Iterator[FieldFlaw]:
    yield from _address_flaws("base_url", endpoint.base_url)
    for field, choices in (
        ("authentication", AUTHENTICATIONS),
        ("output_limit_field", LIMIT_FIELDS[dialect]),
        ("unknown_fields", UNKNOWN_FIELDS),
        ("unknown_content", UNKNOWN_CONTENT),
    ):
        value = getattr(endpoint, field)
        if value is not None and not choices:
            yield field, f"must be left out: {dialect} has no limit of the output"
        elif value is not None:
            yield from choice_flaws(field, value, choices)
    yield from _caching_flaws(dialect, endpoint.prompt_caching)
    if endpoint.probe_path and not _PROBE_PATH.fullmatch(endpoint.probe_path):
        yield "probe_path", f"must be a path like /models, after the endpoint's base_url; it is {endpoint.probe_path!r}"
    priced = endpoint.priced_fields or {}
    seen: set[str] = set()
    for index, name in enumerate(endpoint.extra_fields or ()):
        field = f"extra_fields[{index}]"
        if not _FIELD.fullmatch(name):
            yield field, f"must be the name of a field of the body; it is {name!r}"
        elif name.casefold() in METERED_FIELDS:
            yield field, f"{name!r} is read and written by the meter; leave it out"
        elif name in priced:
            yield field, f"{name!r} stands in priced_fields too; keep one of them"
        elif name in seen:
            yield field, f"{name!r} stands here already; keep one of them"
        seen.add(name)
    for name in priced:
        if not _PATH.fullmatch(name):
            yield "priced_fields", f"must have names like search, or paths like tools[].type; one is {name!r}"
        elif name.casefold() in METERED_FIELDS:
            yield "priced_fields", f"{name!r} is read and written by the meter; leave it out"
    if endpoint.usage is not None:
        yield from _usage_flaws(endpoint.usage)


def _caching_flaws(dialect: str, caching: str | None) -> Iterator[FieldFlaw]:
    if caching is not None and dialect not in _CACHING_DIALECTS:
        yield "prompt_caching", f"must be left out: {dialect} needs no word on it"
    elif caching is not None:
        yield from choice_flaws("prompt_caching", caching, PROMPT_CACHING)


def _usage_flaws(usage: UsageReading) -> Iterator[FieldFlaw]:
    if usage.reasoning is not None:
        yield from choice_flaws("usage.reasoning", usage.reasoning, REASONING_COUNTS)
    for token_class, paths in (usage.paths or {}).items():
        field = f"usage.paths.{token_class}"
        if token_class not in TOKEN_CLASSES:
            yield "usage.paths", f"no token class has the name {token_class!r}; known are: {', '.join(TOKEN_CLASSES)}"
            continue
        for index, path in enumerate(paths):
            if not _PATH.fullmatch(path):
                yield f"{field}[{index}]", f"must be names joined by dots, like details.cached; it is {path!r}"
    for index, path in enumerate(usage.places or ()):
        if not _PATH.fullmatch(path):
            yield f"usage.places[{index}]", f"must be names joined by dots, like x_groq.usage or choices[].usage; it is {path!r}"


def _error_flaws(field: str, error: VendorError) -> Iterator[FieldFlaw]:
    yield from choice_flaws(f"{field}.meaning", error.meaning, ERROR_MEANINGS)
    if error.http_status and not 200 <= error.http_status <= 599:
        yield f"{field}.http_status", f"must be from 200 to 599, or left out for any; it is {error.http_status}"
    if not (error.http_status or error.code or error.message_part):
        yield field, "must give at least one of http_status, code, message_part"
