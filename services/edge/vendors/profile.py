"""A vendor's profile in the edge: data of the catalog, and its consequences. Pure."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from services.edge.vendors.vendor import VendorFault
from services.token_classes import INDEX
from tokenline.registry.v1 import registry_pb2 as pb

DIALECT_NAMES: Final = {
    pb.DIALECT_OPENAI_CHAT: "openai_chat",
    pb.DIALECT_ANTHROPIC_MESSAGES: "anthropic_messages",
    pb.DIALECT_OPENAI_RESPONSES: "openai_responses",
    pb.DIALECT_OPENAI_EMBEDDINGS: "openai_embeddings",
    pb.DIALECT_OPENAI_COMPLETIONS: "openai_completions",
    pb.DIALECT_OPENAI_IMAGES: "openai_images",
    pb.DIALECT_OPENAI_TRANSCRIPTIONS: "openai_transcriptions",
    pb.DIALECT_RERANK: "rerank",
    pb.DIALECT_OPENAI_SPEECH: "openai_speech",
}


class Unknown(Enum):
    """The treatment of a field that the meter does not know."""

    DROPPED = pb.UNKNOWN_FIELD_DROPPED
    REFUSED = pb.UNKNOWN_FIELD_REFUSED
    PASSED = pb.UNKNOWN_FIELD_PASSED


class PromptCaching(Enum):
    """The way in which a vendor caches the beginning of a prompt."""

    # Not at all, or nothing is known of it.
    NONE = pb.PROMPT_CACHING_UNSPECIFIED
    # By itself, whatever is marked.
    AUTOMATIC = pb.PROMPT_CACHING_AUTOMATIC
    # Where a part of the prompt is marked.
    MARKS = pb.PROMPT_CACHING_MARKS


class Reasoning(Enum):
    """The place where a vendor counts reasoning."""

    BY_TOTAL = pb.REASONING_COUNT_UNSPECIFIED
    INSIDE = pb.REASONING_COUNT_INSIDE
    BESIDE = pb.REASONING_COUNT_BESIDE


class Meaning(Enum):
    """The meaning of a vendor's error."""

    REQUEST = pb.VENDOR_ERROR_MEANING_REQUEST
    ACCOUNT = pb.VENDOR_ERROR_MEANING_ACCOUNT
    RATE_LIMIT = pb.VENDOR_ERROR_MEANING_RATE_LIMIT
    OVERLOADED = pb.VENDOR_ERROR_MEANING_OVERLOADED
    CONTENT = pb.VENDOR_ERROR_MEANING_CONTENT
    CONTEXT = pb.VENDOR_ERROR_MEANING_CONTEXT


# Errors that the client has caused: another route would say the same.
CLIENTS: Final = frozenset({Meaning.REQUEST, Meaning.CONTENT, Meaning.CONTEXT})


class UsageReading(NamedTuple):
    """Places of counts in a vendor's usage, in addition to its dialect's."""

    reasoning: Reasoning = Reasoning.BY_TOTAL
    # (index of the token class, path from the usage object)
    paths: tuple[tuple[int, tuple[str, ...]], ...] = ()
    # Paths of the usage object, from the event.
    places: tuple[tuple[str, ...], ...] = ()


class ErrorRule(NamedTuple):
    """Signs of an error's meaning; all signs that are set must match."""

    http_status: int
    code: str
    message_part: str
    meaning: Meaning

    def matches(self, fault: VendorFault) -> bool:
        """Whether the fault has every sign."""
        return (
            self.http_status in (0, fault.http_status)
            and (not self.code or self.code in (fault.code, fault.kind))
            and (not self.message_part or self.message_part in fault.message.lower())
        )


class Endpoint(NamedTuple):
    """One dialect at a vendor."""

    vendor_id: str
    # A name of `DIALECT_NAMES`.
    dialect: str
    # The beginning of its URLs, without a slash at the end.
    base_url: str
    # The vendor's secret; empty where the vendor wants none.
    api_key: str = ""
    # Whether the secret goes into x-api-key; else it is a bearer token.
    key_in_header: bool = False
    output_limit_field: str = "max_tokens"
    limit_counts_reasoning: bool = True
    streams: bool = True
    takes_stream_options: bool = True
    drainable: bool = True
    extra_fields: frozenset[str] = frozenset()
    # By field, the JSON of its values that cost nothing extra.
    priced_fields: tuple[tuple[str, frozenset[bytes]], ...] = ()
    unknown_fields: Unknown = Unknown.DROPPED
    unknown_content: Unknown = Unknown.PASSED
    usage: UsageReading = UsageReading()
    errors: tuple[ErrorRule, ...] = ()
    prompt_caching: PromptCaching = PromptCaching.NONE
    # A path that costs nothing and that the vendor answers while it works, for example "/models"; empty: none is known.
    probe_path: str = ""

    @property
    def takes_unknown(self) -> bool:
        """Whether fields reach the vendor that its dialect does not know."""
        return self.unknown_fields is Unknown.PASSED or bool(self.extra_fields or self.priced_fields)

    @property
    def key_headers(self) -> list[tuple[bytes, bytes]]:
        """The header with the vendor's secret, if it wants one."""
        if not self.api_key:
            return []
        secret = self.api_key.encode("latin-1", "replace")
        return [(b"x-api-key", secret) if self.key_in_header else (b"authorization", b"Bearer " + secret)]

    def meaning(self, fault: VendorFault) -> Meaning:
        """The meaning of a vendor's error: by its own rules, else by status; `fault.http_status` 200: an error in an answer."""
        for rule in self.errors:
            if rule.matches(fault):
                return rule.meaning
        match fault.http_status:
            case 401 | 402 | 403 | 404 | 405:
                return Meaning.ACCOUNT
            case 400 | 409 | 413 | 415 | 422 | 451:
                return Meaning.REQUEST
            case 408 | 429:
                return Meaning.RATE_LIMIT
            case _:
                return Meaning.OVERLOADED


def endpoints_of(vendor: pb.Vendor, base_url: str, api_key: str) -> dict[str, Endpoint]:
    """A vendor's endpoints by dialect; `base_url` replaces all of theirs unless it is empty."""
    errors = tuple(
        ErrorRule(each.http_status, each.code, each.message_part.lower(), Meaning(each.meaning)) for each in vendor.errors
    )
    endpoints = {}
    for each in vendor.endpoints or _plain():
        name = DIALECT_NAMES.get(each.dialect)
        if name is None:
            # The dialect is of a later release.
            continue
        endpoints[name] = Endpoint(
            vendor_id=vendor.vendor_id,
            dialect=name,
            base_url=(base_url or each.base_url or vendor.base_url).rstrip("/"),
            api_key=api_key,
            key_in_header=each.authentication == pb.VENDOR_AUTHENTICATION_X_API_KEY,
            output_limit_field=each.output_limit_field or "max_tokens",
            limit_counts_reasoning=each.limit_counts_reasoning,
            streams=each.streams,
            takes_stream_options=each.takes_stream_options,
            drainable=each.drainable,
            extra_fields=frozenset(each.extra_fields),
            priced_fields=tuple(
                (field.field, frozenset(value.encode() for value in field.free_values)) for field in each.priced_fields
            ),
            unknown_fields=Unknown(each.unknown_fields or pb.UNKNOWN_FIELD_DROPPED),
            unknown_content=Unknown(each.unknown_content or pb.UNKNOWN_FIELD_PASSED),
            usage=UsageReading(
                Reasoning(each.usage.reasoning),
                tuple(
                    (INDEX[path.token_class], tuple(path.path.split("."))) for path in each.usage.paths if path.token_class in INDEX
                ),
                tuple(tuple(place.split(".")) for place in each.usage.places),
            ),
            errors=errors,
            prompt_caching=PromptCaching(each.prompt_caching),
            probe_path=each.probe_path,
        )
    return endpoints


def _plain() -> Iterable[pb.VendorEndpoint]:
    """The meaning of a vendor without endpoints, from an older registry."""
    return (
        pb.VendorEndpoint(
            dialect=pb.DIALECT_OPENAI_CHAT, limit_counts_reasoning=True, streams=True, takes_stream_options=True, drainable=True
        ),
    )
