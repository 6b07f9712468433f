"""Faults of members, invitations and the operator's own IDs of accounts."""

from typing import Final

from tests.mutations.planting import Mutation, one

_STORE: Final = "services/authentication/store.py"
_POSTGRESQL_STORE: Final = "services/authentication/postgresql_store.py"
_ROUTES: Final = "services/edge/api/admin/members.py"
_LIMITS: Final = "services/cli/limits.py"
_COMMANDS: Final = "services/cli/members.py"
_IN_STORES: Final = "tests/stores/test_authentication_stores.py"
_IN_MEMBERS: Final = "tests/edge/test_members.py"

MEMBERS: Final[tuple[Mutation, ...]] = (
    one(
        "an invitation makes any number of members",
        _STORE,
        '    if invitation.accepted_key not in ("", member.idempotency_key):',
        "    if False:",
        _IN_STORES,
    ),
    one(
        "an invitation has no end",
        _STORE,
        "    if not invitation.accepted_key and invitation.ends_us <= member.created_us:",
        "    if False:",
        _IN_STORES,
    ),
    one(
        "two at once use one invitation",
        _POSTGRESQL_STORE,
        "WHERE code_hash = $1 FOR UPDATE",
        "WHERE code_hash = $1",
        _IN_STORES,
    ),
    one(
        "two accounts have one external ID",
        _POSTGRESQL_STORE,
        "            if known not in (None, account_id):",
        "            if False:",
        _IN_STORES,
    ),
    one(
        "a member of no account is added",
        _ROUTES,
        "        await account_of(accounting, account_id)\n        adding",
        "        adding",
        _IN_MEMBERS,
    ),
    one("a limit in micro-units is taken", _LIMITS, '    if isinstance(written.get("usage"), dict):', "    if False:", _IN_MEMBERS),
    one("a cap takes the other limits away", _COMMANDS, 'if each["limit_id"] != _CAP]', "if False]", _IN_MEMBERS),
)
