"""Comments and docstrings begin with a verb or a noun; they and messages name a number by `at most N` or `this many`."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SERVICES: Final = Path(__file__).parents[2] / "services"
_BEGINNING: Final = re.compile(r'(?:# |""")(?:What|Whoever|Whose|Who|The same|Of|Or|And|Also)\b')
_WORDS: Final = re.compile(r"\b(?:so many|but for|behind|reckon\w*)\b", re.IGNORECASE)


def _unclear(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment, docstring and message that breaks the rule."""
    before = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # A second comment line goes on with the sentence of the first.
        continued = before is not None and before.type == tokenize.COMMENT and before.start[1] == token.start[1]
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            begins = _BEGINNING.match(token.string) and not continued
            if begins or _WORDS.search(token.string):
                yield token.start[0], token.string
        if token.type not in (tokenize.NL, tokenize.INDENT):
            before = token


def test_comments_begin_with_the_thing_that_they_speak_of() -> None:
    unclear = {
        str(path.relative_to(_SERVICES)): [f"line {line}: {text}" for line, text in found]
        for path in sorted(_SERVICES.rglob("*.py"))
        if (found := list(_unclear(path.read_text(encoding="utf-8"))))
    }
    assert unclear == {}


def test_an_unclear_comment_is_found_and_a_line_that_goes_on_is_none() -> None:
    source = '''"""What is here."""
# Of a pack.
DAYS = 1  # Who knows.
# One of the offering's
# Or rather of its tariff's.
UNIT = ""


def wait():
    """Waits for so many seconds."""
    text = "What stands after it"
    text = f"{text} stands behind it"
'''
    assert [line for line, _ in _unclear(source)] == [1, 2, 3, 10, 12]
