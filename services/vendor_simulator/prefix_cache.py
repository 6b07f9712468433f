"""Prompts that were read lately, so that a new one's beginning is known and counts as cached."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from services.vendor_simulator.text import TOKEN_BYTES

# Beginnings are told apart by whole blocks, as vendors' caches do.
BLOCK_TOKENS: Final = 64
_BLOCK_BYTES: Final = BLOCK_TOKENS * TOKEN_BYTES


class PrefixCache:
    """The beginnings of prompts by model. Those that were read longest ago leave first."""

    def __init__(self, tokens_max: int) -> None:
        """`tokens_max`: about as many tokens are kept."""
        self._blocks_max = tokens_max // BLOCK_TOKENS
        # By the hash of a prompt up to the end of a block.
        self._known: OrderedDict[int, None] = OrderedDict()

    def read(self, model: str, texts: Sequence[str]) -> int:
        """The tokens at the beginning of a prompt that an earlier one of the model began with; this one is kept from now on."""
        prompt = "".join(texts).encode("utf-8", "surrogatepass")
        known, before = self._known, hash(model)
        cached_blocks, is_known = 0, True
        for start in range(0, len(prompt) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
            before = hash((before, prompt[start : start + _BLOCK_BYTES]))
            is_known = is_known and before in known
            cached_blocks += is_known
            known[before] = None
            known.move_to_end(before)
        while len(known) > self._blocks_max:
            known.popitem(last=False)
        return cached_blocks * BLOCK_TOKENS
