"""A request whose vendor speaks another dialect than its client. Pure."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from services.edge.call.dialect import Answer, Body, Dialect, InputSize, Request, VendorRequest
from services.edge.dialects.json_text import encode
from services.edge.dialects.translation.answer import TranslatedAnswer
from services.edge.dialects.translation.conversation import Conversation, Thought, is_marked
from services.edge.dialects.translation.proofs import Proof, Seal, proof_in
from services.edge.dialects.translation.refusals import cannot
from services.edge.dialects.translation.requests.view import View
from services.edge.dialects.translation.telling import Reader, Telling
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import Problem
from services.edge.vendors.profile import Endpoint, PromptCaching

_JSON: Final = "application/json"


class Names(NamedTuple):
    """A dialect's names of fields that each dialect has under a name of its own."""

    messages: str
    limit: str
    stop: str
    effort: str
    format: str
    user: str
    marks: str


class Form(NamedTuple):
    """A dialect as translation knows it: on the client's side, and on the vendor's."""

    dialect: Dialect
    names: Names
    read: Callable[[Any], Conversation]
    telling: Callable[[Conversation, str, Seal, bool], Telling]
    write: Callable[[Conversation, View], tuple[Tree, tuple[str, ...]]]
    reader: Callable[[], Reader]
    # Whether its clients have a field for proofs of thought, and every vendor of it takes marks of what is to be cached.
    keeps_proofs: bool
    takes_marks: bool
    # Dialects to translate into, the one that loses least first.
    targets: tuple[str, ...]


class TranslatedRequest:
    """See `services.edge.call.dialect.Request`. Never changed."""

    choices: Final = 1
    takes_limit: Final = True

    def __init__(
        self,
        client: Form,
        vendors: Form,
        request: Request,
        conversation: Conversation,
        *,
        model_id: str,
        output_max: int,
    ) -> None:
        """`request` as the client's dialect read it. `model_id` is the model that answers, with at most `output_max` tokens.

        Errors: `Problem` 400 that names the client's field.
        """
        self.model_id: str = request.model_id
        self.streamed: bool = request.streamed
        self.makes_output: bool = request.makes_output
        self.output_limit: int | None = request.output_limit
        self.output_field: str | None = request.output_field
        self._client = client
        self._vendors = vendors
        self._request = request
        self._conversation = conversation
        self._model_id = model_id
        self._output_max = output_max
        self._sealed: list[str] = []
        self._is_marked = False
        for turn in conversation.turns:
            for part in turn.parts:
                if type(part) is Thought:
                    self._sealed.append(part.sealed)
                elif is_marked(part):
                    self._is_marked = True
        # With every proof that may be one of the vendor's, so that it is sized as the largest of all.
        self._written, self._dropped = self._write(proof_in, has_marks=vendors.takes_marks)

    def _write(self, opened: Callable[[str], Proof | None], *, has_marks: bool) -> tuple[Request, tuple[str, ...]]:
        """The request in the vendor's dialect, read by it; and the names of the client's fields that it cannot have."""
        view = View(self._output_max, self.output_limit, opened, has_marks, self._client.keeps_proofs)
        try:
            fields, dropped = self._vendors.write(self._conversation, view)
            body = encode({"model": self.model_id, "stream": True, **fields})
            return self._vendors.dialect.read(Body(body, _JSON), {}), tuple(map(self._clients_name, dropped))
        except Problem as problem:
            raise self._named(problem) from None

    def size(self) -> InputSize:
        """See `services.edge.call.dialect.Request`."""
        return self._written.size()

    def conversation(self) -> bytes:
        """See `services.edge.call.dialect.Request`."""
        return self._request.conversation()

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """See `services.edge.call.dialect.Request`. Proofs of other vendors are left out."""
        dropped = (*self._conversation.dropped, *self._dropped)
        has_marks = self._vendors.takes_marks
        if self._is_marked and not has_marks:
            match endpoint.prompt_caching:
                case PromptCaching.NONE:
                    marks = self._client.names.marks
                    raise cannot(marks, "That vendor is not known to cache prompts, so the price would be another. Leave it out.")
                case PromptCaching.AUTOMATIC:
                    dropped = (*dropped, self._client.names.marks)
                case PromptCaching.MARKS:
                    has_marks = True
        written = self._written
        if self._sealed or has_marks is not self._vendors.takes_marks:
            opened = self._seal(endpoint).open
            if has_marks is not self._vendors.takes_marks or not all(map(opened, self._sealed)):
                written, _ = self._write(opened, has_marks=has_marks)
        try:
            asked = written.vendor_request(endpoint, vendor_model_id, output_limit, streamed=streamed)
        except Problem as problem:
            raise self._named(problem) from None
        return asked._replace(dropped=(*dropped, *asked.dropped)) if dropped else asked

    def count_body(self, tokens: int) -> Body:
        """See `services.edge.call.dialect.CountsHere`: messages alone have such requests."""
        return Body(encode({"input_tokens": tokens}), _JSON)

    def whole_bytes_max(self, output_tokens: int) -> int:
        """See `services.edge.call.dialect.Request`."""
        return self._written.whole_bytes_max(output_tokens)

    def answer(self, endpoint: Endpoint) -> Answer:
        """See `services.edge.call.dialect.Request`."""
        telling = self._client.telling(self._conversation, self.model_id, self._seal(endpoint), self.streamed)
        return TranslatedAnswer(self._written.answer(endpoint), self._vendors.reader(), telling)

    def _seal(self, endpoint: Endpoint) -> Seal:
        return Seal(self._vendors.dialect.name, endpoint.vendor_id, self._model_id)

    def _named(self, problem: Problem) -> Problem:
        """The problem of a field that was written here, under the client's name of it."""
        param = problem.param or ""
        clients = self._clients_name(param)
        if clients == param:
            return problem
        message = problem.message.replace(param, clients, 1)
        return Problem(problem.status, problem.type, problem.code, message, param=clients, headers=problem.headers)

    def _clients_name(self, name: str) -> str:
        """The client's name of a field of the vendor's dialect, or of a place in it."""
        head = name.partition("[")[0]
        for own, clients in zip(self._vendors.names, self._client.names, strict=True):
            if own != clients and (head == own or head.startswith(f"{own}.")):
                return clients
        return name
