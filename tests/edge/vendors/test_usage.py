import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.vendors.profile import Reasoning, UsageReading
from services.edge.vendors.usage import CHAT, COUNT_MAX, MESSAGES, VendorCount, as_told, merged, read_plain_usage, read_usage
from services.token_classes import INDEX, Vector, total_input, total_output

PLAIN = UsageReading()
NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "reasoning_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "input_tokens",
    "output_tokens",
    "cache_creation",
    "cache_creation_input_tokens",
    "ephemeral_1h_input_tokens",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.integers(0, 100),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from(NAMES), children, max_size=6),
    max_leaves=12,
)


def chat(usage: Any, reading: UsageReading = PLAIN) -> Vector:
    counted = read_usage(usage, CHAT, reading)
    assert counted is not None
    assert (counted.has_input, counted.has_output, counted.is_odd) == (True, True, False)
    return counted.counts


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, (10, 0, 0, 4, 0)),
        ({"prompt_tokens": 10.0, "completion_tokens": 4.0}, (10, 0, 0, 4, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": None}, (10, 0, 0, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": None}}, (10, 0, 0, 4, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "cached_tokens": 9}, (1, 9, 0, 4, 0)),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 9},
            (1, 9, 0, 4, 0),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 7},
            (7, 3, 0, 4, 0),
        ),
        ({"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 2}}, (8, 2, 0, 4, 0)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 20, "audio_tokens": 10, "image_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4, "image_tokens": 3},
            },
            (15, 50, 20, 3, 30, 0, 10, 5, 4, 3),
        ),
        # Audio that was cached is named twice.
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 8}},
            (0, 10, 0, 4, 0),
        ),
    ],
)
def test_chats_usage_is_read_in_disjoint_classes(usage: Any, counts: Vector) -> None:
    assert chat(usage) == counts
    assert total_input(counts) == int(usage.get("prompt_tokens", usage.get("input_tokens")))


@pytest.mark.parametrize(
    ("total", "reasoning", "told", "expected"),
    [
        # output 40; (output, reasoning)
        (None, 30, Reasoning.BY_TOTAL, (10, 30)),
        (50, 30, Reasoning.BY_TOTAL, (10, 30)),
        (80, 30, Reasoning.BY_TOTAL, (40, 30)),
        (80, 50, Reasoning.BY_TOTAL, (40, 50)),
        (None, 50, Reasoning.INSIDE, (40, 50)),
        (120, None, Reasoning.BY_TOTAL, (40, 70)),
        (120, 0, Reasoning.BY_TOTAL, (40, 70)),
        (120, 30, Reasoning.BY_TOTAL, (10, 30)),
        (120, None, Reasoning.INSIDE, (40, 0)),
        (80, 30, Reasoning.INSIDE, (10, 30)),
        (50, 30, Reasoning.BESIDE, (40, 30)),
        (None, 30, Reasoning.BESIDE, (40, 30)),
        (20, None, Reasoning.BY_TOTAL, (40, 0)),
        (-1, 30, Reasoning.BY_TOTAL, (10, 30)),
    ],
)
def test_reasoning_is_inside_beside_or_what_the_total_has_more(
    total: int | None, reasoning: int | None, told: Reasoning, expected: tuple[int, int]
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 40, "total_tokens": total}
    usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}  # type: ignore[assignment]  # nested, as sent
    assert chat(usage, UsageReading(told))[3:5] == expected


@pytest.mark.parametrize("odd", [-1, 1.5, True, "10", 10**10 + 1, 1e300, float("nan"), [10], {"n": 1}])
def test_an_odd_number_discards_itself_alone(odd: Any) -> None:
    counted = read_usage({"prompt_tokens": odd, "completion_tokens": 4, "cached_tokens": 2}, CHAT, PLAIN)
    assert counted is not None
    assert (counted.counts[3], counted.has_input, counted.has_output, counted.is_odd) == (4, False, True, True)
    counted = read_usage({"prompt_tokens": 10, "completion_tokens": odd}, CHAT, PLAIN)
    assert counted is not None
    assert (counted.counts[0], counted.has_input, counted.has_output, counted.is_odd) == (10, True, False, True)
    for detail in ("cached_tokens", "reasoning_tokens", "cache_creation_input_tokens"):
        counted = read_usage({"prompt_tokens": 10, "completion_tokens": 4, detail: odd}, CHAT, PLAIN)
        assert counted == VendorCount((10, 0, 0, 4, 0), has_input=True, has_output=True, is_odd=True)


def test_an_odd_number_leaves_the_same_count_under_another_name() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": -1}, "cached_tokens": 3}
    assert read_usage(usage, CHAT, PLAIN) == VendorCount((7, 3, 0, 4, 0), has_input=True, has_output=True, is_odd=True)


def test_parts_beyond_the_whole_never_lower_its_price() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "cached_tokens": 11}
    assert read_usage(usage, CHAT, PLAIN) == VendorCount((10, 0, 0, 4, 0), has_input=True, has_output=True, is_odd=True)


@pytest.mark.parametrize(
    ("prompt", "cached", "thought", "total", "counts", "is_odd"),
    [
        # Beside the prompt: the total has the prompt, the cached part and the output.
        (10, 100, 0, 114, (10, 100, 0, 4, 0), False),
        (10, 5, 0, 19, (10, 5, 0, 4, 0), False),
        # Thought beside the output, too.
        (10, 100, 7, 121, (10, 100, 0, 4, 7), False),
        # Thought of which the total has as much more.
        (10, 5, 5, 19, (5, 5, 0, 4, 5), False),
        (10, 5, 0, 21, (5, 5, 0, 4, 7), False),
        # A total that explains nothing is no thought.
        (10, 100, 0, 150, (10, 0, 0, 4, 0), True),
    ],
)
def test_a_total_says_whether_cached_input_stands_beside_the_prompt(
    prompt: int, cached: int, thought: int, total: int, counts: Vector, is_odd: bool
) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": 4, "total_tokens": total}
    details = {"prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": thought}}
    assert read_usage(usage | details, CHAT, PLAIN) == VendorCount(counts, has_input=True, has_output=True, is_odd=is_odd)


def test_what_was_written_to_the_cache_may_stand_beside_the_prompt_too() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 65}
    details = {"prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}}
    assert read_usage(usage | details, CHAT, PLAIN) == VendorCount((10, 30, 20, 5, 0), has_input=True, has_output=True)


def test_a_later_zero_tells_nothing_of_output_that_came_since() -> None:
    first = {"prompt_tokens": 9, "completion_tokens": 4}
    before = read_usage(first, CHAT, PLAIN)
    for later, covers in ({"completion_tokens": 0}, False), ({"prompt_tokens": 9}, False), ({"completion_tokens": 4}, True):
        counted = read_usage(merged(first, later), CHAT, PLAIN)
        assert counted == before == VendorCount((9, 0, 0, 4, 0), has_input=True, has_output=True)
        assert as_told(counted, before, [later], CHAT, PLAIN).has_output == covers


def test_an_input_of_nothing_is_none() -> None:
    counted = read_usage({"prompt_tokens": 0, "completion_tokens": 9}, CHAT, PLAIN)
    assert counted is not None
    assert (counted.has_input, counted.has_output) == (False, True)


@pytest.mark.parametrize("usage", [None, "much", 5, [], {}, {"prompt_tokens": None}, {"cost": 1.5}, {"cached_tokens": 5}])
def test_what_is_no_usage_counts_nothing(usage: Any) -> None:
    assert read_usage(usage, CHAT, PLAIN) is None


def test_the_usage_of_messages_is_disjoint_already() -> None:
    usage = {
        "input_tokens": 14,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 2_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 90,
        "output_tokens_details": {"thinking_tokens": 80},
    }
    assert read_usage(usage, MESSAGES, PLAIN) == VendorCount((14, 2_000, 100, 10, 80, 200), has_input=True, has_output=True)
    del usage["cache_creation_input_tokens"]
    assert read_usage(usage, MESSAGES, PLAIN) == VendorCount((14, 2_000, 100, 10, 80, 200), has_input=True, has_output=True)
    del usage["cache_creation"]
    usage["cache_creation_input_tokens"] = 300
    assert read_usage(usage, MESSAGES, PLAIN) == VendorCount((14, 2_000, 300, 10, 80), has_input=True, has_output=True)
    usage["input_tokens"] = 0
    counted = read_usage(usage, MESSAGES, PLAIN)
    assert counted is not None
    assert counted.has_input
    assert read_usage({"output_tokens": 6}, MESSAGES, PLAIN) == VendorCount((0, 0, 0, 6, 0), has_input=False, has_output=True)


def test_of_parts_that_add_up_to_a_count_an_odd_one_leaves_none() -> None:
    creation = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": -1}
    counted = read_usage({"input_tokens": 5, "output_tokens": 1, "cache_creation": creation}, MESSAGES, PLAIN)
    assert counted is not None
    assert (counted.counts, counted.is_odd) == ((5, 0, 0, 1, 0), True)


def test_a_vendors_own_paths_are_read_after_the_dialects() -> None:
    reading = UsageReading(
        paths=(
            (INDEX["cached_input"], ("cache", "hits")),
            (INDEX["cache_write_1h"], ("cache", "hour")),
            (INDEX["generated_images"], ("images",)),
        )
    )
    usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 5, "cache_creation_input_tokens": 40}
    usage |= {"cache": {"hits": 20, "hour": 30}, "images": 2}
    assert chat(usage, reading) == (40, 20, 10, 5, 0, 30, 0, 0, 0, 0, 2)
    usage["prompt_tokens_details"] = {"cached_tokens": 25}
    assert chat(usage, reading)[:2] == (35, 25)


def test_of_usage_that_came_twice_the_later_holds_and_nothing_is_erased() -> None:
    earlier = {"input_tokens": 33, "cache_read_input_tokens": 128, "output_tokens": 1, "details": {"a": 5, "b": 6}}
    later = {"input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 3, "details": {"a": 7, "b": -1}, "new": 0}
    both = merged(earlier, later)
    assert both == {
        "input_tokens": 33,
        "cache_read_input_tokens": 128,
        "output_tokens": 3,
        "details": {"a": 7, "b": 6},
        "new": 0,
    }
    assert earlier["output_tokens"] == 1
    assert merged(both, None) == merged(both, "text") == both
    assert merged({}, later) == later


@given(JSON, st.sampled_from([CHAT, MESSAGES]), st.sampled_from(Reasoning), JSON)
def test_no_value_raises_an_error_or_counts_below_zero(found: Any, rules: Any, told: Reasoning, earlier: Any) -> None:
    if isinstance(earlier, dict):
        found = merged(earlier, found)
    counted = read_usage(found, rules, UsageReading(told))
    if counted is not None:
        assert all(0 <= count <= 3 * COUNT_MAX for count in counted.counts)
        assert not counted.has_input or total_input(counted.counts) > 0


@given(st.dictionaries(st.sampled_from(NAMES[3:4] + NAMES[6:9]), st.integers(0, 50)), st.integers(1, 100), st.integers(0, 100))
def test_classes_add_up_to_what_the_vendor_says(details: dict[str, int], prompt: int, completion: int) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage["prompt_tokens_details"] = {**details, "reasoning_tokens": 1}  # type: ignore[assignment]  # nested, as sent
    counted = read_usage(usage, CHAT, PLAIN)
    assert counted is not None
    assert (total_input(counted.counts), total_output(counted.counts)) == (prompt, completion)


# What the fast reader takes


@pytest.mark.parametrize("reasoning", list(Reasoning))
@given(
    st.fixed_dictionaries(
        {"prompt_tokens": st.integers(-1, 50), "completion_tokens": st.integers(-1, 50)},
        optional={
            "prompt_tokens_details": st.none()
            | st.fixed_dictionaries(
                {}, optional={"cached_tokens": st.none() | st.integers(-1, 60), "audio_tokens": st.integers(0, 1)}
            ),
            "completion_tokens_details": st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    "reasoning_tokens": st.none() | st.integers(-1, 60),
                    "audio_tokens": st.none() | st.integers(0, 1),
                    "rejected_prediction_tokens": st.integers(0, 9),
                },
            ),
        },
    ),
    st.sampled_from([0, 0, 0, 7]),
)
def test_the_fast_reader_reads_as_the_other_one_or_not_at_all(reasoning: Reasoning, usage: dict[str, Any], more: int) -> None:
    usage = {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"] + more}
    reading = UsageReading(reasoning=reasoning)
    fast = read_plain_usage(json.dumps(usage).encode(), reading)
    assert fast is None or fast == read_usage(usage, CHAT, reading)


def test_the_fast_reader_takes_what_openai_writes() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0, "rejected_prediction_tokens": 0},
    }
    assert read_plain_usage(json.dumps(usage).encode(), PLAIN) == VendorCount((36, 64, 0, 10, 30), has_input=True, has_output=True)
    # Spoken output has a price of its own.
    spoken = {**usage, "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4}}
    assert read_plain_usage(json.dumps(spoken).encode(), PLAIN) is None
    assert chat(spoken) == (36, 64, 0, 6, 30, 0, 0, 0, 4)
    # Where reasoning is beside the output, a total that agrees says nothing.
    beside = UsageReading(reasoning=Reasoning.BESIDE)
    assert read_plain_usage(json.dumps(usage).encode(), beside) is None
    assert chat(usage, beside) == (36, 64, 0, 40, 30)
