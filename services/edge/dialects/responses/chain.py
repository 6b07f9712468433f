"""Calls on one WebSocket: each message asks for a response, and may build on the last one, whose conversation is kept here. Pure.

A vendor keeps nothing for us. So the input of a call that builds on another one is written out: the earlier input, the output that
the client was told, and the new items. The vendor reads all of it, and the client pays for all of it, as if it had sent it.
"""

from typing import Final, NamedTuple

import msgspec

from services.edge.dialects.json_text import NULL, Fields, Raw, encode, read_object
from services.edge.dialects.responses.answer import usage_of
from services.edge.dialects.responses.names import COMPLETED, CREATED, TERMINAL
from services.edge.dialects.responses.telling import new_response
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import connection_used_up, malformed, previous_response_not_found
from services.token_classes import NOTHING

_CREATE: Final = b'"response.create"'
# A client's note that it has read an answer.
_PROCESSED: Final = b'"response.processed"'
# Members of a message that a body does not have.
_OF_MESSAGES: Final = ("type", "generate", "previous_response_id", "stream_id")


class Asked(NamedTuple):
    """A call that a message asks for."""

    # The body of the POST that it stands for.
    body: bytes
    # Its whole input: items as JSON, separated by commas. Empty where it is no list of them, which the body's reader refuses.
    items: bytes
    # False: it only prepares the calls that build on it, and no vendor is called.
    generates: bool


class _Response(msgspec.Struct):
    id: str
    output: list[Raw] = []


class _Terminal(msgspec.Struct):
    type: str
    response: _Response


class _Item(msgspec.Struct):
    type: str = ""
    encrypted_content: Raw = NULL
    content: Raw = NULL


class Chain:
    """The responses of one socket, of which the last one is kept for those that build on it."""

    def __init__(self) -> None:
        self._kept_id = ""
        self._kept = b""
        # The ID of the last response, if there was no room to keep it.
        self._lost_id = ""

    def read(self, message: bytes) -> Asked | None:
        """The call that a message asks for; None for a message that asks for none. Errors: `Problem` 400."""
        fields = read_object(message)
        kind = bytes(fields.get("type", NULL))
        if kind == _PROCESSED:
            return None
        if kind != _CREATE:
            raise malformed("type", "type must be response.create: a message asks for one response.", "invalid_value")
        if fields.get("stream_id", NULL) != NULL:
            text = "stream_id is not supported: a connection has one answer at a time. Leave it out, and open one more connection."
            raise malformed("stream_id", text, "unsupported_parameter")
        generates = fields.get("generate", NULL)
        if generates not in (NULL, Raw(b"true"), Raw(b"false")):
            raise malformed("generate", "generate must be true or false.", "invalid_type")
        items = _joined(self._items_of(fields), _items(fields))
        for name in _OF_MESSAGES:
            fields.pop(name, None)
        if items:
            fields["input"] = Raw(b"[%b]" % items)
        fields["stream"] = Raw(b"true")
        return Asked(encode(fields), items, generates != Raw(b"false"))

    def _items_of(self, fields: Fields) -> bytes:
        """The conversation that a message builds on. Errors: `Problem` 400."""
        previous = fields.get("previous_response_id", NULL)
        if previous == NULL:
            return b""
        try:
            previous_id = msgspec.json.decode(previous, type=str)
        except msgspec.ValidationError:
            raise malformed("previous_response_id", "previous_response_id must be a string.", "invalid_type") from None
        if previous_id == self._kept_id != "":
            return self._kept
        if previous_id == self._lost_id != "":
            raise connection_used_up("The conversation is too large to be kept here.")
        raise previous_response_not_found(previous_id)

    def keep(self, items: bytes, last: bytes) -> int:
        """Keeps the conversation of a call with these items, whose answer ended with the message `last`; returns its bytes.

        After an answer that failed, the one before it stays.
        """
        try:
            told = msgspec.json.decode(last, type=_Terminal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return len(self._kept)
        if told.type in TERMINAL and told.response.id:
            output = b",".join(bytes(item) for item in told.response.output if _stands_alone(item))
            self._kept_id, self._kept = told.response.id, _joined(items, output)
        return len(self._kept)

    def drop(self) -> None:
        """Drops what is kept, because there is no room for it. Who builds on it is told to open another connection."""
        self._lost_id, self._kept_id, self._kept = self._kept_id, "", b""


def prepared(model_id: str) -> tuple[bytes, bytes]:
    """The messages of an answer to a call that generates nothing: an empty response, on which others can build."""
    begun: Tree = {**new_response(model_id), "output": []}
    ended = {**begun, "status": "completed", "usage": usage_of(NOTHING)}
    return encode({"type": CREATED, "sequence_number": 0, "response": begun}), encode(
        {"type": COMPLETED, "sequence_number": 1, "response": ended}
    )


def _items(fields: Fields) -> bytes:
    """The items of an input, without the list's brackets; a text is the user's message."""
    given = bytes(fields.get("input", NULL))
    if given.startswith(b'"'):
        return b'{"type":"message","role":"user","content":%b}' % given
    return given[1:-1].strip() if given.startswith(b"[") else b""


def _joined(first: bytes, second: bytes) -> bytes:
    return first + b"," + second if first and second else first or second


def _stands_alone(item: Raw) -> bool:
    """Whether an item of an answer can be read by a vendor that kept nothing. Thought of which it told a summary alone can't."""
    read = msgspec.json.decode(item, type=_Item)
    thought = (bytes(read.encrypted_content), bytes(read.content))
    return read.type != "reasoning" or any(each not in (b"null", b'""', b"[]") for each in thought)
