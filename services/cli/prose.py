"""English text of any length for prompts: no sense, but words, sentences and paragraphs in the proportions of prose."""

import random
from typing import Final

_WORDS: Final = """
the the the the of of of and and to to a a in in that is was it for with as his he be on not by at have this which from or had
they but are were their one all you there been an she when who will more no if out so said what up its about into than them can
only other time new some could these two may then do first any my now such like our over man me even most made after also did
many before must through back years where much your way well down should because each just those people how too little state
good very make world still own see men work long get here between both life being under never day same another know while last
might us great old year off come since against go came right used take three account answer billing customer engine journal
language machine meter network operator partition question record service settlement telephone throughput understanding
vocabulary weather yesterday
""".split()  # noqa: SIM905  # nobody reads a list of this many quoted words
_SENTENCE_WORDS: Final = (5, 24)
_PARAGRAPH_SENTENCES: Final = 6


def prose(size_bytes: int) -> str:
    """Text of exactly `size_bytes` ASCII characters, the same at every call."""
    choices = random.Random(size_bytes)  # noqa: S311  # for variety, not for secrecy
    parts: list[str] = []
    length = sentences = 0
    while length < size_bytes:
        words = choices.choices(_WORDS, k=choices.randint(*_SENTENCE_WORDS))
        sentences += 1
        sentence = " ".join(words).capitalize() + (".\n\n" if sentences % _PARAGRAPH_SENTENCES == 0 else ". ")
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size_bytes]
