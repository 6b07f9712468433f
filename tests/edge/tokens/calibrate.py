"""Errors of the estimate against each carried tokenizer, and their speeds, written into docs/tokens.md.

`python -m tests.edge.tokens.calibrate [--translations FOLDER]` rewrites the parts of that document between its markers. FOLDER is
a tree of gettext catalogs, such as /usr/share/locale: texts of some hundred languages that the rates were partly fitted to.
"""

import argparse
import datetime
import gettext
import platform
import resource
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from services.edge.tokens.estimate import estimate, low, most
from services.edge.tokens.size import size_of
from services.edge.tokens.tokenizers import TOKENIZER_NAMES, Tokenizer, load
from tests.edge.tokens.corpus import Text, corpus, hostile

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "tokens.md"
_CATALOGS_PER_LANGUAGE: Final = 6
_SPEED_KINDS: Final = ("english", "chinese", "python", "base64", "random_lowers")


class Errors(NamedTuple):
    """What the estimates of one kind of text are, each divided by the true count."""

    texts: int
    # For each tokenizer, of the estimate: the least, the median, the 99th percentile, the greatest.
    estimate: tuple[tuple[float, float, float, float], ...]
    # Of the estimate with its margin, by the greatest count of all tokenizers: the least and the median.
    most: tuple[float, float]
    # How many of the texts have more tokens than the estimate with its margin, for any tokenizer.
    overrun: int
    # The greatest of the low bound, by the least count of all tokenizers.
    low: float


def errors_of(texts: Iterable[Text], tokenizers: Iterable[Tokenizer]) -> dict[str, Errors]:
    """The errors of each kind, in the order of the texts."""
    counters = tuple(tokenizers)
    rows: dict[str, list[tuple[int, int, int, tuple[int, ...]]]] = {}
    for kind, text in texts:
        size = size_of(text)
        real = tuple(counter.count(text) for counter in counters)
        rows.setdefault(kind, []).append((estimate(size), most(size), low(size), real))
    return {kind: _errors(row) for kind, row in rows.items()}


def _errors(rows: list[tuple[int, int, int, tuple[int, ...]]]) -> Errors:
    by_tokenizer = []
    for index in range(len(rows[0][3])):
        ratios = sorted(best / real[index] for best, _, _, real in rows)
        by_tokenizer.append((ratios[0], ratios[len(ratios) // 2], ratios[(len(ratios) * 99 - 1) // 100], ratios[-1]))
    most = sorted(top / max(real) for _, top, _, real in rows)
    return Errors(
        len(rows),
        tuple(by_tokenizer),
        (most[0], most[len(most) // 2]),
        sum(top < max(real) for _, top, _, real in rows),
        max(bottom / min(real) for _, _, bottom, real in rows),
    )


def row_of(kind: str, errors: Errors) -> str:
    """The kind's row of the table."""
    cells = [" ".join(f"{ratio:.2f}" for ratio in each) for each in errors.estimate]
    return f"| {kind} | {' | '.join(cells)} | {errors.most[0]:.2f} {errors.most[1]:.2f} | {_overrun(errors)} | {errors.low:.2f} |"


def _overrun(errors: Errors) -> str:
    """How often, in percent of the texts."""
    return f"{100 * errors.overrun / errors.texts:.3g} %"


def _table(found: dict[str, Errors]) -> list[str]:
    head = f"| texts | {' | '.join(TOKENIZER_NAMES)} | with margin: min p50 | overrun | low: max |"
    return [head, "|---" * (len(TOKENIZER_NAMES) + 4) + "|", *(row_of(kind, errors) for kind, errors in found.items())]


def translations(folder: Path) -> Iterator[Text]:
    """Parts of the translations of each language, of at most six catalogs."""
    random = Random("tokens of translations")
    for language in sorted(folder.iterdir()):
        catalogs = sorted(language.glob("LC_MESSAGES/*.mo"))
        for path in random.sample(catalogs, min(len(catalogs), _CATALOGS_PER_LANGUAGE)):
            text = _translated(path)
            for length in (100, 1_000, 8_000):
                if len(text) >= length:
                    start = random.randrange(len(text) - length + 1)
                    yield Text(language.name, text[start : start + length])


def _translated(path: Path) -> str:
    try:
        with path.open("rb") as file:
            catalog = vars(gettext.GNUTranslations(file))["_catalog"]
    except (OSError, UnicodeDecodeError, LookupError, ValueError):
        return ""
    return "\n".join(text for original, text in catalog.items() if original and isinstance(text, str))


def _of_all(found: dict[str, Errors], kind: str) -> dict[str, Errors]:
    """The widest errors of all kinds, and the medians of their medians, in one row."""
    every = list(found.values())
    columns = []
    for index in range(len(TOKENIZER_NAMES)):
        each = [errors.estimate[index] for errors in every]
        columns.append(
            (min(e[0] for e in each), sorted(e[1] for e in each)[len(each) // 2], max(e[2] for e in each), max(e[3] for e in each))
        )
    most = min(e.most[0] for e in every), sorted(e.most[1] for e in every)[len(every) // 2]
    return {
        kind: Errors(sum(e.texts for e in every), tuple(columns), most, sum(e.overrun for e in every), max(e.low for e in every))
    }


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1_000_000


def _speeds() -> list[str]:
    """Microseconds of `size_of`, of the estimates, and of loading and counting with each tokenizer."""
    samples = {
        "20 characters, ASCII": "Hello, the world of ",
        "20 characters, Chinese": "中文字符测试一二三四五六七八九十文字测试",
        "20 characters, Hindi": "नमस्ते दुनिया कैसे ह",
        "500 KB, ASCII": "Hello, the world of. " * 24_000,
        "500 KB, Chinese": "中文字符测试，" * 24_000,
    }
    lines = ["| call | µs |", "|---|---|"]
    for label, text in samples.items():
        lines.append(f"| `size_of` {label} | {_microseconds(partial(size_of, text), 20_000 if len(text) < 100 else 20):.1f} |")
    size = size_of(samples["20 characters, ASCII"])
    for call in (estimate, most, low):
        lines.append(f"| `{call.__name__}` of a size in ASCII | {_microseconds(partial(call, size), 20_000):.1f} |")
    lines += ["", f"| tokenizer | load, ms | resident, MB | {' | '.join(f'{kind}, µs/KB' for kind in _SPEED_KINDS)} |"]
    lines.append("|---" * (len(_SPEED_KINDS) + 3) + "|")
    texts = {kind: "".join(text for each, text in corpus(4) if each == kind) for kind in _SPEED_KINDS}
    lines.extend(_speed_of(name, texts) for name in TOKENIZER_NAMES)
    return lines


def _microseconds(call: Callable[[], object], times: int) -> float:
    """Of one call, in the quickest of five rounds: other processes only slow one down."""
    return min(timeit.repeat(call, number=times, repeat=5)) / times * 1e6


def _speed_of(name: str, texts: dict[str, str]) -> str:
    """The tokenizer's row, from a process of its own: memory that another has freed would be taken again."""
    code = (
        "from tests.edge.tokens.calibrate import _resident_mb, load; from time import perf_counter; import kitoken\n"
        f"before, start = _resident_mb(), perf_counter(); kept = load({name!r})\n"
        "print(round((perf_counter() - start) * 1000), round(_resident_mb() - before))"
    )
    load_ms, resident_mb = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    counter = load(name)
    speeds = [_microseconds(partial(counter.count, text), 5) / (len(text.encode()) / 1_000) for text in texts.values()]
    return f"| {name} | {load_ms} | {resident_mb} | {' | '.join(f'{speed:.0f}' for speed in speeds)} |"


def _replaced(document: str, part: str, lines: list[str]) -> str:
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
    head, _, rest = document.partition(begin)
    _, _, tail = rest.partition(end)
    return head + begin + "\n".join(lines) + "\n" + end + tail


def main() -> None:
    """Rewrite the measured parts of the document."""
    parser = argparse.ArgumentParser(description="Measure the errors of token estimates, and write them into docs/tokens.md.")
    parser.add_argument("--translations", type=Path, help="a tree of gettext catalogs, for example /usr/share/locale")
    arguments = parser.parse_args()
    tokenizers = [load(name) for name in TOKENIZER_NAMES]
    made = f"Measured {datetime.datetime.now(datetime.UTC):%Y-%m-%d} on {_machine()}, Python {platform.python_version()}."
    document = DOCUMENT.read_text()
    document = _replaced(document, "errors", [made, "", *_table(errors_of(corpus(), tokenizers))])
    document = _replaced(document, "hostile", [made, "", *_table(errors_of(hostile(), tokenizers))])
    if arguments.translations:
        languages = errors_of(translations(arguments.translations), tokenizers)
        beyond = sum(errors.most[0] < 1 for errors in languages.values())
        row = _table(_of_all(languages, f"{len(languages)} languages"))
        line = f"In {beyond} of them some text has more tokens than estimate and margin for some tokenizer."
        document = _replaced(document, "translations", [made, "", *row, "", line])
    document = _replaced(document, "speeds", [made, "", *_speeds()])
    DOCUMENT.write_text(document)


def _machine() -> str:
    models = {
        line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    }
    return " and ".join(sorted(models)) or platform.machine()


if __name__ == "__main__":
    main()
