"""The meter of a call: bounds of its input, a count of its output as it passes, and the vendor's count weighed by both. Pure.

Every byte of output counts here as it comes. The vendor's own count corrects ours. Where it can't be true, the most plausible
reading holds: at least our count of the relayed output. A tokenizer takes its time over long texts, so these are kept for a caller
that counts them off the event loop (`Meter.long_text`). A count that is asked for before is right, but slow.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from services.edge.call.dialect import InputSize, Step
from services.edge.catalog import TokenizerFamily
from services.edge.tokens.estimate import estimate, low, most
from services.edge.tokens.media import tokens_of
from services.edge.tokens.size import NO_TEXT, TextSize, normalization_bytes, size_of
from services.edge.tokens.tokenizers import COUNT_INLINE_BYTES_MAX, NORMALIZING
from services.edge.vendors.usage import VendorCount
from services.token_classes import (
    FIRST,
    IN_TOKENS,
    INDEX,
    INPUT_INDEXES,
    NOTHING,
    OUTPUT_INDEXES,
    Measure,
    Measures,
    Vector,
    in_measures,
    total_input,
    total_output,
    trimmed,
)

Count = Callable[[str], int]

# This many bytes of text are kept uncounted: for the estimator, and for a tokenizer, which most answers never need. Near the end of
# a grant the tokenizer is needed all the time, but counts only this much again with each piece. A run's ends may cost a token.
_RUN_BYTES: Final = 2_048
_EXACT_RUN_BYTES: Final = 16_384
_EXACT_TAIL_BYTES: Final = 512
# Tokens without text: the end of a turn, a few a choice; the frame of a tool call.
_HIDDEN_TOKENS_A_CHOICE: Final = 8
_HIDDEN_TOKENS_A_CALL: Final = 4
# The frame of a tool call has at most this many tokens, as vendors count it.
_FRAME_TOKENS_MAX: Final = 16
# A character adds at most this to our count: in ASCII within a mixture, and in bytes elsewhere.
_ASCII_TOKENS_MAX: Final = 2
_CHARACTER_TOKENS_MAX: Final = 4
# Bytes of an encrypted thought or its signature, or of an encrypted result of a tool, that stand for one token.
_OPAQUE_BYTES_A_TOKEN: Final = 8
# At most this many bytes stand for a token: a signature of a short thought.
_OPAQUE_BYTES_A_TOKEN_MAX: Final = 64
# Our count of output is above the truth by at most this, in thousandths: without a tokenizer, and with the family's own.
_ERROR_ESTIMATED_MILLI: Final = 500
_ERROR_EXACT_MILLI: Final = 20
# A vendor's count below this part of the fewest tokens of its text is none.
_DOUBTED_BELOW_MILLI: Final = 800
# An image of a family without a rule is expected to have this many tokens: about those of a photograph of 1,200,000 pixels.
_IMAGE_TOKENS_ESTIMATED: Final = 1_600
# A second of sound of a family without a rule.
_SOUND_TOKENS_ESTIMATED: Final = 32
# A page of a document: its text and its picture, in about this many bytes; the pages of a document whose size is not known.
_PAGE_TOKENS_ESTIMATED: Final = 2_500
_PAGE_BYTES: Final = 64 * 1024
_PAGES_EXPECTED: Final = 10
_MS: Final = 1_000
# A call's input may be read again in at most this many rounds, by searches and tools at the vendor's side.
_ROUNDS_MAX: Final = 16
_MILLI: Final = 1_000

_INPUT: Final = INDEX["input"]
_OUTPUT: Final = INDEX["output"]
_REASONING: Final = INDEX["reasoning"]
_IMAGES: Final = INDEX["generated_images"]
# The class of an input that is counted in a measure.
_CLASSES: Final = {
    Measure.TOKEN: _INPUT,
    Measure.MILLISECOND: INDEX["audio_milliseconds"],
    Measure.CHARACTER: INDEX["spoken_characters"],
}
_IMAGE_TOKENS: Final = INDEX["image_output"]


class MediaTokens(NamedTuple):
    """The tokens of images, sound and documents in an input, before a vendor has counted: at most `bound`, about `estimate`."""

    bound: int
    estimate: int
    # The kind whose tokens no rule bounds, for people; empty: all are bounded.
    unbounded: str = ""


NO_MEDIA: Final = MediaTokens(0, 0)


class InputTokens(NamedTuple):
    """An input's tokens before a vendor has counted: at most `bound`, about `estimate`, nearly never above `calibrated`."""

    bound: int
    estimate: int
    calibrated: int
    # The fewest tokens that its text can have.
    low: int = 0
    # Whether the family's tokenizer has counted its texts, and whether only the template remains uncounted.
    has_counted_texts: bool = False
    is_exact: bool = False
    # The part of bound and estimate that is no text.
    media: MediaTokens = NO_MEDIA


def measure(
    size: InputSize, estimated: int, family: TokenizerFamily, context_tokens: int, measures: Measures = IN_TOKENS
) -> InputTokens:
    """The tokens of an input by its size, and by the estimate of its text.

    The bound holds for tokenizers whose tokens stand for at least one byte. A tokenizer that normalizes text needs a bound higher
    by the bytes that normalization may add. `context_tokens`: the context windows of all inputs. Input of another measure is
    counted in that, and so is the window.
    """
    if measures.input is not Measure.TOKEN:
        return _measured_otherwise(size, context_tokens, measures.input)
    template = size.messages * family.template_tokens_per_message + family.template_tokens_per_request
    media = _media_tokens(size, family, context_tokens)
    bytes_bound = size.bytes_bound
    if family.tokenizer in NORMALIZING:
        bytes_bound += sum(map(normalization_bytes, size.texts()))
    bound = min(bytes_bound + template + media.bound, context_tokens)
    calibrated = min(most(size.text) + media.bound + template, bound)
    return InputTokens(bound, min(estimated + media.estimate, bound), calibrated, low(size.text), media=media)


def measure_exactly(size: InputSize, measured: InputTokens, family: TokenizerFamily, count: Count) -> InputTokens:
    """Tokens of an input by the family's tokenizer: its count of the texts, with bytes and estimate for the rest."""
    texts = list(size.texts())
    of_texts = size_of("".join(texts))
    other_bytes = max(0, size.bytes_bound - of_texts.utf8_bytes)
    other_tokens = min(max(0, estimate(size.text) - estimate(of_texts)), other_bytes)
    template = size.messages * family.template_tokens_per_message + family.template_tokens_per_request
    media = measured.media
    tokens = sum(map(count, texts)) + template
    bound = min(tokens + other_bytes + media.bound, measured.bound)
    estimated = min(tokens + other_tokens + media.estimate, bound)
    is_exact = not other_bytes and media is NO_MEDIA
    return InputTokens(bound, estimated, bound, measured.low, has_counted_texts=True, is_exact=is_exact, media=media)


def _measured_otherwise(size: InputSize, most: int, measure: Measure) -> InputTokens:
    """The characters of text to be spoken, or the milliseconds of sound; `most`: as many as the model takes."""
    if measure is Measure.CHARACTER:
        characters = min(size.characters, most)
        return InputTokens(characters, characters, characters, has_counted_texts=True, is_exact=True)
    # Vendors count each begun second.
    bound = min(sum(-(-(sound.milliseconds_max or most) // _MS) * _MS for sound in size.sounds), most)
    likely = min(sum(sound.milliseconds for sound in size.sounds), bound)
    shortest = min(sum(sound.milliseconds_min for sound in size.sounds), bound)
    return InputTokens(bound, likely, min(likely + likely // 10 + _MS, bound), shortest, has_counted_texts=True)


def _media_tokens(size: InputSize, family: TokenizerFamily, context_tokens: int) -> MediaTokens:
    """The tokens of the media of an input. Where no rule bounds one, the context windows do: a vendor takes no more."""
    if not (size.images or size.sounds or size.documents):
        return NO_MEDIA
    bound = likely = 0
    unbounded = []
    if size.images and family.image_tokens_max:
        bound = likely = sum(tokens_of(image, family.image_rule, family.image_tokens_max) for image in size.images)
    elif size.images:
        unbounded.append("images")
        likely = len(size.images) * _IMAGE_TOKENS_ESTIMATED
    if size.sounds:
        rate = family.sound_tokens_per_second
        likely += sum(-(-sound.milliseconds * (rate or _SOUND_TOKENS_ESTIMATED) // _MS) for sound in size.sounds)
        bound += sum(-(-sound.milliseconds_max * rate // _MS) for sound in size.sounds)
        if not rate or not all(sound.milliseconds_max for sound in size.sounds):
            unbounded.append("sound")
    if size.documents:
        # Vendors publish the tokens of a page, but nobody has counted the pages.
        unbounded.append("documents")
        pages = sum(-(-each.size_bytes // _PAGE_BYTES) or _PAGES_EXPECTED for each in size.documents)
        likely += pages * _PAGE_TOKENS_ESTIMATED
    return MediaTokens(context_tokens if unbounded else bound, likely, " and ".join(unbounded))


def with_error(output_tokens: int, choices: int, *, exact: bool) -> int:
    """The most that our count of an answer may be if its vendor keeps a limit of `output_tokens` for each choice."""
    error = _ERROR_EXACT_MILLI if exact else _ERROR_ESTIMATED_MILLI
    return choices * (output_tokens + -(-output_tokens * error // _MILLI) + _HIDDEN_TOKENS_A_CHOICE)


def within_error(counted_tokens: int, choices: int, *, exact: bool) -> int:
    """The largest limit, a choice, whose answers we never count above `counted_tokens`; 0 where there is none."""
    error = _ERROR_EXACT_MILLI if exact else _ERROR_ESTIMATED_MILLI
    # Exact: an error that is rounded up is within a whole number wherever it is without rounding.
    return max(0, (counted_tokens // choices - _HIDDEN_TOKENS_A_CHOICE) * _MILLI // (_MILLI + error))


class _Tally:
    """The tokens of a text that comes in pieces. Pieces are kept until a count is asked for, or they make a run."""

    __slots__ = ("_count", "_kept", "_kept_bytes", "_kept_size", "_run_bytes", "_runs", "_size", "_tokens", "total_bytes")

    def __init__(self, count: Count | None) -> None:
        self._count = count
        self._run_bytes = _RUN_BYTES if count is None else _EXACT_RUN_BYTES
        self._kept: list[str] = []
        self._kept_bytes = 0
        # Size of the kept pieces, if it was asked for since the last piece.
        self._kept_size: TextSize | None = None
        # Runs that the tokenizer has not counted yet.
        self._runs: list[str] = []
        # Size of all runs, and tokens of the counted ones.
        self._size = NO_TEXT
        self._tokens = 0
        self.total_bytes = 0

    def add(self, text: str, choice: int = 0) -> None:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self._kept.append(text)
        self._kept_size = None
        self._kept_bytes += size
        self.total_bytes += size
        if self._kept_bytes > self._run_bytes:
            self._fold()

    def _fold(self) -> None:
        self._size = self.size
        text = "".join(self._kept)
        self._kept.clear()
        self._kept_bytes = 0
        if self._count is not None:
            self._runs.append(text)

    @property
    def long_text(self) -> str | None:
        """The first run that is not counted yet; None where `best` has little to count."""
        if self._count is not None and self._kept_bytes > COUNT_INLINE_BYTES_MAX:
            self._fold()
        return self._runs[0] if self._runs else None

    def take(self, tokens: int) -> None:
        """Takes the tokens of `long_text`."""
        self._tokens += tokens
        del self._runs[0]

    @property
    def best(self) -> int:
        if not self.total_bytes:
            return 0
        if self._count is None:
            if self._kept:
                self._fold()
            return estimate(self._size)
        if self._kept_bytes > _EXACT_TAIL_BYTES:
            self._fold()
        self._tokens += sum(map(self._count, self._runs))
        self._runs.clear()
        return self._tokens + (self._count("".join(self._kept)) if self._kept else 0)

    @property
    def near(self) -> int:
        """`best`, with an estimate of the uncounted part; changes nothing."""
        if self._count is None:
            return estimate(self.size)
        return self._tokens + estimate(size_of("".join((*self._runs, *self._kept))))

    @property
    def size(self) -> TextSize:
        """The size of the text."""
        if not self._kept:
            return self._size
        kept = self._kept_size
        if kept is None:
            kept = self._kept_size = size_of("".join(self._kept))
        return kept if self._size is NO_TEXT else self._size + kept

    @property
    def low(self) -> int:
        """The fewest tokens that the text can have, by its size; asks no tokenizer."""
        return low(self.size) if self.total_bytes else 0


class _Choices:
    """The tokens of several texts side by side, each with its own tally, because pieces of two never make one token."""

    __slots__ = ("_by_choice", "_count")

    def __init__(self, count: Count) -> None:
        self._count = count
        self._by_choice: dict[int, _Tally] = {}

    def add(self, text: str, choice: int) -> None:
        tally = self._by_choice.get(choice)
        if tally is None:
            tally = self._by_choice[choice] = _Tally(self._count)
        tally.add(text)

    @property
    def total_bytes(self) -> int:
        return sum([tally.total_bytes for tally in self._by_choice.values()])

    @property
    def long_text(self) -> str | None:
        return next((text for tally in self._by_choice.values() if (text := tally.long_text) is not None), None)

    def take(self, tokens: int) -> None:
        next(tally for tally in self._by_choice.values() if tally.long_text is not None).take(tokens)

    @property
    def best(self) -> int:
        return sum([tally.best for tally in self._by_choice.values()])

    @property
    def near(self) -> int:
        return sum([tally.near for tally in self._by_choice.values()])

    @property
    def size(self) -> TextSize:
        return sum([tally.size for tally in self._by_choice.values()], NO_TEXT)

    @property
    def low(self) -> int:
        return low(self.size)


def _tally(count: Count | None, choices: int) -> _Tally | _Choices:
    return _Tally(count) if count is None or choices == 1 else _Choices(count)


class Own(NamedTuple):
    """Our count of output, in tokens: said, and thought."""

    said: int
    thought: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.said + self.thought


class Source(Enum):
    """The counter of a call's tokens; where input and output differ, the less certain one."""

    VENDOR = "vendor"
    # The family's own tokenizer, for at least one side; the other side may be the vendor's.
    TOKENIZER = "tokenizer"
    ESTIMATE = "estimate"


class Used(NamedTuple):
    """A call's usage: the charged part, the vendor's work beyond it, the counter of both, and the doubts about it."""

    charged: Vector
    unpaid: Vector
    source: Source
    doubts: tuple[str, ...] = ()


class Meter:
    """Counts one answer: call `add` for each step in order, and `leave` when the client gets no more steps."""

    def __init__(
        self,
        input_tokens: InputTokens,
        choices: int,
        count: Count | None,
        *,
        input_max: int,
        output_max: int,
        output_held: Callable[[], int],
        measures: Measures = IN_TOKENS,
    ) -> None:
        """`count` is the family's tokenizer, if it is loaded; counts above the maxima can't be true.

        `output_max`: of each choice. `output_held` returns the output tokens that are reserved now.
        """
        self._measures = measures
        # Images that the answer has, and the most tokens of one.
        self._images = 0
        self._image_tokens_max = output_max
        self._input_class = _INPUT if measures.input is Measure.TOKEN else _CLASSES[measures.input]
        # A model without output of its own is charged for its input alone, and its text is free.
        self._makes_output = output_max > 0
        self._output_held = output_held
        self._choices = choices
        self._input = input_tokens
        self._count = self.count = count
        # The estimate does not depend on how texts are joined.
        self._said, self._thought = _tally(count, choices), _tally(count, choices)
        self._opaque_bytes = 0
        self._sound_bytes = 0
        self._calls = 0
        # Text that the vendor has added to the input and relayed since its last count of the input.
        self._added = NO_TEXT
        self._added_opaque_bytes = 0
        # Sound is not read again, and lasts no longer than its bytes can.
        self._input_max = input_tokens.bound if measures.input is Measure.MILLISECOND else input_max * _ROUNDS_MAX
        self._output_max = max(input_max, output_max) * choices
        # The vendor's last count of each side, and the output since its last count of output.
        self._input_counts: Vector | None = None
        self._output_counts: Vector | None = None
        self._since: _Tally | None = None
        self._counted: VendorCount | None = None
        # Once the client has left: our count of the part it got, and the best count at that time; then our count of all output at
        # the vendor's next count.
        self._relayed: Own | None = None
        # Set for an answer that came as one, and could not be cut.
        self._is_whole = False
        self._relayed_output: Vector = NOTHING
        self._came: Own | None = None
        self._doubts: list[str] = []
        # Doubts about counts that are strange but believed: they are told to those on call, and change nothing.
        self._noted: list[str] = []
        # Upper bound of the output tokens so far, known without counting.
        self.upper = 0

    @property
    def is_exact(self) -> bool:
        """Whether our own count is the tokenizer's."""
        return self._count is not None

    def add(self, step: Step) -> None:
        """Counts a step."""
        self._add(step, _most_of(step))

    def came_whole(self) -> None:
        """Notes that the answer comes as one: output beyond the hold is charged too, because nobody could cut it in time."""
        self._is_whole = True

    def is_long(self, step: Step) -> bool:
        """Whether the tokenizer would hold up the event loop with this step."""
        return self._count is not None and len(step.said) + len(step.thought) > COUNT_INLINE_BYTES_MAX

    @property
    def long_text(self) -> str | None:
        """The next text to count off the event loop; None: there is none. Add nothing before its `take_long`."""
        said = self._said.long_text
        return self._thought.long_text if said is None else said

    def take_long(self, tokens: int) -> None:
        """Takes the tokens of `long_text`, counted with `count`."""
        (self._said if self._said.long_text is not None else self._thought).take(tokens)

    def excess(self, *, hides_thought: bool) -> int:
        """The vendor's output tokens for the said text, if they are above our estimate of it; else 0.

        A vendor may count thought with it that is hidden, or shown in short; then nothing is known.
        """
        counts = self._output_counts
        if counts is None:
            return 0
        has_thought = hides_thought or self._thought.total_bytes or self._opaque_bytes
        if has_thought and not any(counts[_REASONING : _REASONING + 1]):
            return 0
        claimed = counts[_OUTPUT] - self._choices * _HIDDEN_TOKENS_A_CHOICE - self._calls * _FRAME_TOKENS_MAX
        size = self._said.size
        return claimed if claimed > (most(size) if self._count is None else estimate(size)) else 0

    def note_excess(self, claimed: int) -> None:
        """Notes an `excess` that is above the tokenizer's count and its error, if there is one. It is charged all the same."""
        if self._count is None or claimed * _MILLI > self._said.best * (_MILLI + _ERROR_EXACT_MILLI):
            self._note("output_above_text")

    @property
    def is_input_estimated(self) -> bool:
        """Whether neither the vendor nor a tokenizer has counted the input."""
        return self._input_counts is None and not self._input.has_counted_texts

    def take_input(self, tokens: InputTokens) -> None:
        """Takes our own count of the input, better than the one before. The reservation for it stays."""
        self._input = tokens._replace(bound=self._input.bound)

    def add_within(self, step: Step, output_tokens: int) -> bool:
        """Counts a step if all output is certainly within `output_tokens`, known without counting; returns whether it is."""
        most = _most_of(step)
        if most and self.upper + most > output_tokens:
            return False
        self._add(step, most)
        return True

    def _add(self, step: Step, most: int) -> None:
        if not self._makes_output and step.said:
            step = step._replace(said="")
        if step.said:
            self._said.add(step.said, step.choice)
        if step.thought:
            self._thought.add(step.thought, step.choice)
        self._opaque_bytes += step.opaque_bytes
        self._sound_bytes += step.sound_bytes
        self._calls += step.calls
        if step.added or step.added_opaque_bytes:
            self._added += size_of(step.added)
            self._added_opaque_bytes += step.added_opaque_bytes
        # A dialect hands out its last count again with every step.
        if (counted := step.counted) is not None and counted is not self._counted:
            self._counted = counted
            if counted.is_odd:
                self._doubt("odd")
            if len(counted.counts) > FIRST or self._measures != IN_TOKENS:
                counted = self._measured(counted)
            self._take(counted.counts, has_input=counted.has_input, has_output=counted.has_output)
            if counted.has_output and self._output_counts is counted.counts:
                return
        if self._since is not None and most:
            if self.upper:
                # An estimate will do, because the next count is near.
                self._since.add(step.said + step.thought)
            else:
                # A count of nothing, as some vendors begin with, says nothing of later output: ours stands.
                self._output_counts = self._since = None
        self.upper += most

    def _measured(self, counted: VendorCount) -> VendorCount:
        """A vendor's count in the measures of the model: no side is charged in two."""
        if len(counted.counts) > _IMAGES:
            self._images = counted.counts[_IMAGES]
        kept = in_measures(counted.counts, self._measures)
        if not self._makes_output:
            kept = _joined(kept, ())
        has_input = counted.has_input and (total_input(kept) > 0 or not total_input(counted.counts))
        has_output = counted.has_output and (total_output(kept) > 0 or not total_output(counted.counts))
        return counted._replace(counts=kept, has_input=has_input, has_output=has_output)

    def _take(self, counts: Vector, *, has_input: bool, has_output: bool) -> None:
        if has_input:
            total = total_input(counts)
            if not total and self._input.estimate:
                self._doubt("no_input")
            elif total > self._input_max:
                self._doubt("input_too_large")
            elif self._counts_added(total):
                self._input_counts = counts
                if total * 2 < self._input.low:
                    # A vendor may leave out parts of its input, such as earlier thoughts.
                    self._note("input_too_small")
        if not has_output:
            return
        output = total_output(counts)
        if output > self._output_max:
            self._doubt("output_too_large")
        elif output or not self.any_output:
            # Zeros beside text come from a vendor that has not counted yet, or never does.
            if output * _MILLI < self._lowest * _DOUBTED_BELOW_MILLI and output < self._own.total:
                self._doubt("output_too_small")
                self._output_counts = self._since = None
                self.upper = self._own.total
                return
            self._output_counts = counts
            self._since = _Tally(None)
            self.upper = output
            if self._relayed is not None:
                self._came = self._own

    def _counts_added(self, input_tokens: int) -> bool:
        """Whether a vendor's count of the input can be true; text it added since its last count is then counted with it, or not.

        A count that has not grown is the prompt's, and the added text counts beside it. A count that has grown by less than the
        fewest tokens of the added text is none.
        """
        if not self._has_added:
            return True
        grown = input_tokens - (total_input(self._input_counts) if self._input_counts is not None else 0)
        if grown and grown * _MILLI >= self._added_lowest * _DOUBTED_BELOW_MILLI:
            self._added, self._added_opaque_bytes = NO_TEXT, 0
        elif grown:
            self._doubt("added_too_small")
            return False
        return True

    def _note(self, what: str) -> None:
        if what not in self._noted:
            self._noted.append(what)

    def _doubt(self, what: str) -> None:
        if what not in self._doubts:
            self._doubts.append(what)

    def leave(self) -> None:
        """Notes that the client gets no later step."""
        if self._relayed is None:
            self._relayed, self._relayed_output = self._own, self._output_now()

    @property
    def any_output(self) -> bool:
        """Whether any output has come."""
        return bool(self._said.total_bytes or self._thought.total_bytes or self._opaque_bytes or self._calls or self._sound_bytes)

    @property
    def best(self) -> int:
        """Output tokens so far by the best count: the vendor's as far as it goes, and ours since."""
        # This count makes the bound of later output tighter.
        self.upper = total_output(self._output_now())
        return self.upper

    @property
    def low(self) -> int:
        """The fewest tokens that the output so far can have; at least the vendor's count."""
        lowest = self._lowest
        if self._count is not None:
            lowest = max(lowest, self._own.total * (_MILLI - _ERROR_EXACT_MILLI) // _MILLI - _HIDDEN_TOKENS_A_CALL)
        return lowest if self._output_counts is None else max(lowest, total_output(self._output_counts))

    @property
    def _lowest(self) -> int:
        thought = max(self._thought.low, self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN_MAX)
        return self._said.low + thought + self._calls

    def output_of(self, step: Step) -> int:
        """The output tokens of a step that was not added yet."""
        tokens = step.calls * _HIDDEN_TOKENS_A_CALL + step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN
        for text in (step.said, step.thought):
            if text:
                tokens += estimate(size_of(text)) if self._count is None else self._count(text)
        return tokens

    def lowest_of(self, step: Step) -> int:
        """The fewest output tokens of a step that was not added yet."""
        texts = sum(low(size_of(text)) for text in (step.said, step.thought) if text)
        return texts + step.calls + step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN_MAX

    @property
    def _own(self) -> Own:
        return self._own_of(self._said.best, self._thought.best)

    def _own_of(self, said: int, thought: int) -> Own:
        return Own(said + self._calls * _HIDDEN_TOKENS_A_CALL, max(thought, self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN))

    @property
    def uncounted(self) -> bool:
        """Whether output came after the vendor's last count of it, or the vendor has not counted output."""
        return self._makes_output and (self._since is None or self._since.total_bytes > 0)

    def _output_now(self) -> Vector:
        counts = self._output_counts
        if counts is None or self._since is None:
            if self._images:
                # Nothing tells their tokens, which are at most those that are reserved.
                return _joined((), (0,) * _IMAGE_TOKENS + (self._images * self._image_tokens_max,))
            return _outputs(self._own)
        since = self._since.best
        return _with_output(counts, since) if since else counts

    def _within_held(self, outputs: Vector, held: int) -> Vector:
        """Bounds an estimate by the reservation. A vendor's count is not bounded, because it may become a debt."""
        if self._output_counts is not None:
            held = max(held, total_output(self._output_counts))
        above = total_output(outputs) - held
        if above <= 0:
            return outputs
        less = min(above, outputs[_OUTPUT])
        return _with_output(outputs, -less, min(above - less, outputs[_REASONING]))

    @property
    def _has_added(self) -> bool:
        return bool(self._added.utf8_bytes or self._added_opaque_bytes)

    @property
    def _added_lowest(self) -> int:
        return low(self._added) + self._added_opaque_bytes // _OPAQUE_BYTES_A_TOKEN_MAX

    def _input_now(self) -> Vector:
        counts = self._input_counts
        if counts is None:
            counts = trimmed((*(0,) * self._input_class, min(self._input.estimate, self._input.bound)))
        if not self._has_added:
            return counts
        # An estimate is charged at most at the reservation; relayed text is charged at least at its fewest tokens.
        added = estimate(self._added) + self._added_opaque_bytes // _OPAQUE_BYTES_A_TOKEN
        added = min(added, max(self._input.bound - total_input(counts), self._added_lowest))
        return (counts[_INPUT] + added, *counts[_INPUT + 1 :])

    def so_far(self) -> Vector:
        """The usage so far, as near as it is known without counting, for reports while the answer is on its way."""
        if self._relayed is not None:
            outputs = self._relayed_output
        elif self._output_counts is not None:
            outputs = self._output_now()
        else:
            outputs = _outputs(self._own_of(self._said.near, self._thought.near))
        return _joined(self._input_now(), self._within_held(outputs, self._output_held()))

    def used(self) -> Used:
        """The usage: of the whole output, or, after `leave`, of the part that the client got."""
        return self.made() if self._relayed is None else self._used_when_left(self._relayed)

    def made(self) -> Used:
        """All usage that the vendor made, whether the client got it or not."""
        # Output that can't be within the limit has broken it, and is charged at its fewest tokens.
        outputs = self._output_now()
        if self._output_counts is None and not self._is_whole and total_output(outputs) > self._output_held():
            outputs = self._within_held(outputs, max(self._output_held(), self.low))
        return self._of(_joined(self._input_now(), outputs), ())

    def _of(self, charged: Vector, unpaid: Vector) -> Used:
        return Used(charged, unpaid, self._source, (*self._doubts, *self._noted))

    @property
    def _source(self) -> Source:
        inputs = outputs = Source.VENDOR
        if self._has_added:
            inputs = Source.ESTIMATE
        elif self._input_counts is None:
            inputs = Source.TOKENIZER if self._input.is_exact else Source.ESTIMATE
        if self.uncounted:
            is_exact = self._count is not None and self._output_counts is None and not self._opaque_bytes
            outputs = Source.TOKENIZER if is_exact else Source.ESTIMATE
        if Source.ESTIMATE in (inputs, outputs):
            return Source.ESTIMATE
        if inputs is outputs is Source.VENDOR:
            # A vendor whose count could not be true before is never the only source.
            return Source.ESTIMATE if self._doubts else Source.VENDOR
        return Source.TOKENIZER

    def _used_when_left(self, relayed: Own) -> Used:
        """Usage of a client that left: of each class the sent part, rounded up; nobody pays for the rest."""
        whole = self._output_now()
        if self._came is None or self._output_counts is None:
            sent = self._relayed_output
        else:
            # The client left before the vendor counted.
            sent = _shares(self._output_counts, relayed, self._came)
        sent = self._within_held(sent, self._output_held())
        unpaid = tuple(max(0, tokens - (sent[index] if index < len(sent) else 0)) for index, tokens in enumerate(whole))
        return self._of(_joined(self._input_now(), sent), _joined((), unpaid))

    def unpaid(self) -> Used:
        """The usage if the client pays nothing: all of it is the vendor's unpaid work."""
        return self._of(NOTHING, self.made().charged)

    def input_only(self) -> Used:
        """The usage if the client pays for the input alone: the output is the vendor's unpaid work."""
        made = self.made().charged
        return self._of(_joined(made, ()), _joined((), made))


def _most_of(step: Step) -> int:
    """The most tokens that a step can add to the best count; 0 for a step without output."""
    tokens = step.calls * _HIDDEN_TOKENS_A_CALL + step.opaque_bytes
    for text in (step.said, step.thought):
        if text:
            tokens += len(text) * (_ASCII_TOKENS_MAX if text.isascii() else _CHARACTER_TOKENS_MAX)
    return tokens


def _with_output(counts: Vector, output_tokens: int, less_reasoning_tokens: int = 0) -> Vector:
    """The counts with `output_tokens` more, and with less reasoning."""
    changed = list(counts)
    changed[_OUTPUT] += output_tokens
    changed[_REASONING] -= less_reasoning_tokens
    return tuple(changed)


def _outputs(own: Own) -> Vector:
    return (0, 0, 0, own.said, own.thought)


def _shares(whole: Vector, relayed: Own, came: Own) -> Vector:
    """ceil(V x R / T) of each class of output.

    Hidden thought counts whole once anything after it was relayed.
    """
    has_reasoning = len(whole) > _REASONING and whole[_REASONING] > 0
    shares = list(whole)
    for index in OUTPUT_INDEXES:
        if index >= len(whole) or not whole[index]:
            continue
        if index == _REASONING:
            if came.thought:
                sent, all_that_came = relayed.thought, came.thought
            else:
                sent, all_that_came = int(relayed.total > 0), 1
        elif has_reasoning:
            sent, all_that_came = relayed.said, came.said
        else:
            sent, all_that_came = relayed.total, came.total
        shares[index] = -(-whole[index] * sent // all_that_came) if all_that_came else 0
    return tuple(shares)


def _joined(inputs: Vector, outputs: Vector) -> Vector:
    """The input classes of `inputs` and the output classes of `outputs`."""
    if len(inputs) == len(outputs) == FIRST:
        return inputs[:_OUTPUT] + outputs[_OUTPUT:]
    joined = [0] * max(len(inputs), len(outputs))
    for index in INPUT_INDEXES:
        if index < len(inputs):
            joined[index] = inputs[index]
    for index in OUTPUT_INDEXES:
        if index < len(outputs):
            joined[index] = outputs[index]
    return trimmed(joined)
