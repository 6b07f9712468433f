"""Accounting through its contract: a real server, real stubs, a real database, and the registry's base catalog."""

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.accounting.core.entries import SessionSettled
from services.accounting.journal.audit import audit
from services.accounting.journal.codec import decode_checkpoint, decode_row, encode_checkpoint, encode_row
from services.accounting.journal.sqlite import SqliteStore
from services.accounting.writer.holdings import OwnershipLostError
from services.partitions import partition_of
from services.runtime.clients import answer, connect
from services.runtime.config import ConfigError, parse_yaml
from services.runtime.errors import SchemaError, ServiceError
from services.runtime.identifiers import derived_name
from services.runtime.lifecycle import Lifecycle
from services.runtime.locks import InUseError
from services.token_classes import TOKEN_CLASSES
from tests.accounting import one_cell as cells
from tests.accounting.claims import claim
from tests.accounting.one_cell import (
    MODEL,
    SERVING,
    TOKEN,
    UNIT,
    Client,
    accounting,
    cell,
    charging_id,
    config_of,
    create,
    event,
    registry,
    release,
    update,
)
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

INT64_MAX = 2**63 - 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One service for all tests that need no other; each has accounts of its own. It sweeps after two seconds."""
    folder = tmp_path_factory.mktemp("cell")
    async with cell(folder, validity_ms=1_000) as client:
        yield client
        # Whatever the tests of this file did, it adds up.
        assert list((await client.audit()).breaches) == []


def reason_of(result: pb.ChargeResult) -> str:
    assert result.WhichOneof("result") == "error", result
    assert result.error.message
    return errors_pb2.ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")


async def refused(call: Any) -> ServiceError:
    """The error that a call ends with."""
    with pytest.raises(ServiceError) as raised:
        await answer(call)
    return raised.value


# Refunds


async def settled_together(client: Client) -> tuple[list[tuple[str, str]], int]:
    """(account, session) of three Events in one row, the first two of one account; and the row's number."""
    account_id = await client.open(100)
    other_id = await client.open(100)
    while partition_of(other_id, 3) != partition_of(account_id, 3):
        other_id = await client.open(100)
    calls = [(each, charging_id()) for each in (account_id, account_id, other_id)]
    await client.charge(*(event(*call, operation_id=number, input=number) for number, call in enumerate(calls, start=1)))
    records = [await client.records(*call) for call in calls]
    assert [len(each) for each in records] == [1, 1, 1]
    assert [each[0].session_settled.charging_id for each in records] == [session for _, session in calls]
    (row,) = {each[0].sequence_number for each in records}
    return calls, row


@pytest.mark.parametrize("named", ["another account's", "a second that is not there", "another session's"])
async def test_a_refund_of_a_record_that_is_not_the_accounts_is_refused(client: Client, named: str) -> None:
    calls, row = await settled_together(client)
    (account_id, session), (_, _), (_, of_the_other) = calls
    if named == "another account's":
        session = of_the_other
    elif named == "another session's":
        session = charging_id()
    request = pb.RefundSessionRequest(
        account_id=account_id,
        charging_id=session,
        sequence_number=row,
        record_sequence_number=2 if named == "a second that is not there" else 1,
        amount=UNIT,
        valid_for=Duration(seconds=86_400),
        reason="goodwill",
        idempotency_key="refund",
    )
    error = await refused(client.stub.RefundSession(request, timeout=WAIT_S))
    assert error.reason_name == "RECORD_UNKNOWN"
    assert len((await client.account(account_id)).buckets) == 1


# The life of an account and its sessions


async def test_the_life_of_a_session(client: Client) -> None:
    account_id, session = await client.open(), charging_id()
    bucket = (await client.grant(account_id, 100)).bucket
    async with client.stream() as stream:
        (granted,) = await stream.ask(create(account_id, session, operation_id=7))
        assert granted.operation_id == 7
        assert granted.granted == pb.Granted(
            output_tokens_granted=40,
            output_tokens_payable=40,
            output_tokens_threshold=10,
            validity_ms=1_000,
            offering_id="default",
        )
        account = await client.account(account_id)
        (open_session,) = account.sessions
        assert (open_session.charging_id, open_session.model_id, open_session.key_id) == (session, MODEL, "key-1")
        assert list(open_session.hold) == [pb.BucketAmount(bucket_id=bucket.bucket_id, amount=60 * UNIT)]
        assert open_session.output_tokens_granted == 40
        assert open_session.sweep_time.ToMicroseconds() - open_session.create_time.ToMicroseconds() == 2_000_000
        (updated,) = await stream.ask(update(account_id, session, 2, input=20, output=3))
        assert updated.granted.output_tokens_granted == 40
        assert (await client.account(account_id)).sessions[0].used == pb.TokenUsage(input=20, output=3)
        (settled,) = await stream.ask(release(account_id, session, 3, input=15, cached_input=5, output=10, reasoning=2))
        assert settled.settled == pb.Settled(unit=TOKEN, charged_amount=32 * UNIT)
    account = await client.account(account_id)
    assert (account.account_id, account.offering_id, list(account.sessions), list(account.debts)) == (account_id, "default", [], [])
    (after,) = account.buckets
    assert (after.granted, after.remaining, after.reserved, after.consumed, after.expired, after.transferred) == (
        100 * UNIT,
        68 * UNIT,
        0,
        32 * UNIT,
        0,
        0,
    )
    assert after.valid_until_time.ToMicroseconds() - after.valid_from_time.ToMicroseconds() == 86_400 * UNIT
    (record,) = await client.records(account_id, session)
    entry = record.session_settled
    assert (record.account_id, entry.charging_id, entry.record_sequence_number) == (account_id, session, 1)
    assert (entry.model_id, entry.key_id, entry.member_id, entry.offering_id) == (MODEL, "key-1", "mbr-1", "default")
    assert (entry.tariff_id, entry.tariff_version, entry.unit) == ("token-flat", 2, TOKEN)
    assert entry.usage == pb.TokenUsage(input=15, cached_input=5, output=10, reasoning=2)
    assert [(each.token_class, each.tokens, each.rate, each.amount) for each in entry.class_charges] == [
        (name, tokens, 1_000_000 * UNIT, tokens * UNIT)
        for name, tokens in (("input", 15), ("cached_input", 5), ("output", 10), ("reasoning", 2))
    ]
    assert (entry.charged_amount, entry.debt_amount) == (32 * UNIT, 0)
    assert list(entry.debits) == [pb.BucketAmount(bucket_id=bucket.bucket_id, amount=32 * UNIT)]
    assert list(entry.released) == [pb.BucketAmount(bucket_id=bucket.bucket_id, amount=28 * UNIT)]
    assert (entry.close_cause, entry.provenance) == (pb.CLOSE_CAUSE_NORMAL, pb.USAGE_PROVENANCE_VENDOR)
    assert [(each.vendor_id, each.outcome, each.http_status, each.duration_ms) for each in entry.attempts] == [
        ("v", "answered", 200, 12)
    ]
    assert entry.create_time_us == open_session.create_time.ToMicroseconds()


async def test_the_journal_tells_the_life_of_an_account(client: Client) -> None:
    account_id, session = await client.open(), charging_id()
    await client.charge(event(account_id, charging_id(), input=5))
    await client.grant(account_id, 100)
    for operation in (
        create(account_id, session),
        update(account_id, session, 2, input=1),
        release(account_id, session, 3, input=2),
    ):
        await client.charge(operation)
    facts = [entry for part_id in range(3) for entry in await client.journal(part_id) if entry.account_id == account_id]
    assert [entry.WhichOneof("fact") for entry in facts] == [
        "account_opened",
        "session_settled",
        "bucket_granted",
        "debt_repaid",
        "session_created",
        "session_updated",
        "session_settled",
    ]
    opened, owed, granted, repaid, created, updated, settled = facts
    assert opened.account_opened.offering_id == "default"
    assert owed.session_settled.debt_amount == 5 * UNIT
    assert owed.session_settled.provenance == pb.USAGE_PROVENANCE_ESTIMATED
    assert (granted.bucket_granted.amount, granted.bucket_granted.idempotency_key) == (100 * UNIT, "first")
    assert granted.bucket_granted.valid_until_us - granted.bucket_granted.valid_from_us == 86_400 * UNIT
    assert repaid.debt_repaid == pb.DebtRepaid(bucket_id=granted.bucket_granted.bucket_id, unit=TOKEN, amount=5 * UNIT)
    assert created.session_created.hold[0].amount == 60 * UNIT
    assert (updated.session_updated.invocation_sequence_number, updated.session_updated.used.input) == (2, 1)
    assert settled.session_settled.charged_amount == 2 * UNIT
    assert [entry.time_us for entry in facts] == sorted(entry.time_us for entry in facts)
    assert abs(facts[0].time_us - time.time_ns() // 1_000) < 60 * UNIT
    debts = (await client.account(account_id)).debts
    assert list(debts) == [pb.Debt(unit=TOKEN, incurred=5 * UNIT, repaid=5 * UNIT)]


async def test_money_and_points(client: Client) -> None:
    account_id, session = await client.open(offering_id="metered-usd"), charging_id()
    usd = pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="USD")
    grant = pb.GrantBucketRequest(
        account_id=account_id, unit=usd, amount=UNIT, valid_for=Duration(seconds=60), idempotency_key="cash", priority=1_000
    )
    granted = await answer(client.stub.GrantBucket(grant, timeout=WAIT_S))
    assert (granted.bucket.unit, granted.bucket.priority) == (usd, 1_000)
    (result,) = await client.charge(create(account_id, session, input_tokens_bound=1_000))
    assert result.granted.offering_id == "metered-usd"
    # 0.28, 0.028 and 0.42 USD per 1,000,000 tokens, each class rounded up by itself.
    (result,) = await client.charge(release(account_id, session, 2, input=7, cached_input=7, output=7))
    assert result.settled == pb.Settled(unit=usd, charged_amount=2 + 1 + 3)
    (refusal,) = await client.charge(create(account_id, charging_id(), output_tokens_limit=10**9, input_tokens_bound=10**8))
    assert refusal.refused.result_code == pb.RESULT_CODE_QUOTA_LIMIT_REACHED
    assert refusal.refused.unit == usd


async def test_a_refusal_says_what_is_missing(client: Client) -> None:
    account_id = await client.open(85)
    held, spent, denied = charging_id(), charging_id(), charging_id()
    (result,) = await client.charge(create(account_id, held, output_tokens_limit=100))
    assert result.granted.final_unit_action == pb.FINAL_UNIT_ACTION_TERMINATE
    assert (result.granted.output_tokens_granted, result.granted.output_tokens_payable) == (65, 65)
    results = await client.charge(
        create(account_id, charging_id(), 1),
        create(account_id, spent, 2, input_tokens_bound=60),
        create(account_id, denied, 3, model_id="no-such-model"),
    )
    assert results[0].refused == pb.Refused(
        result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED,
        unit=TOKEN,
        needed_amount=60 * UNIT,
        held_amount=85 * UNIT,
        retry_after_ms=1_000,
        held=True,
        offering_id="default",
        final_unit_action=pb.FINAL_UNIT_ACTION_TERMINATE,
    )
    assert (results[1].refused.needed_amount, results[1].refused.retry_after_ms) == (100 * UNIT, 0)
    assert results[2].refused.result_code == pb.RESULT_CODE_RATING_FAILED
    for operation in (update(account_id, spent, 2), release(account_id, denied, 2)):
        (result,) = await client.charge(operation)
        assert reason_of(result) == "SESSION_UNKNOWN"


async def test_a_model_that_the_offering_does_not_sell(client: Client) -> None:
    account_id = await client.open(50, offering_id="chat-basic")
    (result,) = await client.charge(create(account_id, charging_id()))
    assert result.refused.result_code == pb.RESULT_CODE_END_USER_SERVICE_DENIED


async def test_a_create_waits_for_what_another_session_holds(client: Client) -> None:
    account_id, first, second = await client.open(60), charging_id(), charging_id()
    async with client.stream() as stream:
        await stream.ask(create(account_id, first))
        # Sent together: the Create has to wait, the Release behind it makes room.
        await stream.send(create(account_id, second, 2), release(account_id, first, 2, 3))
        results = await stream.receive(2)
    assert [result.WhichOneof("result") for result in results] == ["granted", "settled"]
    await client.charge(release(account_id, second, 2))


async def test_opening_and_granting_are_idempotent(client: Client) -> None:
    account_id = await client.open()
    for offering_id in ("", "default"):
        request = pb.OpenAccountRequest(account_id=account_id, offering_id=offering_id)
        assert (await answer(client.stub.OpenAccount(request, timeout=WAIT_S))).account.account_id == account_id
    error = await refused(
        client.stub.OpenAccount(pb.OpenAccountRequest(account_id=account_id, offering_id="metered-usd"), timeout=WAIT_S)
    )
    assert error.reason == errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT
    first = await client.grant(account_id, 10)
    assert await client.grant(account_id, 10) == first
    await client.charge(event(account_id, charging_id(), input=3))
    # The answer is the bucket as it was granted, whatever it is now.
    assert await client.grant(account_id, 10) == first
    with pytest.raises(ServiceError) as raised:
        await client.grant(account_id, 11)
    assert raised.value.reason == errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT
    assert [bucket.granted for bucket in (await client.account(account_id)).buckets] == [10 * UNIT]


async def test_buckets_come_in_burn_order_and_one_can_begin_later(client: Client) -> None:
    account_id = await client.open()
    now_s = int(time.time())
    for key, priority, start_s, seconds in (
        ("a", 5, 0, 100),
        ("b", 0, now_s + 3_600, 100),
        ("c", 5, 0, 50),
        ("d", 0, now_s - 10, 99),
    ):
        request = pb.GrantBucketRequest(
            account_id=account_id,
            unit=TOKEN,
            amount=UNIT,
            valid_for=Duration(seconds=seconds),
            priority=priority,
            idempotency_key=key,
            valid_from_time=Timestamp(seconds=start_s) if start_s else None,
        )
        bucket = (await answer(client.stub.GrantBucket(request, timeout=WAIT_S))).bucket
        assert bucket.bucket_id == derived_name("bkt", account_id, key)
        assert not start_s or bucket.valid_from_time.seconds == start_s
    buckets = (await client.account(account_id)).buckets
    assert [bucket.bucket_id for bucket in buckets] == [derived_name("bkt", account_id, key) for key in "dbca"]
    (result,) = await client.charge(event(account_id, charging_id(), input=3))
    assert result.settled.debt_amount == 0
    assert [bucket.consumed for bucket in (await client.account(account_id)).buckets] == [UNIT, 0, UNIT, UNIT]


async def test_wrong_numbers_and_repeats(client: Client) -> None:
    account_id, session = await client.open(100), charging_id()
    async with client.stream() as stream:
        first = await stream.ask(create(account_id, session))
        assert await stream.ask(create(account_id, session)) == first
        (result,) = await stream.ask(create(account_id, session, output_tokens_limit=41))
        assert reason_of(result) == "IDEMPOTENCY_CONFLICT"
        updated = await stream.ask(update(account_id, session, 3, input=1))
        assert await stream.ask(update(account_id, session, 3, input=1)) == updated
        for operation, reason in (
            (create(account_id, session), "SEQUENCE_INVALID"),
            (update(account_id, session, 2, input=1), "SEQUENCE_INVALID"),
            (update(account_id, session, 3, input=2), "IDEMPOTENCY_CONFLICT"),
            (release(account_id, session, 3), "IDEMPOTENCY_CONFLICT"),
            (release(account_id, session, 1), "SEQUENCE_INVALID"),
            (event(account_id, session, number=4, input=1), "IDEMPOTENCY_CONFLICT"),
        ):
            (result,) = await stream.ask(operation)
            assert reason_of(result) == reason, operation
        settled = await stream.ask(release(account_id, session, 4, input=9))
        assert await stream.ask(release(account_id, session, 4, input=9)) == settled
        for operation, reason in (
            (release(account_id, session, 4, input=10), "IDEMPOTENCY_CONFLICT"),
            (release(account_id, session, 5, input=9), "SESSION_CLOSED"),
            (update(account_id, session, 5), "SESSION_CLOSED"),
            (create(account_id, session), "SESSION_CLOSED"),
            (release(account_id, charging_id(), 2), "SESSION_UNKNOWN"),
            (create(account_id, charging_id(ahead_ms=-900_000)), "CHARGING_ID_STALE"),
            (create(account_id, charging_id(ahead_ms=120_000)), "CHARGING_ID_STALE"),
        ):
            (result,) = await stream.ask(operation)
            assert reason_of(result) == reason, operation
    assert sum(bucket.consumed for bucket in (await client.account(account_id)).buckets) == 9 * UNIT


# Bad input


Change = Callable[[pb.ChargeOperation], object]


def changed(operation: pb.ChargeOperation, path: str, value: Any) -> pb.ChargeOperation:
    """The operation with one field, named by its path, set to something else."""
    *parents, last = path.split(".")
    message: Any = operation
    for parent in parents:
        message = getattr(message, parent)
    field = getattr(message, last)
    if hasattr(field, "add"):
        del field[:]
        field.extend(value)
    else:
        setattr(message, last, value)
    return operation


def attempt(**fields: Any) -> pb.VendorAttempt:
    return pb.VendorAttempt(**{"vendor_id": "v", "vendor_model_id": "m", "outcome": "answered", **fields})


COMMON = [
    ("account_id", "", "account_id must be"),
    ("account_id", "acct-1", "account_id must be"),
    ("account_id", "acct-" + "a" * 41, "account_id must be"),
    ("account_id", "acct-ABCDEFGH", "account_id must be"),
    ("account_id", "acct-0123456\n", "account_id must be"),
    ("account_id", "ACCT-01234567", "account_id must be"),
    ("charging_id", "", "charging_id must be a UUID of version 7"),
    ("charging_id", "not-a-uuid", "charging_id must be"),
    ("charging_id", "01890A5D-AC96-774B-BCCE-B302099A8057", "charging_id must be"),
    ("charging_id", "01890a5d-ac96-474b-bcce-b302099a8057", "charging_id must be"),
    ("charging_id", "01890a5dac96774bbcceb302099a8057", "charging_id must be"),
    ("invocation_sequence_number", 0, "invocation_sequence_number must be 1 or above"),
    ("invocation_sequence_number", -1, "invocation_sequence_number must be 1 or above"),
]
NAMES = [
    (name, value, f"{name} must have 1 to 200 characters")
    for name in ("model_id", "key_id", "member_id")
    for value in ("", "x" * 201)
]
USED = [(f"used.{name}", -1, "used must not be negative") for name in TOKEN_CLASSES]
ATTEMPTS = [
    ("attempts", [attempt()] * 33, "attempts must be at most 32"),
    ("attempts", [attempt(outcome="")], "attempts.outcome must be one of answered"),
    ("attempts", [attempt(outcome="splendid")], "attempts.outcome must be one of"),
    ("attempts", [attempt(vendor_id="x" * 201)], "attempts.vendor_id"),
    ("attempts", [attempt(vendor_model_id="x" * 201)], "vendor_model_id"),
    ("attempts", [attempt(duration_ms=-1)], "attempts.duration_ms"),
    ("attempts", [attempt(http_status=-1)], "http_status must be 0 to 999"),
    ("attempts", [attempt(http_status=1_000)], "http_status must be 0 to 999"),
]
PROVENANCE = [("provenance", value, "provenance") for value in (0, 5, 99)]
BAD_OPERATIONS = [
    *[(kind, *case) for kind in ("create", "update", "release", "event") for case in COMMON],
    ("create", "invocation_sequence_number", 2, "invocation_sequence_number of a Create must be 1"),
    *[("create", f"create.{path}", value, text) for path, value, text in NAMES],
    ("create", "create.input_tokens_bound", -1, "input_tokens_bound must not be negative"),
    ("create", "create.output_tokens_limit", -1, "output_tokens_limit must not be negative"),
    ("create", "create.output_tokens_limit", -INT64_MAX, "output_tokens_limit must not be negative"),
    ("update", "update.output_tokens_wanted", -1, "output_tokens_wanted must not be negative"),
    *[(kind, f"{kind}.{path}", value, text) for kind in ("update", "release", "event") for path, value, text in USED],
    *[(kind, f"{kind}.{path}", value, text) for kind in ("release", "event") for path, value, text in [*ATTEMPTS, *PROVENANCE]],
    *[("release", "release.close_cause", value, "close_cause") for value in (0, 5, 8, 99)],
    *[("release", path.replace("used.", "release.unpaid."), value, text.replace("used", "unpaid")) for path, value, text in USED],
    *[("event", f"event.{path}", value, text) for path, value, text in NAMES],
]


def operation_of(kind: str, account_id: str, session: str) -> pb.ChargeOperation:
    match kind:
        case "create":
            return create(account_id, session)
        case "update":
            return update(account_id, session, 2)
        case "release":
            return release(account_id, session, 2)
    return event(account_id, session)


async def test_every_bad_field_of_an_operation_is_named(client: Client) -> None:
    account_id, session = await client.open(100), charging_id()
    await client.charge(create(account_id, session))
    before = await client.account(account_id)
    operations = []
    for number, (kind, path, value, _) in enumerate(BAD_OPERATIONS):
        operation = changed(operation_of(kind, account_id, session), path, value)
        operation.operation_id = number
        operations.append(operation)
    # They come all in one batch with good ones around them, which they must not touch.
    first, last = update(account_id, session, 2, operation_id=10_000), update(account_id, session, 3, operation_id=10_001)
    results = await client.charge(first, *operations, last)
    assert len(results) == len(operations) + 2
    for result, (kind, path, value, text) in zip(results, BAD_OPERATIONS, strict=False):
        case = f"{kind} with {path}={value!r}"
        assert reason_of(result) == "INVALID_ARGUMENT", (case, result)
        assert text in result.error.message, case
    assert [result.WhichOneof("result") for result in results[-2:]] == ["granted", "granted"]
    assert (await client.account(account_id)).buckets == before.buckets


async def test_an_operation_that_says_nothing_is_refused(client: Client) -> None:
    account_id = await client.open()
    (result,) = await client.charge(
        pb.ChargeOperation(account_id=account_id, charging_id=charging_id(), invocation_sequence_number=1)
    )
    assert reason_of(result) == "INVALID_ARGUMENT"
    assert "create, update, release, event or top_up" in result.error.message


@pytest.mark.parametrize("tokens", [10_000_000_001, INT64_MAX])
async def test_absurd_token_counts_are_refused_by_name(client: Client, tokens: int) -> None:
    account_id, session = await client.open(100), charging_id()
    await client.charge(create(account_id, session))
    cases = [
        (create(account_id, charging_id(), input_tokens_bound=tokens), "input_tokens_bound"),
        (create(account_id, charging_id(), output_tokens_limit=tokens), "output_tokens_limit"),
        *[
            (make(account_id, session, **{name: tokens}), f"used.{name}")
            for name in TOKEN_CLASSES
            for make in (
                lambda account, session, **used: update(account, session, 2, **used),
                lambda account, session, **used: release(account, session, 2, **used),
                lambda account, _, **used: event(account, charging_id(), **used),
            )
        ],
    ]
    for operation, field in cases:
        (result,) = await client.charge(operation)
        assert reason_of(result) == "AMOUNT_OVERFLOW"
        assert field in result.error.message
    # Wanting as much as can be said is no fault: one gets what the session's limit and the balance allow.
    (result,) = await client.charge(update(account_id, session, 2, wanted=INT64_MAX))
    assert result.granted.output_tokens_granted == 40


GRANT: dict[str, Any] = {
    "account_id": "acct-0123456789",
    "unit": TOKEN,
    "amount": UNIT,
    "valid_for": Duration(seconds=60),
    "idempotency_key": "key",
}
BAD_GRANTS: list[tuple[dict[str, Any], str]] = [
    ({"account_id": "nobody"}, "account_id must be"),
    ({"amount": 0}, "amount must be above 0"),
    ({"amount": -1}, "amount must be above 0"),
    ({"unit": None}, "unit must be TOKEN, POINT or CURRENCY"),
    ({"unit": pb.UnitOfAmount(unit=registry_pb2.UNIT_UNSPECIFIED)}, "unit must be"),
    ({"unit": pb.UnitOfAmount(unit=99)}, "unit must be"),  # type: ignore[arg-type]  # an open enum
    ({"unit": pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY)}, "currency must be an ISO 4217 code"),
    ({"unit": pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="usd")}, "currency must be"),
    ({"unit": pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="USDT")}, "currency must be"),
    ({"unit": pb.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN, currency="USD")}, "currency is given exactly for"),
    ({"valid_for": None}, "valid_for must be whole seconds"),
    ({"valid_for": Duration(seconds=0)}, "valid_for must be"),
    ({"valid_for": Duration(seconds=-1)}, "valid_for must be"),
    ({"valid_for": Duration(seconds=1, nanos=1)}, "valid_for must be"),
    ({"valid_for": Duration(seconds=101 * 366 * 86_400)}, "valid_for must be"),
    ({"valid_from_time": Timestamp(seconds=-1)}, "valid_from_time must lie"),
    ({"valid_from_time": Timestamp(seconds=253_402_300_799)}, "valid_from_time must lie"),
    ({"valid_from_time": Timestamp(seconds=1)}, "valid_from_time"),
    ({"priority": -1}, "priority must be 0 to 1000"),
    ({"priority": 1_001}, "priority must be 0 to 1000"),
    ({"idempotency_key": ""}, "idempotency_key must have 1 to 200"),
    ({"idempotency_key": "x" * 201}, "idempotency_key must have 1 to 200"),
]


async def test_every_bad_field_of_a_grant_is_named(client: Client) -> None:
    account_id = await client.open()
    for fields, text in BAD_GRANTS:
        values = {**GRANT, "account_id": account_id, **fields}
        request = pb.GrantBucketRequest(**{name: value for name, value in values.items() if value is not None})
        error = await refused(client.stub.GrantBucket(request, timeout=WAIT_S))
        assert error.reason == errors_pb2.ERROR_REASON_INVALID_ARGUMENT, fields
        assert text in error.message, fields
    assert list((await client.account(account_id)).buckets) == []


async def test_a_grant_beyond_all_amounts_is_refused(client: Client) -> None:
    account_id = await client.open()
    request = pb.GrantBucketRequest(**{**GRANT, "account_id": account_id, "amount": INT64_MAX})
    assert (await refused(client.stub.GrantBucket(request, timeout=WAIT_S))).reason == errors_pb2.ERROR_REASON_AMOUNT_OVERFLOW


async def test_bad_fields_of_the_other_calls_are_named(client: Client) -> None:
    stub = client.stub
    account_id = await client.open()
    cases = [
        (stub.OpenAccount(pb.OpenAccountRequest(), timeout=WAIT_S), "INVALID_ARGUMENT", "account_id"),
        (stub.OpenAccount(pb.OpenAccountRequest(account_id="x"), timeout=WAIT_S), "INVALID_ARGUMENT", "account_id"),
        (
            stub.OpenAccount(pb.OpenAccountRequest(account_id="acct-01234567", offering_id="x" * 201), timeout=WAIT_S),
            "INVALID_ARGUMENT",
            "offering_id",
        ),
        (
            stub.OpenAccount(pb.OpenAccountRequest(account_id="acct-01234567", offering_id="gold"), timeout=WAIT_S),
            "OFFERING_UNKNOWN",
            "metered-usd",
        ),
        (stub.GetAccount(pb.GetAccountRequest(), timeout=WAIT_S), "INVALID_ARGUMENT", "account_id"),
        (stub.ListBurning(pb.ListBurningRequest(account_limit=1), timeout=WAIT_S), "INVALID_ARGUMENT", "window_seconds"),
        (stub.ListBurning(pb.ListBurningRequest(window_seconds=60), timeout=WAIT_S), "INVALID_ARGUMENT", "account_limit"),
        (stub.GetAccount(pb.GetAccountRequest(account_id="acct-nobody0000"), timeout=WAIT_S), "ACCOUNT_UNKNOWN", "acct-nobody0000"),
        (
            stub.GetSessionRecords(pb.GetSessionRecordsRequest(account_id=account_id), timeout=WAIT_S),
            "INVALID_ARGUMENT",
            "charging_id",
        ),
        (
            stub.GetSessionRecords(pb.GetSessionRecordsRequest(account_id="x", charging_id=charging_id()), timeout=WAIT_S),
            "INVALID_ARGUMENT",
            "account_id",
        ),
        (
            stub.GetSessionRecords(pb.GetSessionRecordsRequest(account_id=account_id, charging_id=charging_id()), timeout=WAIT_S),
            "RECORD_UNKNOWN",
            account_id,
        ),
        (
            stub.GetSessionRecords(
                pb.GetSessionRecordsRequest(account_id="acct-nobody0000", charging_id=charging_id()), timeout=WAIT_S
            ),
            "ACCOUNT_UNKNOWN",
            "acct-nobody0000",
        ),
    ]
    for call, reason, text in cases:
        error = await refused(call)
        assert error.reason_name == reason
        assert text in error.message
    for request, text in (
        (pb.ReadJournalRequest(part_id=-1), "part_id must be 0 to 2"),
        (pb.ReadJournalRequest(part_id=3), "part_id must be 0 to 2"),
        (pb.ReadJournalRequest(after_sequence_number=-1), "must not be negative"),
        (pb.ReadJournalRequest(to_sequence_number=-1), "must not be negative"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [each async for each in client.stub.ReadJournal(request, timeout=WAIT_S)]
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert text in str(raised.value.details())


async def test_an_unknown_account_is_unknown_in_every_operation(client: Client) -> None:
    operations = [operation_of(kind, "acct-nobody0000", charging_id()) for kind in ("create", "update", "release", "event")]
    for number, operation in enumerate(operations):
        operation.operation_id = number
    assert {reason_of(result) for result in await client.charge(*operations)} == {"ACCOUNT_UNKNOWN"}
    error = await refused(
        client.stub.GrantBucket(pb.GrantBucketRequest(**{**GRANT, "account_id": "acct-nobody0000"}), timeout=WAIT_S)
    )
    assert error.reason == errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN


# The stream


async def test_1024_operations_in_one_request_and_not_one_more(client: Client) -> None:
    account_id = await client.open(2_000)
    operations = [event(account_id, charging_id(), number, input=1) for number in range(1_025)]
    async with client.stream() as stream:
        results = await stream.ask(*operations[:1_024])
        assert all(result.settled.charged_amount == UNIT for result in results)
        # All of them went into a commit or two.
        assert stream.responses <= 4
        await stream.send(*operations)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            while await stream.call.read() is not grpc.aio.EOF:
                pass
            await stream.call
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert raised.value.details() == "operations must be at most 1024"
    # The one behind the thousand was not taken.
    assert sum(bucket.consumed for bucket in (await client.account(account_id)).buckets) == 1_024 * UNIT


async def test_what_was_asked_before_a_malformed_request_is_answered(client: Client) -> None:
    account_id = await client.open(100)
    async with client.stream() as stream:
        await stream.send(event(account_id, charging_id(), 1, input=1))
        await stream.send(*[event(account_id, charging_id(), number, input=1) for number in range(1_025)])
        (result,) = await stream.receive(1)
        assert result.settled.charged_amount == UNIT


async def test_a_stream_that_breaks_is_resumed_with_the_same_operations(client: Client) -> None:
    account_id = await client.open(10_000)
    sessions = [charging_id() for _ in range(50)]
    creates = [create(account_id, session, number) for number, session in enumerate(sessions)]
    releases = [release(account_id, session, 2, 100 + number, input=number) for number, session in enumerate(sessions)]
    events = [event(account_id, charging_id(), 200 + number, input=1) for number in range(50)]
    for rounds in range(3):
        async with client.stream() as stream:
            # Sent, perhaps carried out, and never read.
            await stream.send(*creates[: 20 * rounds], *events)
    first = await client.charge(*creates, *events)
    assert await client.charge(*creates, *events) == first
    async with client.stream() as stream:
        await stream.send(*releases)
    settled = await client.charge(*releases, *events)
    assert await client.charge(*releases, *events) == settled
    account = await client.account(account_id)
    assert sum(bucket.consumed for bucket in account.buckets) == (sum(range(50)) + 50) * UNIT
    assert list(account.sessions) == []


async def test_a_caller_that_sends_no_more_still_gets_its_answers(client: Client) -> None:
    account_id = await client.open(100)
    async with client.stream() as stream:
        await stream.send(*[event(account_id, charging_id(), number, input=1) for number in range(20)])
        await stream.call.done_writing()
        assert len(await stream.receive(20)) == 20
        assert await stream.call.read() is grpc.aio.EOF
        assert await stream.call.code() == grpc.StatusCode.OK


async def test_a_stream_ends_with_its_last_answer_and_not_before(client: Client) -> None:
    account_id = await client.open(60)
    async with client.stream() as stream:
        await stream.ask(create(account_id, charging_id()))
        # The Create waits for what the first one holds; what is behind it is answered in a commit before.
        await stream.send(create(account_id, charging_id(), 2), event(account_id, charging_id(), 3, input=1))
        await stream.call.done_writing()
        assert [(await stream.receive(1))[0].operation_id for _ in range(2)] == [3, 2]
        assert await stream.call.read() is grpc.aio.EOF


async def test_a_stream_without_operations_ends(client: Client) -> None:
    async with client.stream() as stream:
        await stream.send()
        await stream.call.done_writing()
        assert await stream.call.read() is grpc.aio.EOF


async def test_operations_of_an_account_take_effect_in_the_order_sent(client: Client) -> None:
    account_id, session = await client.open(100), charging_id()
    results = await client.charge(
        create(account_id, session, 1),
        update(account_id, session, 2, 2, input=1),
        update(account_id, session, 3, 3, input=2),
        release(account_id, session, 4, 4, input=3),
    )
    assert [result.WhichOneof("result") for result in results] == ["granted", "granted", "granted", "settled"]


async def test_many_streams_race_for_one_balance(client: Client) -> None:
    account_id = await client.open(600)

    async def burst(number: int) -> list[pb.ChargeResult]:
        return await client.charge(*[create(account_id, charging_id(), each) for each in range(10)])

    results = [result for each in await asyncio.gather(*[burst(number) for number in range(10)]) for result in each]
    assert sum(result.WhichOneof("result") == "granted" for result in results) == 10
    (bucket,) = (await client.account(account_id)).buckets
    assert (bucket.remaining, bucket.reserved) == (0, 600 * UNIT)


# Journal and records


async def test_the_journal_is_read_in_pages_and_ranges(tmp_path: Path) -> None:
    async with cell(tmp_path, partitions=1) as client:
        account_id = await client.open(10_000)
        async with client.stream() as stream:
            for _ in range(430):
                await stream.ask(event(account_id, charging_id(), input=1))
        (part,) = (await answer(client.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=WAIT_S))).partitions
        last = part.last_sequence_number
        assert (part.part_id, part.epoch, last) == (0, 1, 432)
        entries = await client.journal(0)
        assert [entry.sequence_number for entry in entries] == list(range(1, last + 1))
        assert {entry.part_id for entry in entries} == {0}
        for after, to in ((0, 1), (0, 200), (0, 400), (5, 5), (5, 6), (200, 0), (400, 0), (199, 401), (last - 1, 0), (230, 430)):
            wanted = [entry for entry in entries if after < entry.sequence_number <= (to or last)]
            assert await client.journal(0, after, to) == wanted, (after, to)
        for after, to in ((last, 0), (last + 100, 0), (9, 3), (INT64_MAX, 0), (INT64_MAX, INT64_MAX)):
            assert await client.journal(0, after, to) == []
        # Beyond the end it ends with the journal.
        assert await client.journal(0, 430, INT64_MAX) == entries[430:]


async def test_a_rows_entries_are_numbered_and_stay_together(client: Client) -> None:
    account_id = await client.open(3_000)
    await client.charge(*[event(account_id, charging_id(), number, input=1) for number in range(1_000)])
    for part_id in range(3):
        seen: set[int] = set()
        async for response in client.stub.ReadJournal(pb.ReadJournalRequest(part_id=part_id), timeout=WAIT_S):
            numbers = {entry.sequence_number for entry in response.entries}
            assert not numbers & seen
            seen |= numbers
            for number in numbers:
                indices = [entry.index for entry in response.entries if entry.sequence_number == number]
                assert indices == list(range(len(indices)))


async def test_a_late_release_has_two_records(client: Client) -> None:
    account_id, session = await client.open(100), charging_id()
    await client.charge(create(account_id, session))
    await client.charge(update(account_id, session, 2, input=20, output=1))
    error = await refused(
        client.stub.GetSessionRecords(pb.GetSessionRecordsRequest(account_id=account_id, charging_id=session), timeout=WAIT_S)
    )
    assert error.reason == errors_pb2.ERROR_REASON_RECORD_UNKNOWN
    async with asyncio.timeout(WAIT_S):
        while (await client.account(account_id)).sessions:  # noqa: ASYNC110  # nothing of the contract tells of a sweep
            await asyncio.sleep(0.1)
    (swept,) = await client.records(account_id, session)
    assert (swept.session_settled.close_cause, swept.session_settled.provenance) == (
        pb.CLOSE_CAUSE_SWEPT,
        pb.USAGE_PROVENANCE_PARTIAL,
    )
    assert swept.session_settled.charged_amount == 21 * UNIT
    (result,) = await client.charge(release(account_id, session, 3, input=20, output=9))
    assert result.settled.charged_amount == 8 * UNIT
    first, second = await client.records(account_id, session)
    assert first == swept
    entry = second.session_settled
    assert (entry.record_sequence_number, entry.charged_amount, entry.usage.output) == (2, 8 * UNIT, 9)
    assert (second.part_id, second.sequence_number > first.sequence_number) == (first.part_id, True)
    assert sum(bucket.consumed for bucket in (await client.account(account_id)).buckets) == 29 * UNIT


# Audit


async def test_an_audit_counts_what_there_is(tmp_path: Path) -> None:
    async with cell(tmp_path) as client:
        empty = await client.audit()
        assert (empty.accounts, empty.buckets, empty.entries, empty.open_sessions, list(empty.breaches)) == (0, 0, 0, 0, [])
        first, second = await client.open(100), await client.open(50)
        await client.grant(first, 5, key="second")
        await client.charge(create(first, charging_id()), event(second, charging_id(), 2, input=70))
        found = await client.audit()
    assert (found.accounts, found.buckets, found.entries, found.open_sessions) == (2, 3, 7, 1)
    assert (list(found.transits), list(found.breaches)) == ([], [])


async def tampered_store(folder: Path) -> sqlite3.Connection:
    """The database of a service that has ended, with sessions of every kind in it."""
    async with cell(folder, partitions=1, checkpoint_age_ms=100) as client:
        account_id, session = await client.open(100), charging_id()
        await client.charge(create(account_id, session))
        await client.charge(update(account_id, session, 2, input=20))
        await client.charge(release(account_id, session, 3, input=20, output=4))
        await client.charge(event(account_id, charging_id(), input=90))
        await client.grant(account_id, 74, key="second")
        await client.charge(create(account_id, charging_id()))
    return sqlite3.connect(folder / "accounting.db")


def alter_row(connection: sqlite3.Connection, kind: type, **changes: Any) -> None:
    """Changes the first entry of a kind in the journal."""
    for seq, body in connection.execute("SELECT seq, body FROM journal WHERE part_id = 0 ORDER BY seq").fetchall():
        entries = decode_row(body, "it")
        for index, entry in enumerate(entries):
            if isinstance(entry, kind):
                entries[index] = msgspec.structs.replace(entry, **changes)
                connection.execute("UPDATE journal SET body = ? WHERE part_id = 0 AND seq = ?", (encode_row(entries), seq))
                return
    raise AssertionError(kind)


def alter_checkpoint(connection: sqlite3.Connection, change: Callable[[Any], None]) -> None:
    ((body,),) = connection.execute("SELECT body FROM checkpoint").fetchall()
    account = decode_checkpoint(body, "it")
    change(account)
    connection.execute("UPDATE checkpoint SET body = ?", (encode_checkpoint(account),))


def more_remaining(account: Any) -> None:
    """Gives a bucket a million tokens."""
    next(iter(account.buckets.values())).remaining += 10**12


def more_granted(account: Any) -> None:
    """The same, so that the bucket adds up in itself."""
    bucket = next(iter(account.buckets.values()))
    bucket.remaining += 10**12
    bucket.granted += 10**12


def no_debt(account: Any) -> None:
    account.debts.clear()


def no_session(account: Any) -> None:
    account.sessions.clear()


def no_bucket(account: Any) -> None:
    account.buckets.popitem()


TAMPERINGS: list[tuple[str, Callable[[sqlite3.Connection], object], str]] = [
    ("remaining", lambda connection: alter_checkpoint(connection, more_remaining), "granted is not remaining"),
    ("granted", lambda connection: alter_checkpoint(connection, more_granted), "the journal says"),
    ("debt", lambda connection: alter_checkpoint(connection, no_debt), "debt in TOKEN"),
    ("hold", lambda connection: alter_checkpoint(connection, no_session), "holds"),
    ("bucket", lambda connection: alter_checkpoint(connection, no_bucket), "in the state"),
    ("charge", lambda connection: alter_row(connection, SessionSettled, charged=UNIT), "but took"),
    ("classes", lambda connection: alter_row(connection, SessionSettled, class_amounts=(1, 0, 0, 0, 0)), "its classes come to"),
    ("absorbed", lambda connection: alter_row(connection, SessionSettled, absorbed=1), "its classes come to"),
    ("unpaid", lambda connection: alter_row(connection, SessionSettled, absorbed=1, unpaid_amounts=(1,)), "absorbed in the state"),
    ("released", lambda connection: alter_row(connection, SessionSettled, released=()), "not given back exactly"),
    ("stranger", lambda connection: alter_row(connection, SessionSettled, held_debits=(("bkt-x", UNIT),)), "never granted"),
    ("record", lambda connection: alter_row(connection, SessionSettled, charging_id="another"), "not given back|in the state"),
    ("missing row", lambda connection: connection.execute("DELETE FROM journal WHERE seq = 3"), "row 3 is missing"),
    ("last row", lambda connection: connection.execute("DELETE FROM journal WHERE seq = 8"), "the journal ends at 7, not 8"),
    ("all rows", lambda connection: connection.execute("DELETE FROM journal"), "has a checkpoint but no journal"),
    ("garbage row", lambda connection: connection.execute("UPDATE journal SET body = x'ff' WHERE seq = 3"), "row 0/3 is damaged"),
    (
        "garbage first row",
        lambda connection: connection.execute("UPDATE journal SET body = x'ff' WHERE seq = 1"),
        "before the account",
    ),
    (
        "garbage state",
        lambda connection: connection.execute("UPDATE checkpoint SET body = x'92'"),
        "the checkpoint of acct-.* is damaged",
    ),
    ("count", lambda connection: connection.execute("UPDATE journal SET entry_count = 9 WHERE seq = 3"), "has 1 entries, not 9"),
    ("no checkpoint", lambda connection: connection.execute("DELETE FROM checkpoint"), "below the low-water mark"),
]


async def test_an_audit_finds_what_was_tampered_with(tmp_path: Path) -> None:
    connection = await tampered_store(tmp_path)
    store = await SqliteStore.open(tmp_path / "accounting.db")
    assert (await store.snapshot(audit)).breaches == []
    for name, tamper, text in TAMPERINGS:
        before = connection.execute("SELECT * FROM journal").fetchall(), connection.execute("SELECT * FROM checkpoint").fetchall()
        tamper(connection)
        connection.commit()
        breaches = (await store.snapshot(audit)).breaches
        assert breaches, name
        assert any(re.search(text, breach) for breach in breaches), (name, breaches)
        connection.execute("DELETE FROM journal")
        connection.execute("DELETE FROM checkpoint")
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", before[0])
        connection.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", before[1])
        connection.commit()
    assert (await store.snapshot(audit)).breaches == []
    await store.close()
    connection.close()


async def test_the_audit_call_tells_of_a_tampered_database(tmp_path: Path) -> None:
    connection = await tampered_store(tmp_path)
    alter_checkpoint(connection, more_granted)
    connection.commit()
    connection.close()
    async with cell(tmp_path, partitions=1) as client:
        (breach, *_) = (await client.audit()).breaches
        assert "the journal says" in breach


# Starting, stopping, and others


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    session = charging_id()
    async with cell(tmp_path) as client:
        account_id = await client.open(100)
        first = await client.charge(create(account_id, session))
        before = await client.account(account_id)
    async with cell(tmp_path) as client:
        assert await client.account(account_id) == before
        assert await client.charge(create(account_id, session)) == first
        (result,) = await client.charge(release(account_id, session, 2, input=20))
        assert result.settled.charged_amount == 20 * UNIT
        assert {
            part.epoch for part in (await answer(client.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=WAIT_S))).partitions
        } == {2}


async def test_a_stop_answers_and_ends_the_streams(tmp_path: Path) -> None:
    address, lifecycle = f"unix:{tmp_path / 'accounting.sock'}", Lifecycle()
    async with registry(tmp_path), connect(address) as channel:
        client = Client(channel, lifecycle)
        async with run_accounting(config_of(tmp_path, listen_address=address, held_wait_ms=10_000), lifecycle):
            await client.health(SERVING)
            account_id = await client.open(60)
            stream = cells.Stream(client.stub.Charge(timeout=WAIT_S))
            await stream.ask(create(account_id, charging_id()))
            # It waits for what the first holds, for ten seconds; the Event behind it is answered at once.
            await stream.send(create(account_id, charging_id(), 2), event(account_id, charging_id(), 3))
            (result,) = await stream.receive(1)
            assert result.operation_id == 3
        (result,) = await stream.receive(1)
        assert (result.operation_id, result.refused.retry_after_ms) == (2, 1_000)
        assert await stream.call.read() is grpc.aio.EOF
        # Open streams hold nobody up: the server would have cut this one off.
        assert await stream.call.code() == grpc.StatusCode.OK
    assert lifecycle.failure is None


async def test_a_second_service_on_the_same_database_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with registry(tmp_path), accounting(config_of(tmp_path)) as client:
        await client.health(SERVING)
        account_id = await client.open(100)
        with pytest.raises(InUseError, match=rf"accounting\.db is in use by process {os.getpid()}"):
            async with run_accounting(config_of(tmp_path), Lifecycle()):
                pass
        (result,) = await client.charge(event(account_id, charging_id(), input=1))
        assert result.settled.charged_amount == UNIT


async def test_an_owner_whose_partitions_were_claimed_answers_not_owner_and_ends(tmp_path: Path) -> None:
    lifecycle = Lifecycle()
    async with registry(tmp_path), run_accounting(config_of(tmp_path), lifecycle) as address, connect(address) as channel:
        client = Client(channel, lifecycle)
        await client.health(SERVING)
        account_id = await client.open(100)
        # Somebody who does not know of the lock, on another host perhaps, claims what the fence then protects.
        thief = await SqliteStore.open(tmp_path / "accounting.db")
        assert len(await claim(thief, "own-thief", again=False)) == 3
        (result,) = await client.charge(event(account_id, charging_id(), input=1))
        assert reason_of(result) == "NOT_OWNER"
        await asyncio.wait_for(lifecycle.wait(), WAIT_S)
        assert isinstance(lifecycle.failure, BaseExceptionGroup)
        assert lifecycle.failure.subgroup(OwnershipLostError) is not None
        findings = await thief.snapshot(audit)
        assert findings.breaches == []
        await thief.close()


async def test_a_database_of_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    async with accounting(config_of(tmp_path)):
        pass
    with pytest.raises(ServiceError, match="set partitions to 3"):
        async with accounting(config_of(tmp_path, partitions=4)):
            pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "accounting.db").write_bytes(b"these are not the pages you are looking for" * 99)
    with pytest.raises(SchemaError, match="not a database of ours"):
        async with accounting(config_of(tmp_path)):
            pass


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("partitions: 0", "partitions must be 1 to 4096"),
        ("partitions: 5000", "partitions must be 1 to 4096"),
        ("validity_ms: 999", "validity_ms must be 1000 to 600000"),
        ("held_wait_ms: -1", "held_wait_ms must be 0 to 10000"),
        ("checkpoint_age_ms: 99", "checkpoint_age_ms must be 100 to 600000"),
        ("partition: 3", "partition"),
    ],
)
async def test_a_wrong_config_is_named(tmp_path: Path, line: str, text: str) -> None:
    yaml = f"listen_address: 127.0.0.1:0\ndatabase: a.db\nregistry_address: 127.0.0.1:1\n{line}\n"
    with pytest.raises(ConfigError, match=text):
        parse_yaml(yaml, AccountingConfig, "accounting.yaml")
