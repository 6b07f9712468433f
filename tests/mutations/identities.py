"""Faults by which a person or company would have twice what is sold once, or its number would be known."""

from typing import Final

from tests.mutations.planting import one

_ROUTE: Final = "services/edge/api/admin/entitlements.py"
_STORE: Final = "services/authentication/store.py"
_PRICES: Final = "services/accounting/core/sales/prices.py"
_IN_EDGE: Final = "tests/edge/test_identities.py"
_IN_GAMES: Final = "tests/accounting/core/test_games.py"
_IN_STORES: Final = "tests/stores/test_authentication_stores.py"
_NUMBERS: Final = "services/authentication/identities.py"
_IN_NUMBERS: Final = "tests/authentication/test_identities.py"

IDENTITIES: Final = (
    one("an order under way is taken for none", _STORE, "(each.is_under_way(now_us) or (each", "((each", _IN_STORES),
    one(
        "an identity is freed whose order is under way",
        _STORE,
        "== over and not self.is_under_way(now_us)",
        "== over",
        _IN_STORES,
    ),
    one(
        "an identity is freed for which something was granted",
        "services/edge/api/admin/identities.py",
        "        if remark := await had(sales, found.account_id, wanted.offering_id):\n",
        "        if remark := '':\n",
        _IN_EDGE,
    ),
    one("one answer ends all orders of an account", _STORE, "orders=orders + 1)", "orders=1)", _IN_STORES),
    one(
        "two at once are entitled for one identity",
        "services/authentication/postgresql_store.py",
        '            await connection.execute("LOCK TABLE entitlement IN EXCLUSIVE MODE")\n            met',
        "            met",
        _IN_STORES,
    ),
    one(
        "an order is placed when its entitlement is over",
        _PRICES,
        "if command.entitled_until_us <= now_us:",
        "if False:",
        _IN_GAMES,
    ),
    one("an order without an entitlement is placed", _PRICES, "if not command.entitled_until_us:", "if False:", _IN_GAMES),
    one("what another account has had is had again", _ROUTE, "if each.under_way or remark:", "if each.under_way:", _IN_EDGE),
    one(
        "a refused order keeps its identity for two minutes",
        _ROUTE,
        "if error.reason not in _UNKNOWN_OUTCOME:",
        "if False:",
        _IN_EDGE,
    ),
    one("a subscription is changed to it without an identity", _ROUTE, "if identity is None:", "if False:", _IN_EDGE),
    one("a hash of an identity needs no secret", _NUMBERS, "hmac.digest(own, ", 'hmac.digest(b"", ', _IN_NUMBERS),
)
