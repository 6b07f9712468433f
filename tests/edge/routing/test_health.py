"""Which routes calls go to after some have failed, at one edge."""

import asyncio
import logging

import pytest

from services.edge.call.dialect import Charged
from services.edge.catalog import Route
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import ACCOUNT, HANG, PRINCIPAL
from tests.edge.call.line_dialect import END, FINISH, counted, event, say
from tests.edge.call.scene import Scene, catalog

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)


def _refused(status: int, retry_after_ms: int = 0) -> VendorFailure:
    return VendorFailure("refused", status, retry_after_ms=retry_after_ms)


def _vendors_asked(scene: Scene) -> list[str]:
    return [asked.url.split("/")[2] for asked in scene.vendors.asked]


def _states(scene: Scene) -> dict[str, float]:
    return {model: state for (_, model, _), state in scene.router.states().items()}


async def _call(scene: Scene, head: str, charged: Charged = Charged.INPUT_AND_OUTPUT, account: str = PRINCIPAL.account_id) -> int:
    """The status of one more call of an account."""
    client = await scene.call(head, charged=charged, headers={ACCOUNT: account})
    scene.charging.forget()
    return client.status


@BOTH
async def test_a_route_that_is_lost_three_times_is_left_out_and_no_call_fails(stream: str) -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
    for _ in range(5):
        scene.vendors.answers(*ANSWER, vendor="beta")
    statuses = [await _call(scene, f"model=pair stream={stream}") for _ in range(5)]
    assert statuses == [200] * 5
    assert _vendors_asked(scene) == ["acme", "beta"] * 3 + ["beta", "beta"]
    assert _states(scene) == {"acme-pair": 3, "beta-pair": 0}


@BOTH
async def test_one_call_asks_again_after_the_period_and_the_others_follow_its_answer(stream: str) -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("broken"))
    for _ in range(3):
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, f"model=pair stream={stream}")
    await asyncio.sleep(5.0)
    assert _states(scene)["acme-pair"] == 3
    scene.vendors.asked.clear()
    # The probe takes 2 s, and meanwhile others go on as before.
    scene.vendors.answers(*ANSWER, head_after_s=2.0)
    scene.vendors.answers(*ANSWER, vendor="beta")
    _, probe = scene.begin(f"model=pair stream={stream}")
    await asyncio.sleep(1.0)
    other, task = scene.begin(f"model=pair stream={stream}")
    await task
    await probe
    assert other.status == 200
    assert _vendors_asked(scene) == ["acme", "beta"]
    scene.vendors.answers(*ANSWER)
    await scene.begin(f"model=pair stream={stream}")[1]
    assert _vendors_asked(scene) == ["acme", "beta", "acme"]
    assert _states(scene)["acme-pair"] == 0


@BOTH
async def test_a_dead_route_costs_one_time_out_a_period(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("timeout"), head_after_s=300.0)
    for _ in range(4):
        scene.vendors.answers(*ANSWER, vendor="beta")
    waits = []
    for _ in range(4):
        began_s = asyncio.get_running_loop().time()
        assert await _call(scene, f"model=pair stream={stream}") == 200
        waits.append(round(asyncio.get_running_loop().time() - began_s))
    assert waits == [300, 0, 0, 0]
    await asyncio.sleep(5.0)
    # The probe times out, too, and the period is twice as long.
    scene.vendors.answers(VendorFailure("timeout"), head_after_s=300.0)
    scene.vendors.answers(*ANSWER, vendor="beta")
    assert await _call(scene, f"model=pair stream={stream}") == 200
    await asyncio.sleep(9.9)
    scene.vendors.answers(*ANSWER, vendor="beta")
    scene.vendors.asked.clear()
    assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene) == ["beta"]


@BOTH
async def test_a_vendors_time_to_wait_closes_its_route_until_then(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(_refused(429, 37_000))
    for _ in range(2):
        scene.vendors.answers(*ANSWER, vendor="beta")
        assert await _call(scene, f"model=pair stream={stream}") == 200
    await asyncio.sleep(36.9)
    scene.vendors.answers(*ANSWER, vendor="beta")
    assert await _call(scene, f"model=pair stream={stream}") == 200
    await asyncio.sleep(0.2)
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene) == ["acme", "beta", "beta", "beta", "acme"]


@BOTH
async def test_where_the_only_route_must_not_be_called_the_client_is_told_at_once(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(_refused(429, 37_000))
    await _call(scene, f"model=solo stream={stream}")
    await asyncio.sleep(2.0)
    scene.charging.creates.clear()
    client = await scene.call(f"model=solo stream={stream}")
    assert (client.status, client.header("retry-after"), client.header("retry-after-ms")) == (503, "35", "35000")
    assert b"vendor_unavailable" in client.body
    # Nothing was reserved, and the vendor was left in peace.
    assert scene.charging.creates == []
    assert len(scene.vendors.asked) == 1


async def test_a_route_that_fails_at_once_is_still_the_last_resort() -> None:
    scene = Scene()
    for _ in range(4):
        scene.vendors.answers(VendorFailure("unreachable"))
        await _call(scene, "model=solo")
    assert _states(scene)["acme-solo"] == 3
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, "model=solo") == 200
    assert len(scene.vendors.asked) == 5
    # The probe alone closes it.
    assert _states(scene)["acme-solo"] == 3


@BOTH
async def test_a_left_out_route_is_tried_after_all_others(stream: str) -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, f"model=pair stream={stream}")
    scene.vendors.asked.clear()
    scene.vendors.answers(_refused(500), vendor="beta")
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene) == ["beta", "acme"]


@BOTH
async def test_a_route_that_must_not_be_called_is_no_last_resort(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(_refused(429, 37_000))
    scene.vendors.answers(*ANSWER, vendor="beta")
    await _call(scene, f"model=pair stream={stream}")
    scene.vendors.asked.clear()
    await asyncio.sleep(7.0)
    scene.vendors.answers(_refused(503), vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    assert (client.status, client.header("retry-after")) == (503, "30")
    assert _vendors_asked(scene) == ["beta"]


@BOTH
async def test_a_field_that_only_a_left_out_vendor_refuses_is_no_mistake(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(_refused(429, 37_000))
    scene.vendors.answers(*ANSWER, vendor="beta")
    await _call(scene, f"model=pair stream={stream}")
    scene.vendors.answers(*ANSWER, vendor="beta")
    assert await _call(scene, f"model=pair stream={stream} refused_by_acme=yes") == 200


async def test_a_left_out_vendors_profile_refuses_no_field_though_its_route_would_be_the_conversations() -> None:
    scene = Scene()
    for vendor in ("acme", "beta", "rude", "deep"):
        for _ in range(64):
            scene.vendors.answers(*ANSWER, vendor=vendor)
    talk = 0
    while (await _call(scene, f"model=even limit=500 talk={talk}")) == 200 and _vendors_asked(scene)[-1] != "acme":
        talk += 1
    assert _vendors_asked(scene)[-1] == "acme"
    scene.vendors.scripts["acme"].clear()
    scene.vendors.answers(_refused(429, 37_000))
    assert await _call(scene, f"model=even limit=500 talk={talk}") == 200
    assert await _call(scene, f"model=even limit=500 talk={talk} refused_by_acme=yes") == 200
    assert _vendors_asked(scene)[-1] != "acme"


@BOTH
async def test_faults_of_clients_say_nothing_of_a_route(stream: str) -> None:
    scene = Scene()
    for _ in range(60):
        scene.vendors.answers(_refused(400))
        await _call(scene, f"model=pair stream={stream}")
    assert _vendors_asked(scene) == ["acme"] * 60
    assert _states(scene)["acme-pair"] == 0


@BOTH
@pytest.mark.parametrize("failure", [_refused(500), _refused(401), _refused(429), VendorFailure("garbage"), event("fault 500 x")])
async def test_faults_of_the_route_leave_it_out_once_they_are_half_of_twenty(failure: VendorFailure | bytes, stream: str) -> None:
    scene = Scene()
    for _ in range(25):
        scene.vendors.answers(failure)
        scene.vendors.answers(*ANSWER, vendor="beta")
        assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene).count("acme") == 20


async def test_streams_that_break_off_leave_their_route_out() -> None:
    scene = Scene()
    for _ in range(10):
        scene.vendors.answers(say("hello"), VendorFailure("broken", 200))
        await _call(scene, "model=pair stream=yes")
    scene.vendors.answers(*ANSWER, vendor="beta")
    await _call(scene, "model=pair stream=yes")
    assert _vendors_asked(scene) == ["acme"] * 10 + ["beta"]


@BOTH
async def test_a_probe_whose_client_leaves_makes_way_for_another(stream: str) -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, f"model=pair stream={stream}")
    await asyncio.sleep(5.0)
    scene.vendors.answers(hangs=True)
    client, task = scene.begin(f"model=pair stream={stream}")
    await asyncio.sleep(1.0)
    client.leave()
    await task
    scene.charging.forget()
    scene.vendors.asked.clear()
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene) == ["acme"]


async def test_an_answer_in_mid_stream_is_the_probes_answer() -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, "model=pair stream=no")
    await asyncio.sleep(5.0)
    scene.vendors.answers(say("hel"), HANG)
    client, task = scene.begin("model=pair stream=no")
    await asyncio.sleep(1.0)
    assert _states(scene)["acme-pair"] == 0
    client.leave()
    await task


async def test_counting_tokens_heeds_health_and_says_nothing_of_it() -> None:
    scene = Scene()
    for _ in range(30):
        scene.vendors.answers(_refused(404))
        scene.vendors.answers(b"count input=9", vendor="beta", content_type="application/json")
        await _call(scene, "kind=count model=pair", charged=Charged.NOTHING)
    assert _states(scene) == {"acme-pair": 0, "beta-pair": 0}
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, "model=pair")
    scene.vendors.asked.clear()
    scene.vendors.answers(b"count input=9", vendor="beta", content_type="application/json")
    assert await _call(scene, "kind=count model=pair", charged=Charged.NOTHING) == 200
    assert _vendors_asked(scene) == ["beta"]
    # Where it takes the turn of the probe, it gives it back.
    await asyncio.sleep(5.0)
    for _ in range(2):
        scene.vendors.answers(b"count input=9", content_type="application/json")
        assert await _call(scene, "kind=count model=pair", charged=Charged.NOTHING) == 200
    assert _vendors_asked(scene) == ["beta", "acme", "acme"]


async def test_what_is_known_of_a_route_ends_with_it() -> None:
    scene = Scene()
    for _ in range(3):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        await _call(scene, "model=pair")
    (acme, beta) = _pair()
    scene.router.keep([acme, beta])
    assert _states(scene) == {"acme-pair": 3, "beta-pair": 0}
    # Its address has changed: what failed there says nothing of the new one.
    scene.router.keep([acme._replace(endpoint=acme.endpoint._replace(base_url="http://new")), beta])
    assert _states(scene) == {"beta-pair": 0}
    scene.router.keep([acme])
    assert _states(scene) == {}


def _pair() -> tuple[Route, ...]:
    model = catalog().model("pair")
    assert model is not None
    return model.routes["openai_chat"]


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "services.edge.routing.router"]


async def test_the_log_tells_once_that_a_route_is_left_out_and_once_that_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.edge.routing.router")
    scene = Scene()
    for _ in range(5):
        scene.vendors.answers(VendorFailure("unreachable"))
        await _call(scene, "model=solo")
    await asyncio.sleep(5.0)
    scene.vendors.answers(*ANSWER)
    await _call(scene, "model=solo")
    assert _lines(caplog) == [
        "vendor acme gets no calls of account account-1 for acme-solo for 5 s: they fail, the last with unreachable",
        "vendor acme answers for acme-solo again, and gets its calls",
    ]


async def test_the_log_tells_once_that_a_vendor_begins_to_fail_and_once_that_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.edge.routing.router")
    scene = Scene()
    for _ in range(5):
        scene.vendors.answers(_refused(500, 0))
        await _call(scene, "model=solo")
    for _ in range(2):
        scene.vendors.answers(*ANSWER)
        await _call(scene, "model=solo")
    told = [
        "vendor acme fails for acme-solo: 3 calls in a row, the last with overloaded",
        "vendor acme answers for acme-solo again, and gets its calls",
    ]
    assert _lines(caplog) == told
    # It fails again within a minute, which is no news.
    for _ in range(5):
        scene.vendors.answers(_refused(500, 0))
        await _call(scene, "model=solo")
    assert _lines(caplog) == told


async def test_short_times_to_wait_are_no_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.edge.routing.router")
    scene = Scene()
    scene.vendors.answers(_refused(429, 1_000))
    await _call(scene, "model=solo")
    await asyncio.sleep(1.0)
    scene.vendors.answers(*ANSWER)
    await _call(scene, "model=solo")
    assert _lines(caplog) == []
    scene.vendors.answers(_refused(429, 37_000))
    await _call(scene, "model=solo")
    scene.vendors.answers(*ANSWER)
    await asyncio.sleep(37.0)
    await _call(scene, "model=solo")
    assert _lines(caplog) == [
        "vendor acme gets no calls of account account-1 for acme-solo for 37 s: they fail, the last with rate_limit",
        "vendor acme answers for acme-solo again, and gets its calls",
    ]


@BOTH
async def test_a_time_to_wait_that_one_account_brought_about_costs_no_other_a_call(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(_refused(429, 600_000))
    assert await _call(scene, f"model=solo stream={stream}", account="account-6") == 503
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, f"model=solo stream={stream}") == 200
    client = await scene.call(f"model=solo stream={stream}", headers={ACCOUNT: "account-6"})
    assert (client.status, client.header("retry-after")) == (503, "600")
    # A second account is told to wait: now it is the vendor's word to all, kept for a minute.
    scene.vendors.answers(_refused(429, 600_000))
    assert await _call(scene, f"model=solo stream={stream}", account="account-7") == 503
    client = await scene.call(f"model=solo stream={stream}")
    assert (client.status, client.header("retry-after")) == (503, "60")
    assert _states(scene) == {"acme-solo": 2}


@BOTH
async def test_odd_requests_of_one_account_leave_no_route_out_for_others(stream: str) -> None:
    scene = Scene()
    for _ in range(40):
        scene.vendors.answers(_refused(500))
        scene.vendors.answers(*ANSWER, vendor="beta")
        assert await _call(scene, f"model=pair stream={stream}", account="account-6") == 200
    assert _vendors_asked(scene).count("acme") == 20
    scene.vendors.scripts["acme"].clear()
    scene.vendors.asked.clear()
    scene.vendors.answers(*ANSWER)
    assert await _call(scene, f"model=pair stream={stream}") == 200
    assert _vendors_asked(scene) == ["acme"]
    assert _states(scene) == {"acme-pair": 3, "beta-pair": 0}


@BOTH
async def test_a_route_that_two_accounts_lose_is_left_out_for_all(stream: str) -> None:
    scene = Scene()
    for account in ("account-6", "account-6", "account-7", "account-8"):
        scene.vendors.answers(VendorFailure("unreachable"))
        scene.vendors.answers(*ANSWER, vendor="beta")
        assert await _call(scene, f"model=pair stream={stream}", account=account) == 200
    assert _vendors_asked(scene) == ["acme", "beta"] * 3 + ["beta"]
    assert _states(scene) == {"acme-pair": 2, "beta-pair": 0}
