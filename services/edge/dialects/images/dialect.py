"""The dialect of OpenAI's images, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body, Charged
from services.edge.dialects.images.request import ImagesRequest
from services.edge.dialects.openai import OpenAiWords


class Images(OpenAiWords):
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_images"
    charged = Charged.INPUT_AND_OUTPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> ImagesRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means."""
        return ImagesRequest(body.content)
