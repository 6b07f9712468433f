"""Calls that their clients name: the name goes to accounting, and another try of one is told what became of the first."""

from typing import Any

import pytest

from services.edge.call.once import Once, once_of
from services.edge.http.problems import Problem
from services.runtime.http.exchange import Header
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import Scene
from tokenline.accounting.v1 import accounting_pb2 as pb

HEADER = b"idempotency-key"
COUNT = counted(input=3, output=2)
FIRST = "018bcfe5-6800-7e77-ba00-d18cf531facc"


async def named(*headers: Header, dialect: str = "openai_chat", content: bytes = b"{}") -> Once:
    return await once_of([value for _, value in headers], dialect, content)


async def test_a_call_without_the_header_has_no_name() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("model=solo stream=yes")
    (create,) = scene.charging.creates
    assert (create.idempotency_key, create.content_digest) == ("", b"")


async def test_the_name_and_a_digest_of_the_body_go_to_accounting() -> None:
    scene = Scene()
    for prompt in ("hi", "hi", "ho"):
        scene.vendors.answers(say("hello"), FINISH, COUNT, END)
        await scene.call("model=solo stream=yes", prompt, headers={"idempotency-key": "mine"})
    first, second, other = scene.charging.creates
    assert [each.idempotency_key for each in scene.charging.creates] == ["mine"] * 3
    assert [len(each.content_digest) for each in scene.charging.creates] == [16] * 3
    assert first.content_digest == second.content_digest != other.content_digest


async def test_a_body_is_another_one_in_another_dialect_and_a_large_one_is_read_in_a_thread() -> None:
    key = (HEADER, "schlüssel 钥匙".encode())
    chat, older = await named(key), await named(key, dialect="openai_completions")
    assert chat is not None
    assert older is not None
    assert (chat.key, chat.key == older.key) == ("schlüssel 钥匙", True)
    assert chat.content_digest != older.content_digest
    small, large = await named(key, content=b"x" * 500_000), await named(key, content=b"x" * 500_001)
    assert small is not None
    assert large is not None
    assert small.content_digest != large.content_digest


@pytest.mark.parametrize(
    "values",
    [
        *([b""], [b"x" * 201], [b"a\x00b"], [b"a\tb"], [b"a\x7fb"], [b"a\nb"], [b"\xff"], [b"one", b"one"], [b"one", b"two"]),
        [("ü" * 201).encode()],
    ],
)
async def test_a_bad_name_is_refused_with_the_right_ones(values: list[bytes]) -> None:
    with pytest.raises(Problem) as caught:
        await named(*((HEADER, value) for value in values))
    problem = caught.value
    assert (problem.status, problem.param, problem.code) == (400, "Idempotency-Key", "invalid_value")
    assert "must come once and have 1 to 200 characters in UTF-8, none a control character" in problem.message


@pytest.mark.parametrize("value", [b"x", b"x" * 200, ("ü" * 200).encode(), b'"quoted, as the draft of the IETF has it"'])
async def test_other_names_are_taken(value: bytes) -> None:
    once = await named((HEADER, value))
    assert once is not None
    assert once.key == value.decode()


async def test_a_bad_name_costs_no_question_to_accounting() -> None:
    scene = Scene()
    caller = await scene.call("model=solo", headers={"idempotency-key": ""})
    assert (caller.status, scene.charging.creates) == (400, [])


async def retried(**known: Any) -> tuple[int, str, dict[str, str | None]]:
    """Status, body and headers of another try of a call of which accounting knows this."""
    scene = Scene()
    scene.charging.known = pb.KnownCall(charging_id=FIRST, **known)
    caller = await scene.call("model=solo stream=yes", headers={"idempotency-key": "mine"})
    assert scene.vendors.asked == []
    names = ("retry-after", "retry-after-ms", "x-should-retry", "location")
    return caller.status, caller.body.decode(), {name: caller.header(name) for name in names}


async def test_another_try_of_a_call_under_way_is_told_to_come_again() -> None:
    status, said, headers = await retried(is_open=True)
    assert (status, said.split(":")[0]) == (409, "call_in_progress")
    assert FIRST in said
    assert headers == {"retry-after": "1", "retry-after-ms": "1000", "x-should-retry": "true", "location": None}


async def test_another_try_of_a_call_that_was_made_is_told_where_its_receipt_is() -> None:
    status, said, headers = await retried()
    receipt = f"/v1/me/receipts/{FIRST}"
    assert (status, said.split(":")[0]) == (409, "call_made")
    assert f"GET {receipt}." in said
    assert headers == {"retry-after": None, "retry-after-ms": None, "x-should-retry": "false", "location": receipt}


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_name_with_another_body_is_refused_for_good(is_open: bool) -> None:
    status, said, headers = await retried(is_open=is_open, has_other_content=True)
    assert (status, said.split(":")[0]) == (422, "idempotency_key_reused")
    assert FIRST in said
    assert headers == {"retry-after": None, "retry-after-ms": None, "x-should-retry": "false", "location": None}
