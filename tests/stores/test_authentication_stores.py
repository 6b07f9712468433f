"""One suite for every store of authentication."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.authentication.postgresql_store import PostgresqlStore
from services.authentication.sqlite_store import SqliteStore
from services.authentication.store import Key, Member, MemoryStore, Store, Suspension
from services.runtime.errors import SchemaError, ServiceError


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "authentication.db")
    else:
        made = await PostgresqlStore.open(request.getfixturevalue("postgresql").new_database())
    yield made
    await made.close()


def member(name: str, account_id: str = "acct-1", display_name: str = "") -> Member:
    return Member(f"mem-{name}", account_id, display_name, 1_000, f"member-{name}")


def key(name: str, account_id: str = "acct-1", member_id: str = "") -> Key:
    return Key(f"key-{name}", account_id, member_id, f"tl-…{name}", f"hash-{name}".encode(), 2_000, f"issue-{name}")


def reason(raised: pytest.ExceptionInfo[ServiceError]) -> str:
    return raised.value.reason_name


async def test_a_member_is_added_once(store: Store) -> None:
    assert await store.add_member(member("a")) == member("a")
    assert await store.add_member(member("a")._replace(member_id="mem-other", created_us=9)) == member("a")
    with pytest.raises(ServiceError) as raised:
        await store.add_member(member("a", account_id="acct-2"))
    assert reason(raised) == "IDEMPOTENCY_CONFLICT"
    with pytest.raises(ServiceError) as raised:
        await store.add_member(member("a", display_name="somebody else"))
    assert reason(raised) == "IDEMPOTENCY_CONFLICT"


async def test_a_key_goes_to_the_first_member_or_to_the_one_that_is_named(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_member(member("b"))
    assert (await store.add_key(key("1"))).member_id == "mem-a"
    assert (await store.add_key(key("2", member_id="mem-b"))).member_id == "mem-b"
    assert [each.key_id for each in await store.list_keys("acct-1")] == ["key-1", "key-2"]
    assert await store.list_keys("acct-2") == []


async def test_the_oldest_comes_first_whatever_the_order_of_arrival(store: Store) -> None:
    await store.add_member(member("late")._replace(created_us=2_000))
    await store.add_member(member("early")._replace(created_us=1_000))
    await store.add_member(member("other", account_id="acct-2"))
    assert await store.list_members("acct-1") == ["mem-early", "mem-late"]
    assert await store.list_members("acct-3") == []
    assert (await store.add_key(key("late")._replace(created_us=2_000))).member_id == "mem-early"
    for name in ("early", "also-early"):
        await store.add_key(key(name)._replace(created_us=1_000))
    assert [each.key_id for each in await store.list_keys("acct-1")] == ["key-early", "key-also-early", "key-late"]


@pytest.mark.parametrize("wanted", [key("1"), key("1", account_id="acct-2"), key("1", member_id="mem-c")])
async def test_a_key_needs_a_member_of_its_account(store: Store, wanted: Key) -> None:
    await store.add_member(member("b", account_id="acct-3"))
    if wanted.member_id:
        await store.add_member(member("a"))
    with pytest.raises(ServiceError) as raised:
        await store.add_key(wanted)
    assert reason(raised) == "ACCOUNT_UNKNOWN"


async def test_an_idempotency_key_issues_one_key(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_member(member("b", account_id="acct-2"))
    await store.add_key(key("1"))
    with pytest.raises(ServiceError, match="key-1") as raised:
        await store.add_key(key("2")._replace(idempotency_key="issue-1"))
    assert reason(raised) == "ALREADY_EXISTS"
    with pytest.raises(ServiceError) as raised:
        await store.add_key(key("2", account_id="acct-2")._replace(idempotency_key="issue-1"))
    assert reason(raised) == "IDEMPOTENCY_CONFLICT"
    assert [each.key_id for each in await store.list_keys("acct-1")] == ["key-1"]


async def test_a_key_is_found_by_its_hash_alone(store: Store) -> None:
    await store.add_member(member("a"))
    issued = await store.add_key(key("1"))
    assert await store.find_key(b"hash-1") == issued
    assert await store.find_key(b"hash-2") is None


async def test_a_key_is_revoked_once_and_for_good(store: Store) -> None:
    await store.add_member(member("a"))
    for name in "123":
        await store.add_key(key(name))
    assert await store.revocations(0) == (0, [], [])
    first = await store.revoke_key("key-2", 5_000)
    assert (first.revoked_us, first.revision) == (5_000, 1)
    assert await store.revoke_key("key-2", 9_000) == first
    second = await store.revoke_key("key-1", 6_000)
    assert second.revision == 2
    assert await store.revocations(0) == (2, ["key-2", "key-1"], [])
    assert await store.revocations(1) == (2, ["key-1"], [])
    assert await store.revocations(2) == (2, [], [])
    found = await store.find_key(b"hash-2")
    assert found is not None
    assert found.revision == 1
    with pytest.raises(ServiceError) as raised:
        await store.revoke_key("key-9", 1)
    assert reason(raised) == "KEY_UNKNOWN"


async def test_an_account_is_suspended_and_resumed_each_once(store: Store) -> None:
    await store.add_member(member("a"))
    assert await store.find_suspension("acct-1") is None
    first = await store.suspend_account("acct-1", 5_000)
    assert first == Suspension("acct-1", 5_000, 0, 1)
    assert await store.suspend_account("acct-1", 6_000) == first
    assert await store.find_suspension("acct-1") == first
    over = await store.resume_account("acct-1", 7_000)
    assert over == Suspension("acct-1", 5_000, 7_000, 1)
    assert await store.resume_account("acct-1", 8_000) == over
    assert await store.find_suspension("acct-1") == over
    # Another time is another suspension.
    again = await store.suspend_account("acct-1", 9_000)
    assert again == Suspension("acct-1", 9_000, 0, 2)
    assert await store.find_suspension("acct-1") == again


async def test_keys_and_accounts_are_numbered_in_one_sequence(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_member(member("b", account_id="acct-2"))
    await store.add_key(key("1"))
    await store.add_key(key("2"))
    first = await store.suspend_account("acct-1", 10)
    assert (await store.revoke_key("key-1", 20)).revision == 2
    second = await store.suspend_account("acct-2", 30)
    assert (first.revision, second.revision) == (1, 3)
    assert (await store.revoke_key("key-2", 40)).revision == 4
    assert await store.revocations(0) == (4, ["key-1", "key-2"], [first, second])
    assert await store.revocations(1) == (4, ["key-1", "key-2"], [second])
    assert await store.revocations(3) == (4, ["key-2"], [])
    # One that is over is told too; one that begins again is the newest.
    over = await store.resume_account("acct-2", 50)
    assert await store.revocations(2) == (4, ["key-2"], [over])
    again = await store.suspend_account("acct-2", 60)
    assert await store.revocations(0) == (5, ["key-1", "key-2"], [first, again])
    assert await store.revocations(4) == (5, [], [again])


async def test_an_account_that_was_never_suspended_is_resumed_already(store: Store) -> None:
    await store.add_member(member("a"))
    assert await store.resume_account("acct-1", 5_000) is None
    assert await store.revocations(0) == (0, [], [])


async def test_an_account_without_members_can_not_be_told_from_none(store: Store) -> None:
    await store.add_member(member("b", account_id="acct-2"))
    for suspend_or_resume in (store.suspend_account, store.resume_account):
        with pytest.raises(ServiceError, match="account acct-1 has no member; create one first") as raised:
            await suspend_or_resume("acct-1", 5_000)
        assert reason(raised) == "ACCOUNT_UNKNOWN"
    assert await store.revocations(0) == (0, [], [])


async def test_keys_of_a_suspended_account_are_made_listed_and_revoked(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_key(key("1"))
    suspension = await store.suspend_account("acct-1", 5_000)
    await store.add_key(key("2"))
    assert (await store.revoke_key("key-1", 6_000)).revision == 2
    assert [(each.key_id, each.revision) for each in await store.list_keys("acct-1")] == [("key-1", 2), ("key-2", 0)]
    assert await store.find_suspension("acct-1") == suspension


async def test_a_file_keeps_everything(tmp_path: Path) -> None:
    before = await SqliteStore.open(tmp_path / "authentication.db")
    await before.add_member(member("a"))
    await before.add_key(key("1"))
    revoked = await before.revoke_key("key-1", 7_000)
    suspended = await before.suspend_account("acct-1", 8_000)
    await before.close()
    after = await SqliteStore.open(tmp_path / "authentication.db")
    assert await after.list_keys("acct-1") == [revoked]
    assert await after.revocations(0) == (2, ["key-1"], [suspended])
    assert await after.add_member(member("a")) == member("a")
    await after.close()


async def test_a_file_of_the_release_before_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "authentication.db"
    before = await SqliteStore.open(file)
    await before.add_member(member("a"))
    await before.add_key(key("1"))
    revoked = await before.revoke_key("key-1", 7_000)
    await before.close()
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE suspension")
        connection.execute("PRAGMA user_version = 1")
    after = await SqliteStore.open(file)
    assert await after.list_keys("acct-1") == [revoked]
    assert (await after.suspend_account("acct-1", 8_000)).revision == 2
    await after.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path / "authentication.db")).close()
    with sqlite3.connect(tmp_path / "authentication.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaError, match="schema version 99"):
        await SqliteStore.open(tmp_path / "authentication.db")
