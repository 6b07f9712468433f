"""Faults of accounting's rules: records of a session, rates and caps, losses."""

from typing import Final

from tests.mutations.planting import one

_ACCOUNT: Final = "services/accounting/core/account/sessions.py"
_BALANCE: Final = "services/accounting/core/balance.py"
_SETTLE: Final = "services/accounting/core/sessions/settle.py"
_RECORDS: Final = "services/accounting/core/sessions/records.py"
_LIMITS: Final = "services/accounting/core/limits.py"
_LOSSES: Final = "services/accounting/core/losses.py"
_IN_RECORDS: Final = "tests/accounting/core/test_planted_faults.py"
_IN_LINES: Final = "tests/accounting/core/test_lines.py"
_IN_LOSSES: Final = "tests/accounting/core/test_losses.py"
_IN_LIMITS: Final = "tests/accounting/core/test_limits.py"

_OF_RECORDS: Final = (
    one(
        "more tokens count against a rate than there can be",
        "services/accounting/core/sessions/create.py",
        "min(command.input_expected, command.input_bound)",
        "command.input_expected",
        _IN_RECORDS,
    ),
    one(
        "what an Update has counted is counted again",
        "services/accounting/core/sessions/extend.py",
        "        counted += more\n",
        "",
        _IN_RECORDS,
    ),
    one(
        "what a swept session has counted is counted again",
        _SETTLE,
        "tokens_of(command.used) - swept.tokens_counted",
        "tokens_of(command.used)",
        _IN_RECORDS,
    ),
    one(
        "a late Release rates what was swept at the tier of each line",
        _SETTLE,
        "rates = rates_for(swept.lines[line], swept_input)",
        "rates = rates_for(swept.lines[line], total_input(usage))",
        _IN_LINES,
    ),
    one(
        "the cached share is learned of our own estimates",
        _SETTLE,
        " or end.provenance != Provenance.VENDOR:",
        ":",
        _IN_RECORDS,
    ),
    one(
        "a record's tier is not that of the whole session",
        _RECORDS,
        "total_input=total_input(used) if last else -1",
        "total_input=-1",
        _IN_RECORDS,
    ),
    one(
        "a notice comes a token late",
        _RECORDS,
        "consumed * 100 >= percent * bucket.granted",
        "consumed * 100 > percent * bucket.granted",
        _IN_RECORDS,
    ),
    one(
        "a vendor that fell silent is owed nothing",
        _RECORDS,
        '"answered", "broken", "timeout", "garbage"',
        '"answered", "broken", "garbage"',
        _IN_RECORDS,
    ),
    one(
        "a repeat forgets all but the last tariff",
        _RECORDS,
        "others=(*answer.others, charge), others_absorbed",
        "others=(charge,), others_absorbed",
        _IN_RECORDS,
    ),
    one(
        "a session hopes for its own hold",
        "services/accounting/core/sessions/hope.py",
        "if other is session or not",
        "if not",
        _IN_RECORDS,
    ),
    one(
        "a session is granted more than its longer hold pays for",
        "services/accounting/core/sessions/extend.py",
        "        granted = held.output\n",
        "",
        _IN_LINES,
    ),
    one(
        "a vendor's attempts stand in every record",
        _RECORDS,
        "attempts=facts.attempts if index == 0 else ()",
        "attempts=facts.attempts",
        _IN_RECORDS,
    ),
    one(
        "an Update's tokens are forgotten by its session",
        _ACCOUNT,
        "        session.tokens_counted = entry.tokens_counted\n",
        "        pass\n",
        _IN_RECORDS,
    ),
    one(
        "the vendor of a swept session is owed nothing",
        _ACCOUNT,
        "            wholesale=session.wholesale if session else (),\n",
        "",
        _IN_RECORDS,
    ),
)

_OF_LOSSES: Final = (
    one(
        "a late Release is no work of a vendor",
        _SETTLE,
        "facts, now_us, catalog)\n    return Decision(entries, settled_answer(records))\n\n\ndef _late",
        "facts, now_us, None)\n    return Decision(entries, settled_answer(records))\n\n\ndef _late",
        _IN_LOSSES,
    ),
    one(
        "unpaid work of an earlier day counts",
        _LOSSES,
        "unpaid = sum(each.unpaid for each in account.work if each.hour > since)",
        "unpaid = sum(each.unpaid for each in account.work)",
        _IN_LOSSES,
    ),
    one(
        "paid work of an earlier day counts",
        _LOSSES,
        "paid = sum(each.paid for each in account.work if each.hour > since)",
        "paid = sum(each.paid for each in account.work)",
        _IN_LOSSES,
    ),
    one(
        "unpaid work is rated by its own input",
        _LOSSES,
        "rates_for(tariff, total_input(used) + total_input(unpaid))",
        "rates_for(tariff, total_input(unpaid))",
        _IN_LOSSES,
    ),
    one(
        "a debt is looked for in the first unit",
        _LOSSES,
        "unit = plan.lines[next(reversed(plan.lines))].unit",
        "unit = plan.lines[next(iter(plan.lines))].unit",
        _IN_LOSSES,
    ),
)

_OF_LIMITS: Final = (
    one(
        "limits of an earlier catalog hold on",
        _LIMITS,
        "if derived.base_limits is not base_limits or len(kept)",
        "if len(kept)",
        _IN_LIMITS,
    ),
    one(
        "a subscription that has ended limits",
        _LIMITS,
        '        if subscription.state == "active":\n',
        "        if True:\n",
        _IN_LIMITS,
    ),
    one(
        "the end that comes last counts",
        _LIMITS,
        "of_subject.valid_until_us < valid_until_us",
        "of_subject.valid_until_us > valid_until_us",
        _IN_LIMITS,
    ),
    one(
        "use in another unit counts in a cap",
        _LIMITS,
        "counter is not None and counter.unit == unit and _in_window",
        "counter is not None and _in_window",
        _IN_LIMITS,
    ),
    one(
        "tokens that come late count from before",
        _LIMITS,
        "earliest_ns = now_us * 1_000 if tokens > 0 else 0",
        "earliest_ns = 0",
        _IN_LIMITS,
    ),
    one(
        "a session is held to the window after its own",
        _LIMITS,
        "if counter is None or counter.start_us != start_us or (amount",
        "if counter is None or (amount",
        _IN_LIMITS,
    ),
    one(
        "a stream goes on within the last of its caps",
        _LIMITS,
        "        if unit not in room or free < room[unit]:",
        "        if True:",
        _IN_LIMITS,
    ),
    one(
        "what is held comes back at the window's end",
        _LIMITS,
        "retry_after_us=max(0, end_us - now_us) if not held else 0",
        "retry_after_us=max(0, end_us - now_us)",
        _IN_LIMITS,
    ),
    one(
        "what is owed counts in no cap",
        _ACCOUNT,
        "            _count(account, counters, unit, entry.debt, 0)\n",
        "            pass\n",
        _IN_LIMITS,
    ),
)

_OF_HOLDS: Final = (
    one(
        "what is held already is held again",
        _BALANCE,
        "        (bucket_id, amount - hold.get(bucket_id, 0))\n",
        "        (bucket_id, amount)\n",
        _IN_LINES,
    ),
    one(
        "what a cap keeps from one bucket is had from the next",
        _BALANCE,
        "            capped = amount >= limit\n",
        "            capped = False\n",
        _IN_LIMITS,
    ),
    one(
        "each bucket gives all that a cap leaves",
        _BALANCE,
        "            room[bucket.unit] = limit - amount\n",
        "",
        _IN_LIMITS,
    ),
)

_DUE: Final = (
    one(
        "what is due waits for a timer",
        "services/accounting/writer/partition.py",
        "        used = type(command) is not ApplyDue\n"
        "        if account is not None:\n"
        "            self._apply_due(account, now_us, used=used, extended=catalog.extended)\n",
        "        used = type(command) is not ApplyDue\n",
        "tests/accounting/writer/test_owner.py",
    ),
)

_AUDIT: Final = (
    one(
        "the audit does not post what an update holds",
        "services/accounting/journal/audit.py",
        "    SessionUpdated: _post_updated,\n",
        "",
        "tests/accounting/journal/test_pinned_journal.py",
    ),
)

CHARGES: Final = (*_OF_RECORDS, *_OF_LOSSES, *_OF_LIMITS, *_OF_HOLDS, *_DUE, *_AUDIT)
