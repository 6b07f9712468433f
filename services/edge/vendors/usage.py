"""Reads a vendor's count, in disjoint classes. Pure.

One reader serves all vendors: differences are data, of the dialect (`UsageRules`) and of the vendor's profile (`UsageReading`). A
side of a count, input or output, stands or falls with its main number; an impossible detail is left out alone. No value that a
vendor may send raises an error.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from services.edge.vendors.profile import Reasoning, UsageReading
from services.token_classes import CLASSES, INDEX, INPUT_INDEXES, NOTHING, PARENTS, Measure, Vector, total_output, trimmed

# No count of one answer is larger.
COUNT_MAX: Final = 10**10
# Usage objects are nested at most twice; deeper members are not merged.
_DEPTH_MAX: Final = 4

Path = tuple[str, ...]

_INPUT: Final = INDEX["input"]
_CACHED: Final = INDEX["cached_input"]
_WRITE: Final = INDEX["cache_write"]
_OUTPUT: Final = INDEX["output"]
_REASONING: Final = INDEX["reasoning"]
_WRITE_1H: Final = INDEX["cache_write_1h"]


class VendorCount(NamedTuple):
    """A vendor's count so far, in disjoint classes; a side without a usable number must not be read."""

    counts: Vector
    # An input of 0 tokens is none: every prompt has some.
    has_input: bool
    has_output: bool
    # Whether it has an impossible number, such as a negative one.
    is_odd: bool = False


class ClassRule(NamedTuple):
    """The place of a class's number."""

    # Its index in a vector.
    token_class: int
    # The first alternative that is present holds; the numbers at its paths are added up.
    alternatives: tuple[tuple[Path, ...], ...]
    # The class whose number includes it; None: none does.
    inside: int | None = None


class UsageRules(NamedTuple):
    """Places of counts in a dialect's usage. Paths are from the usage object."""

    # The first rule is that of input; one that lies inside another comes after it.
    classes: tuple[ClassRule, ...]
    # All tokens, of which the rest may be reasoning.
    total: tuple[Path, ...] = ()


def _names(*paths: str) -> tuple[tuple[Path, ...], ...]:
    return tuple((tuple(path.split(".")),) for path in paths)


CHAT: Final = UsageRules(
    (
        ClassRule(_INPUT, _names("prompt_tokens", "input_tokens")),
        ClassRule(_OUTPUT, _names("completion_tokens", "output_tokens")),
        ClassRule(
            _CACHED,
            _names(
                "prompt_tokens_details.cached_tokens",
                "input_tokens_details.cached_tokens",
                "cached_tokens",
                "prompt_cache_hit_tokens",
                "cache_read_input_tokens",
            ),
            _INPUT,
        ),
        ClassRule(
            _WRITE,
            _names(
                "prompt_tokens_details.cache_write_tokens",
                "input_tokens_details.cache_write_tokens",
                "cache_creation_input_tokens",
            ),
            _INPUT,
        ),
        ClassRule(INDEX["audio_input"], _names("prompt_tokens_details.audio_tokens"), _INPUT),
        ClassRule(INDEX["image_input"], _names("prompt_tokens_details.image_tokens"), _INPUT),
        ClassRule(
            _REASONING,
            _names("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens", "reasoning_tokens"),
            _OUTPUT,
        ),
        ClassRule(INDEX["audio_output"], _names("completion_tokens_details.audio_tokens"), _OUTPUT),
        ClassRule(INDEX["image_output"], _names("completion_tokens_details.image_tokens"), _OUTPUT),
    ),
    (("total_tokens",),),
)

# Embeddings have an input alone; some vendors name all of it only by its total.
EMBEDDINGS: Final = UsageRules(
    (
        ClassRule(_INPUT, _names("prompt_tokens", "input_tokens", "total_tokens")),
        *(rule for rule in CHAT.classes if rule.inside == _INPUT),
    ),
)

# Images that were made: of their output a part may be text.
IMAGES: Final = UsageRules(
    (
        ClassRule(_INPUT, _names("input_tokens", "prompt_tokens")),
        ClassRule(_OUTPUT, _names("output_tokens", "completion_tokens")),
        ClassRule(_CACHED, _names("input_tokens_details.cached_tokens"), _INPUT),
        ClassRule(INDEX["image_input"], _names("input_tokens_details.image_tokens"), _INPUT),
        ClassRule(INDEX["image_output"], _names("output_tokens_details.image_tokens"), _OUTPUT),
    ),
)

# Text of sound: some count its tokens, others its seconds.
TRANSCRIPTIONS: Final = UsageRules(
    (
        ClassRule(_INPUT, _names("input_tokens", "prompt_tokens")),
        ClassRule(_OUTPUT, _names("output_tokens", "completion_tokens")),
        ClassRule(
            INDEX["audio_input"],
            _names("input_token_details.audio_tokens", "input_tokens_details.audio_tokens", "prompt_tokens_details.audio_tokens"),
            _INPUT,
        ),
    ),
)

_CREATION: Final = (
    (("cache_creation_input_tokens",),),
    (("cache_creation", "ephemeral_5m_input_tokens"), ("cache_creation", "ephemeral_1h_input_tokens")),
)
MESSAGES: Final = UsageRules(
    (
        ClassRule(_INPUT, _names("input_tokens")),
        ClassRule(_OUTPUT, _names("output_tokens")),
        ClassRule(_CACHED, _names("cache_read_input_tokens")),
        ClassRule(_WRITE, _CREATION),
        ClassRule(_WRITE_1H, _names("cache_creation.ephemeral_1h_input_tokens"), _WRITE),
        ClassRule(_REASONING, _names("output_tokens_details.thinking_tokens"), _OUTPUT),
    ),
)


def read_usage(found: object, rules: UsageRules, reading: UsageReading) -> VendorCount | None:
    """The counts of a usage object as `msgspec.json` or `json` decodes it; None if it is no object or has no count."""
    if not isinstance(found, dict):
        return None
    if reading.paths:
        rules = _joined(rules, reading)
    numbers, is_odd = _numbers(found, rules)
    has_input, has_output = _INPUT in numbers, _OUTPUT in numbers
    if not has_input and not has_output:
        return VendorCount(NOTHING, has_input=False, has_output=False, is_odd=True) if is_odd else None
    counts = [0] * len(CLASSES)
    for index, number in numbers.items():
        counts[index] = number
    beside = None
    if has_output:
        total = _total(found, rules)
        if has_input and total is not None:
            total = _take_parts_beside(numbers, total, rules)
            counts[_INPUT] = numbers[_INPUT]
        beside = _reasoning_beside(numbers, total, reading.reasoning)
    if beside is not None:
        counts[_REASONING] = beside
    for rule in rules.classes:
        number = counts[rule.token_class]
        if not number or rule.inside is None or (beside is not None and rule.token_class == _REASONING):
            continue
        room = counts[rule.inside]
        if number > room:
            # Cached audio is named twice; other parts are never more than the whole.
            is_odd = is_odd or rule.token_class in (_CACHED, _WRITE, _WRITE_1H)
            number = counts[rule.token_class] = 0 if rule.token_class == _CACHED else room
        counts[rule.inside] -= number
    has_input = has_input and any(counts[index] for index in INPUT_INDEXES)
    return VendorCount(trimmed(counts), has_input, has_output, is_odd)


class _PromptDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: int | None = 0
    audio_tokens: int | None = 0


class _CompletionDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0
    accepted_prediction_tokens: int | None = 0
    rejected_prediction_tokens: int | None = 0


class _PlainUsage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_plain_decoder: Final = msgspec.json.Decoder(_PlainUsage)


def read_plain_usage(raw: bytes | msgspec.Raw, reading: UsageReading) -> VendorCount | None:
    """The counts of a usage object in JSON of OpenAI's form, in a fraction of the time; None for any other."""
    if reading.paths or reading.reasoning is Reasoning.BESIDE:
        return None
    try:
        usage = _plain_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if not (0 < prompt <= COUNT_MAX and 0 < completion <= COUNT_MAX and usage.total_tokens == prompt + completion):
        return None
    cached = reasoning = 0
    if (of_prompt := usage.prompt_tokens_details) is not None:
        cached = of_prompt.cached_tokens or 0
        if of_prompt.audio_tokens:
            return None
    if (of_completion := usage.completion_tokens_details) is not None:
        reasoning = of_completion.reasoning_tokens or 0
        if of_completion.audio_tokens:
            return None
    if not (0 <= cached <= prompt and 0 <= reasoning <= completion):
        return None
    return VendorCount((prompt - cached, cached, 0, completion - reasoning, reasoning), has_input=True, has_output=True)


def merged(earlier: dict[str, Any], later: object, _depth: int = 0) -> dict[str, Any]:
    """A usage object of which the later members hold; null, zero and non-counts erase no earlier count."""
    if not isinstance(later, dict):
        return earlier
    if not earlier or _depth > _DEPTH_MAX:
        return later
    joined = dict(earlier)
    for name, value in later.items():
        before = joined.get(name)
        if isinstance(value, dict):
            joined[name] = merged(before, value, _depth + 1) if isinstance(before, dict) else value
        elif _count(value) or not (_count(before) or isinstance(before, dict)):
            joined[name] = value
    return joined


def as_told(
    counted: VendorCount, before: VendorCount | None, told: Iterable[object], rules: UsageRules, reading: UsageReading
) -> VendorCount:
    """A merged count as the usages `told` have made it of the one `before`.

    It has no output where none of them counts any: the earlier count does not cover output that came since.
    """
    if before is None or total_output(before.counts) != total_output(counted.counts):
        return counted
    for usage in told:
        own = read_usage(usage, rules, reading)
        if own is not None and own.has_output and total_output(own.counts):
            return counted
    return counted._replace(has_output=False)


def at(found: object, path: Path) -> object:
    """The value at a path of names, or None."""
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _numbers(found: dict[str, Any], rules: UsageRules) -> tuple[dict[int, int], bool]:
    """The usable number of each class that has one, and whether any number was unusable."""
    numbers: dict[int, int] = {}
    is_odd = False
    for token_class, alternatives, _ in rules.classes:
        for paths in alternatives:
            added = None
            for path in paths:
                value: object = found
                for name in path:
                    value = value.get(name) if isinstance(value, dict) else None
                if value is None:
                    continue
                number = value if type(value) is int and 0 <= value <= COUNT_MAX else _count(value)
                if number is None:
                    is_odd = True
                    added = None
                    break
                added = (added or 0) + number
            if added is not None:
                # A zero may stand beside the true count under another name.
                numbers[token_class] = added
                if added:
                    break
    return numbers, is_odd


def _take_parts_beside(numbers: dict[int, int], total: int, rules: UsageRules) -> int | None:
    """Adds what was read from or written to the cache to the input, where the total says that it was counted beside it.

    Returns the total, or None where it is no measure of thought because the parts contradict the input.
    """
    inside = {rule.token_class for rule in rules.classes if rule.inside == _INPUT}
    parts = sum(numbers.get(token_class, 0) for token_class in (_CACHED, _WRITE) if token_class in inside)
    if not parts:
        return total
    rest, thought = total - numbers[_INPUT] - numbers[_OUTPUT], numbers.get(_REASONING, 0)
    if rest in (parts, parts + thought) and rest != thought:
        numbers[_INPUT] += parts
    elif parts > numbers[_INPUT]:
        return None
    return total


def _reasoning_beside(numbers: dict[int, int], total: int | None, reasoning: Reasoning) -> int | None:
    """The reasoning that is counted beside the output; None if all of it lies inside."""
    thought, spoken = numbers.get(_REASONING, 0), numbers[_OUTPUT]
    if thought and (reasoning is Reasoning.BESIDE or thought > spoken):
        return thought
    if reasoning is Reasoning.INSIDE or total is None or _INPUT not in numbers:
        return None
    rest = total - numbers[_INPUT] - spoken
    # The whole excess of the total counts: either it is named, or nothing else is.
    return rest if rest > 0 and thought in (0, rest) else None


def _total(found: dict[str, Any], rules: UsageRules) -> int | None:
    for path in rules.total:
        number = _count(at(found, path))
        if number is not None:
            return number
    return None


def _count(value: object) -> int | None:
    """A number of tokens, or None for any other value. Some vendors write 12 as 12.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= COUNT_MAX:
        return value
    return None


@lru_cache(maxsize=1_024)
def _joined(rules: UsageRules, reading: UsageReading) -> UsageRules:
    """The dialect's rules with the vendor's own paths after each class's."""
    if not reading.paths:
        return rules
    classes = {rule.token_class: rule for rule in rules.classes}
    for index, path in reading.paths:
        known = classes.get(index)
        if known is not None:
            classes[index] = known._replace(alternatives=(*known.alternatives, (path,)))
            continue
        is_part = CLASSES[index].measure is Measure.TOKEN and PARENTS[index] in classes
        classes[index] = ClassRule(index, ((path,),), PARENTS[index] if is_part else None)
    return rules._replace(classes=tuple(classes.values()))
