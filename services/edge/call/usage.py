"""What a call has used: bounds of its input, a count of its output as it passes, and the vendor's word weighed against both. Pure.

Every byte of output counts here as it comes. The vendor's own count corrects ours; where it can't be true, the most plausible
reading holds: at least our count of what was relayed. A tokenizer takes its time over long texts, so these are kept for whoever can
count them off the event loop (`Meter.long_text`); a count that is asked for before is right, but slow.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from services.edge.call.dialect import InputSize, Step
from services.edge.catalog import TokenizerFamily
from services.edge.tokens.estimate import estimate, low, most
from services.edge.tokens.size import NO_TEXT, TextSize, normalization_bytes, size_of
from services.edge.tokens.tokenizers import COUNT_INLINE_BYTES_MAX, NORMALIZING
from services.edge.vendors.usage import VendorCount
from services.token_classes import FIRST, INDEX, INPUT_INDEXES, NOTHING, OUTPUT_INDEXES, Vector, total_input, total_output, trimmed

Count = Callable[[str], int]

# So many bytes of text are kept uncounted: for the estimator, and for a tokenizer, which most answers never need. Where it is
# needed all the time, near the end of a grant, only so many are counted again with each piece; a run's ends may cost a token.
_RUN_BYTES: Final = 2_048
_EXACT_RUN_BYTES: Final = 16_384
_EXACT_TAIL_BYTES: Final = 512
# Tokens that no text shows: the end of a turn, a few a choice; the frame of a tool call.
_HIDDEN_TOKENS_A_CHOICE: Final = 8
_HIDDEN_TOKENS_A_CALL: Final = 4
# The most that the frame of a tool call has, as vendors count it.
_FRAME_TOKENS_MAX: Final = 16
# The most that a character may add to our count: of ASCII in a mixture, and of any in bytes.
_ASCII_TOKENS_MAX: Final = 2
_CHARACTER_TOKENS_MAX: Final = 4
# Bytes of an encrypted thought or its signature, or of an encrypted result of a tool, that stand for one token of it.
_OPAQUE_BYTES_A_TOKEN: Final = 8
# The most that may: a signature of a short thought.
_OPAQUE_BYTES_A_TOKEN_MAX: Final = 64
# How far our count of output may lie above the truth, in thousandths: without a tokenizer, and with the family's own.
_ERROR_ESTIMATED_MILLI: Final = 500
_ERROR_EXACT_MILLI: Final = 20
# A vendor's count below this part of the fewest tokens that its text can have is no count of it.
_DOUBTED_BELOW_MILLI: Final = 800
# A call's input may be read again in so many rounds, as searches and tools at the vendor's side do.
_ROUNDS_MAX: Final = 16
_MILLI: Final = 1_000

_INPUT: Final = INDEX["input"]
_OUTPUT: Final = INDEX["output"]
_REASONING: Final = INDEX["reasoning"]


class InputTokens(NamedTuple):
    """An input's tokens before a vendor has counted: never more than `bound`, about `estimate`, nearly never above `calibrated`."""

    bound: int
    estimate: int
    calibrated: int
    # The fewest tokens that its text can have.
    low: int = 0
    # Whether the family's tokenizer has counted its texts, and whether that is all of it but for the template.
    has_counted_texts: bool = False
    is_exact: bool = False


def measure(size: InputSize, estimated: int, family: TokenizerFamily, context_window_tokens: int) -> InputTokens:
    """The tokens of an input by its size, and what its text is estimated at.

    The bound holds for tokenizers whose tokens stand for at least one byte. One that normalizes text has as many bytes more as that
    may add.
    """
    template = size.messages * family.template_tokens_per_message + family.template_tokens_per_request
    images = size.images * family.image_tokens_max
    bytes_bound = size.bytes_bound
    if family.tokenizer in NORMALIZING:
        bytes_bound += sum(map(normalization_bytes, size.texts()))
    bound = min(bytes_bound + template + images, context_window_tokens)
    return InputTokens(bound, min(estimated + images, bound), min(most(size.text) + images + template, bound), low(size.text))


def measure_exactly(size: InputSize, measured: InputTokens, family: TokenizerFamily, count: Count) -> InputTokens:
    """The same with the family's own tokenizer: its count of the texts, and of what is no plain text the bytes and the estimate."""
    texts = list(size.texts())
    of_texts = size_of("".join(texts))
    other_bytes = max(0, size.bytes_bound - of_texts.utf8_bytes)
    other_tokens = min(max(0, estimate(size.text) - estimate(of_texts)), other_bytes)
    template = size.messages * family.template_tokens_per_message + family.template_tokens_per_request
    tokens = sum(map(count, texts)) + template + size.images * family.image_tokens_max
    bound = min(tokens + other_bytes, measured.bound)
    is_exact = not other_bytes and not size.images
    return InputTokens(bound, min(tokens + other_tokens, bound), bound, measured.low, has_counted_texts=True, is_exact=is_exact)


def with_error(output_tokens: int, choices: int, *, exact: bool) -> int:
    """What our count of an answer may come to whose vendor keeps a limit of `output_tokens` for each of its choices."""
    error = _ERROR_EXACT_MILLI if exact else _ERROR_ESTIMATED_MILLI
    return choices * (output_tokens + -(-output_tokens * error // _MILLI) + _HIDDEN_TOKENS_A_CHOICE)


def within_error(counted_tokens: int, choices: int, *, exact: bool) -> int:
    """The largest limit of each choice whose answers we never count above `counted_tokens`; 0 where there is none."""
    error = _ERROR_EXACT_MILLI if exact else _ERROR_ESTIMATED_MILLI
    limit = max(0, (counted_tokens // choices - _HIDDEN_TOKENS_A_CHOICE) * _MILLI // (_MILLI + error))
    while limit and with_error(limit, choices, exact=exact) > counted_tokens:
        limit -= 1
    while with_error(limit + 1, choices, exact=exact) <= counted_tokens:
        limit += 1
    return limit


class _Tally:
    """The tokens of a text that comes in pieces. Pieces are kept until somebody asks, or they come to a run."""

    __slots__ = ("_count", "_kept", "_kept_bytes", "_kept_size", "_run_bytes", "_runs", "_size", "_tokens", "total_bytes")

    def __init__(self, count: Count | None) -> None:
        self._count = count
        self._run_bytes = _RUN_BYTES if count is None else _EXACT_RUN_BYTES
        self._kept: list[str] = []
        self._kept_bytes = 0
        # Of what is kept, where it was asked for since the last piece.
        self._kept_size: TextSize | None = None
        # Runs that the tokenizer has not counted yet.
        self._runs: list[str] = []
        # Of all runs: their size, and the tokens of those that were counted.
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
        """The tokens of `long_text`."""
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
        """As `best`, but what is not counted yet is estimated; it changes nothing."""
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
        """The fewest tokens that the text can have, by its size: no tokenizer is asked."""
        return low(self.size) if self.total_bytes else 0


class _Choices:
    """The tokens of several texts side by side, each with the tally of its own: pieces of two never make one token."""

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
    """Our count of output, in tokens: what is said, and what is thought."""

    said: int
    thought: int

    @property
    def total(self) -> int:
        """Both."""
        return self.said + self.thought


class Source(Enum):
    """Who counted the tokens of a call; of its sides, input and output, the less certain one."""

    VENDOR = "vendor"
    # The family's own, of one side at least; the other one may be the vendor's.
    TOKENIZER = "tokenizer"
    ESTIMATE = "estimate"


class Used(NamedTuple):
    """What a call has used: what is charged, the vendor's work beyond it, who counted it, and which of its counts are in doubt."""

    charged: Vector
    unpaid: Vector
    source: Source
    doubts: tuple[str, ...] = ()


class Meter:
    """Counts one answer: `add` for each step in order, `leave` where what comes from then on is not for the client."""

    def __init__(
        self,
        input_tokens: InputTokens,
        choices: int,
        count: Count | None,
        *,
        input_max: int,
        output_max: int,
        output_held: Callable[[], int],
    ) -> None:
        """`count` is the family's tokenizer, where it is there; counts above the maxima can't be true.

        `output_held` tells the output tokens that are reserved at the moment.
        """
        self._output_held = output_held
        self._choices = choices
        self._input = input_tokens
        self._count = self.count = count
        # The estimate is the same however texts are joined.
        self._said, self._thought = _tally(count, choices), _tally(count, choices)
        self._opaque_bytes = 0
        self._calls = 0
        # What the vendor has added to the input and relayed since it counted the input.
        self._added = NO_TEXT
        self._added_opaque_bytes = 0
        self._input_max = input_max * _ROUNDS_MAX
        self._output_max = max(input_max, output_max) * choices
        # The vendor's last word on each side, and what came after it spoke of the output.
        self._input_counts: Vector | None = None
        self._output_counts: Vector | None = None
        self._since: _Tally | None = None
        self._counted: VendorCount | None = None
        # Once the client has left: our count of what it got, the best count of it then; and our count of all that had come when
        # the vendor counted after that.
        self._relayed: Own | None = None
        # It came as one, and nobody could cut it.
        self._is_whole = False
        self._relayed_output: Vector = NOTHING
        self._came: Own | None = None
        self._doubts: list[str] = []
        # What is strange and believed all the same: told to those on call, and nothing else.
        self._noted: list[str] = []
        # Output tokens so far: not below the best count, and known without counting.
        self.upper = 0

    @property
    def is_exact(self) -> bool:
        """Whether our own count is the tokenizer's."""
        return self._count is not None

    def add(self, step: Step) -> None:
        """Counts what came."""
        self._add(step, _most_of(step))

    def came_whole(self) -> None:
        """The answer comes as one: what it has beyond the hold is charged too, since it was made before anybody could cut it."""
        self._is_whole = True

    def is_long(self, step: Step) -> bool:
        """Whether the tokenizer would hold up the event loop with it."""
        return self._count is not None and len(step.said) + len(step.thought) > COUNT_INLINE_BYTES_MAX

    @property
    def long_text(self) -> str | None:
        """What is to be counted next where it would hold up the event loop; None: nothing. Add nothing before its `take_long`."""
        said = self._said.long_text
        return self._thought.long_text if said is None else said

    def take_long(self, tokens: int) -> None:
        """The tokens of `long_text`, counted with `count`."""
        (self._said if self._said.long_text is not None else self._thought).take(tokens)

    def excess(self, *, hides_thought: bool) -> int:
        """The output tokens that the vendor says of what was said, if that is above our estimate of it; else 0.

        Thought that is counted with it may be hidden, or shown in short, and then nothing is known.
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
        """Notes an `excess` that is above the tokenizer's count and its error, where there is one. It is charged all the same."""
        if self._count is None or claimed * _MILLI > self._said.best * (_MILLI + _ERROR_EXACT_MILLI):
            self._note("output_above_text")

    @property
    def is_input_estimated(self) -> bool:
        """Whether neither the vendor nor a tokenizer has counted the input."""
        return self._input_counts is None and not self._input.has_counted_texts

    def take_input(self, tokens: InputTokens) -> None:
        """Our own count of the input, better than the one that there was. What was reserved for it stays what it was."""
        self._input = tokens._replace(bound=self._input.bound)

    def add_within(self, step: Step, output_tokens: int) -> bool:
        """Counts what came if all output is certainly within so many tokens, which is told without counting; whether it is."""
        most = _most_of(step)
        if most and self.upper + most > output_tokens:
            return False
        self._add(step, most)
        return True

    def _add(self, step: Step, most: int) -> None:
        if step.said:
            self._said.add(step.said, step.choice)
        if step.thought:
            self._thought.add(step.thought, step.choice)
        self._opaque_bytes += step.opaque_bytes
        self._calls += step.calls
        if step.added or step.added_opaque_bytes:
            self._added += size_of(step.added)
            self._added_opaque_bytes += step.added_opaque_bytes
        # A dialect hands out its last count again with every step.
        if (counted := step.counted) is not None and counted is not self._counted:
            self._counted = counted
            if counted.is_odd:
                self._doubt("odd")
            self._take(counted.counts, has_input=counted.has_input, has_output=counted.has_output)
            if counted.has_output and self._output_counts is counted.counts:
                return
        self.upper += most
        if self._since is not None:
            # By estimate alone: the next count is near.
            self._since.add(step.said + step.thought)

    def _take(self, counts: Vector, *, has_input: bool, has_output: bool) -> None:
        if has_input:
            if not total_input(counts) and self._input.estimate:
                self._doubt("no_input")
            elif total_input(counts) > self._input_max:
                self._doubt("input_too_large")
            elif self._counts_added(total_input(counts)):
                self._input_counts = counts
                if total_input(counts) * 2 < self._input.low:
                    # A vendor may leave out what it was sent, such as earlier thoughts.
                    self._note("input_too_small")
        if not has_output:
            return
        output = total_output(counts)
        if output > self._output_max:
            self._doubt("output_too_large")
        elif output or not self.any_output:
            # Zeros beside text are those of a vendor that has not counted yet, or never does.
            if output * _MILLI < self._lowest * _DOUBTED_BELOW_MILLI and output < self._own.total:
                self._doubt("output_too_small")
                self._output_counts = self._since = None
                self.upper = self._own.total
                return
            self._output_counts = counts
            self._since = _Tally(None)
            self.upper = total_output(counts)
            if self._relayed is not None:
                self._came = self._own

    def _counts_added(self, input_tokens: int) -> bool:
        """Whether a vendor's count of the input can be one; what it added since its last count is then counted with it, or not.

        A count that has not grown is that of the prompt, and what was added stands beside it. One that has grown by less than what
        was added can have is none.
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
        """What comes from now on is not for the client."""
        if self._relayed is None:
            self._relayed, self._relayed_output = self._own, self._output_now()

    @property
    def any_output(self) -> bool:
        """Whether any output has come."""
        return bool(self._said.total_bytes or self._thought.total_bytes or self._opaque_bytes or self._calls)

    @property
    def best(self) -> int:
        """Output tokens so far by the best count there is: the vendor's as far as it goes, and ours since."""
        # What is known now bounds what comes next more closely.
        self.upper = total_output(self._output_now())
        return self.upper

    @property
    def low(self) -> int:
        """The fewest output tokens that what came can have; no fewer than the vendor counted."""
        lowest = self._lowest
        if self._count is not None:
            lowest = max(lowest, self._own.total * (_MILLI - _ERROR_EXACT_MILLI) // _MILLI - _HIDDEN_TOKENS_A_CALL)
        return lowest if self._output_counts is None else max(lowest, total_output(self._output_counts))

    @property
    def _lowest(self) -> int:
        thought = max(self._thought.low, self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN_MAX)
        return self._said.low + thought + self._calls

    def output_of(self, step: Step) -> int:
        """The output tokens of a step that is not added yet."""
        tokens = step.calls * _HIDDEN_TOKENS_A_CALL + step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN
        for text in (step.said, step.thought):
            if text:
                tokens += estimate(size_of(text)) if self._count is None else self._count(text)
        return tokens

    def lowest_of(self, step: Step) -> int:
        """The fewest output tokens that a step can have which is not added yet."""
        texts = sum(low(size_of(text)) for text in (step.said, step.thought) if text)
        return texts + step.calls + step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN_MAX

    @property
    def _own(self) -> Own:
        return self._own_of(self._said.best, self._thought.best)

    def _own_of(self, said: int, thought: int) -> Own:
        return Own(said + self._calls * _HIDDEN_TOKENS_A_CALL, max(thought, self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN))

    @property
    def uncounted(self) -> bool:
        """Whether output came after the vendor's last count of it, or without any."""
        return self._since is None or self._since.total_bytes > 0

    def _output_now(self) -> Vector:
        counts = self._output_counts
        if counts is None or self._since is None:
            return _outputs(self._own)
        since = self._since.best
        return _with_output(counts, since) if since else counts

    def _within_held(self, outputs: Vector, held: int) -> Vector:
        """An estimate is never charged above what is reserved; what a vendor has counted is, as it may become a debt."""
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
            counts = (min(self._input.estimate, self._input.bound), 0, 0, 0, 0)
        if not self._has_added:
            return counts
        # An estimate is not charged above what was reserved; what was relayed is, at the fewest tokens that it can have.
        added = estimate(self._added) + self._added_opaque_bytes // _OPAQUE_BYTES_A_TOKEN
        added = min(added, max(self._input.bound - total_input(counts), self._added_lowest))
        return (counts[_INPUT] + added, *counts[_INPUT + 1 :])

    def so_far(self) -> Vector:
        """What was used so far, as near as it is known without counting: for reports while the answer is on its way."""
        if self._relayed is not None:
            outputs = self._relayed_output
        elif self._output_counts is not None:
            outputs = self._output_now()
        else:
            outputs = _outputs(self._own_of(self._said.near, self._thought.near))
        return _joined(self._input_now(), self._within_held(outputs, self._output_held()))

    def used(self) -> Used:
        """What was used: of all that came, or, once it was left, of what the client got."""
        return self.made() if self._relayed is None else self._used_when_left(self._relayed)

    def made(self) -> Used:
        """All that was made, whoever got it."""
        # What can't be within it has broken its limit, and is charged at the fewest tokens that it can have.
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
            # Of a vendor whose word could not be true before, nothing is its word alone.
            return Source.ESTIMATE if self._doubts else Source.VENDOR
        return Source.TOKENIZER

    def _used_when_left(self, relayed: Own) -> Used:
        """Of a client that left: of each class the part that it was sent, rounded up; the rest of it nobody pays for."""
        whole = self._output_now()
        if self._came is None or self._output_counts is None:
            sent = self._relayed_output
        else:
            # It was left before the vendor counted.
            sent = _shares(self._output_counts, relayed, self._came)
        sent = self._within_held(sent, self._output_held())
        unpaid = tuple(max(0, tokens - (sent[index] if index < len(sent) else 0)) for index, tokens in enumerate(whole))
        return self._of(_joined(self._input_now(), sent), _joined((), unpaid))

    def unpaid(self) -> Used:
        """Where the client pays nothing: all of it is the vendor's work."""
        return self._of(NOTHING, self.made().charged)

    def input_only(self) -> Used:
        """Where the client pays the input alone: the output is the vendor's work."""
        made = self.made().charged
        return self._of(_joined(made, ()), _joined((), made))


def _most_of(step: Step) -> int:
    """The most that a step can add to the best count; 0 where it has no output."""
    tokens = step.calls * _HIDDEN_TOKENS_A_CALL + step.opaque_bytes
    for text in (step.said, step.thought):
        if text:
            tokens += len(text) * (_ASCII_TOKENS_MAX if text.isascii() else _CHARACTER_TOKENS_MAX)
    return tokens


def _with_output(counts: Vector, output_tokens: int, less_reasoning_tokens: int = 0) -> Vector:
    """The counts with so many tokens of output more, and of reasoning less."""
    changed = list(counts)
    changed[_OUTPUT] += output_tokens
    changed[_REASONING] -= less_reasoning_tokens
    return tuple(changed)


def _outputs(own: Own) -> Vector:
    return (0, 0, 0, own.said, own.thought)


def _shares(whole: Vector, relayed: Own, came: Own) -> Vector:
    """ceil(V x R / T) of each class of output.

    Thought that nobody was shown counts whole once anything after it was relayed.
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
    """The input classes of the one and the output classes of the other."""
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
