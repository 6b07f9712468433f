"""Words that all library scripts share: the tool that they offer, and the line that they print."""

import json
from typing import Any

# A function as most dialects describe one.
TOOL: dict[str, Any] = {
    "name": "shout",
    "description": "Writes a text in capitals.",
    "parameters": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
}


class Shown:
    """What a person at the library sees."""

    def __init__(self) -> None:
        self.text = ""
        # Why the answer ended, in the library's own word.
        self.ended = ""
        # What the tool was asked to shout.
        self.shouted: list[str] = []
        self.error: dict[str, Any] | None = None

    def failed(self, error: BaseException) -> None:
        """The library raised this."""
        status = getattr(error, "status_code", None)
        self.error = {"type": type(error).__name__, "status": status, "message": str(error)}


def shout(shown: Shown, text: str) -> str:
    """The tool."""
    shown.shouted.append(text)
    return text.upper()


def show(shown: Shown) -> None:
    """Prints it as a line of JSON."""
    print(json.dumps(vars(shown)))
