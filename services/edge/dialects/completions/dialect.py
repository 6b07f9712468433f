"""The dialect of OpenAI's completions, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.completions.request import CompletionsRequest
from services.edge.dialects.openai import OpenAiWords


class Completions(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_completions"
    charged = Charged.INPUT_AND_OUTPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> CompletionsRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return CompletionsRequest(body.content)
