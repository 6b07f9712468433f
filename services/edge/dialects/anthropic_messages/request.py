"""A request for a message, or for the count of its tokens, as it was read; and the vendor's request written from it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.edge.call.dialect import Answer, Body, InputSize, VendorRequest
from services.edge.dialects.anthropic_messages.answer import CountAnswer, StreamedAnswer, WholeAnswer
from services.edge.dialects.anthropic_messages.names import (
    COUNT_FIELDS,
    FIELDS,
    FIELDS_BY_FOLD,
    PROMPT_FIELDS,
    THINKING_BY_FOLD,
)
from services.edge.dialects.anthropic_messages.priced import fields_of, refuse_priced, runs_at_vendor
from services.edge.dialects.anthropic_messages.prompt import Prompt
from services.edge.dialects.conversation import mark_of, session_of
from services.edge.dialects.json_text import encode, read_tree, refuse_folds, whole_number
from services.edge.dialects.profiled import taken
from services.edge.dialects.sizes import ANSWER_BYTES, RESULTS_BYTES_MAX, TOKEN_BYTES_MAX
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import Header, malformed
from services.edge.vendors.profile import Endpoint, Unknown

MESSAGES_PATH: Final = "/messages"
COUNT_PATH: Final = "/messages/count_tokens"
_MISSING: Final = "missing_required_parameter"
_VERSION: Final = b"anthropic-version"
_BETA: Final = b"anthropic-beta"
_DEFAULT_VERSION: Final = b"2023-06-01"
_VERSION_TEXT: Final = re.compile(rb"[0-9A-Za-z.-]{1,32}")
_BETAS_TEXT: Final = re.compile(rb"[0-9A-Za-z._, -]{1,4096}")
# The smallest budget of thinking that Anthropic takes.
_BUDGET_MIN: Final = 1_024


class MessagesRequest:
    """A request as it was read; never changed."""

    choices: Final = 1
    takes_limit: Final = True

    __slots__ = (
        "_fields",
        "_headers",
        "_prompt",
        "_session",
        "makes_output",
        "model_id",
        "output_field",
        "output_limit",
        "streamed",
    )

    def __init__(self, fields: Tree, prompt: Prompt, headers: tuple[Header, ...], session: bytes, *, counting: bool) -> None:
        self._fields = fields
        self._prompt = prompt
        self._headers = headers
        self._session = session
        self.makes_output = not counting
        self.model_id: str = fields["model"]
        self.streamed = not counting and fields.get("stream") is True
        self.output_limit: int | None = None if counting else fields["max_tokens"]
        self.output_field: str | None = None if counting else "max_tokens"

    @property
    def fields(self) -> Tree:
        """The fields as they were read."""
        return self._fields

    @property
    def parts(self) -> int:
        """Its turns, texts and tools."""
        return self._prompt.turns + len(self._prompt.texts) + len(self._fields.get("tools") or ())

    def size(self) -> InputSize:
        """The size of the input."""
        return self._prompt.size()

    def conversation(self) -> bytes:
        """The session that the client names, else its prompt's beginning."""
        return self._session or mark_of(self._prompt.beginning())

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """The vendor's request, built from the fields that were read. Errors: `Problem` 400 for those that the profile refuses."""
        if self._prompt.unknown and endpoint.unknown_content is not Unknown.PASSED:
            param = self._prompt.unknown
            raise malformed(param, f"{param} is not known to this model's vendor. Leave it out.", "unknown_parameter")
        if self.makes_output:
            refuse_priced(self._fields, endpoint)
        known = FIELDS if self.makes_output else COUNT_FIELDS
        fields = {name: value for name, value in self._fields.items() if name != "betas"}
        body, dropped = taken(fields, known, endpoint, fields_of(endpoint))
        body["model"] = vendor_model_id
        if self.makes_output:
            self._limit(body, endpoint, output_limit)
            if streamed:
                body["stream"] = True
            else:
                body.pop("stream", None)
        path = MESSAGES_PATH if self.makes_output else COUNT_PATH
        return VendorRequest(path, Body(encode(body), "application/json"), self._headers, dropped)

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`."""
        return ANSWER_BYTES + output_tokens * TOKEN_BYTES_MAX + (RESULTS_BYTES_MAX if self._has_results else 0)

    @property
    def _has_results(self) -> bool:
        """Whether tools are asked for that run at the vendor."""
        if self._fields.get("mcp_servers"):
            return True
        return any(runs_at_vendor(tool.get("type")) for tool in self._fields.get("tools") or ())

    def answer(self, endpoint: Endpoint) -> Answer:
        """A reader of the vendor's answer."""
        if not self.makes_output:
            return CountAnswer()
        if self.streamed:
            return StreamedAnswer(endpoint.usage, self.model_id, has_results=self._has_results)
        return WholeAnswer(endpoint.usage, self.model_id, has_results=self._has_results)

    def _limit(self, body: Tree, endpoint: Endpoint, output_limit: int | None) -> None:
        """Writes the output limit into the field that the endpoint heeds; a budget of thinking is kept inside it."""
        asked = body["max_tokens"]
        limit = asked if output_limit is None else min(asked, output_limit)
        if endpoint.output_limit_field != "max_tokens":
            del body["max_tokens"]
        body[endpoint.output_limit_field] = limit
        thinking: Tree = body.get("thinking") or {}
        budget = thinking.get("budget_tokens")
        # With interleaved thinking the budget may exceed the limit: then it is left to the client.
        if budget is not None and limit <= budget < asked:
            if limit > _BUDGET_MIN:
                body["thinking"] = {**thinking, "budget_tokens": limit - 1}
            else:
                body["thinking"] = {"type": "disabled"}


def read_request(content: bytes, headers: Mapping[bytes, bytes], *, counting: bool) -> MessagesRequest:
    """Reads a request. Errors: `Problem` 400 that names the field and says what would be right."""
    fields = _read_fields(content, counting=counting)
    prompt = Prompt(is_bounded=not counting)
    prompt.read_messages(fields["messages"])
    if fields.get("system") is not None:
        prompt.read_system(fields["system"])
    if fields.get("tools") is not None:
        prompt.read_tools(fields["tools"])
    for name, value in fields.items():
        # An unknown field may be part of the prompt.
        if (name in PROMPT_FIELDS or name not in FIELDS) and value is not None:
            prompt.add(name, value)
    return MessagesRequest(fields, prompt, _vendor_headers(fields, headers), session_of(headers), counting=counting)


def _read_fields(content: bytes, *, counting: bool) -> Tree:
    """The body's top-level fields; those that charging reads have the right type."""
    fields = read_tree(content, "a JSON object, with model, max_tokens and messages")
    if not fields.keys() <= FIELDS:
        refuse_folds(fields, FIELDS_BY_FOLD)
    if fields.get("model") is None:
        raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
    if type(fields["model"]) is not str or not fields["model"]:
        raise malformed("model", "model must be a string: the ID of a model.", "invalid_type")
    if fields.get("messages") is None:
        raise malformed("messages", "You must provide messages: a list of objects with role and content.", _MISSING)
    if not counting:
        _check_limit(fields.get("max_tokens"))
        if fields.get("stream") not in (None, True, False) or type(fields.get("stream")) is int:
            raise malformed("stream", "stream must be true or false.", "invalid_type")
    thinking = fields.get("thinking")
    if thinking is not None:
        if type(thinking) is not dict:
            raise malformed("thinking", "thinking must be an object with a type.", "invalid_type")
        refuse_folds(thinking, THINKING_BY_FOLD, "thinking")
        if thinking.get("budget_tokens") is not None:
            whole_number(thinking["budget_tokens"], "thinking.budget_tokens", 0)
    return fields


def _check_limit(limit: Any) -> None:
    if limit is None:
        message = "You must provide max_tokens: the most output tokens that the answer may have, thinking included."
        raise malformed("max_tokens", message, _MISSING)
    if whole_number(limit, "max_tokens", 0) == 0:
        message = "max_tokens must be at least 1: a call that makes no output, and only fills the vendor's cache, is not sold here."
        raise malformed("max_tokens", message, "invalid_value")


def _vendor_headers(fields: Tree, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
    """The version of the API and the beta features that the client asked for; `betas` in the body are moved here."""
    version = headers.get(_VERSION, _DEFAULT_VERSION)
    if not _VERSION_TEXT.fullmatch(version):
        raise malformed("anthropic-version", "The header anthropic-version must be a date, such as 2023-06-01.", "invalid_value")
    betas = headers.get(_BETA, b"").strip()
    listed = fields.get("betas")
    if listed is not None:
        if type(listed) is not list or not all(type(each) is str for each in listed):
            raise malformed("betas", "betas must be a list of strings, the names of beta features.", "invalid_type")
        asked = [each.strip() for each in (*betas.split(b","), *(each.encode() for each in listed))]
        betas = b",".join(each for each in dict.fromkeys(asked) if each)
    if not betas:
        return ((_VERSION, version),)
    if not _BETAS_TEXT.fullmatch(betas):
        message = "The header anthropic-beta must be a list of names of beta features, with commas between them."
        raise malformed("anthropic-beta", message, "invalid_value")
    return ((_VERSION, version), (_BETA, betas))
