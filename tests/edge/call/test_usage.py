"""The meter's bound of its own count."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.call.dialect import InputSize, Step
from services.edge.call.usage import InputTokens, MediaTokens, Meter, Source, Used, measure, measure_exactly
from services.edge.catalog import TokenizerFamily
from services.edge.tokens.estimate import estimate, low, most
from services.edge.tokens.media import Document, Image, ImageRule
from services.edge.tokens.size import size_of
from services.edge.tokens.sound import Sound
from services.edge.tokens.tokenizers import tokenizer
from services.edge.vendors.usage import VendorCount
from services.token_classes import INDEX, TOKEN_CLASSES, Measure, Measures

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


def meter_of(count: Callable[[str], int]) -> Meter:
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


@pytest.mark.parametrize(("output", "charged", "doubts"), [(20, 20, ()), (19, 50, ("output_too_small",))])
def test_a_vendor_is_believed_from_four_fifths_of_the_fewest_tokens_on(output: int, charged: int, doubts: tuple[str, ...]) -> None:
    text = "the " * 50
    assert low(size_of(text)) == 25
    of_steps = meter_of(lambda text: len(text) // 4)
    of_steps.add(Step(said=text, counted=vendor_count(output)))
    used = of_steps.used()
    assert (used.charged, used.doubts) == ((3, 0, 0, charged, 0), doubts)


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


def test_a_count_of_nothing_before_the_output_leaves_it_to_the_tokenizer() -> None:
    of_steps = meter(exact=True)
    for counted in (vendor_count(0), vendor_count(0)):
        of_steps.add(Step(counted=counted))
    for _ in range(30):
        of_steps.add(Step(said="😀" * 10))
    used = of_steps.used()
    assert (used.charged, used.source) == ((3, 0, 0, 600, 0), Source.TOKENIZER)
    of_steps.add(Step(counted=vendor_count(598)))
    assert of_steps.used().charged == (3, 0, 0, 598, 0)


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
    size = InputSize(1_200 + len(other), size_of(text) + size_of(other), 1, (), lambda: [text])
    measured = measure(size, estimate(size.text), family, 100_000)
    carried = tokenizer("qwen3")
    assert carried is not None
    mixed = measure_exactly(size, measured, family, carried.count)
    assert (mixed.bound, mixed.is_exact, mixed.has_counted_texts) == (300 + len(other) + 7, False, True)
    assert mixed.estimate == 300 + estimate(size.text) - estimate(size_of(text)) + 7
    plain = measure_exactly(size._replace(bytes_bound=1_200, text=size_of(text)), measured, family, carried.count)
    assert (plain.bound, plain.estimate, plain.is_exact) == (307, 307, True)


@pytest.mark.parametrize(
    ("image", "tokens"),
    [
        # Scaled to 768 by 1,152 pixels: two by three tiles.
        (Image(1_024, 1_536), 85 + 6 * 170),
        (Image(512, 512), 85 + 4 * 170),
        # By URL, or lying.
        (Image(), 1_445),
        (Image(4_096, 4_096, is_low=True), 85),
    ],
)
def test_an_image_is_bounded_by_the_rule_of_its_family(image: Image, tokens: int) -> None:
    family = TokenizerFamily(4, 3, "qwen3", 1_445, ImageRule(512, 170_000, 85, 768, low_detail_tokens=85))
    size = InputSize(8, size_of("a picture"), 1, (image, image), lambda: ["a picture"])
    measured = measure(size, 2, family, 100_000)
    assert (measured.bound, measured.estimate) == (8 + 7 + 2 * tokens, 2 + 2 * tokens)
    assert measured.calibrated == most(size.text) + 7 + 2 * tokens
    assert measured.media == MediaTokens(2 * tokens, 2 * tokens)
    exact = measure_exactly(size, measured, family, lambda text: 2)
    assert (exact.bound, exact.estimate, exact.is_exact) == (2 + 7 + 2 * tokens, 2 + 7 + 2 * tokens, False)


def test_an_image_without_a_rule_is_bounded_by_the_context_window_and_expected_to_be_a_photograph() -> None:
    family = TokenizerFamily(4, 3, "qwen3")
    size = InputSize(8, size_of("a picture"), 1, (Image(16, 16),) * 2, lambda: ["a picture"])
    measured = measure(size, 2, family, 100_000)
    assert (measured.bound, measured.estimate, measured.calibrated) == (100_000, 2 + 3_200, 100_000)
    assert measured.media.unbounded == "images"
    exact = measure_exactly(size, measured, family, lambda text: 2)
    assert (exact.bound, exact.estimate) == (100_000, 2 + 7 + 3_200)


def image_step(*, counted: bool, images: int = 2) -> Step:
    """An answer of images, with the vendor's tokens if it `counted`."""
    counts = [0] * (INDEX["generated_images"] + 1)
    counts[INDEX["generated_images"]] = images
    if counted:
        counts[INDEX["input"]], counts[INDEX["image_output"]] = 7, 300
    return Step(counted=VendorCount(tuple(counts), has_input=counted, has_output=True), finished=True)


def image_meter(measure: Measure) -> Meter:
    """Of two images, each of at most 1,000 tokens."""
    return Meter(
        InputTokens(9, 3, 5),
        2,
        None,
        input_max=10_000,
        output_max=1_000,
        output_held=lambda: 2_000,
        measures=Measures(output=measure),
    )


def test_images_that_came_after_their_client_had_left_are_paid_by_nobody() -> None:
    of_images = image_meter(Measure.TOKEN)
    of_images.leave()
    of_images.add(image_step(counted=False))
    used = of_images.used()
    assert (used.charged, used.unpaid) == ((3, 0, 0, 0, 0), (*(0,) * INDEX["image_output"], 2 * 1_000))


@pytest.mark.parametrize(
    ("measure", "counted", "charged", "source"),
    [
        # By the piece: the tokens that the vendor counts are none of the client's.
        (Measure.IMAGE, True, {"input": 7, "generated_images": 2}, Source.VENDOR),
        (Measure.IMAGE, False, {"input": 3, "generated_images": 2}, Source.ESTIMATE),
        (Measure.TOKEN, True, {"input": 7, "image_output": 300}, Source.VENDOR),
        # Without a count each image is the largest, as it was reserved.
        (Measure.TOKEN, False, {"input": 3, "image_output": 2 * 1_000}, Source.ESTIMATE),
    ],
)
def test_images_are_charged_in_the_measure_of_the_model(
    measure: Measure, counted: bool, charged: dict[str, int], source: Source
) -> None:
    of_images = image_meter(measure)
    of_images.came_whole()
    of_images.add(image_step(counted=counted))
    used = of_images.used()
    found = {TOKEN_CLASSES[index]: count for index, count in enumerate(used.charged) if count}
    assert (found, used.source, used.doubts) == (charged, source, ())


def sound_size(*sounds: Sound) -> InputSize:
    return InputSize(0, size_of(""), 0, (), lambda: [], param="file", sounds=sounds)


LISTENING = Measures(Measure.MILLISECOND)


@pytest.mark.parametrize(
    ("sounds", "bound", "estimate", "calibrated"),
    [
        # Vendors count each begun second, and the estimate may be a tenth and a second short.
        ((Sound(10_200, 160_100, 4_000),), 161_000, 10_200, 12_220),
        ((Sound(2_002, 2_002, 2_002),), 3_000, 2_002, 3_000),
        # Without a bound of its own it is the model's.
        ((Sound(10_000, 0, 2_000),), 600_000, 10_000, 12_000),
        ((Sound(700_000, 0),), 600_000, 600_000, 600_000),
    ],
)
def test_sound_is_measured_in_milliseconds(sounds: tuple[Sound, ...], bound: int, estimate: int, calibrated: int) -> None:
    measured = measure(sound_size(*sounds), 0, TokenizerFamily(4, 3), 600_000, LISTENING)
    assert (measured.bound, measured.estimate, measured.calibrated) == (bound, estimate, calibrated)
    assert (measured.low, measured.has_counted_texts) == (min(sounds[0].milliseconds_min, bound), True)


@pytest.mark.parametrize(
    ("rate", "sound", "bound", "estimate", "unbounded"),
    [
        (25, Sound(10_010, 12_000), 300, 251, ""),
        (25, Sound(10_010, 0), 100_000, 251, "sound"),
        (0, Sound(10_010, 12_000), 100_000, 321, "sound"),
    ],
)
def test_sound_in_tokens_has_the_rate_of_its_family(rate: int, sound: Sound, bound: int, estimate: int, unbounded: str) -> None:
    family = TokenizerFamily(0, 0, sound_tokens_per_second=rate)
    measured = measure(sound_size(sound), 0, family, 100_000)
    assert (measured.bound, measured.media) == (bound, MediaTokens(bound, estimate, unbounded))
    both = measure(sound_size(sound)._replace(images=(Image(),)), 0, family, 100_000)
    assert (both.bound, both.media.estimate) == (100_000, estimate + 1_600)
    assert both.media.unbounded == f"images and {unbounded}".removesuffix(" and ")


def test_documents_are_bounded_by_the_context_window_and_expected_by_their_bytes() -> None:
    documents = (Document(65_536), Document(65_537), Document())
    measured = measure(sound_size()._replace(documents=documents), 0, TokenizerFamily(0, 0), 100_000)
    assert (measured.bound, measured.media) == (100_000, MediaTokens(100_000, 13 * 2_500, "documents"))


def listening(*, milliseconds: int = 0, tokens: int = 0) -> Used:
    """The usage of a call that a model charges by the time it listens, of which its vendor told this count."""
    meter = Meter(
        InputTokens(20_000, 10_000, 12_000, 8_000),
        1,
        None,
        input_max=600_000,
        output_max=0,
        output_held=lambda: 0,
        measures=LISTENING,
    )
    counts = [0] * (INDEX["audio_milliseconds"] + 1)
    counts[INDEX["audio_milliseconds"]], counts[INDEX["audio_input"]], counts[INDEX["output"]] = milliseconds, tokens, tokens
    counted = VendorCount(tuple(counts), has_input=bool(milliseconds or tokens), has_output=bool(tokens))
    meter.came_whole()
    meter.add(Step(said="Hello " * 99, counted=counted, finished=True))
    return meter.used()


def milliseconds_of(used: Used) -> int:
    """The charged milliseconds, beside which nothing is charged."""
    assert {TOKEN_CLASSES[index] for index, count in enumerate(used.charged) if count} == {"audio_milliseconds"}
    return used.charged[INDEX["audio_milliseconds"]]


def test_the_vendors_seconds_are_charged_and_the_text_is_free() -> None:
    used = listening(milliseconds=11_000)
    assert (milliseconds_of(used), used.source, used.doubts) == (11_000, Source.VENDOR, ())


@pytest.mark.parametrize("tokens", [0, 300])
def test_without_seconds_the_likely_length_is_charged(tokens: int) -> None:
    used = listening(tokens=tokens)
    assert (milliseconds_of(used), used.source, used.doubts) == (10_000, Source.ESTIMATE, ())


def test_seconds_beyond_what_the_bytes_can_last_are_doubted() -> None:
    used = listening(milliseconds=21_000)
    assert (milliseconds_of(used), used.source, used.doubts) == (10_000, Source.ESTIMATE, ("input_too_large",))
    # As long as they can last they are believed, and far fewer are strange.
    assert milliseconds_of(listening(milliseconds=20_000)) == 20_000
    assert listening(milliseconds=3_000).doubts == ("input_too_small",)


def test_characters_are_known_before_the_call() -> None:
    size = InputSize(9, size_of("hällo"), 0, (), lambda: ["hällo"], param="input", characters=5)
    measured = measure(size, 2, TokenizerFamily(4, 3), 4_096, Measures(Measure.CHARACTER))
    assert (measured.bound, measured.estimate, measured.calibrated, measured.is_exact) == (5, 5, 5, True)


def test_characters_of_fields_that_a_vendor_does_not_get_are_not_charged() -> None:
    size = InputSize(19, size_of("hällo"), 0, (), lambda: ["hällo"], param="input", characters=15, unknown_characters=10)
    assert size.known == size._replace(characters=5, unknown_characters=0)


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
    # Where it pays for nothing, or for its input alone, all the rest is the vendor's unpaid work.
    nothing, only_input = of_steps.unpaid(), of_steps.input_only()
    assert (nothing.charged, nothing.unpaid) == ((0, 0, 0, 0, 0), (3, 0, 0, 0, 800))
    assert (only_input.charged, only_input.unpaid) == ((3, 0, 0, 0, 0), (0, 0, 0, 0, 800))


@pytest.mark.parametrize(("opaque_bytes", "tokens"), [(800, 300), (8_000, 1_000)])
def test_thought_that_is_shown_and_encrypted_counts_once(opaque_bytes: int, tokens: int) -> None:
    of_steps = meter_of(Counted())
    of_steps.add(Step(thought="word " * 300, opaque_bytes=opaque_bytes))
    assert of_steps.used().charged == (3, 0, 0, 0, tokens)


def test_what_a_client_that_left_did_not_get_is_not_reported_on_the_way() -> None:
    of_steps = meter(exact=False)
    of_steps.add(Step(said="word " * 40))
    before = of_steps.so_far()
    of_steps.leave()
    of_steps.add(Step(said="word " * 400))
    assert of_steps.so_far() == before
    assert before[3] == estimate(size_of("word " * 40))


def test_a_client_that_left_pays_its_part_of_the_last_count() -> None:
    of_steps = meter_of(Counted())
    of_steps.add(Step(said="word " * 10))
    of_steps.leave()
    # It was sent half of what the first count has, and a quarter of what the last one has.
    for words, counted in ((10, 40), (20, 80)):
        of_steps.add(Step(said="word " * words, counted=vendor_count(counted)))
    used = of_steps.used()
    assert (used.charged, used.unpaid) == ((3, 0, 0, 20, 0), (0, 0, 0, 60, 0))


def test_the_last_of_several_counts_of_the_input_holds() -> None:
    of_steps = meter_of(Counted())
    for input_tokens in (100, 80):
        of_steps.add(Step(said="word ", counted=VendorCount((input_tokens, 0, 0, 2, 0), has_input=True, has_output=True)))
    assert of_steps.used().charged == (80, 0, 0, 2, 0)


def test_a_count_that_cannot_be_true_takes_those_before_with_it() -> None:
    of_steps = meter_of(Counted())
    of_steps.add(Step(said="word " * 10, counted=vendor_count(30)))
    of_steps.add(Step(said="word " * 100, counted=vendor_count(1)))
    used = of_steps.used()
    assert (used.charged, used.doubts) == ((3, 0, 0, 110, 0), ("output_too_small",))


def test_no_more_is_reported_on_the_way_than_is_held() -> None:
    # A sweep charges what was reported, and an estimate must leave nothing owed.
    of_steps = Meter(InputTokens(9, 3, 5), 1, Counted(), input_max=100_000, output_max=100_000, output_held=lambda: 5)
    of_steps.add(Step(said="word " * 50))
    assert of_steps.so_far() == (3, 0, 0, 5, 0)
    # The vendor's own count is what it is.
    of_steps.add(Step(counted=vendor_count(50)))
    assert of_steps.so_far() == (3, 0, 0, 50, 0)


def test_images_are_counted_so_far() -> None:
    of_images = image_meter(Measure.TOKEN)
    for images in (1, 2):
        of_images.add(image_step(counted=False, images=images))
    assert of_images.used().charged == (3, *(0,) * (INDEX["image_output"] - 1), 2 * 1_000)
