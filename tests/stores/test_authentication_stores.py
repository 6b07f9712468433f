"""One suite for every store of authentication."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.authentication.postgresql_store import PostgresqlStore
from services.authentication.sqlite_store import SqliteStore
from services.authentication.store import (
    ENTITLEMENT_MARGIN_US,
    MINTED_LISTED,
    MINTED_MEMORY_US,
    Entitlement,
    Invitation,
    Key,
    Member,
    MemoryStore,
    NamedAccount,
    Store,
    Suspension,
)
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
    assert [each.member_id for each in await store.list_members("acct-1")] == ["mem-early", "mem-late"]
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
    await store.add_member(member("c"))
    with pytest.raises(ServiceError) as raised:
        await store.add_key(key("2", member_id="mem-c")._replace(idempotency_key="issue-1"))
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
        for table in ("suspension", "external_id", "invitation", "entitlement"):
            connection.execute(f"DROP TABLE {table}")
        for index in ("api_key_parent", "api_key_end"):
            connection.execute(f"DROP INDEX {index}")
        for column in ("parent_key_id", "scopes", "ends_us"):
            connection.execute(f"ALTER TABLE api_key DROP COLUMN {column}")
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


# Minted keys

MANY_US = 10_000_000


def minted_key(name: str, parent: str, *, scopes: str = "", ends_us: int = MANY_US, created_us: int = 3_000) -> Key:
    made = key(name, account_id="")._replace(idempotency_key=f"minted key-{name}", created_us=created_us)
    return made._replace(parent_key_id=f"key-{parent}", scopes=scopes, ends_us=ends_us)


async def tree(store: Store) -> None:
    """The issued key 1, below it a, below that b and c, below b the key d; another issued key 2 with e."""
    await store.add_member(member("a"))
    for name in ("1", "2"):
        await store.add_key(key(name)._replace(scopes="keys:mint"))
    for name, parent in (("a", "1"), ("b", "a"), ("c", "a"), ("d", "b"), ("e", "2")):
        await store.mint_key(minted_key(name, parent, scopes="keys:mint"))


async def revoked(store: Store) -> list[str]:
    """The keys that do not pass, by name."""
    found = [await store.find_key(f"hash-{name}".encode()) for name in "12abcde"]
    return [each.key_id.removeprefix("key-") for each in found if each is not None and each.revision]


async def test_a_minted_key_is_its_parents_accounts_and_members(store: Store) -> None:
    await tree(store)
    made = await store.mint_key(minted_key("x", "d"))
    assert (made.account_id, made.member_id, made.parent_key_id, made.scopes, made.ends_us) == (
        "acct-1",
        "mem-a",
        "key-d",
        "",
        MANY_US,
    )
    assert await store.find_key(b"hash-x") == made
    assert made in await store.list_keys("acct-1")


async def test_only_a_key_that_may_mint_mints_and_once(store: Store) -> None:
    await tree(store)
    await store.mint_key(minted_key("plain", "a"))
    for wanted, said in (
        (minted_key("x", "plain"), "NOT_POSSIBLE"),
        (minted_key("x", "unknown"), "KEY_UNKNOWN"),
        (minted_key("b", "a"), "ALREADY_EXISTS"),
        (minted_key("b", "1"), "IDEMPOTENCY_CONFLICT"),
        (minted_key("1", "a"), "IDEMPOTENCY_CONFLICT"),
    ):
        with pytest.raises(ServiceError) as raised:
            await store.mint_key(wanted)
        assert reason(raised) == said, wanted
    await store.revoke_key("key-b", 5_000)
    with pytest.raises(ServiceError) as raised:
        await store.mint_key(minted_key("x", "d"))
    assert reason(raised) == "KEY_REVOKED"


async def test_a_minted_key_lives_no_longer_than_its_parent(store: Store) -> None:
    await tree(store)
    short = await store.mint_key(minted_key("short", "a", scopes="keys:mint", ends_us=5_000))
    assert short.ends_us == 5_000
    assert (await store.mint_key(minted_key("below", "short", ends_us=6_000))).ends_us == 5_000
    with pytest.raises(ServiceError) as raised:
        await store.mint_key(minted_key("late", "short", created_us=5_000))
    assert reason(raised) == "KEY_REVOKED"


async def test_a_revocation_is_that_of_all_keys_below_and_is_told_of_each(store: Store) -> None:
    await tree(store)
    await store.revoke_key("key-c", 4_000)
    assert (await store.revoke_key("key-a", 5_000)).revision == 2
    assert await revoked(store) == ["a", "b", "c", "d"]
    news = await store.revocations(0)
    # Those above come first.
    assert (news.revision, news.key_ids) == (4, ["key-c", "key-a", "key-b", "key-d"])
    listed = await store.list_keys("acct-1")
    assert [each.revoked_us for each in listed if each.revision] == [5_000, 5_000, 4_000, 5_000]
    # One that was revoked before keeps its own revocation.
    found = await store.find_key(b"hash-c")
    assert found is not None
    assert (found.revoked_us, found.revision) == (4_000, 1)
    # The life of a minted key ends with its revocation; an issued key has none.
    assert [each.ends_us for each in listed] == [0, 0, 5_000, 5_000, 4_000, 5_000, MANY_US]
    # A repeat changes nothing.
    assert (await store.revoke_key("key-a", 9_000)).revoked_us == 5_000
    assert (await store.revocations(4)).key_ids == []
    await store.revoke_key("key-2", 6_000)
    assert (await store.revocations(4)).key_ids == ["key-2", "key-e"]


async def test_only_a_key_above_it_revokes_a_minted_key(store: Store) -> None:
    await tree(store)
    for name, above in (("a", "b"), ("a", "a"), ("b", "c"), ("b", "2"), ("1", "1"), ("unknown", "1")):
        with pytest.raises(ServiceError) as raised:
            await store.revoke_key(f"key-{name}", 5_000, f"key-{above}")
        assert reason(raised) == "KEY_UNKNOWN", name
    assert await revoked(store) == []
    await store.revoke_key("key-d", 5_000, "key-1")
    assert await revoked(store) == ["d"]


async def test_minted_keys_that_ended_long_ago_are_forgotten_and_no_revision_comes_back(store: Store) -> None:
    await tree(store)
    await store.revoke_key("key-d", 4_000)
    await store.revoke_key("key-e", 4_000)
    later_us = MANY_US + MINTED_MEMORY_US + 1
    assert MINTED_MEMORY_US == 7 * 86_400_000_000
    for number in range(5):
        await store.mint_key(minted_key(f"new-{number}", "1", created_us=later_us, ends_us=later_us + 1))
    left = {each.key_id for each in await store.list_keys("acct-1")}
    assert left - {"key-e"} == {"key-1", "key-2", *(f"key-new-{number}" for number in range(5))}
    # The newest revision is that of a key which may be forgotten.
    assert (await store.revocations(0)).revision == 2
    await store.revoke_key("key-1", later_us)
    assert (await store.revocations(2)).revision == 8


async def test_an_ended_key_is_not_revoked_with_its_parent(store: Store) -> None:
    await tree(store)
    await store.mint_key(minted_key("short", "a", ends_us=4_000))
    await store.revoke_key("key-a", 5_000)
    assert "key-short" not in (await store.revocations(0)).key_ids
    # It does not pass either, since one above it is revoked.
    found = await store.find_key(b"hash-short")
    assert found is not None
    assert found.revision == 1


async def test_of_minted_keys_the_last_are_listed_and_of_issued_ones_all(store: Store) -> None:
    assert MINTED_LISTED == 10_000
    await tree(store)
    assert [each.key_id for each in await store.list_keys("acct-1", 3)] == ["key-1", "key-2", "key-c", "key-d", "key-e"]


# Accounts by the IDs of the operator's systems


async def test_accounts_come_in_pages_in_the_order_of_their_ids(store: Store) -> None:
    await store.add_member(member("a", account_id="acct-2")._replace(created_us=3_000))
    await store.add_member(member("b", account_id="acct-1"))
    await store.add_member(member("c", account_id="acct-2"))
    await store.add_member(member("d", account_id="acct-B"))
    await store.name_account("acct-2", "138-0000")
    named = NamedAccount("acct-2", "138-0000", 1_000, 2)
    assert await store.list_accounts("", "", 2) == [NamedAccount("acct-1", "", 1_000, 1), named]
    assert await store.list_accounts("acct-2", "", 2) == [NamedAccount("acct-B", "", 1_000, 1)]
    assert await store.list_accounts("", "138-0000", 9) == [named]
    assert await store.list_accounts("", "138-0001", 9) == []


async def test_an_external_id_is_of_one_account(store: Store) -> None:
    await store.add_member(member("a", account_id="acct-1"))
    await store.add_member(member("b", account_id="acct-2"))
    await store.name_account("acct-1", "138-0000")
    await store.name_account("acct-1", "138-0000")
    with pytest.raises(ServiceError, match="account acct-1 has the external ID '138-0000'") as raised:
        await store.name_account("acct-2", "138-0000")
    assert reason(raised) == "ALREADY_EXISTS"
    await store.name_account("acct-1", "139-0000")
    await store.name_account("acct-2", "138-0000")
    assert [each.external_id for each in await store.list_accounts("", "", 9)] == ["139-0000", "138-0000"]
    with pytest.raises(ServiceError) as raised:
        await store.name_account("acct-3", "137-0000")
    assert reason(raised) == "ACCOUNT_UNKNOWN"


# Invitations


def invitation(name: str, account_id: str = "acct-1", ends_us: int = 9_000) -> Invitation:
    return Invitation(f"hash-{name}".encode(), account_id, 1_000, ends_us, f"invite-{name}")


def guest(name: str, created_us: int = 5_000) -> Member:
    return member(name)._replace(account_id="", created_us=created_us)


async def test_an_invitation_makes_one_member(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_invitation(invitation("1"))
    joined = guest("b")._replace(account_id="acct-1")
    assert await store.accept_invitation(b"hash-1", guest("b")) == joined
    assert await store.list_members("acct-1") == [member("a"), joined]
    # A repeat gets the same member, also when the time of the invitation is over.
    assert await store.accept_invitation(b"hash-1", guest("b", created_us=9_999)) == joined
    with pytest.raises(ServiceError, match="was used already") as raised:
        await store.accept_invitation(b"hash-1", guest("c"))
    assert reason(raised) == "NOT_POSSIBLE"
    assert len(await store.list_members("acct-1")) == 2


async def test_an_invitation_used_many_times_at_once_makes_one_member(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_invitation(invitation("1"))
    attempts = (store.accept_invitation(b"hash-1", guest(name)) for name in "bcdefgh")
    made = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(each, Member) for each in made) == 1
    assert sum(isinstance(each, ServiceError) and "was used already" in each.message for each in made) == 6
    assert len(await store.list_members("acct-1")) == 2


async def test_an_invitation_has_an_end_and_a_code(store: Store) -> None:
    await store.add_member(member("a"))
    await store.add_invitation(invitation("1"))
    with pytest.raises(ServiceError, match="time of the invitation is over") as raised:
        await store.accept_invitation(b"hash-1", guest("b", created_us=9_000))
    assert reason(raised) == "NOT_POSSIBLE"
    with pytest.raises(ServiceError, match="no invitation has this code") as raised:
        await store.accept_invitation(b"hash-2", guest("b"))
    assert reason(raised) == "ITEM_UNKNOWN"
    assert (await store.accept_invitation(b"hash-1", guest("b", created_us=8_999))).account_id == "acct-1"


async def test_an_invitation_is_to_an_account_that_is_there_and_is_made_once(store: Store) -> None:
    with pytest.raises(ServiceError) as raised:
        await store.add_invitation(invitation("1"))
    assert reason(raised) == "ACCOUNT_UNKNOWN"
    await store.add_member(member("a"))
    await store.add_invitation(invitation("1"))
    with pytest.raises(ServiceError, match="its code was shown then") as raised:
        await store.add_invitation(invitation("1")._replace(code_hash=b"hash-2"))
    assert reason(raised) == "ALREADY_EXISTS"


# Entitlements


def wish(account_id: str, identity: str = "x", until_us: int = 1_000, offering_id: str = "trial") -> Entitlement:
    return Entitlement(offering_id, f"hash-{identity}".encode(), account_id, until_us)


async def entitled(
    store: Store, account_id: str, *over: tuple[str, int], now_us: int = 0, **wanted: Any
) -> int | list[tuple[str, int]]:
    """Until when the account is entitled, or those in the way."""
    outcome = await store.entitle(wish(account_id, **wanted), now_us, over)
    return outcome.made.until_us if outcome.made else [(each.account_id, each.until_us) for each in outcome.in_the_way]


@pytest.fixture
async def three(store: Store) -> Store:
    for number in (1, 2, 3):
        await store.add_member(member(f"{number}", f"acct-{number}"))
    return store


async def test_one_account_is_entitled_for_an_identity_and_one_identity_for_an_account(three: Store) -> None:
    assert await entitled(three, "acct-1") == 1_000
    assert await entitled(three, "acct-2") == [("acct-1", 1_000)]
    assert await entitled(three, "acct-1", identity="y") == [("acct-1", 1_000)]
    # Another offering, another identity of another account.
    assert await entitled(three, "acct-2", offering_id="plan") == 1_000
    assert await entitled(three, "acct-2", identity="y") == 1_000
    assert await entitled(three, "acct-1", identity="y") == [("acct-1", 1_000), ("acct-2", 1_000)]
    with pytest.raises(ServiceError) as raised:
        await entitled(three, "acct-4")
    assert reason(raised) == "ACCOUNT_UNKNOWN"


async def test_an_entitlement_goes_to_another_account_when_nothing_is_under_way_and_it_is_known_to_be_over(three: Store) -> None:
    until_us = await entitled(three, "acct-1")
    assert isinstance(until_us, int)
    # Its order is under way, whatever anybody knows.
    assert await entitled(three, "acct-2", ("acct-1", until_us)) == [("acct-1", until_us)]
    await three.end_entitlement("acct-1", "trial", until_us, 0)
    assert await entitled(three, "acct-2") == [("acct-1", until_us)]
    assert await entitled(three, "acct-2", ("acct-1", until_us - 1)) == [("acct-1", until_us)]
    assert await entitled(three, "acct-2", ("acct-1", until_us)) == until_us
    assert await entitled(three, "acct-1", ("acct-1", until_us)) == [("acct-2", until_us)]


async def test_an_identity_is_freed_when_nothing_is_under_way_and_it_is_known_to_be_over(three: Store) -> None:
    assert await three.free("trial", b"hash-x", None, 0) is None
    until_us = await entitled(three, "acct-1")
    assert isinstance(until_us, int)
    for over in (None, ("acct-1", until_us), ("acct-2", until_us)):
        found = await three.free("trial", b"hash-x", over, 0)
        assert found is not None
        assert (found.account_id, found.until_us, found.orders) == ("acct-1", until_us, 1)
    await three.end_entitlement("acct-1", "trial", until_us, 0)
    for over in (None, ("acct-1", until_us - 1)):
        assert await three.free("trial", b"hash-x", over, 0) is not None
    # Another offering's and another identity's stay.
    assert await three.free("plan", b"hash-x", ("acct-1", until_us), 0) is None
    assert await three.free("trial", b"hash-y", ("acct-1", until_us), 0) is None
    assert await entitled(three, "acct-2") == [("acct-1", until_us)]
    plan_until_us = await entitled(three, "acct-1", offering_id="plan")
    assert await three.free("trial", b"hash-x", ("acct-1", until_us), 0) is not None
    assert await entitled(three, "acct-2", offering_id="plan") == [("acct-1", plan_until_us)]
    assert await entitled(three, "acct-2") == 1_000


async def test_each_order_of_an_account_is_waited_for(three: Store) -> None:
    first, second = [await entitled(three, "acct-1") for _ in range(2)]
    # They differ, so that a caller that knew the first to be over does not take the second for it.
    assert (first, second) == (1_000, 1_001)
    await three.end_entitlement("acct-1", "trial", 1_001, 0)
    assert await entitled(three, "acct-2", ("acct-1", 1_001)) == [("acct-1", 1_001)]
    await three.end_entitlement("acct-1", "trial", 1_000, 0)
    assert await entitled(three, "acct-2", ("acct-1", 1_000)) == [("acct-1", 1_001)]
    assert await entitled(three, "acct-2", ("acct-1", 1_001)) == 1_000


async def test_an_order_that_was_never_answered_is_under_way_until_its_time_is_over_at_accounting_too(three: Store) -> None:
    await entitled(three, "acct-1")
    late_us = 1_000 + ENTITLEMENT_MARGIN_US
    # Its account goes on at any time.
    assert await entitled(three, "acct-1", until_us=500) == 1_001
    assert await entitled(three, "acct-2", ("acct-1", 1_001), now_us=late_us) == [("acct-1", 1_001)]
    assert await entitled(three, "acct-2", ("acct-1", 1_001), now_us=late_us + 1, until_us=late_us * 2) == late_us * 2
    # An answer that comes then ends nothing of the other account, nor of a later order of its own.
    await three.end_entitlement("acct-1", "trial", 1_001, late_us + 1)
    assert await entitled(three, "acct-1", ("acct-2", late_us * 2), now_us=late_us + 1) == [("acct-2", late_us * 2)]
    await three.end_entitlement("acct-2", "trial", late_us * 2, late_us * 2)
    assert await entitled(three, "acct-1", ("acct-2", late_us * 2), now_us=late_us * 2) == [("acct-2", late_us * 2)]


async def test_of_many_accounts_at_once_one_is_entitled(three: Store) -> None:
    outcomes = await asyncio.gather(*(entitled(three, f"acct-{1 + number % 3}", identity="one") for number in range(30)))
    winners = {number % 3 for number, outcome in enumerate(outcomes) if isinstance(outcome, int)}
    assert len(winners) == 1
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 10
