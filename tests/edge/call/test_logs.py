"""What the logs never have: keys of clients, secrets of vendors, prompts, answers."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from services.edge.http.problems import Problem
from services.edge.identity.principals import Principals
from services.edge.vendors.vendor import VendorFailure
from services.runtime.errors import ServiceError
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import FakeCharging, lost
from tests.edge.call.line_dialect import END, FINISH, counted, event, say, words
from tests.edge.call.scene import SECRETS, Scene
from tokenline.authentication.v1 import authentication_pb2
from tokenline.errors.v1 import errors_pb2

KEY = "sk-line-0123456789abcdef"
PROMPT = "tell-me-of-the-prompt"
ANSWER = "the-answer-is-here"
QUOTED = json.dumps({"error": {"message": f"{PROMPT} {SECRETS['ACME_KEY']} {KEY}", "code": KEY}}).encode()


def silent(caplog: pytest.LogCaptureFixture) -> None:
    """Fails where a line has what no line may have, arguments and tracebacks included."""
    written = caplog.text + "".join(f"{record.args!r}" for record in caplog.records)
    for secret in (KEY, KEY[:12], PROMPT, ANSWER, *SECRETS.values()):
        assert secret not in written


@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize(
    "items",
    [
        [say(ANSWER), FINISH, counted(input=3, output=2), END],
        [say(ANSWER), FINISH, END],
        [say(ANSWER), VendorFailure("broken", 200)],
        [say(ANSWER), event(f"fault 500 {KEY} {PROMPT}")],
        [say(ANSWER), event(ANSWER)],
        [event(PROMPT)],
        [event("crash")],
        [VendorFailure("refused", 400, QUOTED)],
        [VendorFailure("refused", 401, QUOTED)],
        [VendorFailure("refused", 500, QUOTED)],
        [VendorFailure("unreachable")],
        [say(ANSWER), FINISH, counted(input=-1, output=10_000_000), END],
        [say(words(5_000))],
    ],
)
async def test_no_call_tells_secrets(items: list[Any], stream: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(FakeCharging(balance=1_000, window=100))
    scene.charging.update_failures = [lost()]
    scene.vendors.answers(*items)
    await scene.call(f"stream={stream}", PROMPT, headers={"authorization": f"Bearer {KEY}"})
    silent(caplog)


@pytest.mark.parametrize("how", ["leave", "revoke", "cancel", "unsettled"])
async def test_no_way_out_tells_secrets(how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene()
    if how == "unsettled":
        scene.charging.release_failure = lost()
    scene.vendors.answers(say(ANSWER), 60.0)
    client, task = scene.begin("stream=yes", PROMPT, headers={"authorization": f"Bearer {KEY}"})
    await asyncio.sleep(1.0)
    match how:
        case "leave":
            client.leave()
        case "cancel":
            task.cancel()
        case _:
            scene.principals.revoke()
    await asyncio.wait([task])
    scene.check()
    silent(caplog)


class _Channel:
    """Authentication that answers each question in the same way."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        async def ask(request: Any, **how: Any) -> Any:
            return self._answer(request)

        return ask

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        # Revocations, which nobody follows here.
        return self.unary_unary(method)


async def test_no_question_about_a_key_tells_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def unknown(request: Any) -> Any:
        raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "broken")

    def known(request: Any) -> Any:
        return authentication_pb2.ResolveKeyResponse()

    for answer in (known, unknown):
        principals = Principals(cast(Any, _Channel(answer)), 60_000)
        for headers in ([(b"authorization", b"Bearer " + KEY.encode())], [(b"x-api-key", KEY.encode())]):
            for _ in range(2):
                try:
                    await principals.resolve(Exchange(cast(Any, None), "POST", b"/", headers))
                except Exception as error:
                    assert KEY not in str(error)
                    assert not isinstance(error, Problem) or KEY[8:-4] not in error.message
    silent(caplog)


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (VendorFailure("refused", 401), "vendor acme refuses our account: look at its secret and its balance there"),
        (VendorFailure("unreachable"), "vendor acme cannot be reached: look at its address and the network"),
        (
            VendorFailure("unreachable", network_fault="Connection refused"),
            "vendor acme cannot be reached: look at its address and the network (Connection refused)",
        ),
    ],
)
async def test_an_operator_is_told_once_a_minute_of_a_vendor_that_he_can_mend(
    failure: VendorFailure, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    now_s = 100.0
    scene.metrics._monotonic_s = lambda: now_s
    for _ in range(3):
        scene.vendors.answers(failure)
        await scene.call("stream=no")
    now_s += 60.0
    scene.vendors.answers(failure)
    await scene.call("stream=no")
    said = f"{advice}; its calls fail or go to other vendors"
    assert [record.getMessage() for record in caplog.records if "go to other vendors" in record.getMessage()] == [said, said]


async def test_a_vendor_that_is_busy_is_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 429))
    await scene.call("stream=no")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("reason", "status", "is_told"),
    [
        (errors_pb2.ERROR_REASON_CHARGING_ID_STALE, 503, True),
        (errors_pb2.ERROR_REASON_SUBJECT_ENDED, 500, True),
        (errors_pb2.ERROR_REASON_UNAVAILABLE, 503, False),
        (errors_pb2.ERROR_REASON_OVERLOADED, 503, False),
    ],
)
async def test_a_fault_of_ours_that_accounting_names_is_a_line_with_its_words(
    reason: errors_pb2.ErrorReason, status: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.charging.create_failure = ServiceError(reason, "check the caller's clock")
    reply = await scene.call("stream=no")
    assert reply.status == status
    told = [record.getMessage() for record in caplog.records if "check the caller's clock" in record.getMessage()]
    assert len(told) == is_told
