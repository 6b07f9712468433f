"""The meter's bound of its own count."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.call.dialect import InputSize, Step
from services.edge.call.usage import InputTokens, Meter, Source, measure, measure_exactly
from services.edge.catalog import TokenizerFamily
from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of
from services.edge.tokens.tokenizers import tokenizer
from services.edge.vendors.usage import VendorCount

# Letters that mixtures make dear, and one character of each kind.
TEXTS = st.text(st.sampled_from("abcXYZ019 .,;\néßжא中文한😀༄\u0301"), max_size=40)
WORDS = st.sampled_from(["word ", " the", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "QzQzQz", "0a0a0a0a", "    ", "don't", "1234567890"])


def vendor_count(output_tokens: int) -> VendorCount:
    return VendorCount((3, 0, 0, output_tokens, 0), has_input=True, has_output=True)


STEPS = st.builds(
    Step,
    said=TEXTS | WORDS,
    thought=st.just("") | TEXTS,
    opaque_bytes=st.sampled_from([0, 0, 7, 64]),
    calls=st.sampled_from([0, 0, 1]),
    counted=st.none() | st.builds(vendor_count, st.integers(0, 500)),
)


def meter(*, exact: bool) -> Meter:
    carried = tokenizer("cl100k")
    assert carried is not None
    return Meter(
        InputTokens(9, 3, 5), 1, carried.count if exact else None, input_max=10_000, output_max=10_000, output_held=lambda: 10_000
    )


# The first example loads the tokenizer.
@settings(deadline=None)
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=60), st.booleans())
def test_what_is_known_without_counting_is_never_below_the_count(steps: list[tuple[Step, bool]], exact: bool) -> None:
    of_steps = meter(exact=exact)
    for step, is_counted in steps:
        of_steps.add(step)
        if is_counted:
            upper = of_steps.upper
            assert of_steps.best <= upper
            assert of_steps.upper == of_steps.best
    upper = of_steps.upper
    assert of_steps.best <= upper


LONG: Final = "word " * 10_000


class Counted:
    """A tokenizer that remembers the lengths of the texts that it was given."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, text: str) -> int:
        self.lengths.append(len(text))
        return len(text) // 5


def meter_of(count: Counted) -> Meter:
    return Meter(InputTokens(9, 3, 5), 1, count, input_max=100_000, output_max=100_000, output_held=lambda: 100_000)


def test_long_texts_are_handed_out_and_short_ones_counted() -> None:
    count = Counted()
    of_steps = meter_of(count)
    of_steps.add(Step(said=LONG))
    for _ in range(1_000):
        of_steps.add(Step(said="word ", thought="word "))
    handed_out = []
    while (text := of_steps.long_text) is not None:
        handed_out.append(len(text))
        of_steps.take_long(len(text) // 5)
    assert handed_out == [50_000, 5_000, 5_000]
    of_steps.add(Step(said="word "))
    assert of_steps.used().charged == (3, 0, 0, 11_001, 1_000)
    assert set(count.lengths) == {5}


def test_a_step_is_of_the_first_choice_unless_it_says_so() -> None:
    count = Counted()
    of_steps = Meter(InputTokens(9, 3, 5), 2, count, input_max=100_000, output_max=100_000, output_held=lambda: 100_000)
    for step in (Step(said="one "), Step(said="text", choice=0), Step(said="another", choice=1)):
        of_steps.add(step)
    assert of_steps.used().charged == (3, 0, 0, 2, 0)
    # Text in one piece has fewer tokens than its pieces.
    assert sorted(count.lengths) == [7, 8]


def test_what_a_vendor_counts_is_not_counted_again() -> None:
    count = Counted()
    of_steps = meter_of(count)
    of_steps.add(Step(said="word " * 400))
    of_steps.add(Step(said="word " * 400, counted=vendor_count(500)))
    assert not of_steps.uncounted
    assert of_steps.used().source is Source.VENDOR
    assert not of_steps.excess(hides_thought=False)
    assert not count.lengths


def test_what_is_reported_on_the_way_is_near_and_asks_no_tokenizer() -> None:
    count = Counted()
    of_steps = meter_of(count)
    of_steps.add(Step(said=LONG))
    assert of_steps.so_far() == (3, 0, 0, estimate(size_of(LONG)), 0)
    assert not count.lengths
    # The counted part is no estimate any more.
    while (text := of_steps.long_text) is not None:
        of_steps.take_long(len(text) // 5)
    assert of_steps.so_far() == (3, 0, 0, 10_000, 0)
    assert estimate(size_of(LONG)) != 10_000


def test_what_is_reported_on_the_way_without_a_tokenizer_is_the_estimate_of_all_that_was_said() -> None:
    of_steps = meter(exact=False)
    for _ in range(2_000):
        of_steps.add(Step(said="word " * 5))
    # It is sized in runs, each rounded by itself.
    assert abs(of_steps.so_far()[3] - estimate(size_of(LONG))) <= 1


def test_an_input_that_is_no_plain_text_is_estimated_for_that_part() -> None:
    family = TokenizerFamily(4, 3, "qwen3", 100)
    text, other = "🙂" * 300, '{"type":"object"}'
    size = InputSize(1_200 + len(other), size_of(text) + size_of(other), 1, 0, lambda: [text])
    measured = measure(size, estimate(size.text), family, 100_000)
    carried = tokenizer("qwen3")
    assert carried is not None
    mixed = measure_exactly(size, measured, family, carried.count)
    assert (mixed.bound, mixed.is_exact) == (300 + len(other) + 7, False)
    assert mixed.estimate == 300 + estimate(size.text) - estimate(size_of(text)) + 7
    plain = measure_exactly(size._replace(bytes_bound=1_200, text=size_of(text)), measured, family, carried.count)
    assert (plain.bound, plain.estimate, plain.is_exact) == (307, 307, True)


def test_a_step_that_may_go_beyond_is_not_counted() -> None:
    of_steps = meter(exact=False)
    assert of_steps.add_within(Step(said="word " * 10), 100)
    assert of_steps.upper == 100
    assert not of_steps.add_within(Step(said="w"), 100)
    assert of_steps.upper == 100
    # Counted, it is found to lie far within.
    assert of_steps.best < 20
    assert of_steps.add_within(Step(said="w"), 100)
    # What has no output is counted however little is left.
    assert of_steps.add_within(Step(counted=vendor_count(500)), 0)
    assert of_steps.upper == of_steps.best == 500


@pytest.mark.parametrize(("beyond", "excess"), [(0, 0), (1, 369)])
def test_frames_of_calls_are_no_excess(beyond: int, excess: int) -> None:
    # A vendor counts the end of the turn and at most 16 tokens for the frame of a call, none of which is text.
    text = "word " * 400
    assert estimate(size_of(text)) == 368
    of_steps = meter_of(Counted())
    of_steps.add(Step(said=text, calls=3, counted=vendor_count(368 + 8 + 3 * 16 + beyond)))
    assert of_steps.excess(hides_thought=False) == excess


def test_hidden_reasoning_is_unpaid_where_nothing_was_relayed() -> None:
    of_steps = meter_of(Counted())
    of_steps.leave()
    of_steps.add(Step(said="word " * 400, counted=VendorCount((3, 0, 0, 450, 900), has_input=True, has_output=True)))
    used = of_steps.used()
    assert (used.charged, used.unpaid) == ((3, 0, 0, 0, 0), (0, 0, 0, 450, 900))


def test_a_class_of_output_is_shared_where_the_one_before_it_has_nothing() -> None:
    of_steps = meter_of(Counted())
    of_steps.add(Step(thought="word " * 300))
    of_steps.leave()
    of_steps.add(Step(thought="word " * 100, counted=VendorCount((3, 0, 0, 0, 800), has_input=True, has_output=True)))
    used = of_steps.used()
    assert (used.charged, used.unpaid) == ((3, 0, 0, 0, 600), (0, 0, 0, 0, 200))


def test_what_a_client_that_left_did_not_get_is_not_reported_on_the_way() -> None:
    of_steps = meter(exact=False)
    of_steps.add(Step(said="word " * 40))
    before = of_steps.so_far()
    of_steps.leave()
    of_steps.add(Step(said="word " * 400))
    assert of_steps.so_far() == before
    assert before[3] == estimate(size_of("word " * 40))
