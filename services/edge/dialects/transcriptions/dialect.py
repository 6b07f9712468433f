"""The dialect of OpenAI's transcriptions, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.openai import OpenAiWords
from services.edge.dialects.transcriptions.form import read_form
from services.edge.dialects.transcriptions.request import TranscriptionRequest


class Transcriptions(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_transcriptions"
    charged = Charged.INPUT_AND_OUTPUT
    is_json = False

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> TranscriptionRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return TranscriptionRequest(read_form(body))
