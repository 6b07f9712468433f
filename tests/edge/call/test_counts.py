"""Counts to the token, where one that is a little off would pass for an estimate."""

import asyncio

import pytest

from services.edge.call.dialect import Step
from services.edge.call.usage import InputTokens, Meter, Source
from services.edge.tokens.estimate import estimate, low
from services.edge.tokens.size import size_of
from services.edge.tokens.tokenizers import load
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import FakeCharging
from tests.edge.call.line_dialect import END, FINISH, counted, event, say, words
from tests.edge.call.scene import CONTEXT_TOKENS, Scene

# Several runs, of which each but the last has been counted.
LONG = 1_000


def meter(*, held: int = 10_000) -> Meter:
    return Meter(InputTokens(90, 30, 50), 1, None, input_max=10_000, output_max=10_000, output_held=lambda: held)


def vendor_count(output_tokens: int, *, is_odd: bool = False) -> VendorCount:
    return VendorCount((3, 0, 0, output_tokens, 0), has_input=True, has_output=True, is_odd=is_odd)


def doubts(scene: Scene) -> set[object]:
    return {doubt for _, doubt in scene.metrics.doubts.counts}


# Input


async def test_the_bound_has_the_bytes_that_normalization_may_add() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, END)
    # Each letter has three bytes, and six once it is normalized; the tokenizer of Qwen 3 counts those.
    await scene.call("stream=yes model=exact", "\u0958" * 100)
    assert scene.charging.creates[0].input_tokens_bound == 300 + 8 * 100 + 4


@pytest.mark.parametrize(("tokens", "believed"), [(CONTEXT_TOKENS * 16, True), (CONTEXT_TOKENS * 16 + 1, False)])
async def test_an_input_that_is_read_again_in_rounds_may_be_above_the_context_window(tokens: int, believed: bool) -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=tokens, output=2), END)
    await scene.call("stream=yes")
    assert (scene.used[0] == tokens) == believed
    assert doubts(scene) == (set() if believed else {"input_too_large"})


async def test_an_input_that_is_strangely_small_is_charged_as_counted_and_told() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=100, output=2), END)
    await scene.call("stream=yes", words(LONG))
    assert scene.used == (100, 0, 0, 2, 0)
    assert scene.provenance == "vendor"
    assert doubts(scene) == {"input_too_small"}


def test_what_a_vendor_adds_is_reported_while_it_is_on_its_way() -> None:
    of_steps = meter()
    of_steps.add(Step(counted=VendorCount((30, 8, 0, 0, 0), has_input=True, has_output=False)))
    of_steps.add(Step(added=words(10), added_opaque_bytes=80))
    assert of_steps.so_far()[:2] == (30 + estimate(size_of(words(10))) + 10, 8)


def test_the_count_of_the_prompt_once_more_is_no_count_of_a_short_result() -> None:
    of_steps = meter()
    for _ in range(2):
        of_steps.add(Step(counted=VendorCount((30, 0, 0, 0, 0), has_input=True, has_output=False), added="a"))
    assert low(size_of("aa")) == 0
    assert of_steps.used().charged[0] == 30 + 1


def test_encrypted_input_has_the_fewest_tokens_that_its_bytes_can_have() -> None:
    of_steps = meter()
    of_steps.add(Step(counted=VendorCount((90, 0, 0, 0, 0), has_input=True, has_output=False)))
    of_steps.add(Step(added_opaque_bytes=6_400))
    # Nothing more is reserved.
    assert of_steps.used().charged[0] == 90 + 100
    of_steps.add(Step(counted=VendorCount((90 + 79, 0, 0, 0, 0), has_input=True, has_output=False)))
    assert of_steps.used().doubts == ("added_too_small",)
    of_steps.add(Step(counted=VendorCount((90 + 80, 0, 0, 0, 0), has_input=True, has_output=False)))
    assert of_steps.used().charged[0] == 170


# Output


async def test_the_fewest_tokens_are_those_of_all_that_came() -> None:
    # More than the last run alone can have, and less than all of them.
    scene = Scene()
    scene.vendors.answers(*(say(words(10)) for _ in range(LONG // 10)), FINISH, counted(input=3, output=300), END)
    await scene.call("stream=yes")
    assert scene.used[3] == estimate(size_of(words(LONG)))
    assert doubts(scene) == {"output_too_small"}


def test_an_answer_that_broke_its_limit_costs_the_fewest_tokens_that_it_can_have() -> None:
    text = words(LONG)
    broken = meter(held=10)
    broken.add(Step(said=text))
    fewest = low(size_of(text))
    assert 10 < fewest < estimate(size_of(text))
    assert broken.made().charged[3] == fewest


async def test_a_zero_beside_a_call_is_no_count() -> None:
    scene = Scene()
    scene.vendors.answers(event("call f"), FINISH, counted(input=9, output=0), END)
    await scene.call("stream=yes")
    # The frame of a call.
    assert scene.used == (9, 0, 0, 4, 0)
    # A vendor that has not counted is not to be doubted.
    assert doubts(scene) == set()


def test_a_count_that_is_handed_out_again_ends_at_the_same_place() -> None:
    of_steps = meter()
    said = vendor_count(40)
    of_steps.add(Step(said=words(40), counted=said))
    of_steps.add(Step(said=words(10), counted=said))
    of_steps.add(Step(thought=words(10), counted=said))
    assert of_steps.best == 40 + estimate(size_of(words(20)))
    assert of_steps.used().charged == (3, 0, 0, of_steps.best, 0)


def test_an_odd_count_is_told_and_is_not_the_vendors() -> None:
    of_steps = meter()
    of_steps.add(Step(said=words(40), counted=vendor_count(40, is_odd=True)))
    used = of_steps.used()
    assert (used.charged, used.doubts, used.source) == ((3, 0, 0, 40, 0), ("odd",), Source.ESTIMATE)


def test_a_client_that_leaves_twice_left_the_first_time() -> None:
    # An answer that is cut is left; then the client leaves while its last piece is sent.
    of_steps = meter()
    of_steps.add(Step(said=words(40)))
    of_steps.leave()
    of_steps.add(Step(said=words(60)))
    of_steps.leave()
    used = of_steps.used()
    assert used.charged[3] == estimate(size_of(words(40)))
    assert used.unpaid[3] == estimate(size_of(words(100))) - used.charged[3]


def test_what_a_step_has_is_all_of_it() -> None:
    step = Step(said=words(10), thought=words(20), opaque_bytes=80, calls=3)
    assert meter().output_of(step) == estimate(size_of(words(10))) + estimate(size_of(words(20))) + 10 + 3 * 4
    assert meter().lowest_of(step) == low(size_of(words(10))) + low(size_of(words(20))) + 80 // 64 + 3


# Choices and routes


def test_choices_side_by_side_count_as_each_by_itself() -> None:
    count = load("qwen3").count
    pieces = ["Un", "believ", "ably", " qui", "ck", " fo", "xes", " ju", "mp."] * 40
    answer = Meter(InputTokens(90, 30, 50), 3, count, input_max=10_000, output_max=10_000, output_held=lambda: 10_000)
    for piece in pieces:
        for choice in range(3):
            answer.add(Step(said=piece, thought=piece, choice=choice))
    each = count("".join(pieces))
    assert count("".join(piece * 3 for piece in pieces)) > 3 * each * 11 // 10
    assert answer.so_far()[3:5] != (0, 0)
    assert answer.best == 2 * 3 * each
    assert answer.used().charged[3:5] == (3 * each, 3 * each)


def test_long_choices_are_handed_out_one_by_one() -> None:
    answer = Meter(InputTokens(90, 30, 50), 2, len, input_max=10_000, output_max=100_000, output_held=lambda: 100_000)
    for choice in (0, 1):
        answer.add(Step(said="ab"[choice] * 9_000, choice=choice))
    handed = []
    while (text := answer.long_text) is not None:
        handed.append(text[0] * 2 + str(len(text)))
        answer.take_long(7)
    assert handed == ["aa9000", "bb9000"]
    assert answer.best == 14


@pytest.mark.parametrize(("made", "cause"), [(40, "normal"), (55, "normal"), (56, "quota_exhausted")])
async def test_an_answer_has_reached_its_limit_where_all_choices_have(made: int, cause: str) -> None:
    # 28 tokens are left for each of two choices.
    scene = Scene(FakeCharging(balance=109))
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=made), END)
    await scene.call("stream=yes limit=100 n=2")
    assert scene.vendors.asked[0].options["limit"] == "28"
    assert (scene.used[3], scene.cause) == (made, cause)


@pytest.mark.parametrize("usage", [[], [counted(input=9_000, output=700)]])
async def test_what_a_route_has_said_before_it_failed_is_not_charged_with_the_next_one(usage: list[bytes]) -> None:
    scene = Scene()
    scene.vendors.answers(say(words(100)), *usage, VendorFailure("broken", 200))
    scene.vendors.answers(say("hello"), FINISH, END, vendor="beta")
    client = await scene.call("stream=no limit=500 model=pair")
    assert client.status == 200
    assert scene.used == (estimate(size_of("hi")), 0, 0, estimate(size_of("hello")), 0)
    assert scene.attempts == [("acme", "broken", 200), ("beta", "answered", 200)]


async def test_an_end_without_an_answer_is_none() -> None:
    scene = Scene()
    scene.vendors.answers(END)
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), END, vendor="beta")
    client = await scene.call("stream=no limit=500 model=pair")
    assert client.status == 200
    assert b"hello" in client.body
    assert scene.attempts == [("acme", "garbage", 200), ("beta", "answered", 200)]


async def test_half_an_event_at_the_end_of_an_answer_is_nothing() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, counted(input=3, output=2), b"data: nonsen")
    client = await scene.call("stream=yes")
    assert b"[complete]" in client.body
    assert (scene.used, scene.cause, scene.provenance) == ((3, 0, 0, 2, 0), "normal", "vendor")


@pytest.mark.parametrize(("kilobytes", "provenance"), [(60, "vendor"), (70, "estimated")])
async def test_of_what_comes_after_the_end_64_kilobytes_are_read(kilobytes: int, provenance: str) -> None:
    scene = Scene()
    noise = b": " + b"x" * 1_000 + b"\n\n"
    scene.vendors.answers(say("hello"), FINISH, END, *(noise for _ in range(kilobytes)), counted(input=3, output=2))
    await scene.call("stream=yes")
    assert scene.provenance == provenance


async def test_the_input_that_a_vendor_left_out_is_the_tokenizers() -> None:
    scene = Scene()
    scene.vendors.answers(say("hi"), FINISH, END)
    await scene.call("model=exact stream=yes")
    scene.charging.forget()
    for usage in ([], [counted(input=0, output=2)]):
        scene.vendors.answers(say("hello"), FINISH, *usage, END)
        await scene.call("model=exact stream=yes")
        assert scene.provenance == "tokenizer"
        scene.charging.forget()


async def test_an_error_in_the_middle_is_the_end_whatever_comes_after_it() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), event("fault 500 internal"), say("more"), FINISH, counted(input=9_000, output=700), END)
    client = await scene.call("stream=yes")
    assert client.text == "hello"
    assert b"data: error 502" in client.body
    assert (scene.cause, scene.provenance, scene.attempts) == ("vendor_error", "partial", [("acme", "broken", 200)])
    assert scene.used == (estimate(size_of("hi")), 0, 0, estimate(size_of("hello")), 0)


# Clients that leave before they were sent anything


async def test_the_input_that_a_vendor_has_counted_is_its_work_where_no_output_was_sent() -> None:
    scene = Scene()
    scene.vendors.answers(counted(input=9_000), 60.0)
    client, task = scene.begin("stream=yes")
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert (scene.used[0], scene.unpaid[0]) == (0, 9_000)


async def test_a_vendor_that_was_asked_and_has_not_answered_has_worked() -> None:
    scene = Scene()
    scene.vendors.answers(hangs=True)
    client, task = scene.begin("stream=yes", words(100))
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.check()
    assert (scene.used[0], scene.unpaid[0]) == (0, estimate(size_of(words(100))))


async def test_a_vendor_whose_answer_was_ended_with_its_key_has_worked() -> None:
    scene = Scene()
    scene.vendors.answers(60.0)
    _, task = scene.begin("stream=yes", words(100))
    await asyncio.sleep(1.0)
    scene.principals.revoke()
    await task
    scene.check()
    assert scene.cause == "revoked"
    assert (scene.used[0], scene.unpaid[0]) == (0, estimate(size_of(words(100))))


async def test_what_a_vendor_was_told_says_how_much_is_to_come() -> None:
    # Of the client's 8,000 tokens the account can pay for 293.
    scene = Scene(FakeCharging(balance=457))
    scene.vendors.answers(say(words(100)), 0.5, FINISH, counted(input=3, output=110), END)
    client, task = scene.begin("stream=yes limit=8000")
    await asyncio.sleep(0.1)
    client.leave()
    await task
    scene.check()
    assert scene.vendors.asked[0].options["limit"] == "293"
    assert (scene.used[3], scene.provenance) == (110, "vendor")
