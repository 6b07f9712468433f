"""How many tokens the edge counts itself where no vendor's count holds and no tokenizer is carried."""

from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of


def counted(text: str) -> int:
    """The edge's estimate of a text; pieces of one text count as the whole."""
    return estimate(size_of(text))
