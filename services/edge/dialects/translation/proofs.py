"""Vendors' proofs of thought, sealed for a client's opaque field. Pure.

Models want their thought of earlier turns back, with the proof that they gave: a signature, encrypted reasoning, or the thought
itself beside the calls that it led to. Nothing is kept here. So the proof goes into the field that the client's dialect has for its
own vendors' proofs, and comes back there. A seal binds it to the model, vendor and dialect that made it. It is opened for these
alone; a proof that is another's, or was changed or cut, is left out of the request.
"""

from enum import Enum
from hashlib import blake2s
from typing import Final, NamedTuple

_BEGIN: Final = "tl1."
_DIGEST_BYTES: Final = 8
_DIGEST_CHARACTERS: Final = 2 * _DIGEST_BYTES


class ProofKind(Enum):
    """The place of a proof in its vendor's dialect."""

    # Chat completions: the thought itself, `reasoning_content`, proves the calls after it.
    THOUGHT = "t"
    # Chat completions of Gemini: the signature of a call.
    CALL = "c"
    # Messages: the signature of thinking, and thinking that is hidden.
    SIGNATURE = "s"
    REDACTED = "r"
    # Responses: encrypted reasoning.
    ENCRYPTED = "e"


class Proof(NamedTuple):
    """A vendor's proof."""

    kind: ProofKind
    payload: str = ""


# A mark that is read of any vendor's proof.
_KINDS: Final = {kind.value: kind for kind in ProofKind}


class Seal:
    """The seal of one model at one vendor, in one dialect."""

    def __init__(self, dialect: str, vendor_id: str, model_id: str) -> None:
        self._key = f"{dialect}\n{vendor_id}\n{model_id}\n"

    def close(self, proof: Proof) -> str:
        """The proof as an opaque text."""
        kind, payload = proof
        return f"{_BEGIN}{kind.value}.{self._digest(kind, payload)}.{payload}"

    def open(self, sealed: str) -> Proof | None:
        """The proof; None where this seal does not close it, or the text is no whole sealed proof."""
        proof = proof_in(sealed)
        return proof if proof is not None and self.close(proof) == sealed else None

    def _digest(self, kind: ProofKind, payload: str) -> str:
        text = f"{self._key}{kind.value}{payload}"
        return blake2s(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def proof_in(sealed: str) -> Proof | None:
    """The proof in an opaque text, whichever seal closes it; None where no proof of ours is in it."""
    if not sealed.startswith(_BEGIN):
        return None
    kind, _, rest = sealed[len(_BEGIN) :].partition(".")
    if kind not in _KINDS or rest[_DIGEST_CHARACTERS : _DIGEST_CHARACTERS + 1] != ".":
        return None
    return Proof(_KINDS[kind], rest[_DIGEST_CHARACTERS + 1 :])
