"""A vendor that has failed is asked by a free path before a client's call is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.edge.call.probes import Prober
from services.edge.catalog import Snapshot
from services.edge.routing.breaker import Breaker, State
from services.edge.vendors.vendor import VendorFailure
from services.runtime.lifecycle import Lifecycle
from tests.edge.call.doubles import ACCOUNT, now_s
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import SECRETS, Scene, catalog
from tokenline.registry.v1 import registry_pb2

ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)
ACCOUNTS = ("account-1", "account-2", "account-3")


def _opened(*, asks_first: bool = True) -> Breaker:
    breaker = Breaker(asks_first=asks_first)
    for account in ACCOUNTS:
        era = breaker.enter(account, 0.0)
        assert era is not None
        breaker.failed(account, era, 0.0, 0.0, is_lost=True)
    assert breaker.state(0.0) is State.OPEN
    return breaker


def test_no_call_is_the_probe_before_the_vendor_has_answered() -> None:
    breaker = _opened()
    assert breaker.ask(4.9) is None
    assert breaker.enter("account-1", 6.0) is None
    assert breaker.wait_s("account-1", 6.0) == 1.0
    era = breaker.ask(6.0)
    assert era is not None
    assert breaker.enter("account-1", 6.5) is None
    breaker.asked(era, 7.0, is_answered=True)
    assert breaker.wait_s("account-1", 7.0) == 0.0
    probe = breaker.enter("account-1", 7.0)
    assert probe is not None
    assert breaker.enter("account-2", 7.0) is None
    assert breaker.answered("account-1", probe, 8.0)


def test_a_vendor_that_does_not_answer_is_asked_ever_later() -> None:
    breaker, now_s, waits = _opened(), 5.0, []
    for _ in range(5):
        era = breaker.ask(now_s)
        assert era is not None
        breaker.asked(era, now_s, is_answered=False)
        waits.append(breaker.wait_s("account-1", now_s))
        now_s += waits[-1]
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0]


def test_after_a_probe_that_failed_the_vendor_is_asked_again() -> None:
    breaker = _opened()
    era = breaker.ask(5.0)
    assert era is not None
    breaker.asked(era, 5.0, is_answered=True)
    probe = breaker.enter("account-1", 5.0)
    assert probe is not None
    breaker.failed("account-1", probe, 5.0, 5.0, is_lost=True)
    assert breaker.enter("account-1", 15.0) is None
    assert breaker.ask(15.0) is not None


def test_a_question_from_before_the_last_opening_says_nothing() -> None:
    breaker = _opened()
    era = breaker.ask(5.0)
    assert era is not None
    breaker.hold("account-1", 6.0, 30.0)
    breaker.asked(era, 7.0, is_answered=True)
    assert breaker.wait_s("account-1", 7.0) == 29.0


def test_a_vendor_is_not_asked_where_one_account_alone_has_trouble_or_nothing_is_wrong() -> None:
    breaker = Breaker(asks_first=True)
    assert breaker.ask(0.0) is None
    breaker.hold("account-1", 0.0, 3.0)
    assert breaker.ask(3.0) is None
    assert breaker.enter("account-1", 3.0) is not None
    # Nor where it has no free path.
    assert _opened(asks_first=False).ask(5.0) is None
    assert _opened(asks_first=False).enter("account-1", 5.0) is not None


@asynccontextmanager
async def _probed(path: str) -> AsyncIterator[Scene]:
    """A scene whose vendor acme has a free path, or none, and has lost calls of three accounts; with a prober."""
    message = registry_pb2.Catalog()
    message.CopyFrom(catalog().catalog)
    (acme,) = (each for each in message.vendors if each.vendor_id == "acme")
    acme.endpoints[0].probe_path = path
    scene = Scene(snapshot=Snapshot(message, SECRETS, ""))
    async with Lifecycle().background("probes", Prober(scene.router, scene.vendors).run()):
        for account in ACCOUNTS:
            scene.vendors.answers(VendorFailure("unreachable"))
            scene.vendors.answers(*ANSWER, vendor="beta")
            await _call(scene, account)
        scene.vendors.asked.clear()
        yield scene


async def _call(scene: Scene, account: str = "account-1") -> str:
    """The vendor that answers one call."""
    client = await scene.call("model=pair", headers={ACCOUNT: account})
    assert client.status == 200
    scene.charging.forget()
    return scene.vendors.asked[-1].url.split("/")[2]


async def test_clients_calls_wait_elsewhere_until_the_free_path_is_answered() -> None:
    async with _probed("/models") as scene:
        begun_s = now_s()
        scene.vendors.answers(VendorFailure("unreachable"), vendor="acme free")
        scene.vendors.answers(vendor="acme free")
        scene.vendors.answers(*ANSWER, vendor="beta")
        await asyncio.sleep(6.0)
        assert await _call(scene) == "beta"
        assert [(url, headers) for _, url, headers in scene.vendors.free] == [
            ("http://acme/models", {b"authorization": b"Bearer " + SECRETS["ACME_KEY"].encode()})
        ]
        await asyncio.sleep(11.0)
        scene.vendors.answers(*ANSWER)
        assert await _call(scene) == "acme"
        # After 5 s, and again after 10 s more; then nobody asks any more.
        await asyncio.sleep(300.0)
        assert [round(at_s - begun_s) for at_s, _, _ in scene.vendors.free] == [5, 15]


async def test_a_free_path_that_hangs_is_no_answer() -> None:
    async with _probed("/models") as scene:
        scene.vendors.answers(vendor="acme free", head_after_s=60.0)
        scene.vendors.answers(*ANSWER, vendor="beta")
        await asyncio.sleep(17.0)
        assert await _call(scene) == "beta"
        # Given up after 10 s, and asked again 10 s later.
        scene.vendors.answers(vendor="acme free")
        scene.vendors.answers(*ANSWER)
        await asyncio.sleep(10.0)
        assert await _call(scene) == "acme"


async def test_without_a_free_path_a_call_is_the_probe() -> None:
    async with _probed("") as scene:
        await asyncio.sleep(6.0)
        scene.vendors.answers(*ANSWER)
        assert await _call(scene) == "acme"
        assert scene.vendors.free == []
