"""Faults by which a buyer would get more than was paid for."""

from typing import Final

from tests.mutations.planting import one

_ACCOUNT_SALES: Final = "services/accounting/core/account/sales.py"
_BUNDLES: Final = "services/accounting/core/sales/bundles.py"
_CORRECTIONS: Final = "services/accounting/core/corrections.py"
_CREDIT: Final = "services/accounting/core/sales/credit.py"
_ONCE: Final = "services/accounting/core/sales/once.py"
_ORDERS: Final = "services/accounting/core/sales/orders.py"
_OPENINGS: Final = "services/accounting/core/sales/openings.py"
_RENEWALS: Final = "services/accounting/core/sales/renewals.py"
_PRICES: Final = "services/accounting/core/sales/prices.py"
_REFUNDS: Final = "services/accounting/core/sales/refunds.py"
_STATE: Final = "services/accounting/core/account/state.py"
_SUBSCRIPTIONS: Final = "services/accounting/core/sales/subscriptions.py"
_IN_BUNDLES: Final = "tests/accounting/core/test_bundles.py"
_IN_GAMES: Final = "tests/accounting/core/test_games.py"
_IN_RARELY: Final = "tests/accounting/core/test_rarely.py"

_OF_CHANGES: Final = (
    one(
        "a subscription that is not renewed by itself is renewed and paid again",
        _ACCOUNT_SALES,
        "next_terms=entry.terms if entry.terms.automatic_renewal else None,",
        "next_terms=entry.terms,",
        _IN_RARELY,
    ),
    one(
        "money that comes gives more time for a payment outside",
        _RENEWALS,
        'if subscription.state == "suspended" or not subscription.terms.grace_us:',
        "if not subscription.terms.grace_us:",
        _IN_RARELY,
    ),
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
        "max(0, span.price - credit_of(account, changed, now_us))",
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

_OF_CREDIT: Final = (
    one(
        "a credit line is lent whole again with each change of plan",
        _OPENINGS,
        "            amount -= used\n",
        "",
        _IN_GAMES,
    ),
    one(
        "a phone bill elsewhere is asked for a price that a line here has paid",
        _RENEWALS,
        "    return [*asked, *restart, *payment]\n",
        "    return [*restart, *payment]\n",
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "a renewal on a phone bill elsewhere is asked of a line that is not there",
        _RENEWALS,
        "    if waits_for_payment(account, terms, subscription.next_payment, price, due_us):\n",
        "    if False:\n",
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "money that comes back lives longer than it would have",
        _CREDIT,
        "payer.valid_until_us if payer.valid_until_us > now_us else",
        "payer.valid_until_us if False else",
        _IN_GAMES,
    ),
    one(
        "money whose end has passed comes back for nothing",
        _CREDIT,
        "now_us + payer.valid_until_us - payer.paid_us\n",
        "now_us + 1\n",
        _IN_GAMES,
    ),
    one(
        "the first to pay get their money back first",
        _CREDIT,
        "for payer in (*reversed(payers), Payer(",
        "for payer in (*payers, Payer(",
        _IN_GAMES,
    ),
    one(
        "what was given back is given back again",
        "services/accounting/core/account/buckets.py",
        "sum(each.amount for each in changed.payers) - entry.amount)",
        "sum(each.amount for each in changed.payers))",
        _IN_GAMES,
    ),
    one("what is left is worth its days alone", _CREDIT, "min(by_time, by_use))", "by_time)", _IN_GAMES),
    one("what is left is worth its tokens alone", _CREDIT, "min(by_time, by_use))", "by_use)", _IN_GAMES),
    one("the day of a change is left, too", _CREDIT, "now_us, end_us) - 1\n", "now_us, end_us)\n", _IN_GAMES),
    one(
        "what is held or given away is left",
        _CREDIT,
        "used = bucket.granted - bucket.remaining\n",
        "used = bucket.consumed\n",
        _IN_GAMES,
    ),
    one(
        "a top-up is paid back with the cycle",
        _CREDIT,
        "max(0, granted - used), granted)",
        "bucket.remaining, bucket.granted)",
        _IN_GAMES,
    ),
    one(
        "what rolled over into a cycle is paid back in place of it",
        _CREDIT,
        "        for bucket in account.buckets.values()\n        if bucket.subscription_id == subscription",
        "        for bucket in reversed(account.buckets.values())\n        if bucket.subscription_id == subscription",
        _IN_GAMES,
    ),
    one(
        "a share of a month is measured by a whole one",
        _CREDIT,
        "part, whole = first_share(terms, start_us, end_us)",
        "part, whole = 1, 1",
        _IN_GAMES,
    ),
    one(
        "the line of another unit falls",
        _CREDIT,
        "if bucket.postpaid and bucket.unit == paid",
        "if bucket.postpaid and paid",
        _IN_GAMES,
    ),
    one(
        "the line of a purchase falls last",
        _CREDIT,
        "(line.subscription_id != paid.purchase_id, -",
        "(line.subscription_id == paid.purchase_id, -",
        _IN_GAMES,
    ),
    one(
        "money that comes back repays debt that an allowance repaid",
        _CREDIT,
        "made = bucket_entries(account, granted, repaid)",
        "made = bucket_entries(account, granted)",
        _IN_GAMES,
    ),
    one(
        "each part of money that comes back repays the same debt",
        _CREDIT,
        "        repaid += sum(entry.amount for entry in made if isinstance(entry, DebtRepaid))\n",
        "",
        _IN_GAMES,
    ),
    one(
        "money that comes back lives longer", _CREDIT, "beside = max(0, least - 1)", "beside = min(least, len(back) - 1)", _IN_GAMES
    ),
    one(
        "each of a plan's lines is less by all that was used",
        _OPENINGS,
        "            on_bill[allowance.unit] = on_bill.get(allowance.unit, 0) - used\n",
        "",
        _IN_GAMES,
    ),
    one(
        "all renewals of a subscription are one order",
        _RENEWALS,
        'key = f"renewal:{subscription.subscription_id}/{subscription.first_us}/{number}"',
        'key = f"renewal:{subscription.subscription_id}"',
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "a payer of whom a part is back pays back whole",
        _ACCOUNT_SALES,
        "last.append(Payer(min(payer.amount, amount), payer",
        "last.append(Payer(payer.amount, payer",
        _IN_GAMES,
    ),
    one("weights do not count", _CREDIT, "if any(weight for weight, _ in lefts) else", "if False else", _IN_GAMES),
    one("without weights the least used allowance counts", _CREDIT, "else min((left for", "else max((left for", _IN_GAMES),
    one("a credit line counts as an allowance", _CREDIT, "        if not allowance.postpaid\n", "", _IN_GAMES),
    one(
        "a first share of a month cuts a credit line short",
        _PRICES,
        "return allowance.amount if allowance.postpaid else -(",
        "return -(",
        _IN_GAMES,
    ),
    one(
        "weights are pinned while some would not read them",
        "services/accounting/core/offerings.py",
        "self._content if sales else self._content._replace(offerings=_of_first_terms(self.offerings))",
        "self._content",
        _IN_GAMES,
    ),
)

_OF_RETURNS: Final = (
    one(
        "a phone bill's price comes back as prepaid money",
        _CREDIT,
        "    if not prepaid:\n        return [returned]\n",
        "    if paid.payment == Payment.EXTERNAL:\n        return [returned]\n",
        _IN_GAMES,
    ),
    one(
        "a phone bill falls by what it was not charged",
        _CREDIT,
        "part = min(line.consumed, amount)",
        "part = amount",
        _IN_GAMES,
    ),
    one(
        "a change is paid another way than the rest would go back",
        _SUBSCRIPTIONS,
        "    if command.payment != subscription.payment:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "the payments of the cycle before are named for the next",
        _ACCOUNT_SALES,
        "    if entry.number > 1:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "the first of several payments is forgotten",
        _ACCOUNT_SALES,
        "payment_references=before.payment_references if before is not None and goes_on else ()",
        "payment_references=()",
        _IN_GAMES,
    ),
    one(
        "what is sold without refund is refunded",
        _REFUNDS,
        "    if not purchase.terms.refundable:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "what is sold without refund comes back by a change",
        _SUBSCRIPTIONS,
        "    if not subscription.terms.refundable:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "payments stay where a whole price was paid in another way",
        _ACCOUNT_SALES,
        " if order.amount != subscription.cycle_price else ()",
        "",
        _IN_GAMES,
    ),
    one(
        "a change makes a price that never goes back one that does",
        _SUBSCRIPTIONS,
        "refundable=terms.refundable and subscription.terms.refundable)",
        "refundable=terms.refundable)",
        _IN_GAMES,
    ),
    one(
        "a credit line here pays for more of what a phone bill outside paid",
        _SUBSCRIPTIONS,
        "to_pay > 0 and command.payment == Payment.PHONE_BILL",
        "False and command.payment == Payment.PHONE_BILL",
        _IN_GAMES,
    ),
    one(
        "a phone bill outside pays for more of what a credit line paid",
        _SUBSCRIPTIONS,
        "    if outside and subscription.payment == Payment.PHONE_BILL and not",
        "    if False and subscription.payment == Payment.PHONE_BILL and not",
        _IN_GAMES,
    ),
    one(
        "a pack is refunded twice",
        _REFUNDS,
        "    elif purchase.returned is not None:\n",
        "    elif False:\n",
        _IN_GAMES,
    ),
    one(
        "a refunded pack goes on",
        _REFUNDS,
        "for bucket in buckets if not bucket.ended",
        "for bucket in buckets if False",
        _IN_GAMES,
    ),
    one(
        "a refunded subscription goes on",
        _REFUNDS,
        '            SubscriptionEnded(account.account_id, now_us, purchase.subscription_id, "refunded"),\n',
        "",
        _IN_GAMES,
    ),
    one(
        "a gift comes back to a bucket that was forgotten",
        "services/accounting/core/account/buckets.py",
        "    ended = [each for each in ended if each.bucket_id not in giving]\n",
        "",
        "tests/accounting/core/test_corrections.py",
    ),
    one(
        "a credit line that is forgotten soon gets something back",
        _CREDIT,
        "    lines = [line for line in lines if line.valid_until_us >= now_us - ENDED_MEMORY_US]\n",
        "",
        _IN_GAMES,
    ),
    one(
        "money comes back twice into one bucket",
        _CREDIT,
        '{purchase_id}/{now_us}/{cause.order_id or cause.idempotency_key}"',
        '{purchase_id}/{now_us}"',
        _IN_GAMES,
    ),
    one("a repeat of a refund refunds again", _REFUNDS, "    if known is not None:\n", "    if False:\n", _IN_GAMES),
    one(
        "returned prices are written while some would not read them",
        _SUBSCRIPTIONS,
        "    if catalog.sales:\n",
        "    if True:\n",
        _IN_GAMES,
    ),
    one(
        "refunds are written while some would not read them", _REFUNDS, "    if not catalog.sales:\n", "    if False:\n", _IN_GAMES
    ),
    one(
        "what an ended credit line gets back is free again",
        "services/accounting/core/account/buckets.py",
        "        bucket.consumed -= amount\n        if bucket.ended:\n",
        "        bucket.consumed -= amount\n        if False:\n",
        _IN_GAMES,
    ),
    one(
        "the audit does not know of what goes back",
        "services/accounting/journal/audit.py",
        "    PriceReturned: _post_returned,\n",
        "",
        "tests/accounting/journal/test_returns.py",
    ),
)

_OF_ONCE: Final = (
    one(
        "what is sold once is sold beside itself",
        _ONCE,
        'if subscription.state != "ended" and offering_id in offerings and',
        "if False and",
        _IN_GAMES,
    ),
    one(
        "what is sold once is ordered twice before it is paid",
        _ONCE,
        'if order.state == "awaiting_payment" and order.terms',
        "if False and order.terms",
        _IN_GAMES,
    ),
    one("a free day is had again after its cancellation", _ONCE, "    if bought_us is None:\n", "    if True:\n", _IN_GAMES),
    one(
        "a renewal that is paid ends a change that waits for its payment",
        "services/accounting/core/sales/renewals.py",
        ' and order.state == "awaiting_payment" and not order.digest\n',
        ' and order.state == "awaiting_payment"\n',
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "a year that is sold once begins with each month",
        "services/accounting/core/cycles.py",
        "        return begin.replace(month=1, day=1)\n",
        "        return begin.replace(day=1)\n",
        "tests/accounting/core/test_games.py",
    ),
    one(
        "a free day is had once for good",
        _ONCE,
        "if bought_us >= period_bounds_us(terms.once_a, terms.time_zone, now_us)[0]:",
        "if bought_us >= 0:",
        _IN_GAMES,
    ),
    one(
        "a further cycle does not count as had",
        _ACCOUNT_SALES,
        "    if subscription.terms.once:\n",
        "    if subscription.terms.once and entry.number == 1:\n",
        _IN_GAMES,
    ),
    one(
        "a pack does not count as had",
        _ACCOUNT_SALES,
        "    if order.terms.once and order.terms.cycle is None:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "what is sold once is had again by a change",
        _SUBSCRIPTIONS,
        "return bought_already(account, terms, now_us, subscription.subscription_id) or terms",
        "return terms",
        _IN_GAMES,
    ),
    one(
        "what is withdrawn is sold",
        _PRICES,
        "    if rules.withdrawn:\n",
        "    if False:\n",
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "what comes with another product is ordered",
        _PRICES,
        "    if rules.only_granted:\n",
        "    if False:\n",
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "a subscription is in its own way",
        _ONCE,
        " and subscription.subscription_id != changed_id:\n",
        ":\n",
        _IN_GAMES,
    ),
)

_OF_WRITE_OFFS: Final = (
    one(
        "what was written off is refunded",
        _CORRECTIONS,
        "account.refunded.get(record, 0) - unpaid)",
        "account.refunded.get(record, 0))",
        _IN_GAMES,
    ),
    one(
        "what was written off before a call counts against it",
        _STATE,
        "if written_off_us < time_us)",
        "if False)",
        _IN_GAMES,
    ),
    one(
        "what was written off counts twice against a small debt",
        _CORRECTIONS,
        "min(command.debt, debt.written_off_since(command.settled_us))",
        "debt.written_off_since(command.settled_us)",
        _IN_GAMES,
    ),
    one(
        "an account remembers each write-off for ever",
        "services/accounting/core/account/buckets.py",
        "    if len(debt.write_offs) > WRITE_OFFS_KEPT:\n",
        "    if False:\n",
        _IN_GAMES,
    ),
    one(
        "a repeat of a refund is another one once something was written off",
        _CORRECTIONS,
        "digest_of(msgspec.structs.replace(command, debt=0, settled_us=0))",
        "digest_of(msgspec.structs.replace(command, settled_us=0))",
        _IN_GAMES,
    ),
)

_OF_GRANTS: Final = (
    one(
        "a repeat of a grant grants again",
        _BUNDLES,
        "    if known := _buckets_of(account, command.idempotency_key):\n",
        "    if known := []:\n",
        _IN_BUNDLES,
    ),
    one("what has a price is granted", _BUNDLES, "if terms.price or terms.once", "if terms.once", _IN_BUNDLES),
    one("a credit line is granted", _BUNDLES, " or any(each.postpaid for each in allowances)", "", _IN_BUNDLES),
    one(
        "the end of a grant ends them all",
        _BUNDLES,
        "if bucket.source == source]",
        'if bucket.source.startswith("grant:")]',
        _IN_BUNDLES,
    ),
)

GAMES: Final = (*_OF_CHANGES, *_OF_GRANTS, *_OF_CREDIT, *_OF_RETURNS, *_OF_ONCE, *_OF_WRITE_OFFS)
