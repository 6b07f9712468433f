"""How many routes a call is sent to, and for how long."""

import pytest

from services.edge.config import EdgeConfig
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import now_s
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import Scene

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)
MANY = ("acme", "beta", "slow", "rude", "deep")


def _asked(scene: Scene) -> list[str]:
    return [asked.url.split("/")[2] for asked in scene.vendors.asked]


@BOTH
async def test_routes_are_tried_in_their_order_and_each_once(stream: str) -> None:
    scene = Scene()
    for vendor in MANY[:3]:
        scene.vendors.answers(VendorFailure("refused", 500), vendor=vendor)
    scene.vendors.answers(*ANSWER, vendor="rude")
    client = await scene.call(f"model=many stream={stream}")
    assert client.status == 200
    assert scene.attempts == [*((vendor, "refused", 500) for vendor in MANY[:3]), ("rude", "answered", 200)]


@BOTH
async def test_a_call_is_sent_to_at_most_four_routes(stream: str) -> None:
    scene = Scene()
    for vendor in MANY[:4]:
        scene.vendors.answers(VendorFailure("refused", 503), vendor=vendor)
    client = await scene.call(f"model=many stream={stream}")
    # The fifth was not asked, so it is worth coming again.
    assert (client.status, client.header("retry-after")) == (503, "1")
    assert _asked(scene) == list(MANY[:4])
    assert [outcome for _, outcome, _ in scene.attempts] == ["refused"] * 4
    assert not any(scene.used)


@BOTH
async def test_after_a_minute_of_failures_no_other_route_is_begun(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("timeout"), head_after_s=300.0)
    scene.vendors.answers(VendorFailure("timeout"), vendor="beta", head_after_s=60.0)
    scene.vendors.answers(VendorFailure("timeout"), vendor="slow", head_after_s=0.1)
    begun_s = now_s()
    client = await scene.call(f"model=many stream={stream}")
    assert round(now_s() - begun_s, 3) == 360.1
    # Comments have kept the stream open.
    assert (b"error 503" in client.body) if stream == "yes" else client.status == 503
    assert _asked(scene) == ["acme", "beta", "slow"]


@BOTH
async def test_the_time_of_the_first_route_does_not_count(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("timeout"), head_after_s=300.0)
    scene.vendors.answers(VendorFailure("broken"), vendor="beta", head_after_s=59.0)
    scene.vendors.answers(b'say "hello"\ncount input=3 output=2', vendor="slow", content_type="")
    client = await scene.call(f"model=many stream={stream}")
    assert b"hello" in client.body
    assert [outcome for _, outcome, _ in scene.attempts] == ["timeout", "broken", "answered"]


@BOTH
async def test_nothing_is_tried_again_once_output_was_sent(stream: str) -> None:
    scene = Scene()
    scene.vendors.answers(say("hel"), VendorFailure("broken", 200))
    scene.vendors.answers(*ANSWER, vendor="beta")
    client = await scene.call(f"model=pair stream={stream}")
    # Of a whole answer nothing was sent yet.
    assert _asked(scene) == (["acme"] if stream == "yes" else ["acme", "beta"])
    assert (b"hello" in client.body) == (stream == "no")


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("attempts_max", 0, "1 to 100"),
        ("attempts_max", 101, "1 to 100"),
        ("retry_budget_ms", -1, "0 to 3600000"),
        ("retry_budget_ms", 3_600_001, "0 to 3600000"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(field: str, value: int, right: str) -> None:
    addresses = dict.fromkeys(("registry_address", "authentication_address", "accounting_address", "billing_address"), "a")
    with pytest.raises(ValueError, match=f"{field} must be {right}"):
        EdgeConfig(admin_token_file="t", **addresses, **{field: value})  # type: ignore[arg-type]
