"""Faults of accounting's rules: prices, buckets to come, gifts, repeats, vendors owed."""

from typing import Final

from tests.mutations.planting import one

_ACCOUNT_BUCKETS: Final = "services/accounting/core/account/buckets.py"
_SESSIONS: Final = "services/accounting/core/account/sessions.py"
_BALANCE: Final = "services/accounting/core/balance.py"
_BUCKETS: Final = "services/accounting/core/buckets.py"
_COMMANDS: Final = "services/accounting/core/commands.py"
_CORRECTIONS: Final = "services/accounting/core/corrections.py"
_OFFERINGS: Final = "services/accounting/core/offerings.py"
_OPENINGS: Final = "services/accounting/core/sales/openings.py"
_PRICES: Final = "services/accounting/core/sales/prices.py"
_RENEWALS: Final = "services/accounting/core/sales/renewals.py"
_CREDIT: Final = "services/accounting/core/sales/credit.py"
_EXTEND: Final = "services/accounting/core/sessions/extend.py"
_RECORDS: Final = "services/accounting/core/sessions/records.py"
_SETTLE: Final = "services/accounting/core/sessions/settle.py"
_TRANSFERS: Final = "services/accounting/core/transfers.py"
_IN_FEATURES: Final = "tests/accounting/cell/test_features.py"
_IN_BUCKETS_TO_COME: Final = "tests/accounting/core/test_buckets_to_come.py"
_IN_CHARGING: Final = "tests/accounting/core/test_charging.py"
_IN_GIFTS: Final = "tests/accounting/core/test_gifts.py"
_IN_PLANTED_FAULTS: Final = "tests/accounting/core/test_planted_faults.py"
_IN_PRICES: Final = "tests/accounting/core/test_prices.py"
_IN_REPEATS: Final = "tests/accounting/core/test_repeats.py"
_IN_VENDORS_OWED: Final = "tests/accounting/core/test_vendors_owed.py"

_OF_PRICES: Final = (
    one(
        "calls at once pass a cap together",
        "services/accounting/core/sessions/hope.py",
        "    if room is None:\n        return False\n    return any(",
        "    if room is None:\n        return False\n    return False and any(",
        "tests/accounting/core/test_caps.py",
    ),
    one(
        "a credit line pays what prepaid money must",
        _PRICES,
        "if bucket.postpaid == postpaid]\n",
        "if bucket.postpaid or not postpaid]\n",
        _IN_PLANTED_FAULTS,
    ),
    one(
        "money that ends with its cycle pays for the next",
        _PRICES,
        "    money = [each for each in money if each[0] not in ending]\n",
        "",
        _IN_PRICES,
    ),
    one(
        "what repaid a debt pays a price, too",
        _PRICES,
        "(entry.bucket_id, entry.amount - entry.repaid)",
        "(entry.bucket_id, entry.amount)",
        _IN_PRICES,
    ),
    one(
        "a credit line for a group of models pays a price",
        _PRICES,
        " and entry.unit == unit and not entry.model_group",
        " and entry.unit == unit",
        _IN_PRICES,
    ),
    one(
        "prepaid money that comes with an offering pays its phone bill",
        _PRICES,
        "isinstance(entry, BucketGranted) and entry.postpaid and entry.unit",
        "isinstance(entry, BucketGranted) and entry.unit",
        _IN_PRICES,
    ),
    one(
        "money for a group of models pays a price",
        _PRICES,
        " and not named_by(bucket.line).model_group",
        "",
        _IN_PRICES,
    ),
    one(
        "money that is not valid yet pays a price",
        _PRICES,
        " and bucket.valid_from_us <= now_us < bucket.valid_until_us\n    ]",
        " and now_us < bucket.valid_until_us\n    ]",
        _IN_PRICES,
    ),
    one(
        "a credit line in another currency pays a price",
        _PRICES,
        "entry.postpaid and entry.unit == unit and not",
        "entry.postpaid and not",
        _IN_PRICES,
    ),
    one(
        "prepaid money is taken for a credit line",
        _PRICES,
        "any(bucket.postpaid and bucket.unit == terms.price_unit for",
        "any(bucket.unit == terms.price_unit for",
        _IN_PRICES,
    ),
    one(
        "money that comes with an offering is taken for a credit line",
        _PRICES,
        "not any(each.postpaid and each.unit == terms.price_unit for",
        "not any(each.unit == terms.price_unit for",
        _IN_PRICES,
    ),
    one(
        "a credit line in another currency is taken for one",
        _PRICES,
        "not any(each.postpaid and each.unit == terms.price_unit for each",
        "not any(each.postpaid for each",
        _IN_PRICES,
    ),
    one(
        "a share of a cycle costs all of it",
        _PRICES,
        "terms.price * part // whole, days_of",
        "terms.price, days_of",
        _IN_PRICES,
    ),
    one(
        "the third bucket of an order repays a debt again",
        _OPENINGS,
        "repaid[allowance.unit] = repaid.get(allowance.unit, 0) + first.repaid",
        "repaid[allowance.unit] = first.repaid",
        _IN_PRICES,
    ),
    one(
        "what one unit has repaid is missing in another",
        _OPENINGS,
        "repaid.get(allowance.unit, 0))\n",
        "sum(repaid.values()))\n",
        _IN_PRICES,
    ),
    one(
        "a share of an allowance is rounded down",
        _PRICES,
        "else -(-allowance.amount * part // whole)",
        "else allowance.amount * part // whole",
        _IN_PRICES,
    ),
    one(
        "money that comes back repays what was repaid before",
        _CREDIT,
        "made = bucket_entries(account, granted, repaid)",
        "made = bucket_entries(account, granted)",
        _IN_PRICES,
    ),
    one(
        "what has ended ends again with its subscription",
        _OPENINGS,
        "if bucket.subscription_id == subscription.subscription_id and not bucket.ended\n    ]",
        "if bucket.subscription_id == subscription.subscription_id\n    ]",
        _IN_PRICES,
    ),
)

_OF_BUCKETS_TO_COME: Final = (
    one(
        "a bucket of the future repays",
        _BUCKETS,
        "if debt and granted.valid_from_us <= granted.time_us:",
        "if debt:",
        _IN_CHARGING,
    ),
    one(
        "a top-up of a bucket of the future repays",
        _CORRECTIONS,
        " if debt and bucket.valid_from_us <= now_us else 0",
        " if debt else 0",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "what begins later is waited for",
        _BALANCE,
        "if bucket.line in lines and bucket.valid_from_us <= now_us < bucket.valid_until_us:",
        "if bucket.line in lines and now_us < bucket.valid_until_us:",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "a bucket of the future is given away",
        _TRANSFERS,
        "if not bucket.valid_from_us <= now_us < bucket.valid_until_us:",
        "if not now_us < bucket.valid_until_us:",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "a session pins the tariff of what begins later",
        _OFFERINGS,
        "bucket.line in tried or not bucket.valid_from_us <= now_us < bucket.valid_until_us:",
        "bucket.line in tried or not now_us < bucket.valid_until_us:",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "what a session may burn is not worked out anew at a bucket's begin",
        _OFFERINGS,
        "for time_us in (bucket.valid_from_us, bucket.valid_until_us):",
        "for time_us in (bucket.valid_until_us,):",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "a bucket is granted that has ended",
        _CORRECTIONS,
        "    if valid_until_us <= now_us:\n",
        "    if False:\n",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "more of a session is taken from what pays for other models",
        _EXTEND,
        "remaining > 0 and bucket.line == line and bucket",
        "remaining > 0 and bucket",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "the validity of a later bucket begins at once",
        _CORRECTIONS,
        "valid_until_us = valid_from_us + command.valid_for_us",
        "valid_until_us = now_us + command.valid_for_us",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "the end of a cycle takes from other subscriptions",
        _RENEWALS,
        "if bucket.subscription_id == subscription.subscription_id and bucket.rollover_cap and",
        "if bucket.rollover_cap and",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "money burns by its priority alone",
        "services/accounting/core/account/state.py",
        'return (self.unit.startswith("CURRENCY:"), self.priority,',
        "return (False, self.priority,",
        "tests/accounting/core/test_selling.py",
    ),
    one(
        "a checkpoint keeps the burn order of older code",
        "services/accounting/core/account/evolve.py",
        "account.burn_order.sort(key=lambda bucket_id: account.buckets[bucket_id].burn_key())\n",
        "pass\n",
        "tests/accounting/core/test_first_release.py",
    ),
    one(
        "what lives on keeps its place in the burn order",
        _ACCOUNT_BUCKETS,
        "    account.burn_order.remove(entry.bucket_id)\n"
        "    bucket.valid_until_us = entry.valid_until_us\n"
        "    insort(account.burn_order, entry.bucket_id, key=lambda bucket_id: account.buckets[bucket_id].burn_key())\n",
        "    bucket.valid_until_us = entry.valid_until_us\n",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "what has no cap lives on",
        _RENEWALS,
        "subscription.subscription_id and bucket.rollover_cap and not",
        "subscription.subscription_id and not",
        _IN_BUCKETS_TO_COME,
    ),
    one(
        "free cycles that leave something are passed over",
        _RENEWALS,
        "    if not price and not any(allowance.rollover_cap for allowance in terms.allowances):",
        "    if not price:",
        _IN_BUCKETS_TO_COME,
    ),
)

_OF_GIFTS: Final = (
    one(
        "who owes gives away",
        _TRANSFERS,
        "    if any(debt.outstanding for debt in account.debts.values()):",
        "    if False:",
        _IN_GIFTS,
    ),
    one(
        "who owes in another unit gives away",
        _TRANSFERS,
        "any(debt.outstanding for debt in account.debts.values())",
        "any(debt.outstanding for unit, debt in account.debts.items() if unit == bucket.unit)",
        _IN_GIFTS,
    ),
    one(
        "who has paid its debt gives nothing away",
        _TRANSFERS,
        "any(debt.outstanding for debt",
        "any(debt.incurred for debt",
        _IN_GIFTS,
    ),
    one(
        "what a session holds is given away",
        _TRANSFERS,
        "if command.amount > bucket.remaining:",
        "if command.amount > bucket.remaining + bucket.reserved:",
        _IN_GIFTS,
    ),
    one(
        "what came back comes back again",
        _TRANSFERS,
        '    if transfer.state != "in_transit":\n        return Decision',
        '    if transfer.state == "confirmed":\n        return Decision',
        _IN_GIFTS,
    ),
    one(
        "what arrives is priced by the receiver's own offering",
        _TRANSFERS,
        "        offering_id=offering_id,\n        model_group=model_group,\n    )\n\n\ndef receive_transfer_of",
        "        offering_id='',\n        model_group=model_group,\n    )\n\n\ndef receive_transfer_of",
        _IN_GIFTS,
    ),
    one(
        "what there is no room for arrives",
        _TRANSFERS,
        "    if (full := no_room(account, granted.unit, granted.amount)) is not None:\n        return full\n",
        "",
        _IN_GIFTS,
    ),
    one(
        "what arrives repays no debt",
        _TRANSFERS,
        "granting(account, msgspec.structs.replace(granted, time_us=now_us))",
        "granting(account, granted)",
        _IN_GIFTS,
    ),
    one(
        "what arrives burns before all",
        _TRANSFERS,
        "        priority=bucket.priority,\n        # A bucket priced",
        "        priority=0,\n        # A bucket priced",
        _IN_GIFTS,
    ),
)

_OF_REPEATS: Final = (
    one(
        "an Event with other attempts is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, ChargeEvent):\n"
        "        command = msgspec.structs.replace(command, attempts=())\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_PLANTED_FAULTS,
    ),
    one(
        "an order that is paid otherwise is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, PlaceOrder):\n"
        "        command = msgspec.structs.replace(command, payment=Payment.FREE)\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "a grant for another reason is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, GrantBucket):\n"
        "        command = msgspec.structs.replace(command, reason='')\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "a reduction for another reason is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, ReduceBucket):\n"
        "        command = msgspec.structs.replace(command, reason='')\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "a gift to somebody else is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, SendTransfer):\n"
        "        command = msgspec.structs.replace(command, to_account_id='')\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "a change at another time is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, ChangeSubscription):\n"
        "        command = msgspec.structs.replace(command, at_once=True)\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "a refund of another amount is a repeat",
        _COMMANDS,
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        "    if isinstance(command, RefundSession):\n"
        "        command = msgspec.structs.replace(command, amount=0)\n"
        "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
        _IN_REPEATS,
    ),
    one(
        "an Update that wants more is a repeat",
        _EXTEND,
        "            and command.output_wanted == session.wanted\n",
        "",
        _IN_REPEATS,
    ),
    one(
        "an Update that has used more is a repeat",
        _EXTEND,
        "            and (command.used == session.used or _is_folded(command.used, session.used))\n",
        "",
        _IN_REPEATS,
    ),
    one(
        "a top-up of another amount is a repeat",
        _CORRECTIONS,
        "        if known.digest != digest:\n            return fail(",
        "        if False:\n            return fail(",
        _IN_REPEATS,
    ),
    one(
        "a reduction of another amount is a repeat",
        _CORRECTIONS,
        "    if known.digest != digest:\n        return fail(",
        "    if False:\n        return fail(",
        _IN_REPEATS,
    ),
    one(
        "a Release is known again by what was folded of it",
        _SETTLE,
        "    digest = digest_of(command)\n    if not catalog.extended:\n        command = _understood(command)\n",
        "    if not catalog.extended:\n        command = _understood(command)\n    digest = digest_of(command)\n",
        _IN_FEATURES,
    ),
    one(
        "an Event is known again by what was folded of it",
        _SETTLE,
        "    digest = digest_of(command)\n"
        "    if (known := known_session(account, command, digest, now_us)) is not None:\n"
        "        return known\n"
        "    if not catalog.extended:\n"
        "        command = msgspec.structs.replace(command, used=folded(command.used))\n",
        "    if not catalog.extended:\n"
        "        command = msgspec.structs.replace(command, used=folded(command.used))\n"
        "    digest = digest_of(command)\n"
        "    if (known := known_session(account, command, digest, now_us)) is not None:\n"
        "        return known\n",
        _IN_FEATURES,
    ),
)

_OF_VENDORS: Final = (
    one(
        "the vendor before one without a tariff is owed",
        _RECORDS,
        "                    return each\n            return None\n",
        "                    return each\n",
        _IN_VENDORS_OWED,
    ),
    one(
        "a vendor is owed for another of its models",
        _RECORDS,
        "if (each.vendor_id, each.vendor_model_id) == (attempt.vendor_id, attempt.vendor_model_id):",
        "if each.vendor_id == attempt.vendor_id:",
        _IN_VENDORS_OWED,
    ),
    one(
        "a vendor that refused is owed",
        _RECORDS,
        "if len(wholesale) == 1 and not attempts else None",
        "if len(wholesale) == 1 else None",
        _IN_VENDORS_OWED,
    ),
    one(
        "one of two vendors is owed for a swept session",
        _RECORDS,
        "if len(wholesale) == 1 and not attempts else None",
        "if wholesale and not attempts else None",
        _IN_VENDORS_OWED,
    ),
    one(
        "each record of a session owes its vendor all",
        _RECORDS,
        "wholesale_amounts=owed if index == 0 else NOTHING",
        "wholesale_amounts=owed",
        _IN_VENDORS_OWED,
    ),
    one(
        "a wholesale tariff holds on after its time",
        _OFFERINGS,
        "        if kept is None or kept[0] <= now_us:\n            kept = self._owed",
        "        if kept is None:\n            kept = self._owed",
        _IN_VENDORS_OWED,
    ),
    one(
        "a late Release does not say who is owed",
        _SETTLE,
        "wholesale = wholesale_of(swept.wholesale, command.attempts)",
        "wholesale = wholesale_of(swept.wholesale, ())",
        _IN_VENDORS_OWED,
    ),
    one(
        "reconciliation expects no fee of what a late Release takes back",
        "services/billing/expected.py",
        "            if kept:\n",
        "            if kept > 0:\n",
        "tests/billing/test_items.py",
    ),
    one("a sweep does not say who is owed", _SETTLE, "attempts=session.attempts,", "attempts=(),", _IN_VENDORS_OWED),
    one(
        "a late Release claims for its vendor what the sweep has claimed",
        _SETTLE,
        "claimed=swept.claimed if wholesale == swept.claim else 0,",
        "claimed=0,",
        _IN_VENDORS_OWED,
    ),
    one(
        "what was claimed for one vendor is taken from another",
        _SETTLE,
        "claimed=swept.claimed if wholesale == swept.claim else 0,",
        "claimed=swept.claimed,",
        _IN_VENDORS_OWED,
    ),
    one(
        "the cached share is learned where nothing is expected",
        _SETTLE,
        "if not session.expected or not (input_tokens",
        "if not (input_tokens",
        _IN_VENDORS_OWED,
    ),
    one(
        "the cached share is learned of a part",
        _SETTLE,
        "end.provenance != Provenance.VENDOR:",
        "end.provenance == Provenance.ESTIMATED:",
        _IN_VENDORS_OWED,
    ),
    one(
        "a session without a cache teaches nothing",
        _SESSIONS,
        "if entry.cached_share >= 0:",
        "if entry.cached_share > 0:",
        _IN_VENDORS_OWED,
    ),
    one(
        "the cached share is learned of our own tokenizer",
        _SETTLE,
        "end.provenance != Provenance.VENDOR:",
        "end.provenance not in (Provenance.VENDOR, Provenance.TOKENIZER):",
        _IN_VENDORS_OWED,
    ),
)

RULES: Final = (*_OF_PRICES, *_OF_BUCKETS_TO_COME, *_OF_GIFTS, *_OF_REPEATS, *_OF_VENDORS)
