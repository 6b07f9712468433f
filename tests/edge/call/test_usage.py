"""The meter's bound of its own count."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.call.dialect import Step
from services.edge.call.usage import InputTokens, Meter
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
