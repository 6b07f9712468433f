"""An answer's events in no dialect's form, and the order in which a client is told them. Pure.

An answer is a row of blocks: text, thought, calls. A vendor may tell several at once, piece by piece. No client is told so here:
one block is open at a time, and pieces of later ones wait until it is done. So each dialect's writer writes blocks one after the
other. The last event may be cut off, because the quota did not cover it. Then it is taken back as if it had never come.
"""

from collections.abc import Hashable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from services.edge.call.dialect import TellsUsage
from services.edge.dialects.translation.proofs import Proof, Seal
from services.edge.http.problems import Problem
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import Vector

STREAM: Final = "text/event-stream; charset=utf-8"
JSON: Final = "application/json"


class Kind(Enum):
    """Kinds of blocks."""

    TEXT = "text"
    REFUSAL = "refusal"
    THOUGHT = "thought"
    # Calls of a function, with JSON, and of a custom tool, with any text.
    CALL = "call"
    CUSTOM_CALL = "custom call"


CALLS: Final = frozenset({Kind.CALL, Kind.CUSTOM_CALL})


class Stop(Enum):
    """Reasons for the end of an answer."""

    DONE = "done"
    SEQUENCE = "sequence"
    LIMIT = "limit"
    CONTEXT = "context"
    CALLS = "calls"
    FILTER = "filter"


class Begun(NamedTuple):
    """A block begins. `key` tells it from other blocks of the answer; `proof` is a call's own."""

    key: Hashable
    kind: Kind
    call_id: str = ""
    name: str = ""
    proof: Proof | None = None


class Piece(NamedTuple):
    """A piece of a block's text, or of a call's arguments."""

    key: Hashable
    text: str


class Done(NamedTuple):
    """A block is whole; `proof` is that of thought."""

    key: Hashable
    proof: Proof | None = None


class Stopped(NamedTuple):
    """The answer is whole."""

    stop: Stop
    # The text that stopped it.
    sequence: str | None = None


Told = Begun | Piece | Done | Stopped


class Reader(Protocol):
    """Reads one vendor's answer as its dialect relays it."""

    def read(self, out: bytes) -> list[Told]:
        """The meaning of whole events on the wire. Errors: `VendorFailure` garbage."""
        ...


class Block:
    """A block as far as it has come."""

    __slots__ = ("call_id", "index", "is_cut", "is_done", "is_empty", "is_open", "kind", "name", "pieces", "proof")

    def __init__(self, begun: Begun, index: int) -> None:
        _, self.kind, self.call_id, self.name, self.proof = begun
        # Its place among the blocks.
        self.index = index
        # Pieces that wait to be told, or all of them where the end tells them again.
        self.pieces: list[str] = []
        self.is_empty = True
        self.is_open = False
        self.is_done = False
        # Whether the answer ended in it.
        self.is_cut = False

    @property
    def text(self) -> str:
        """Its kept pieces."""
        return "".join(self.pieces)


class Undo:
    """Changes since the last event, so that it can be taken back; those of its owner are noted without a reference to it."""

    def __init__(self) -> None:
        self._log: list[tuple[Any, str, Any]] = []

    def forget(self) -> None:
        """Lets the changes stand."""
        self._log.clear()

    def set(self, thing: Any, name: str, value: Any) -> None:
        """Sets an attribute."""
        self._log.append((thing, name, getattr(thing, name)))
        setattr(thing, name, value)

    def note(self, name: str, before: Any) -> None:
        """Notes an attribute of the owner before it is set."""
        self._log.append((None, name, before))

    def append(self, to: list[Any], value: Any) -> None:
        """Appends to a list that only grows."""
        self._log.append((to, "", len(to)))
        to.append(value)

    def take_back(self, owner: Any) -> None:
        """Makes everything as it was."""
        while self._log:
            thing, name, before = self._log.pop()
            if name:
                setattr(owner if thing is None else thing, name, before)
            else:
                del thing[before:]


class Telling:
    """Tells a client one answer: a dialect's writer has the methods that raise `NotImplementedError`."""

    # See `services.edge.call.dialect.Answer`.
    tells_usage: TellsUsage | None = None
    # Whether the end of a stream tells all its texts again.
    _tells_again = False

    def __init__(self, model_id: str, seal: Seal, *, streamed: bool) -> None:
        self.content_type = STREAM if streamed else JSON
        self._model_id = model_id
        self._seal = seal
        self._streamed = streamed
        self._keeps = self._tells_again or not streamed
        self._undo = Undo()
        self._blocks: list[Block] = []
        # The block that is open, or opens next.
        self._head = 0
        self._has_begun = False
        self._stopped: Stopped | None = None
        # The last block of each key.
        self._by_key: dict[Hashable, Block] = {}

    def tell(self, told: Sequence[Told]) -> bytes:
        """The client's events for a vendor's. Errors: `VendorFailure` garbage for a piece of no block that is open."""
        undo = self._undo
        undo.forget()
        out: list[bytes] = []
        for each in told:
            if type(each) is Piece:
                block = self._open_block(each.key)
                self._say(block, each.text, out)
            elif type(each) is Begun:
                block = self._by_key[each.key] = Block(each, len(self._blocks))
                undo.append(self._blocks, block)
                self._advance(out)
            elif type(each) is Done:
                block = self._open_block(each.key)
                undo.set(block, "is_done", True)
                if each.proof is not None:
                    undo.set(block, "proof", each.proof)
                self._advance(out)
            else:
                self._set("_stopped", each)
        return b"".join(out)

    def take_back(self) -> None:
        """Takes back what was told last."""
        self._undo.take_back(self)

    def end(self, used: Vector, *, is_cut: bool) -> bytes:
        """The rest of a stream, or the whole answer. `used` is the charged usage."""
        stopped = self._stopped or Stopped(Stop.LIMIT if is_cut else Stop.DONE)
        is_short = stopped.stop in (Stop.LIMIT, Stop.CONTEXT)
        out: list[bytes] = []
        for block in self._blocks[self._head :]:
            block.is_cut = is_short and not block.is_done
            block.is_done = True
        self._advance(out)
        kinds = {block.kind for block in self._blocks}
        if stopped.stop is Stop.DONE and kinds & CALLS:
            stopped = Stopped(Stop.CALLS)
        elif stopped.stop is Stop.DONE and Kind.REFUSAL in kinds:
            stopped = self._refused
        if not self._streamed:
            return self._whole(stopped, used)
        if not self._has_begun:
            out.append(self._begin())
        return b"".join(out) + self._finish(stopped, used)

    def interrupted(self, problem: Problem, charging_id: str, *, is_unsent: bool) -> bytes:
        """The last events of an answer that can't go on; `is_unsent`: the client did not get what was told last."""
        raise NotImplementedError

    # The end of an answer whose words are a refusal, where its vendor says that it is done.
    _refused: Stopped = Stopped(Stop.DONE)

    def _begin(self) -> bytes:
        """The events before the first block."""
        raise NotImplementedError

    def _open(self, block: Block) -> bytes:
        """The events that begin a block."""
        raise NotImplementedError

    def _piece(self, block: Block, text: str) -> bytes:
        """The event of a piece."""
        raise NotImplementedError

    def _close(self, block: Block) -> bytes:
        """The events that end a block."""
        raise NotImplementedError

    def _finish(self, stopped: Stopped, used: Vector) -> bytes:
        """The events after the last block."""
        raise NotImplementedError

    def _whole(self, stopped: Stopped, used: Vector) -> bytes:
        """The whole answer."""
        raise NotImplementedError

    def _set(self, name: str, value: Any) -> None:
        """Sets an attribute, so that it can be taken back."""
        self._undo.note(name, getattr(self, name))
        setattr(self, name, value)

    def _open_block(self, key: Hashable) -> Block:
        block = self._by_key.get(key)
        if block is None or block.is_done:
            raise VendorFailure("garbage", 200)
        return block

    def _say(self, block: Block, text: str, out: list[bytes]) -> None:
        if not text:
            return
        undo = self._undo
        if block.is_empty:
            undo.set(block, "is_empty", False)
        if self._keeps or not block.is_open:
            undo.append(block.pieces, text)
        if block.is_open and self._streamed:
            out.append(self._piece(block, text))

    def _advance(self, out: list[bytes]) -> None:
        """Opens the next block once those before it are done, and tells what has waited."""
        undo = self._undo
        while self._head < len(self._blocks):
            block = self._blocks[self._head]
            if not block.is_open:
                undo.set(block, "is_open", True)
                if self._streamed:
                    if not self._has_begun:
                        self._set("_has_begun", True)
                        out.append(self._begin())
                    out.append(self._open(block))
                    out += [self._piece(block, text) for text in block.pieces]
            if not block.is_done:
                return
            if self._streamed:
                out.append(self._close(block))
            self._set("_head", self._head + 1)
