"""A request for completions: read, sized, and written anew for a vendor. Pure."""

from collections.abc import Iterable
from typing import Final

from services.edge.call.dialect import Body, InputSize, VendorRequest
from services.edge.dialects.chat.fields import DialectFields, read_stream_options, unknown_text, write_fields
from services.edge.dialects.chat.request import CHOICES_MAX
from services.edge.dialects.completions.answer import CompletionsAnswer
from services.edge.dialects.json_text import Fields, Raw, by_fold, encode, integer, is_set, read_object, refuse_folds, text, truth
from services.edge.dialects.prompts import read_prompts
from services.edge.dialects.sizes import ANSWER_BYTES, TOKEN_BYTES_MAX
from services.edge.http.problems import malformed
from services.edge.tokens.size import size_of
from services.edge.vendors.profile import Endpoint

# The dialect's own, where a request names no limit.
OUTPUT_LIMIT: Final = 16
ALTERNATIVES_MAX: Final = 5
_BEST_OF_MAX: Final = 20
# A character of an echoed prompt in JSON, where all are written as escapes.
_ESCAPE_BYTES: Final = 6
_FIELDS: Final = DialectFields(
    frozenset(
        {
            "model",
            "prompt",
            "suffix",
            "max_tokens",
            "n",
            "best_of",
            "stream",
            "stream_options",
            "echo",
            "logprobs",
            "temperature",
            "top_p",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "stop",
            "logit_bias",
            "user",
            # Instructions to the vendor simulator.
            "simulate",
        }
    ),
    (("service_tier", frozenset({b'"auto"', b'"default"'})),),
)
_BY_FOLD: Final = by_fold(_FIELDS.known)
_MISSING: Final = "missing_required_parameter"
_TRUE: Final = Raw(b"true")


class CompletionsRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    makes_output = True
    takes_limit = True

    def __init__(self, body: bytes) -> None:
        """Reads a body. Errors: `Problem` 400 that names the field."""
        fields = read_object(body, "prompt")
        refuse_folds(fields, _BY_FOLD)
        model_id = text(fields, "model", right="a string, the ID of a model")
        if not model_id:
            raise malformed("model", "You must provide a model: its ID, as GET /v1/models lists it.", _MISSING)
        if not is_set(fields, "prompt"):
            raise malformed("prompt", "You must provide a prompt: a text, a list of texts, or tokens.", _MISSING)
        self.model_id: str = model_id
        self.streamed: bool = bool(truth(fields, "stream"))
        self.options = read_stream_options(fields, streamed=self.streamed)
        self._prompts = read_prompts(fields["prompt"], "prompt", CHOICES_MAX)
        self._suffix = text(fields, "suffix") or ""
        # Answers to each prompt.
        self._each = integer(fields, "n", 1, most=CHOICES_MAX) or 1
        self.choices: int = self._each * self._prompts.inputs
        if self.choices > CHOICES_MAX:
            message = f"n times the prompts is {self.choices}; ask for at most {CHOICES_MAX} answers in one request."
            raise malformed("n", message, "invalid_value")
        best_of = integer(fields, "best_of", 1, most=_BEST_OF_MAX)
        if best_of is not None and best_of != self._each:
            message = f"best_of would make answers that are charged and sent to nobody. Leave it out, or make it n, {self._each}."
            raise malformed("best_of", message, "unsupported_value")
        limit = integer(fields, "max_tokens", 1)
        self.output_field: str | None = "max_tokens"
        self.output_limit: int | None = OUTPUT_LIMIT if limit is None else limit
        # Alternatives to each token of output that the client asked for; None: no probabilities of tokens at all.
        self._alternatives = integer(fields, "logprobs", 0, most=ALTERNATIVES_MAX)
        # The prompts that the answers begin with.
        self._echoed: tuple[str, ...] = ()
        if truth(fields, "echo"):
            if self._prompts.tokens:
                raise malformed("echo", "echo repeats texts alone, and the prompt has tokens. Leave it out.", "unsupported_value")
            self._echoed = self._prompts.texts
        self._fields: Fields = fields

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`. A suffix is read with each prompt; nothing is wrapped into a template."""
        prompts = self._prompts
        size = prompts.size
        if others := self._suffix * prompts.inputs + unknown_text(self._fields, _FIELDS):
            size += size_of(others)
        return InputSize(size.utf8_bytes, size, 0, (), self._texts, prompts.inputs, "prompt")

    def conversation(self) -> bytes:
        """See `services.edge.call.dialect.Request`."""
        return self._prompts.conversation

    def _texts(self) -> Iterable[str]:
        yield from self._prompts.texts
        if self._suffix:
            yield from [self._suffix] * self._prompts.inputs

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Members stand in the client's order, ours at the end."""
        ours = {"model": Raw(encode(vendor_model_id)), "prompt": self._prompts.raw}
        left_out = ("stream", "stream_options", "best_of", "max_tokens", endpoint.output_limit_field)
        written, dropped = write_fields(self._fields, endpoint, _FIELDS, {**ours, **dict.fromkeys(left_out)})
        limits = [limit for limit in (self.output_limit, output_limit) if limit is not None]
        written[endpoint.output_limit_field] = Raw(b"%d" % min(limits))
        if streamed:
            written["stream"] = _TRUE
            if endpoint.takes_stream_options:
                written["stream_options"] = self.options.written
        body = Body(encode(written), "application/json")
        return VendorRequest("/completions", body, (), (*dropped, *self.options.dropped))

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`. Echoed prompts, with their probabilities, come on top."""
        told = 0 if self._alternatives is None else 1 + self._alternatives
        echoed = self._each * sum(len(text.encode()) for text in self._echoed)
        return ANSWER_BYTES + output_tokens * TOKEN_BYTES_MAX * (1 + told) + echoed * (_ESCAPE_BYTES + TOKEN_BYTES_MAX * told)

    def answer(self, endpoint: Endpoint) -> CompletionsAnswer:
        """See `services.edge.call.dialect.Request`."""
        return CompletionsAnswer(
            endpoint.usage,
            self.choices,
            self._alternatives,
            self.options,
            [text for text in self._echoed for _ in range(self._each)],
            streamed=self.streamed,
        )
