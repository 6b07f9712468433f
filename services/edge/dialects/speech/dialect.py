"""The dialect of OpenAI's speech, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.openai import OpenAiWords
from services.edge.dialects.speech.request import SpeechRequest


class Speech(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_speech"
    charged = Charged.INPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> SpeechRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return SpeechRequest(body.content)
