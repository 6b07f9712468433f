"""The dialect of rerankers, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.openai import OpenAiWords
from services.edge.dialects.rerank.request import RerankRequest


class Rerank(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "rerank"
    charged = Charged.INPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> RerankRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return RerankRequest(body.content)
