"""Faults by which a buyer would get more than was paid for."""

from typing import Final

from tests.mutations.planting import one

_ORDERS: Final = "services/accounting/core/sales/orders.py"
_SUBSCRIPTIONS: Final = "services/accounting/core/sales/subscriptions.py"
_IN_GAMES: Final = "tests/accounting/core/test_games.py"

_OF_CHANGES: Final = (
    one(
        "a change to the same offering begins a new cycle",
        _SUBSCRIPTIONS,
        "    if command.offering_id != offering_id:\n        return None\n",
        "    if command.offering_id != offering_id or command.at_once:\n        return None\n",
        _IN_GAMES,
    ),
    one(
        "two changes wait for their payments",
        _SUBSCRIPTIONS,
        'order.subscription_id == subscription_id and order.state == "awaiting_payment":',
        'order.subscription_id == subscription_id and order.state == "awaiting_payment" and not command.at_once:',
        _IN_GAMES,
    ),
    one(
        "an order of another subscription keeps a change from being made",
        _SUBSCRIPTIONS,
        "if order.subscription_id == subscription_id and order.state",
        "if order.state",
        _IN_GAMES,
    ),
    one(
        "a change is paid late at the price that it had",
        _ORDERS,
        "    if price != order.amount:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "a change is paid late at the price of a whole cycle",
        _ORDERS,
        "max(0, span.price - credit_of(changed, now_us))",
        "span.price",
        _IN_GAMES,
    ),
    one(
        "an order stays open whose payment must go back",
        _ORDERS,
        "    return Decision(\n        (failed,),\n",
        "    return Decision(\n        (),\n",
        _IN_GAMES,
    ),
    one(
        "a renewal that is paid late grants a share for the whole price",
        _ORDERS,
        "return span._replace(price=order.amount, part=1, whole=1) if",
        "return span._replace(price=order.amount) if",
        _IN_GAMES,
    ),
)

GAMES: Final = (*_OF_CHANGES,)
