"""The vendor as a writer of requests sees it."""

from collections.abc import Callable
from typing import NamedTuple

from services.edge.dialects.translation.proofs import Proof


class View(NamedTuple):
    """One vendor's view of a conversation."""

    # The model's own limit, for a dialect that must have one.
    output_max: int
    # The client's limit; None: it gave none.
    output_limit: int | None
    # Opens a sealed proof; None for one that is not this vendor's.
    opened: Callable[[str], Proof | None]
    # Whether marks of what is to be cached are written.
    has_marks: bool
    # Whether the client has a field for proofs of thought, so that they are asked for.
    keeps_proofs: bool
