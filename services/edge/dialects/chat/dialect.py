"""The dialect of OpenAI's chat completions, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.chat.request import ChatRequest
from services.edge.dialects.conversation import session_of
from services.edge.dialects.openai import OpenAiWords


class ChatCompletions(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_chat"
    charged = Charged.INPUT_AND_OUTPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> ChatRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means; one may name its session."""
        return ChatRequest(body.content, session_of(headers))
