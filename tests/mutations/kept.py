"""Faults of what accounts, sessions and meters keep from one step to the next, found by leaving statements out."""

from typing import Final

from tests.mutations.planting import one

_ACCOUNT_BUCKETS: Final = "services/accounting/core/account/buckets.py"
_ACCOUNT_DUE: Final = "services/accounting/core/account/due.py"
_ACCOUNT_RUNS: Final = "services/accounting/core/account/runs.py"
_ACCOUNT_SALES: Final = "services/accounting/core/account/sales.py"
_ACCOUNT_SESSIONS: Final = "services/accounting/core/account/sessions.py"
_AUDIT: Final = "services/accounting/journal/audit.py"
_BALANCE: Final = "services/accounting/core/balance.py"
_BILLING_SQLITE: Final = "services/billing/sqlite_store.py"
_BILLING_SERVICER: Final = "services/billing/servicer.py"
_BILLING_ITEMS: Final = "services/billing/items.py"
_BILLING_RECONCILE: Final = "services/billing/reconcile.py"
_CARRIER_CLIENT: Final = "services/billing/carrier/client.py"
_AUTHENTICATION: Final = "services/authentication/servicer.py"
_CARRIER_COMPARISON: Final = "services/billing/carrier/comparison.py"
_CORRECTIONS: Final = "services/accounting/core/corrections.py"
_EDGE_CALL_CALL: Final = "services/edge/call/call.py"
_EDGE_VENDORS_USAGE: Final = "services/edge/vendors/usage.py"
_EDGE_CALL_USAGE: Final = "services/edge/call/usage.py"
_ENTITLEMENTS: Final = "services/edge/api/admin/entitlements.py"
_LIMITS: Final = "services/accounting/core/limits.py"
_OFFERINGS: Final = "services/accounting/core/offerings.py"
_REGISTRY_OFFERINGS: Final = "services/registry/offerings.py"
_SALES_CREDIT: Final = "services/accounting/core/sales/credit.py"
_REGISTRY_TARIFFS: Final = "services/registry/tariffs.py"
_SALES_OPENINGS: Final = "services/accounting/core/sales/openings.py"
_SALES_ORDERS: Final = "services/accounting/core/sales/orders.py"
_SALES_RENEWALS: Final = "services/accounting/core/sales/renewals.py"
_SALES_SUBSCRIPTIONS: Final = "services/accounting/core/sales/subscriptions.py"
_SESSIONS_BOUNDS: Final = "services/accounting/core/sessions/bounds.py"
_SESSIONS_HOPE: Final = "services/accounting/core/sessions/hope.py"
_SESSIONS_RECORDS: Final = "services/accounting/core/sessions/records.py"
_SESSIONS_SETTLE: Final = "services/accounting/core/sessions/settle.py"
_IN_CHARGING: Final = "tests/accounting/core/test_charging_kept.py"
_IN_SALES: Final = "tests/accounting/core/test_sales_kept.py"
_IN_ROOM: Final = "tests/accounting/core/test_room.py"
_IN_CORRECTIONS: Final = "tests/accounting/core/test_corrections.py"
_IN_GIFTS: Final = "tests/accounting/core/test_gifts.py"
_IN_BILLING: Final = "tests/billing/test_billing.py"
_IN_ITEMS: Final = "tests/billing/test_items.py"
_IN_COMPARISON: Final = "tests/billing/carrier/test_comparison.py"
_IN_CARRIER_CLIENT: Final = "tests/billing/carrier/test_client.py"
_IN_AUTHENTICATION: Final = "tests/authentication/test_servicer.py"
_IN_MEASURES: Final = "tests/registry/test_measures.py"
_IN_VENDORS_USAGE: Final = "tests/edge/vendors/test_usage.py"
_IN_IDENTITIES: Final = "tests/edge/test_identities.py"
_IN_BILLING_STORES: Final = "tests/stores/test_billing_stores.py"
_IN_CATALOG_OF_SALES: Final = "tests/registry/test_catalog_of_sales.py"
_IN_VENDORS_OWED: Final = "tests/accounting/core/test_vendors_owed.py"
_IN_USAGE: Final = "tests/edge/call/test_usage.py"
_IN_CAPS: Final = "tests/accounting/core/test_caps.py"
_IN_WINDOWS: Final = "tests/edge/call/test_windows.py"
_IN_OPEN_ROUTES: Final = "tests/edge/routing/test_open_routes.py"

KEPT: Final = (
    one(
        "a pack is refunded for the last of its allowances",
        _ACCOUNT_BUCKETS,
        "order.bucket_ids = (*order.bucket_ids, bucket.bucket_id)",
        "order.bucket_ids = (bucket.bucket_id,)",
        _IN_SALES,
    ),
    one(
        "a top-up of a bucket renews nothing",
        _ACCOUNT_BUCKETS,
        'entry.repaid))\n    if bucket.unit.startswith("CURRENCY"):\n        retry_suspended(account, entry.time_us)\n',
        "entry.repaid))\n",
        _IN_SALES,
    ),
    one(
        "a renewal under another offering keeps the payments before",
        _ACCOUNT_SALES,
        " and entry.time_us < before.cycle_end_us\n",
        "\n",
        _IN_SALES,
    ),
    one(
        "a cycle goes back as the one before was paid",
        _ACCOUNT_SALES,
        "        subscription.payment = subscription.next_payment\n",
        "",
        _IN_SALES,
    ),
    one(
        "each coin gives a suspended subscription more time",
        _ACCOUNT_SALES,
        '    if subscription.state != "suspended":\n        subscription.state = "suspended"\n        subscription.grace_end_us',
        '    if True:\n        subscription.state = "suspended"\n        subscription.grace_end_us',
        _IN_SALES,
    ),
    one(
        "limits of an ended subscription hold on",
        _ACCOUNT_SALES,
        "    account.unused_until_us = unused_until_us(account)\n    account.forget_derived()\n\n\nAPPLY",
        "    account.unused_until_us = unused_until_us(account)\n\n\nAPPLY",
        _IN_SALES,
    ),
    one(
        "what may live on waits for a call",
        _ACCOUNT_DUE,
        "        and not any(allowance.rollover_cap for allowance in terms.allowances)\n",
        "",
        _IN_SALES,
    ),
    one(
        "what a call holds does not live on",
        _SALES_RENEWALS,
        "max(0, bucket.remaining - bucket.rollover_cap), end_us",
        "max(0, bucket.remaining + bucket.reserved - bucket.rollover_cap), end_us",
        _IN_SALES,
    ),
    one(
        "a share of a month goes back as a whole one after a change",
        _SALES_OPENINGS,
        "CycleStarted(account.account_id, now_us, subscription_id, 1, span.end_us, span.price, span.days)",
        "CycleStarted(account.account_id, now_us, subscription_id, 1, span.end_us, terms.price, span.days)",
        _IN_SALES,
    ),
    one(
        "a renewal within a month costs the whole month",
        _SALES_RENEWALS,
        '    payment = payment_entries(account, terms, subscription.next_payment, span.price, "", due_us, restart)',
        '    payment = payment_entries(account, terms, subscription.next_payment, terms.price, "", due_us, restart)',
        _IN_SALES,
    ),
    one(
        "a renewal under another offering is paid as the one before was",
        _SALES_RENEWALS,
        'restart = restart_entries(account, subscription, terms, subscription.next_payment, "", span)',
        'restart = restart_entries(account, subscription, terms, subscription.payment, "", span)',
        _IN_SALES,
    ),
    one(
        "a renewal that waited is of what was before the change",
        _SALES_RENEWALS,
        "subscription.next_terms or subscription.terms, due_us)",
        "subscription.terms, due_us)",
        _IN_SALES,
    ),
    one(
        "a change to a share of a month costs the whole month",
        _SALES_SUBSCRIPTIONS,
        "    to_pay = max(0, span.price - credit)\n",
        "    to_pay = max(0, terms.price - credit)\n",
        _IN_SALES,
    ),
    one(
        "a change to what costs less is paid in any way",
        _SALES_SUBSCRIPTIONS,
        "    if credit and span.price:\n",
        "    if credit and to_pay:\n",
        _IN_SALES,
    ),
    one(
        "a cancelled renewal takes the next money",
        _SALES_SUBSCRIPTIONS,
        '    if command.at_once or subscription.state == "suspended":',
        "    if command.at_once:",
        _IN_SALES,
    ),
    one(
        "a session of two tariffs gives back two places",
        _ACCOUNT_SESSIONS,
        "    if entry.more_records:\n        return\n    if session is not None:\n        _end(account, session)\n",
        "    if session is not None:\n"
        "        _end(account, session)\n"
        "    if entry.more_records:\n"
        "        return\n"
        "    if session is not None:\n",
        _IN_CHARGING,
    ),
    one(
        "a model is sold after the grant that it came with",
        _ACCOUNT_BUCKETS,
        "    account.burn_order.remove(entry.bucket_id)\n    account.forget_derived()\n\n\ndef _rolled",
        "    account.burn_order.remove(entry.bucket_id)\n\n\ndef _rolled",
        _IN_CHARGING,
    ),
    one(
        "input that is free in the first line costs in the next",
        _BALANCE,
        "        if not amount and source.parts:\n            taken.setdefault(source.parts[0][0], 0)\n",
        "",
        _IN_CHARGING,
    ),
    one(
        "a late end that tells less charges more",
        _SESSIONS_SETTLE,
        "    more = tuple(max(0, count - before) for",
        "    more = tuple(abs(count - before) for",
        _IN_CHARGING,
    ),
    one(
        "a suspended subscription prices money",
        _OFFERINGS,
        'for each in account.subscriptions.values() if each.state == "active"]\n    return [account',
        "for each in account.subscriptions.values()]\n    return [account",
        _IN_CHARGING,
    ),
    one(
        "a minted key may owe in money that its budget does not name",
        _OFFERINGS,
        "return planned._replace(lines=lines, worst_cases={line: planned.worst_cases[line] for line in lines}, debt_limit=limit)",
        "return planned._replace(lines=lines, worst_cases={line: planned.worst_cases[line] for line in lines})",
        _IN_CHARGING,
    ),
    one(
        "a run outlives its end where its account has a later one",
        _LIMITS,
        "        if not valid_until_us or run.ends_us < valid_until_us:\n"
        '            valid_until_us, ended_subject = run.ends_us, f"key:{run.key_id}"\n',
        '        if not valid_until_us:\n            valid_until_us, ended_subject = run.ends_us, f"key:{run.key_id}"\n',
        _IN_CHARGING,
    ),
    one(
        "a key below a minted one may use all of its parent's models",
        _LIMITS,
        "for run in runs if run.model_ids), None)",
        "for run in reversed(runs) if run.model_ids), None)",
        _IN_CHARGING,
    ),
    one(
        "an Event of two tariffs counts in the caps of the first",
        _SESSIONS_RECORDS,
        "counters=facts.counters,\n",
        "counters=facts.counters if index == 0 else (),\n",
        _IN_CHARGING,
    ),
    one(
        "hope passes a cap in money that tokens are paid before",
        _SESSIONS_HOPE,
        "        if lines[line].unit in room\n",
        "        if lines[line].unit in room and line == next(iter(lines))\n",
        _IN_CAPS,
    ),
    one(
        "a piece that no grant covers is charged as its vendor counts it",
        _EDGE_CALL_CALL,
        "        if not covered:\n"
        "            meter.leave()\n"
        "        elif best > session.safe and session.granted < self._whole:\n"
        "            session.ask_for_more()\n"
        "        await self._add(step)\n"
        "        return covered",
        "        await self._add(step)\n"
        "        if not covered:\n"
        "            meter.leave()\n"
        "        elif best > session.safe and session.granted < self._whole:\n"
        "            session.ask_for_more()\n"
        "        return covered",
        _IN_WINDOWS,
    ),
    one(
        "an equivalent model is told no limit",
        _EDGE_CALL_CALL,
        "            limit = self._admitted.output_limit\n        return self._request.vendor_request",
        "            pass\n        return self._request.vendor_request",
        _IN_OPEN_ROUTES,
    ),
    one(
        "a budget in money is larger by what is held in tokens",
        _SESSIONS_SETTLE,
        "(amount for bucket_id, amount in hold.items() if amount and account.buckets[bucket_id].unit == unit)",
        "(amount for bucket_id, amount in hold.items() if amount)",
        _IN_CHARGING,
    ),
    one(
        "a client that left pays its part of the first count",
        _EDGE_CALL_USAGE,
        "            if self._relayed is not None:\n                self._came = self._own\n",
        "            if self._relayed is not None and self._came is None:\n                self._came = self._own\n",
        _IN_USAGE,
    ),
    one(
        "more is reported on the way than is held",
        _EDGE_CALL_USAGE,
        "        return _joined(self._input_now(), self._within_held(outputs, self._output_held()))",
        "        return _joined(self._input_now(), outputs)",
        _IN_USAGE,
    ),
    one(
        "a vendor priced at a call's start is owed by its end",
        _OFFERINGS,
        " if each.vendor_id in at_end else each for each in pinned)",
        " for each in pinned)",
        _IN_VENDORS_OWED,
    ),
    one(
        "what no budget covers comes off the first record",
        _SESSIONS_SETTLE,
        "        for record in reversed(of_unit):\n",
        "        for record in of_unit:\n",
        _IN_CHARGING,
    ),
    one(
        "what no budget covers comes off the first bucket",
        _SESSIONS_RECORDS,
        "        for bucket_id, paid in reversed(self.free_debits):\n",
        "        for bucket_id, paid in self.free_debits:\n",
        _IN_CHARGING,
    ),
    one(
        "what nobody was sent is absorbed by the last tariff",
        _SESSIONS_RECORDS,
        "        records[0].absorbed += sum(unpaid_amounts)\n",
        "        records[-1].absorbed += sum(unpaid_amounts)\n",
        _IN_CHARGING,
    ),
    one(
        "what nobody was sent costs what the last tariff says",
        _SESSIONS_RECORDS,
        "losses.rated_unpaid(records[0].charge.tariff, used, unpaid)",
        "losses.rated_unpaid(records[-1].charge.tariff, used, unpaid)",
        _IN_CHARGING,
    ),
    one(
        "a run is forgotten although a swept call of it may charge",
        _ACCOUNT_RUNS,
        "account.sessions.values()} | {each.key_id for each in account.swept.values()}\n",
        "account.sessions.values()}\n",
        _IN_CHARGING,
    ),
    one(
        "a run is forgotten although a call below it may charge",
        _ACCOUNT_RUNS,
        "    charging = {run.key_id for key_id in key_ids for run in lineage(account, key_id)}\n",
        "    charging = key_ids\n",
        _IN_CHARGING,
    ),
    one(
        "a change at once makes more buckets than an account can have",
        _SALES_SUBSCRIPTIONS,
        "    if (full := no_room_for(account, terms)) is not None:\n        return full\n",
        "",
        _IN_ROOM,
    ),
    one(
        "a refund makes one bucket more than an account can have",
        _CORRECTIONS,
        "no_room(account, command.unit, command.amount)) is not None:\n        return full\n    return granting(\n",
        "too_much(account, command.unit, command.amount)) is not None:\n        return full\n    return granting(\n",
        _IN_ROOM,
    ),
    one(
        "a renewal is asked for as long as what it is changed to says",
        _SALES_RENEWALS,
        "        expires_us=due_us + subscription.terms.grace_us,\n",
        "        expires_us=due_us + terms.grace_us,\n",
        _IN_SALES,
    ),
    one(
        "what nobody was sent comes to any amount",
        _SESSIONS_BOUNDS,
        "too_much_to_owe(account, lines, added_up(used, command.unpaid))",
        "too_much_to_owe(account, lines, used)",
        _IN_CHARGING,
    ),
    one(
        "a top-up repays what is owed in another unit",
        _CORRECTIONS,
        "    debt = account.debts.get(bucket.unit)\n    repaid",
        "    debt = next(iter(account.debts.values()), None)\n    repaid",
        _IN_CHARGING,
    ),
    one(
        "the order of a subscription is forgotten while that goes on",
        _ACCOUNT_BUCKETS,
        "        if not goes_on and not any(",
        "        if not any(",
        _IN_SALES,
    ),
    one(
        "the order of a year is forgotten while its allowance is known",
        _ACCOUNT_BUCKETS,
        "        if not goes_on and not any(bucket_id in account.buckets for bucket_id in order.bucket_ids):\n",
        "        if not goes_on:\n",
        _IN_SALES,
    ),
    one(
        "a forgotten order begins its subscription anew",
        _SALES_ORDERS,
        "    if subscription_id in account.subscriptions:\n",
        "    if subscription_id in account.orders:\n",
        _IN_SALES,
    ),
    one(
        "a gift is forgotten while the bucket is known that it made",
        _ACCOUNT_BUCKETS,
        "        if transfer.bucket_id not in account.buckets:\n            del account.transfers[transfer.transfer_id]\n",
        "        del account.transfers[transfer.transfer_id]\n",
        _IN_GIFTS,
    ),
    one(
        "a key that is used again stops the export",
        _BILLING_SQLITE,
        "INSERT OR REPLACE INTO placed_order",
        "INSERT INTO placed_order",
        _IN_BILLING_STORES,
    ),
    one(
        "a bucket that is granted twice is another one of its key",
        _AUDIT,
        "        if not before.ended or before.held or entry.time_us <= before.until_us + ENDED_MEMORY_US:\n",
        "        if not before.ended or before.held:\n",
        _IN_CORRECTIONS,
    ),
    one(
        "a catalog has amounts that accounting does not take",
        _REGISTRY_OFFERINGS,
        "    elif micro > ADDED_UP_MAX:\n",
        "    elif False:\n",
        _IN_CATALOG_OF_SALES,
    ),
    one(
        "a pack that is paid late is worth what is left since it was ordered",
        _SALES_CREDIT,
        "    begin_us = running[0].created_us\n",
        "    begin_us = order.placed_us\n",
        _IN_SALES,
    ),
    one(
        "a bucket that ended before its time is topped up",
        _CORRECTIONS,
        "    if bucket.ended or bucket.valid_until_us <= now_us:\n",
        "    if bucket.valid_until_us <= now_us:\n",
        _IN_SALES,
    ),
    one(
        "a statement is cut",
        _BILLING_SERVICER,
        "        if len(charges) > _CHARGES_MAX:\n",
        "        if len(charges) > _CHARGES_MAX + 1:\n",
        _IN_BILLING,
    ),
    one(
        "a phone number has anything behind it",
        _BILLING_SERVICER,
        "_PHONE_NUMBER.fullmatch(request.phone_number)",
        "_PHONE_NUMBER.match(request.phone_number)",
        _IN_BILLING,
    ),
    one(
        "a vendor's late claim is a further call",
        _BILLING_ITEMS,
        "            calls=int(is_first),\n",
        "            calls=1,\n",
        _IN_ITEMS,
    ),
    one(
        "a call of a minted key counts with lines that its budget does not name",
        _OFFERINGS,
        "worst_cases={line: planned.worst_cases[line] for line in lines}, debt_limit=limit)",
        "debt_limit=limit)",
        _IN_CHARGING,
    ),
    one(
        "tiers change under one version",
        _REGISTRY_TARIFFS,
        "[(-1, row.by_class()), *((tier.above_input_tokens, tier.by_class()) for tier in row.tiers)]",
        "[(-1, row.by_class())]",
        _IN_CATALOG_OF_SALES,
    ),
    one(
        "a currency changes under one version",
        _REGISTRY_TARIFFS,
        "            tariff.unit,\n            tariff.currency,\n",
        '            tariff.unit,\n            "",\n',
        _IN_CATALOG_OF_SALES,
    ),
    one(
        "an image costs what a token does in a window",
        _REGISTRY_TARIFFS,
        '        yield from missing_rates(f"{field}.rates", window.rates, charged)\n',
        "",
        _IN_MEASURES,
    ),
    one(
        "the phone bill is compared and nothing of it is told",
        _BILLING_RECONCILE,
        "                findings.add(difference)\n",
        "                pass\n",
        _IN_COMPARISON,
    ),
    one(
        "a payment goes to whom an answer names",
        _CARRIER_CLIENT,
        "data=content, headers=headers, allow_redirects=False)",
        "data=content, headers=headers)",
        _IN_CARRIER_CLIENT,
    ),
    one(
        "a minted key whose end is the first moment of 1970 has none",
        _AUTHENTICATION,
        "ends_us=max(1, request.end_time.ToMicroseconds()),",
        "ends_us=request.end_time.ToMicroseconds(),",
        _IN_AUTHENTICATION,
    ),
    one(
        "spoken output costs what text does",
        _EDGE_VENDORS_USAGE,
        "        if of_completion.audio_tokens:\n            return None\n",
        "",
        _IN_VENDORS_USAGE,
    ),
    one(
        "of parts of a count those before an odd one count",
        _EDGE_VENDORS_USAGE,
        "                    added = None\n                    break\n",
        "                    break\n",
        _IN_VENDORS_USAGE,
    ),
    one(
        "what was written to the cache beside the prompt is dropped",
        _EDGE_VENDORS_USAGE,
        "for token_class in (_CACHED, _WRITE) if token_class in inside)",
        "for token_class in (_CACHED,) if token_class in inside)",
        _IN_VENDORS_USAGE,
    ),
    one(
        "a later zero covers output that came since",
        _EDGE_VENDORS_USAGE,
        "own.has_output and total_output(own.counts):\n",
        "own.has_output:\n",
        _IN_VENDORS_USAGE,
    ),
    one(
        "a first page out of range is an empty list",
        _CARRIER_CLIENT,
        "                    if page > 1 and error.code.endswith",
        "                    if error.code.endswith",
        _IN_CARRIER_CLIENT,
    ),
    one(
        "a payment is looked for by our clock alone",
        _CARRIER_CLIENT,
        "datetime.fromtimestamp(demand.asked_us // _MICRO, UTC) - _SKEW",
        "datetime.fromtimestamp(demand.asked_us // _MICRO, UTC)",
        _IN_CARRIER_CLIENT,
    ),
    one(
        "one of two refunds of a demand is taken",
        _CARRIER_CLIENT,
        '        if len(found) > 1:\n            raise DisputedError(f"the carrier has {len(found)} refunds',
        '        if len(found) > 9:\n            raise DisputedError(f"the carrier has {len(found)} refunds',
        _IN_CARRIER_CLIENT,
    ),
    one(
        "an error of another status is a refusal",
        _CARRIER_CLIENT,
        "reply.status in _REFUSALS and error.status == reply.status and error",
        "reply.status in _REFUSALS and error",
        _IN_CARRIER_CLIENT,
    ),
    one(
        "a refund of another amount is no difference",
        _CARRIER_COMPARISON,
        "elif what := told.differs_from(demand):",
        'elif what := "":',
        _IN_COMPARISON,
    ),
    one(
        "thought that is shown and encrypted counts twice",
        _EDGE_CALL_USAGE,
        "max(thought, self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN))",
        "thought + self._opaque_bytes // _OPAQUE_BYTES_A_TOKEN)",
        _IN_USAGE,
    ),
    one(
        "what a client that pays nothing did not get is no unpaid work",
        _EDGE_CALL_USAGE,
        "        return self._of(NOTHING, self.made().charged)\n",
        "        return self._of(NOTHING, self.used().charged)\n",
        _IN_USAGE,
    ),
    one(
        "an order is carried out by a payment of any end",
        _CARRIER_COMPARISON,
        "        if paid.state != State.SUCCEEDED:\n",
        "        if paid.state == State.DENIED:\n",
        _IN_COMPARISON,
    ),
    one(
        "use of all currencies is one sum",
        _CARRIER_COMPARISON,
        " if use.currency == currency)",
        ")",
        _IN_COMPARISON,
    ),
    one(
        "an order of which nobody knows what became is answered",
        _ENTITLEMENTS,
        "        if error.reason not in _UNKNOWN_OUTCOME:\n            await _end(sales, ending)\n",
        "        await _end(sales, ending)\n",
        _IN_IDENTITIES,
    ),
    one(
        "a renewal is paid as the cycle before was, whatever was chosen since",
        _SALES_RENEWALS,
        "    if waits_for_payment(account, terms, subscription.next_payment, price, due_us):\n",
        "    if waits_for_payment(account, terms, subscription.payment, price, due_us):\n",
        _IN_SALES,
    ),
)
