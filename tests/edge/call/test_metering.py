"""What is charged when vendors break their limit, count oddly, or do not count; and that one that keeps its limit is never cut."""

import asyncio
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.tokens.estimate import estimate, low
from services.edge.tokens.size import size_of
from services.edge.tokens.tokenizers import load, tokenizer
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import FakeCharging
from tests.edge.call.line_dialect import END, FINISH, count, counted, event, say, think, words
from tests.edge.call.loop import CallLoop
from tests.edge.call.scene import OUTPUT_TOKENS, Scene
from tests.simulation.virtual_time import run_virtually

# By our estimate: of "hello", and of the prompt.
HELLO: Final = estimate(size_of("hello"))
HI: Final = estimate(size_of("hi"))
# Tokens as the model "exact" has them.
QWEN: Final = load("qwen3").count
BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ENDLESS: Final = 20_000


# Limits


@BOTH
@pytest.mark.parametrize("said", ["", "hello"])
async def test_a_vendor_that_says_nothing_without_end_is_broken_off(stream: str, said: str) -> None:
    scene = Scene()
    empty = [say("")] * 4_000
    # Something in between begins the count anew.
    scene.vendors.streams([*empty, *empty, say(said), *empty, *empty, *empty, *empty])
    client = await scene.call(f"stream={stream}")
    assert scene.cause == "vendor_error"
    assert scene.attempts == [("acme", "garbage", 200)]
    asked = scene.vendors.asked[0]
    assert asked.bytes_read == len(say("")) * (18_001 if said else 10_000) + len(say(said))
    assert client.status == (200 if stream == "yes" and said else 502)


@pytest.mark.parametrize(("stream", "limit"), [("yes", 1), ("no", 300)])
@pytest.mark.parametrize("model", ["solo", "exact", "hidden"])
@pytest.mark.parametrize("item", [say("word "), think("word "), event("call f"), event("opaque 40")])
async def test_a_vendor_that_ignores_its_limit_is_cut_at_what_was_reserved(
    model: str, item: bytes, stream: str, limit: int
) -> None:
    scene = Scene()
    scene.vendors.streams(item for _ in range(ENDLESS))
    client = await scene.call(f"stream={stream} limit={limit} model={model}")
    assert scene.vendors.asked[0].options["limit"] == str(limit)
    assert b"[cut]" in client.body
    assert scene.cause == "quota_exhausted"
    assert scene.vendors.asked[0].was_cut
    assert scene.vendors.asked[0].bytes_read <= (20 + 4 * limit) * len(item)
    assert sum(scene.used[3:]) <= scene.charging.grants[-1].output_tokens_granted


async def test_a_whole_answer_that_breaks_its_limit_is_charged_as_it_came() -> None:
    # It can't be cut: the client gets it all.
    scene = Scene()
    scene.vendors.answers(
        f'say "{words(4_000)}"\ncount input=3 output=4000'.encode(), vendor="slow", content_type="application/json"
    )
    client = await scene.call("stream=no limit=1 model=whole")
    assert words(4_000).encode() in client.body
    assert scene.used == (3, 0, 0, 4_000, 0)
    assert (scene.cause, scene.provenance) == ("quota_exhausted", "vendor")


@pytest.mark.parametrize("model", ["whole", "exact"])
async def test_a_whole_answer_that_breaks_its_limit_without_a_count_is_not_free(model: str) -> None:
    # It goes beyond what was reserved: the account's debt limit says what of it becomes debt.
    scene = Scene()
    text = words(4_000)
    vendor = "slow" if model == "whole" else "acme"
    scene.vendors.answers(f'say "{text}"'.encode(), vendor=vendor, content_type="application/json")
    client = await scene.call(f"stream=no limit=1 model={model}")
    assert text.encode() in client.body
    if model == "whole":
        assert scene.used == (HI, 0, 0, estimate(size_of(text)), 0)
    else:
        assert scene.used == (QWEN("hi") + 4, 0, 0, QWEN(text), 0)
    assert scene.unpaid == (0, 0, 0, 0, 0)
    assert (scene.cause, scene.provenance) == ("quota_exhausted", "estimated" if model == "whole" else "tokenizer")


@BOTH
@pytest.mark.parametrize(("model", "limit"), [("whole", 100), ("deep", 100), ("solo", 200)])
async def test_a_whole_answer_beyond_what_its_limit_could_need_is_neither_delivered_nor_charged(
    model: str, limit: int, stream: str
) -> None:
    # By our count with its error, and with the thought that a limit does not count; ten bytes a token and 40,000 for the rest.
    most = 40_000 + 10 * ((limit + (OUTPUT_TOKENS if model == "deep" else 0)) * 3 // 2 + 8)
    vendor = {"whole": "slow", "deep": "deep", "solo": "acme"}[model]
    for beyond in (False, True):
        scene = Scene()
        text = "a" * (most - len('say ""') + beyond)
        scene.vendors.answers(f'say "{text}"'.encode(), vendor=vendor, content_type="application/json")
        client = await scene.call(f"stream={stream} limit={limit} model={model}")
        assert client.status == (502 if beyond else 200)
        assert (text.encode() in client.body) is not beyond
        assert (scene.used[3] > 0) is not beyond
        assert scene.cause == ("vendor_error" if beyond else "normal" if model == "deep" else "quota_exhausted")


async def test_another_route_answers_where_a_whole_answer_is_too_long() -> None:
    scene = Scene()
    scene.vendors.answers(b'say "%b"' % (b"a" * 100_000), content_type="application/json")
    scene.vendors.answers(b'say "hello"\ncount input=3 output=2', vendor="beta", content_type="application/json")
    client = await scene.call("stream=no limit=100 model=pair")
    assert client.body.startswith(b"hello")
    assert scene.used == (3, 0, 0, 2, 0)
    assert scene.attempts == [("acme", "garbage", 200), ("beta", "answered", 200)]


@pytest.mark.parametrize("output", [256, 269])
async def test_a_whole_answer_at_its_limit_ends_as_any(output: int) -> None:
    # Vendors count a few tokens that end a turn.
    scene = Scene()
    scene.vendors.answers(f'say "hello"\ncount input=3 output={output}'.encode(), content_type="application/json")
    await scene.call("stream=no limit=256")
    assert scene.cause == "normal"


@BOTH
async def test_what_is_repeated_at_the_end_is_no_more_than_what_was_covered(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(b"".join(say(f"<{number}>") for number in range(1_000)))
    client = await scene.call(f"stream={stream} limit=300")
    assert b"[cut]" in client.body
    assert b"<900>" not in client.body, "an answer that was cut repeats at its end what nobody pays for"


@pytest.mark.parametrize("choices", [1, 2, 5])
async def test_each_choice_has_the_limit_of_its_own(choices: int) -> None:
    scene = Scene(FakeCharging(window=50))
    text = " the" * 100
    tokens = 100 * choices
    scene.vendors.answers(*(say(text) for _ in range(choices)), FINISH, counted(input=3, output=tokens), END)
    client = await scene.call(f"stream=yes limit=100 n={choices} model=solo")
    assert client.text == text * choices
    create = scene.charging.creates[0]
    # Each choice with the error of our count.
    assert create.output_tokens_limit == choices * (100 + 50 + 8)
    assert scene.vendors.asked[0].options["limit"] == "100"
    assert scene.used == (3, 0, 0, tokens, 0)
    assert scene.provenance == "vendor"


@pytest.mark.parametrize(("choices", "limit"), [(1, 61), (2, 28), (4, 11)])
async def test_the_limit_that_a_vendor_is_told_is_for_each_choice(choices: int, limit: int) -> None:
    # 100 tokens are left for output.
    scene = Scene(FakeCharging(balance=109))
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    await scene.call(f"stream=yes limit=100 n={choices}")
    assert scene.charging.grants[0].output_tokens_payable == 100
    assert int(scene.vendors.asked[0].options["limit"]) == limit


@pytest.mark.parametrize(("choices", "limit"), [(1, 100), (2, 50), (4, 25)])
async def test_the_limit_of_a_model_that_is_not_metered_is_for_each_choice(choices: int, limit: int) -> None:
    scene = Scene(FakeCharging(balance=109))
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END)
    await scene.call(f"stream=no limit=300 n={choices} model=hidden")
    assert scene.charging.creates[0].output_tokens_limit == 300 * choices
    assert int(scene.vendors.asked[0].options["limit"]) == limit


@pytest.mark.parametrize("choices", [1, 2, 4])
async def test_what_is_not_metered_is_cut_beyond_our_error_of_each_choice(choices: int) -> None:
    scene = Scene()
    scene.vendors.streams(say("word ") for _ in range(ENDLESS))
    client = await scene.call(f"stream=yes limit=40 n={choices} model=hidden")
    assert scene.cause == "quota_exhausted"
    # Half as many as 40 on top, and eight.
    assert estimate(size_of(client.text)) == choices * (40 + 20 + 8)


@pytest.mark.parametrize("choices", [1, 3])
async def test_a_count_of_all_choices_is_no_wonder(choices: int) -> None:
    scene = Scene()
    made = 100_000 * choices
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=made), END)
    await scene.call(f"stream=yes n={choices}")
    assert scene.used[3] == made


@pytest.mark.parametrize("choices", [1, 2])
async def test_what_is_to_come_of_all_choices_decides_whether_a_left_answer_is_read_on(choices: int) -> None:
    scene = Scene()
    scene.vendors.answers(say(words(10)), 1.0, FINISH, counted(input=3, output=20), END)
    client, task = scene.begin(f"stream=yes limit=200 n={choices}")
    await asyncio.sleep(0.5)
    client.leave()
    await task
    scene.check()
    assert scene.vendors.asked[0].closed_at_s == (1.0 if choices == 1 else 0.5)


# Vendors that keep their limit

_TEXTS: Final = {
    "english": ("The quick brown fox jumps over the lazy dog. ", "Nevertheless, charging is a matter of trust: "),
    "chinese": (
        "计费系统必须准确，每一个令牌都要计入账单。",
        "春天的早晨，街角的小店飘出豆浆和油条的香味。",
        "他把旧书一本一本擦干净。",
    ),
    "emoji": ("Great work, team! 🎉🚀 ", "👩‍👩‍👧‍👦 🇨🇳 and 🧑🏽‍🚀 waved; ", "see you soon ❤️🫶🏿. "),
    "code": ("def f(x):\n        return x\n\n", "                    }\n", "for (int i = 0; i < n; ++i) {\n", "========"),
    "json": ('{"city": "Berlin", "days": 3}', "[1, 2, 3], ", '\n    "id": '),
    "base64": ("aGVsbG8gd29ybGQgd2hhdCBhIGRheQ==", "QUJDREVGRw"),
}


@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize("model", ["solo", "exact", "hidden"])
@pytest.mark.parametrize("kind", _TEXTS)
def test_a_vendor_that_keeps_its_limit_is_never_cut(kind: str, model: str, stream: str) -> None:
    found = tokenizer("qwen3")
    assert found is not None

    @given(st.lists(st.sampled_from(_TEXTS[kind]), min_size=1, max_size=120), st.integers(1, 3), st.booleans(), st.booleans())
    @settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def keep(pieces: list[str], choices: int, counts: bool, thinks: bool) -> None:
        # The vendor's limit is what it makes, exactly, in each of its choices; a small whole answer is not asked for as a stream.
        pieces = pieces * (1 if stream == "yes" else 1 + 300 // found.count("".join(pieces)))
        limit = found.count("".join(pieces))
        spoken = [piece for piece in pieces for _ in range(choices)]

        async def call() -> None:
            scene = Scene(FakeCharging(window=64))
            usage = [counted(input=3, output=limit * choices)] if counts else []
            scene.vendors.answers(*((think if thinks else say)(piece) for piece in spoken), FINISH, *usage, END)
            client = await scene.call(f"stream={stream} model={model} limit={limit} n={choices}")
            assert b"[complete]" in client.body
            assert scene.cause == "normal"
            if counts and choices == 1:
                # Words of several choices that come in turns count otherwise than each choice by itself.
                assert sum(scene.used[3:]) == limit

        run_virtually(call(), CallLoop())

    keep()


@pytest.mark.parametrize("choices", [1, 2, 3])
async def test_one_emoji_again_and_again_within_the_limit_is_not_cut(choices: int) -> None:
    scene = Scene(FakeCharging(window=64))
    # One token each with the tokenizer of Qwen 3, and more by our estimate.
    made = 300 * choices
    scene.vendors.answers(*(say("🙂") for _ in range(made)), FINISH, counted(input=3, output=made), END)
    client = await scene.call(f"stream=yes limit=300 n={choices}")
    assert b"[complete]" in client.body
    # Nor is it relayed without a reservation.
    assert scene.charging.grants[-1].output_tokens_granted >= made


async def test_calls_of_tools_within_the_limit_are_not_cut() -> None:
    # A call of a tool has about ten tokens: its name, its frame and its arguments.
    scene = Scene(FakeCharging(window=64))
    calls = [event("call weather", 'say "{\\"city\\": \\"Berlin\\"}"') for _ in range(20)]
    scene.vendors.answers(*calls, FINISH, counted(input=3, output=200), END)
    client = await scene.call("stream=yes limit=200")
    assert b"[complete]" in client.body
    assert scene.used == (3, 0, 0, 200, 0)


# Usage


@BOTH
@pytest.mark.parametrize(
    ("items", "used", "provenance"),
    [
        # In every chunk, cumulative: the last one holds.
        ([say("a", count(input=9, output=1)), say("b", count(input=9, output=2)), FINISH, END], (9, 0, 0, 2, 0), "vendor"),
        # After the end mark.
        ([say("hello"), FINISH, END, counted(input=9, output=2)], (9, 0, 0, 2, 0), "vendor"),
        # A second after it.
        ([say("hello"), FINISH, END, 1.0, counted(input=9, output=2)], (9, 0, 0, 2, 0), "vendor"),
        # The connection breaks behind the count.
        ([say("hello"), FINISH, counted(input=9, output=2), VendorFailure("broken", 200)], (9, 0, 0, 2, 0), "vendor"),
        # No end mark.
        ([say("hello"), FINISH, counted(input=9, output=2)], (9, 0, 0, 2, 0), "vendor"),
        # Input first, output at the end, as Anthropic does.
        ([counted(input=9), say("hello"), FINISH, counted(output=2), END], (9, 0, 0, 2, 0), "vendor"),
        # Zeros until the end.
        ([say("hello", count(input=0, output=0)), FINISH, counted(input=9, output=2), END], (9, 0, 0, 2, 0), "estimated"),
        # A negative side is not to be used; the other one is.
        ([say("hello"), FINISH, counted(input=9, output=-1), END], (9, 0, 0, HELLO, 0), "estimated"),
        ([say("hello"), FINISH, counted(input=-1, output=2), END], (HI, 0, 0, 2, 0), "estimated"),
        # Nothing was said, nothing is counted.
        ([FINISH, counted(input=9, output=0), END], (9, 0, 0, 0, 0), "vendor"),
        # Reasoning that nobody saw.
        ([say("hello"), FINISH, counted(input=9, output=2, reasoning=700), END], (9, 0, 0, 2, 700), "vendor"),
        # Classes of later releases.
        ([say("hello"), FINISH, counted(input=9, output=2, audio_output=7), END], (9, 0, 0, 2, 0, 0, 0, 0, 7), "vendor"),
    ],
)
async def test_usage_in_odd_places(items: list[bytes], used: tuple[int, ...], provenance: str, stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(*items)
    client = await scene.call(f"stream={stream}")
    assert b"[complete]" in client.body
    assert (scene.used, scene.provenance) == (used, provenance)


@BOTH
async def test_input_and_output_that_no_vendor_counted_are_counted_by_the_tokenizer(stream: str) -> None:
    # Nothing was loaded before the call.
    scene = Scene()
    prompt, text = "🙂" * 300, "🎉 done" * 50
    scene.vendors.answers(say(text), FINISH, END)
    await scene.call(f"stream={stream} model=exact", prompt)
    # The template's 4 tokens a message are reserved, and charged.
    assert QWEN(prompt) == 300
    assert scene.used == (304, 0, 0, QWEN(text), 0)
    assert scene.provenance == "tokenizer"


@BOTH
@pytest.mark.parametrize(
    ("items", "used", "provenance"),
    [
        # Each side by itself.
        ([say(" the" * 100), FINISH, counted(input=9), END], (9, 0, 0, 100, 0), "tokenizer"),
        ([say(" the" * 100), FINISH, counted(output=90), END], (304, 0, 0, 90, 0), "tokenizer"),
        # Text after the last count, what the vendor added to the input, and thought that nobody sees are estimated.
        ([say(" the", count(input=9, output=70)), say("hello"), FINISH, END], (9, 0, 0, 70 + HELLO, 0), "estimated"),
        ([event('add "a"'), say(" the"), FINISH, END], (305, 0, 0, 1, 0), "estimated"),
        ([say(" the"), event("opaque 80"), FINISH, END], (304, 0, 0, 1, 10), "estimated"),
        # A count that can't be true is none.
        ([say(" the" * 100), FINISH, counted(input=10_000_000, output=3), END], (304, 0, 0, 100, 0), "tokenizer"),
    ],
)
async def test_who_counted_is_told(items: list[bytes], used: tuple[int, ...], provenance: str, stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(*items)
    await scene.call(f"stream={stream} model=exact", "🙂" * 300)
    assert (scene.used, scene.provenance) == (used, provenance)


@BOTH
@pytest.mark.parametrize(
    ("model", "items", "is_noted"),
    [
        # 1,000 tokens are said: without a tokenizer, 2,000 are within the greatest error.
        ("solo", [say(" the" * 1_000), FINISH, counted(input=9, output=1_500), END], False),
        ("solo", [say(" the" * 1_000), FINISH, counted(input=9, output=3_000), END], True),
        # The tokenizer's error is 2 %, and 8 tokens that end a turn.
        ("exact", [say(" the" * 1_000), FINISH, counted(input=9, output=1_028), END], False),
        ("exact", [say(" the" * 1_000), FINISH, counted(input=9, output=1_029), END], True),
        # Thought that is counted apart hides nothing of what is said.
        ("exact", [say(" the" * 1_000), FINISH, counted(input=9, output=1_000, reasoning=5_000), END], False),
        ("exact", [say(" the" * 1_000), FINISH, counted(input=9, output=1_100, reasoning=5_000), END], True),
        # Thought that is not may be shown in short, or not at all.
        ("exact", [think("so"), say(" the" * 1_000), FINISH, counted(input=9, output=3_000), END], False),
        ("hidden", [say(" the" * 1_000), FINISH, counted(input=9, output=5_000), END], False),
    ],
)
async def test_a_count_above_what_was_said_is_charged_and_noted(
    model: str, items: list[bytes], is_noted: bool, stream: str
) -> None:
    scene = Scene()
    scene.vendors.answers(*items)
    await scene.call(f"stream={stream} model={model}")
    assert scene.used[3] >= 1_000
    assert scene.provenance == "vendor"
    doubts = {doubt for _, doubt in scene.metrics.doubts.counts}
    assert doubts == ({"output_above_text"} if is_noted else set())


@BOTH
@pytest.mark.parametrize(("words_said", "is_long"), [(500, False), (600, True)])
async def test_a_long_text_is_counted_off_the_event_loop(words_said: int, is_long: bool, stream: str) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CallLoop)
    scene = Scene()
    # The first call has the tokenizer loaded.
    scene.vendors.answers(say("hello"), FINISH, counted(input=9, output=2), END)
    await scene.call("stream=yes model=exact")
    scene.charging.forget()
    before = loop.handed_over
    scene.vendors.answers(say(" the" * words_said), FINISH, counted(input=9), END)
    await scene.call(f"stream={stream} model=exact")
    assert scene.used == (9, 0, 0, words_said, 0)
    # Once to see whether it is covered, and once for what is charged.
    assert loop.handed_over - before == (2 if is_long else 0)


async def test_a_count_that_comes_too_late_is_not_waited_for() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, END, 30.0, counted(input=9, output=2))
    client = await scene.call("stream=yes")
    assert client.messages[-1][0] == 2.0
    assert scene.provenance == "estimated"


async def test_text_after_the_last_count_is_added_to_it() -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100), count(input=9, output=1_000)), say(words(100)), FINISH, END)
    await scene.call("stream=yes")
    assert scene.used[0] == 9
    assert scene.used[3] == pytest.approx(1_000 + 100, rel=0.05)
    assert scene.provenance == "estimated"


@BOTH
@pytest.mark.parametrize(
    ("usage", "doubt"),
    [
        (count(input=0, output=1_000), "no_input"),
        (count(input=10_000_000, output=1_000), "input_too_large"),
        (count(input=9, output=5), "output_too_small"),
        (count(input=9, output=10_000_000), "output_too_large"),
        (count(input=9, output=0), None),
    ],
)
async def test_usage_that_can_not_be_true_is_read_as_well_as_it_can_be(usage: str, doubt: str | None, stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say(words(1_000)), FINISH, event(usage), END)
    await scene.call(f"stream={stream}")
    assert 0 < scene.used[0] <= 9
    assert scene.used[3] == pytest.approx(1_000, rel=0.2)
    assert scene.provenance == "estimated"
    doubts = {doubt for _, doubt in scene.metrics.doubts.counts}
    assert doubts == ({doubt} if doubt else set())


@BOTH
async def test_what_a_vendor_counts_above_the_grant_is_reported(stream: str) -> None:
    scene = Scene(FakeCharging(balance=200))
    scene.vendors.answers(say("hello"), FINISH, counted(input=90_000, output=70_000), END)
    await scene.call(f"stream={stream}")
    assert scene.used == (90_000, 0, 0, 70_000, 0)
    assert scene.provenance == "vendor"


async def test_what_a_vendor_counts_in_the_middle_above_the_grant_cuts_it() -> None:
    scene = Scene(FakeCharging(balance=200))
    scene.vendors.answers(say("hello"), say("world", count(input=9, output=5_000)), say("more"), 60.0)
    client = await scene.call("stream=yes")
    assert client.text == "helloworld"
    assert b"[cut]" in client.body
    assert scene.vendors.asked[0].was_cut
    assert scene.used[3] == 5_000
    assert 0 < scene.unpaid[3] < 5


@BOTH
async def test_input_that_a_vendor_adds_above_what_was_reserved_costs_the_fewest_tokens_that_it_can_have(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(event('add "' + words(1_000) + '"'), say("hello"), FINISH, END)
    await scene.call(f"stream={stream}")
    fewest = low(size_of(words(1_000)))
    assert scene.charging.creates[0].input_tokens_bound < fewest < estimate(size_of(words(1_000)))
    assert scene.used[0] == HI + fewest
    # A short one is within it.
    scene = Scene()
    scene.vendors.answers(event('add "a"'), say("hello"), FINISH, END)
    await scene.call(f"stream={stream}")
    assert scene.used[0] == HI + 1


@BOTH
@pytest.mark.parametrize(
    ("final", "used", "provenance", "doubt"),
    [
        # None at all, or that of the prompt once more.
        (count(output=2), 900 + estimate(size_of(words(100))), "estimated", None),
        (count(input=900, output=2), 900 + estimate(size_of(words(100))), "estimated", None),
        # One that has them.
        (count(input=1_030, output=2), 1_030, "vendor", None),
        # One that can't have them.
        (count(input=910, output=2), 900 + estimate(size_of(words(100))), "estimated", "added_too_small"),
        (count(input=90, output=2), 900 + estimate(size_of(words(100))), "estimated", "added_too_small"),
    ],
)
async def test_what_a_vendor_adds_after_its_count_of_the_input_is_charged_once(
    final: str, used: int, provenance: str, doubt: str | None, stream: str
) -> None:
    scene = Scene()
    added = event(f'add "{words(100)}"')
    scene.vendors.answers(counted(input=900), added, say("hello"), FINISH, event(final), END)
    # What was reserved for the input has room for it.
    await scene.call(f"stream={stream}", words(900))
    assert (scene.used[0], scene.provenance) == (used, provenance)
    doubts = {doubt for _, doubt in scene.metrics.doubts.counts}
    assert doubts == ({doubt} if doubt else set())


async def test_the_limit_of_the_model_holds_where_the_client_gave_none() -> None:
    scene = Scene()
    scene.vendors.streams(say(words(100)) for _ in range(ENDLESS))
    client = await scene.call("stream=yes")
    assert b"[cut]" in client.body
    assert sum(scene.used[3:]) <= scene.charging.creates[0].output_tokens_limit
    assert scene.charging.creates[0].output_tokens_limit == OUTPUT_TOKENS * 3 // 2 + 8


async def test_a_whole_answer_within_the_limits_of_its_choices_has_broken_none() -> None:
    scene = Scene()
    body = f'say "{words(180)}"\ncount input=3 output=200'.encode()
    scene.vendors.answers(body, vendor="slow", content_type="application/json")
    await scene.call("model=whole stream=no limit=100 n=2")
    assert (scene.cause, scene.used) == ("normal", (3, 0, 0, 200, 0))
