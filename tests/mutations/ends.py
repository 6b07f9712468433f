"""Faults with ends: keys whose time ends, and accounts that are suspended, while calls are under way."""

from typing import Final

from tests.mutations.planting import Mutation

_ANSWERS: Final = "services/accounting/rpc/answers.py"
_EXTEND: Final = "services/accounting/core/sessions/extend.py"
_SESSION: Final = "services/edge/call/session.py"
_PRINCIPALS: Final = "services/edge/identity/principals.py"
_AUTHENTICATION: Final = "services/authentication/servicer.py"
_ACCOUNTS: Final = "tests/accounting/core/test_ends.py"
_CALLS: Final = "tests/edge/call/test_ends.py"
_IDENTITY: Final = "tests/edge/test_principals.py"
_JOURNEY: Final = "tests/journeys/test_suspension.py"
_STORES: Final = "tests/stores/test_authentication_stores.py"
_WATCHERS: Final = "tests/authentication/test_servicer.py"


def _one(name: str, file: str, before: str, after: str, test: str) -> Mutation:
    return Mutation(name, file, ((before, after),), (test,))


_HEARD: Final = (
    _one(
        "of two accounts that are suspended together one keeps its keys",
        _PRINCIPALS,
        "accounts = frozenset(message.account_ids)",
        "accounts = frozenset(message.account_ids[:1])",
        _IDENTITY,
    ),
    _one(
        "nobody hears of revocations once authentication was set back",
        _PRINCIPALS,
        "            self._cached.clear()\n            self._digest_by_key_id.clear()\n",
        "            self._cached.clear()\n",
        _IDENTITY,
    ),
    _one(
        "a key that was revoked while its request waited makes another",
        "services/edge/api/readers.py",
        "            await self._begin(account_id, client)\n        return await self._principals.resolve(exchange), body",
        "            principal = await self._principals.resolve(exchange)\n"
        "            await self._begin(account_id, client)\n        return principal, body",
        "tests/edge/test_readers.py",
    ),
    _one(
        "a key counts under any scheme",
        _PRINCIPALS,
        'key.strip() or None if scheme.lower() == b"bearer" else None',
        "key.strip() or None",
        _IDENTITY,
    ),
)

_TIMES: Final = (
    _one(
        "an Update after the end of its key is granted",
        _EXTEND,
        "    if not account.limits and not account.runs:\n",
        "    if account.limits and not account.runs:\n",
        _ACCOUNTS,
    ),
    _one(
        "a repeated Create is not told of its end",
        "services/accounting/core/sessions/create.py",
        "        return as_it_stands(account, catalog, command.key_id, command.member_id, now_us, known)\n",
        "        return known\n",
        _ACCOUNTS,
    ),
    _one(
        "a repeated Update is not told of its end",
        _EXTEND,
        "as_it_stands(account, catalog, session.key_id, session.member_id, now_us, Decision((), session.answer))\n",
        "Decision((), session.answer)\n",
        _ACCOUNTS,
    ),
    _one(
        "an Update is not told of its end",
        _EXTEND,
        "    return as_it_stands(account, catalog, session.key_id, session.member_id, now_us, Decision((updated,), answer))\n",
        "    return Decision((updated,), answer)\n",
        _ACCOUNTS,
    ),
    _one(
        "an end that has just come travels as none",
        _ANSWERS,
        "max(1, -(-answer.ends_in_us // 1_000))",
        "-(-answer.ends_in_us // 1_000)",
        _ACCOUNTS,
    ),
    _one(
        "an end travels as earlier than it is",
        _ANSWERS,
        "-(-answer.ends_in_us // 1_000)",
        "answer.ends_in_us // 1_000",
        _ACCOUNTS,
    ),
    _one(
        "a call does not hear of the end of its key",
        "services/edge/call/path.py",
        "principal, granted, client.revoke)",
        "principal, granted, lambda problem: None)",
        _JOURNEY,
    ),
    _one(
        "a session does not end by itself",
        _SESSION,
        "        if granted.ends_in_ms:\n",
        "        if False:\n",
        _CALLS,
    ),
    _one(
        "a session ends though its end was moved",
        _SESSION,
        "        self._stop_ending()\n        if granted",
        "        if granted",
        _CALLS,
    ),
    _one(
        "the timer of a session's end outlives it",
        _SESSION,
        "        self._stop_ending()\n        self._number += 1\n",
        "        self._number += 1\n",
        _CALLS,
    ),
    _one(
        "a refused Update does not end the call",
        _SESSION,
        "                self._end(error.message)\n",
        "                pass\n",
        _CALLS,
    ),
    _one(
        "the client of a call that must end is not told why",
        "services/edge/call/call.py",
        "            await self._end_early(error)\n",
        '            await self._end_early(RevokedError(vendor_failed("broken")))\n',
        _CALLS,
    ),
)

_SUSPENSIONS: Final = (
    _one(
        "keys of a suspended account pass where they are not cached",
        _AUTHENTICATION,
        "        if suspension is not None and not suspension.resumed_us:\n",
        "        if False:\n",
        _WATCHERS,
    ),
    _one(
        "keys of a resumed account do not pass",
        _AUTHENTICATION,
        "        if suspension is not None and not suspension.resumed_us:\n",
        "        if suspension is not None:\n",
        _WATCHERS,
    ),
    _one(
        "a suspension that is over at once is heard of by nobody",
        _AUTHENTICATION,
        "if goes_on or not each.resumed_us]",
        "if not each.resumed_us]",
        _WATCHERS,
    ),
    _one(
        "an edge that begins ends calls of accounts that were resumed",
        _AUTHENTICATION,
        "if goes_on or not each.resumed_us]",
        "if True]",
        _WATCHERS,
    ),
    _one(
        "a suspension waits for the next heartbeat",
        _AUTHENTICATION,
        "        async with self._revoked:\n            self._revoked.notify_all()\n        return pb.SuspendAccountResponse",
        "        return pb.SuspendAccountResponse",
        _WATCHERS,
    ),
    _one(
        "accounts are numbered apart from keys in a file",
        "services/authentication/sqlite_store.py",
        "SELECT coalesce(max(revision), 0) FROM api_key), (",
        "SELECT 0), (",
        _STORES,
    ),
    _one(
        "an account is suspended anew each time in a file",
        "services/authentication/sqlite_store.py",
        "            if known is not None and not known.resumed_us:\n                return known\n",
        "",
        _STORES,
    ),
    _one(
        "two replicas suspend an account twice",
        "services/authentication/postgresql_store.py",
        '            if row is not None and not row["resumed_us"]:\n                return Suspension(*row)\n',
        "",
        "tests/stores/test_postgresql_store.py",
    ),
    _one(
        "a second suspension in PostgreSQL is none",
        "services/authentication/postgresql_store.py",
        '"ON CONFLICT (account_id) DO UPDATE SET suspended_us = $2, resumed_us = $3, revision = $4"',
        '"ON CONFLICT (account_id) DO NOTHING"',
        _STORES,
    ),
    _one(
        "cached keys of a suspended account pass",
        _PRINCIPALS,
        "if each.account_id in accounts]",
        "if False]",
        _IDENTITY,
    ),
    _one(
        "calls of a suspended account go on",
        _PRINCIPALS,
        "                for end in tuple(self._watching.get(account_id, ())):\n                    end(suspended())\n",
        "                pass\n",
        _IDENTITY,
    ),
    _one(
        "a suspended account's calls are told of a revoked key",
        _PRINCIPALS,
        "end(suspended())",
        "end(revoked())",
        _IDENTITY,
    ),
    _one(
        "an answer that a suspension has overtaken is believed",
        _PRINCIPALS,
        "            if response.account_id in message.account_ids:\n",
        "            if False:\n",
        _IDENTITY,
    ),
    _one(
        "nobody listens between the answer and the call",
        _PRINCIPALS,
        "            return found if self._cached.get(digest) == found else await self._resolve(exchange)\n",
        "            return found\n",
        _IDENTITY,
    ),
    _one(
        "a key that was refused after the grace is kept in half",
        _PRINCIPALS,
        "            self._drop(cached.key_id)\n",
        "            del self._cached[digest]\n",
        _IDENTITY,
    ),
    _one(
        "a suspended account is taken for an unknown key",
        _PRINCIPALS,
        "    if reason == errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED:\n        return account_suspended()\n",
        "",
        _IDENTITY,
    ),
)

ENDS: Final = (*_HEARD, *_TIMES, *_SUSPENSIONS)
