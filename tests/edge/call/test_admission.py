"""What accounting is asked before a vendor is called, and what follows from its refusal."""

from typing import Any

import pytest

from services.edge.call.admission import admit
from services.edge.call.dialect import Body
from services.edge.routing.router import Router
from services.edge.tokens.estimate import estimate, most
from services.edge.tokens.size import size_of
from services.edge.tokens.tokenizers import tokenizer
from tests.edge.call.doubles import PRINCIPAL, FakeCharging, vector
from tests.edge.call.line_dialect import END, FINISH, LineDialect, counted, say, whole, words
from tests.edge.call.scene import Scene, catalog
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2 as registry

COUNT = counted(input=3, output=2)
JSON = "application/json"
# Common words, each of which is one token of the tokenizer and several by our estimate.
DENSE = "人工智能" * 50


def exact_count(text: str) -> int:
    carried = tokenizer("qwen3")
    assert carried is not None
    return carried.count(text)


def used_up(**fields: Any) -> pb.Refused:
    return pb.Refused(result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED, offering_id="plan", **fields)


# What is asked


async def test_accounting_is_told_who_calls_and_what_the_input_may_come_to() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    prompt = words(100)
    await scene.call("stream=yes limit=300", prompt)
    create = scene.charging.creates[0]
    assert (create.key_id, create.member_id, create.model_id) == (PRINCIPAL.key_id, PRINCIPAL.member_id, "solo")
    # The template has 7 tokens.
    assert create.input_tokens_bound == 500 + 7
    assert create.input_tokens_expected == estimate(size_of(prompt))
    assert create.input_tokens_calibrated == most(size_of(prompt)) + 7


async def test_images_stand_in_all_that_is_said_of_the_input() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    prompt = words(100)
    await scene.call("stream=yes limit=300 model=seeing images=2", prompt)
    create = scene.charging.creates[0]
    assert create.input_tokens_bound == 500 + 2_000 + 4
    assert create.input_tokens_expected == estimate(size_of(prompt)) + 2_000
    assert create.input_tokens_calibrated == most(size_of(prompt)) + 2_000 + 4


async def test_images_that_no_rule_bounds_reserve_all_that_the_model_takes() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    client = await scene.call("stream=yes limit=300 images=2")
    create = scene.charging.creates[0]
    assert (client.status, create.input_tokens_bound, create.input_tokens_calibrated) == (200, 100_000, 100_000)
    assert create.input_tokens_expected == estimate(size_of("hi")) + 3_200


async def test_who_cannot_pay_for_images_without_a_rule_is_told_why_so_much_is_needed() -> None:
    scene = Scene(FakeCharging(balance=50_000))
    client = await scene.call("stream=yes limit=300 images=1")
    assert (client.status, scene.vendors.asked) == (402, [])
    reason = "The tokens of images have no known bound for this model, so its whole context window is reserved before a call."
    assert reason.encode() in client.body
    text = await scene.call("stream=yes limit=300", words(30_000))
    assert text.status == 402
    assert b"no known bound" not in text.body


async def test_no_more_input_is_reserved_than_the_model_takes() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("stream=yes limit=300", words(40_000))
    assert scene.charging.creates[0].input_tokens_bound == 100_000


@pytest.mark.parametrize(("tokens", "status"), [(115_000, 200), (140_000, 400)])
async def test_an_input_is_refused_where_it_can_not_fit_and_left_to_the_vendor_where_it_may(tokens: int, status: int) -> None:
    # By our estimate 106 % and 129 % of the context window.
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    client = await scene.call("stream=yes", words(tokens))
    assert client.status == status
    assert len(scene.charging.creates) == (status == 200)


@pytest.mark.parametrize(
    ("head", "streams"),
    [
        ("limit=256", "no"),
        ("limit=257", "yes"),
        ("limit=128 n=2", "no"),
        ("limit=100 n=3", "yes"),
        # Thought comes beside the limit, which says nothing of the answer's length then.
        ("limit=256 model=deep", "yes"),
    ],
)
async def test_small_whole_answers_are_asked_for_as_one(head: str, streams: str) -> None:
    scene = Scene()
    vendor = "deep" if "deep" in head else "acme"
    if streams == "yes":
        scene.vendors.answers(say("hello"), FINISH, COUNT, END, vendor=vendor)
    else:
        scene.vendors.answers(whole('say "hello"', "count input=3 output=2"), vendor=vendor, content_type=JSON)
    await scene.call(f"stream=no {head}")
    assert scene.vendors.asked[0].options["stream"] == streams
    assert scene.charging.creates[0].output_metered == (streams == "yes")


async def test_windows_are_reserved_only_where_every_vendor_streams() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("stream=no limit=500 model=mixed")
    assert scene.vendors.asked[0].options["stream"] == "yes"
    create = scene.charging.creates[0]
    assert (create.output_metered, create.output_tokens_limit) == (False, 500)


# Bytes that do not fit, and the tokenizer's count that does


async def test_an_input_whose_bytes_do_not_fit_is_counted_by_its_tokenizer() -> None:
    scene = Scene(FakeCharging(balance=400))
    scene.vendors.answers(say("hello"), FINISH, END)
    await scene.call("stream=yes limit=100 model=exact", DENSE)
    first, second = scene.charging.creates
    assert first.input_tokens_bound == 600 + 4
    assert second.input_tokens_bound == exact_count(DENSE) + 4
    # The vendor did not count, and our estimate is above what was reserved at last.
    assert estimate(size_of(DENSE)) > second.input_tokens_bound
    assert scene.used[0] == second.input_tokens_bound


async def test_reports_of_a_call_that_fits_by_its_tokens_stay_within_what_was_reserved_for_it() -> None:
    scene = Scene(FakeCharging(balance=400, window=60))
    scene.vendors.answers(*(say(words(20)) for _ in range(4)), FINISH, END)
    await scene.call("stream=yes limit=100 model=exact", DENSE)
    reserved = scene.charging.creates[1].input_tokens_bound
    assert estimate(size_of(DENSE)) > reserved
    assert [vector(update.used)[0] for update in scene.charging.updates] == [reserved]


async def test_images_and_files_are_bounds_beside_the_tokenizers_count() -> None:
    head = b"--part\nmodel=seeing images=2 limit=100 stream=yes\n"
    body = head + words(100).encode() + b"\n--part\n" + b"x" * 300 + b"\n--part--"
    scene = Scene(FakeCharging(balance=2_600))
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("", body=body, headers={"content-type": "multipart/form-data; boundary=part"})
    first, second = scene.charging.creates
    assert first.input_tokens_bound == 500 + 300 + 2_000 + 4
    assert second.input_tokens_bound == exact_count(words(100)) + 300 + 2_000 + 4


async def test_what_was_counted_by_the_tokenizer_goes_on_with_it() -> None:
    # As where it was not loaded when the call came.
    snapshot = catalog()
    model = snapshot.model("exact")
    assert model is not None
    request = LineDialect().read(Body(f"model=exact limit=1000\n{DENSE}".encode(), "text/x-line"), {})
    exact = await admit(Router(), LineDialect().name, request, model, "account-1")._replace(exact_count=None).measured_exactly()
    assert exact is not None
    assert exact.exact_count is not None
    assert exact.create(PRINCIPAL, "").output_tokens_limit == 1_000 + 20 + 8


async def test_a_create_says_whether_its_key_was_minted_and_has_the_calls_label() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("stream=yes limit=100", headers={"x-tokenline-run": "nightly"})
    scene.principals.principal = PRINCIPAL._replace(is_minted=True)
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("stream=yes limit=100")
    assert [(each.key_is_minted, each.run_label) for each in scene.charging.creates] == [(False, "nightly"), (True, "")]


@pytest.mark.parametrize("name", ["x-tokenline-run", "x-tokenline-fallback"])
async def test_a_header_that_comes_twice_is_refused_before_anything_is_reserved(name: str) -> None:
    scene = Scene()
    twice = [(name.encode(), b"none"), (name.encode(), b"equivalent")]
    client, call = scene.begin("stream=yes", more_headers=twice)
    await call
    assert (client.status, scene.charging.creates) == (400, [])
    assert client.body == f"invalid_value: {name} came 2 times, and readers differ in which holds. Send it once.".encode()


async def test_nothing_is_counted_where_the_refusal_has_another_reason() -> None:
    scene = Scene()
    scene.charging.refuses = [pb.Refused(result_code=pb.RESULT_CODE_RATE_LIMITED, limit_id="calls@key", retry_after_ms=1_500)]
    client = await scene.call("stream=yes limit=100 model=exact", DENSE)
    assert client.status == 429
    assert len(scene.charging.creates) == 1


@pytest.mark.parametrize(("last", "status"), [(pb.FINAL_UNIT_ACTION_TERMINATE, 402), (pb.FINAL_UNIT_ACTION_UNSPECIFIED, 429)])
async def test_a_part_of_output_that_can_not_be_limited_is_not_begun(last: pb.FinalUnitAction, status: int) -> None:
    # A grant that is not the last one is a part because others hold the rest.
    scene = Scene(FakeCharging(balance=400))
    scene.charging.rates = {"final_unit_action": last}
    client = await scene.call("stream=no limit=500 unlimited=yes model=whole")
    assert client.status == status
    assert scene.vendors.asked == []
    assert (scene.used, scene.cause) == ((0, 0, 0, 0, 0), "rejected")


# Quota that has ended


async def test_calls_go_on_with_the_cheaper_model_that_the_offering_names() -> None:
    scene = Scene(snapshot=catalog(restricted_model_id="whole"))
    scene.charging.refuses = [used_up(final_unit_action=pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS)]
    scene.vendors.answers(whole('say "hello"', "count input=3 output=2"), vendor="slow", content_type=JSON)
    client = await scene.call("stream=no limit=500")
    assert client.status == 200
    # That model's vendor does not stream.
    assert [(each.model_id, each.output_metered) for each in scene.charging.creates] == [("solo", True), ("whole", False)]
    assert scene.vendors.asked[0].options["model"] == "slow-whole"


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (used_up(), 402),
        # Other calls have it, and will give it back.
        (used_up(final_unit_action=pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS, held=True), 429),
        (
            pb.Refused(
                result_code=pb.RESULT_CODE_RATE_LIMITED,
                offering_id="plan",
                final_unit_action=pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS,
            ),
            429,
        ),
    ],
)
async def test_the_cheaper_model_is_for_quota_that_has_ended_alone(refused: pb.Refused, status: int) -> None:
    scene = Scene(snapshot=catalog(restricted_model_id="whole"))
    scene.charging.refuses = [refused]
    client = await scene.call("stream=no limit=500")
    assert client.status == status
    assert len(scene.charging.creates) == 1


async def test_who_has_used_up_the_quota_is_told_what_to_order() -> None:
    scene = Scene(snapshot=catalog(redirect_offering_id="gold"))
    scene.charging.refuses = [used_up(needed_amount=1, free_amount=0)]
    client = await scene.call("stream=no limit=500")
    assert client.status == 402
    assert b"Order gold, top up the account" in client.body


async def test_who_waits_for_other_calls_is_told_what_they_hold() -> None:
    scene = Scene()
    unit = pb.UnitOfAmount(unit=registry.UNIT_TOKEN)
    amounts: dict[str, Any] = {
        "needed_amount": 7_000_000,
        "free_amount": 2_000_000,
        "held_amount": 5_500_000,
        "retry_after_ms": 1_500,
    }
    scene.charging.refuses = [used_up(held=True, unit=unit, **amounts)]
    client = await scene.call("stream=no limit=500")
    assert client.status == 429
    assert b"needs at least 7 TOKEN; 2 TOKEN are free and 5.5 TOKEN are held by other open calls" in client.body
    assert (client.header("retry-after"), client.header("x-should-retry")) == ("2", "true")
