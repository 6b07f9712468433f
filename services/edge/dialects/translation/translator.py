"""The choice of a dialect for a request whose own no vendor of the model speaks. Pure."""

from collections.abc import Collection
from typing import Final, Protocol, runtime_checkable

from services.edge.call.dialect import Dialect, Request
from services.edge.dialects.anthropic_messages.dialect import MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.responses.dialect import Responses
from services.edge.dialects.translation.answers.chat import ChatReader, ChatTelling
from services.edge.dialects.translation.answers.messages import MessagesReader, MessagesTelling
from services.edge.dialects.translation.answers.responses import ResponsesReader, ResponsesTelling
from services.edge.dialects.translation.conversation import Conversation
from services.edge.dialects.translation.proofs import Seal
from services.edge.dialects.translation.request import Form, Names, TranslatedRequest
from services.edge.dialects.translation.requests import chat, messages, messages_body, responses
from services.edge.http.problems import Problem

# Writing this many anew takes a few milliseconds.
_PARTS_ON_LOOP_MAX: Final = 1_000


@runtime_checkable
class Counted(Protocol):
    """A request of a dialect that is translated."""

    @property
    def parts(self) -> int:
        """Its turns, texts and tools, or a little more."""
        ...


def _to_chat(conversation: Conversation, model_id: str, seal: Seal, streamed: bool) -> ChatTelling:  # a field's type
    return ChatTelling(model_id, seal, conversation, streamed=streamed)


def _to_messages(conversation: Conversation, model_id: str, seal: Seal, streamed: bool) -> MessagesTelling:  # the same
    return MessagesTelling(model_id, seal, streamed=streamed)


def _to_responses(conversation: Conversation, model_id: str, seal: Seal, streamed: bool) -> ResponsesTelling:  # the same
    return ResponsesTelling(model_id, seal, streamed=streamed, tools=conversation.tools)


_CHAT: Final = Form(
    ChatCompletions(),
    Names(
        messages="messages",
        limit="max_completion_tokens",
        stop="stop",
        effort="reasoning_effort",
        format="response_format",
        user="user",
        marks="prompt_cache_breakpoint",
    ),
    chat.read,
    _to_chat,
    chat.write,
    ChatReader,
    keeps_proofs=False,
    takes_marks=False,
    # Responses have the same models, pictures and schemas; messages have texts that stop an answer, and no more.
    targets=("openai_responses", "anthropic_messages"),
)
_MESSAGES: Final = Form(
    MESSAGES,
    Names(
        messages="messages",
        limit="max_tokens",
        stop="stop_sequences",
        effort="output_config.effort",
        format="output_config.format",
        user="metadata.user_id",
        marks="cache_control",
    ),
    messages.read,
    _to_messages,
    messages_body.write,
    MessagesReader,
    keeps_proofs=True,
    takes_marks=True,
    # Responses carry proofs of thought and pictures in results of tools.
    targets=("openai_responses", "openai_chat"),
)
_RESPONSES: Final = Form(
    Responses(),
    Names(
        messages="input",
        limit="max_output_tokens",
        stop="stop",
        effort="reasoning.effort",
        format="text.format",
        user="user",
        marks="prompt_cache_breakpoint",
    ),
    responses.read,
    _to_responses,
    responses.write,
    ResponsesReader,
    keeps_proofs=True,
    takes_marks=False,
    # Messages carry proofs of thought, marks of what is to be cached, and pictures in results of tools.
    targets=("anthropic_messages", "openai_chat"),
)


class Translations:
    """See `services.edge.call.dialect.Translator`."""

    def __init__(self) -> None:
        self._forms: Final = {form.dialect.name: form for form in (_CHAT, _MESSAGES, _RESPONSES)}

    def targets(self, dialect: str, spoken: Collection[str]) -> tuple[str, ...]:
        """See `services.edge.call.dialect.Translator`."""
        form = self._forms.get(dialect)
        return () if form is None else tuple(target for target in form.targets if target in spoken)

    def is_long_work(self, request: Request) -> bool:
        """See `services.edge.call.dialect.Translator`."""
        # Texts may be as long as they will: nothing looks into them.
        return isinstance(request, Counted) and request.parts > _PARTS_ON_LOOP_MAX

    def translated(
        self, dialect: Dialect, request: Request, targets: Collection[str], *, model_id: str, output_max: int
    ) -> tuple[str, Request]:
        """See `services.edge.call.dialect.Translator`."""
        client = self._forms[dialect.name]
        conversation = client.read(request)
        refused: Problem | None = None
        for target in targets:
            vendors = self._forms[target]
            try:
                return target, TranslatedRequest(client, vendors, request, conversation, model_id=model_id, output_max=output_max)
            except Problem as problem:
                # Another dialect may have what this one has not.
                refused = refused or problem
        assert refused is not None, "a target at least"
        raise refused
