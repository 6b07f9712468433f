"""The dialect of OpenAI's embeddings, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.embeddings.request import EmbeddingsRequest
from services.edge.dialects.openai import OpenAiWords


class Embeddings(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_embeddings"
    charged = Charged.INPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> EmbeddingsRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return EmbeddingsRequest(body.content)
