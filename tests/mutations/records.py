"""Faults of amounts and of the contract of accounting, of billing's records, and of vendors as they are written."""

from typing import Final

from tests.mutations.planting import one

_AMOUNTS: Final = "services/accounting/core/amounts.py"
_ANSWERS: Final = "services/accounting/rpc/answers.py"
_COMMANDS: Final = "services/accounting/rpc/commands.py"
_FIELDS: Final = "services/accounting/rpc/fields.py"
_CDR: Final = "services/billing/cdr.py"
_CDR_FILE: Final = "services/billing/cdr_file.py"
_EXPORTER: Final = "services/billing/exporter.py"
_ITEMS: Final = "services/billing/items.py"
_JOURNAL: Final = "services/billing/journal.py"
_QUERIES: Final = "services/billing/queries.py"
_RECONCILE: Final = "services/billing/reconcile.py"
_SERVICER: Final = "services/billing/servicer.py"
_SINK: Final = "services/billing/sink.py"
_STATEMENT: Final = "services/billing/statement.py"
_VENDORS: Final = "services/registry/vendors.py"
_IN_AMOUNTS: Final = "tests/accounting/core/test_amounts.py"
_IN_TOKEN_CLASSES: Final = "tests/accounting/core/test_token_classes.py"
_IN_LINES: Final = "tests/accounting/core/test_lines.py"
_IN_TRANSLATION: Final = "tests/accounting/rpc/test_translation.py"
_IN_CDR: Final = "tests/billing/test_cdr.py"
_IN_EXPORTER: Final = "tests/billing/test_exporter.py"
_IN_ITEMS: Final = "tests/billing/test_items.py"
_IN_STATEMENT: Final = "tests/billing/test_statement.py"
_IN_STORES: Final = "tests/stores/test_billing_stores.py"
_IN_BILLING: Final = "tests/billing/test_billing.py"
_IN_RECONCILE: Final = "tests/billing/test_reconcile.py"
_IN_SINK: Final = "tests/billing/test_sink.py"
_IN_VENDORS: Final = "tests/registry/test_vendors.py"

_OF_AMOUNTS: Final = (
    one(
        "an operator's fees are more than their shares",
        "services/billing/items.py",
        "        amount = claim.amount * share // _SHARE_BASE\n",
        "        amount = -(-claim.amount * share // _SHARE_BASE)\n",
        "tests/billing/test_items.py",
    ),
    one(
        "a sweep and its late Release in one row are a difference",
        "services/billing/reconcile.py",
        "        ended = settlement if settled.more_records else settlement + 1\n",
        "        ended = settlement\n",
        "tests/billing/test_reconcile.py",
    ),
    one(
        "a call's fees are those of the time at which the catalog was read",
        "services/accounting/core/offerings.py",
        "            if each.effective_us <= now_us:\n                shares",
        "            if True:\n                shares",
        "tests/accounting/core/test_vendors_owed.py",
    ),
    one(
        "a text that no database takes is written",
        _FIELDS,
        '    if "\\x00" in value:\n',
        "    if False:\n",
        "tests/accounting/rpc/test_translation.py",
    ),
    one(
        "an amount is rounded down",
        _AMOUNTS,
        "    return -(-tokens * rate // RATE_BASE)",
        "    return tokens * rate // RATE_BASE",
        _IN_AMOUNTS,
    ),
    one(
        "a tier begins at its bound",
        _AMOUNTS,
        "if input_tokens > tier.above_input_tokens:",
        "if input_tokens >= tier.above_input_tokens:",
        _IN_AMOUNTS,
    ),
    one("a tier is chosen by uncached input", _AMOUNTS, "rates_for(tariff, a + b + c)", "rates_for(tariff, a + c)", _IN_AMOUNTS),
    one(
        "the dearest of lower tiers is not held",
        _AMOUNTS,
        "for each in tariff.tiers[: index + 1]]",
        "for each in tariff.tiers[index : index + 1]]",
        _IN_AMOUNTS,
    ),
    one(
        "rounding of further classes is not held",
        _AMOUNTS,
        "return max(map(len, classes)) - 1 if any",
        "return 0 if any",
        _IN_AMOUNTS,
    ),
    one(
        "an exchanged rate of none is a rate",
        _AMOUNTS,
        "each if each == NO_RATE else amount_of(each, rate)",
        "amount_of(each, rate)",
        _IN_TOKEN_CLASSES,
    ),
    one(
        "pictures are tokens",
        _AMOUNTS,
        "return sum(usage[index] for index in _TOKENS if index < len(usage))",
        "return sum(usage)",
        _IN_TOKEN_CLASSES,
    ),
    one(
        "the expected input is all uncached",
        _AMOUNTS,
        "rates[_CACHED] * cached_share + rates[_INPUT] * (SHARE_BASE - cached_share)",
        "rates[_INPUT] * SHARE_BASE",
        _IN_LINES,
    ),
    one(
        "the least is that of the first tier",
        _AMOUNTS,
        "    tiers = [tier.rates for tier in tariff.tiers]\n    return Estimate(\n        input_rate=min(min",
        "    tiers = [tier.rates for tier in tariff.tiers[:1]]\n    return Estimate(\n        input_rate=min(min",
        _IN_AMOUNTS,
    ),
)

_OF_THE_CONTRACT: Final = (
    one(
        "a remainder of a millisecond ends at once",
        _ANSWERS,
        "max(1, -(-answer.ends_in_us // 1_000))",
        "answer.ends_in_us // 1_000",
        _IN_TRANSLATION,
    ),
    one(
        "a wait is told too short",
        _ANSWERS,
        "else -(-answer.retry_after_us // 1_000),",
        "else answer.retry_after_us // 1_000,",
        _IN_TRANSLATION,
    ),
    one("a caller may sweep", _COMMANDS, "if release.close_cause == pb.CLOSE_CAUSE_SWEPT:", "if False:", _IN_TRANSLATION),
    one(
        "what was never expected is expected to be nothing",
        _COMMANDS,
        'if create.HasField("input_tokens_expected")\n        else -1',
        "if True\n            else -1",
        _IN_TRANSLATION,
    ),
    one(
        "what was never calibrated is calibrated to nothing",
        _COMMANDS,
        'if create.HasField("input_tokens_calibrated")\n        else -1',
        "if True\n            else -1",
        _IN_TRANSLATION,
    ),
    one("unpaid work of nothing is some", _FIELDS, "return usage if any(usage) else ()", "return usage", _IN_TRANSLATION),
    one(
        "a negative count of a later class passes",
        _FIELDS,
        "    if min(counts) < 0:",
        "    if min(first) < 0:",
        _IN_TRANSLATION,
    ),
    one(
        "a charge in a second unit is lost",
        _ANSWERS,
        "for index, (unit, charged, debt) in enumerate(answer.others):",
        "for index, (unit, charged, debt) in enumerate(answer.others[1:]):",
        _IN_TRANSLATION,
    ),
    one(
        "a new bucket has what it repaid",
        _ANSWERS,
        "remaining=answer.amount - answer.repaid,",
        "remaining=answer.amount,",
        _IN_TRANSLATION,
    ),
    one("a limit may be of another subject", _COMMANDS, "        if made.scope != scope:", "        if False:", _IN_TRANSLATION),
    one(
        "a transfer forgets its group",
        _COMMANDS,
        '        model_group=at_most("model_group", request.model_group, NAME_LENGTH_MAX),\n    )\n\n\ndef set_limits_of',
        "    )\n\n\ndef set_limits_of",
        _IN_TRANSLATION,
    ),
    one(
        "a transfer is sent without its group",
        _COMMANDS,
        "        offering_id=granted.offering_id,\n        model_group=granted.model_group,\n",
        "        offering_id=granted.offering_id,\n",
        _IN_TRANSLATION,
    ),
)

_OF_RECORDS: Final = (
    one(
        "a record has the time of its session's begin twice",
        _CDR,
        "rfc3339(entry.time_us)",
        "rfc3339(settled.create_time_us)",
        _IN_CDR,
    ),
    one(
        "a record of later classes lacks the first that are 0",
        _CDR,
        "        counts.update(_counts(usage))",
        "        counts = _counts(usage)",
        _IN_CDR,
    ),
    one(
        "a class that this code does not know is charged in silence",
        _CDR,
        "ClassCharge(_CLASSES[each.token_class],",
        "ClassCharge(each.token_class,",
        _IN_CDR,
    ),
    one("microseconds lose their zeros", _CDR, "{microseconds:06d}Z", "{microseconds}Z", _IN_CDR),
    one(
        "a file's bytes have the time in them",
        _CDR_FILE,
        "zlib.compress(self._lines, _GZIP_LEVEL, GZIP_WINDOW)",
        "__import__('gzip').compress(bytes(self._lines), _GZIP_LEVEL)",
        _IN_CDR,
    ),
    one(
        "a file is cut within a row",
        _JOURNAL,
        "follows_in_row = here == (seq, index + 1) and position > 0",
        "follows_in_row = here == (seq, index + 1)",
        _IN_EXPORTER,
    ),
    one(
        "another partition's entries are exported",
        _JOURNAL,
        "        if entry.part_id != part_id:",
        "        if False:",
        _IN_EXPORTER,
    ),
    one("a journal may end before it said", _JOURNAL, "        if place[0] != to_seq:", "        if False:", _IN_EXPORTER),
    one("an era before is gone on with", _EXPORTER, "        if cursor.era > listing.era:", "        if False:", _IN_EXPORTER),
    one(
        "an era's other charges are not compared",
        _EXPORTER,
        "                    same = same and builder.rows.items == await self._store.items(*span)\n",
        "                    pass\n",
        _IN_EXPORTER,
    ),
    one(
        "an era that lacks what was exported is gone on with",
        _EXPORTER,
        "            if not same:",
        "            if False:",
        _IN_EXPORTER,
    ),
    one(
        "a range that was begun is written under another name",
        _EXPORTER,
        "if (builder.from_seq, builder.name) != (pending.from_seq, pending.file_name) or not builder.rows.records:",
        "if not builder.rows.records:",
        _IN_EXPORTER,
    ),
    one(
        "a file that differs is written again",
        _EXPORTER,
        "        if made != file:",
        "        if made.name != file.name:",
        _IN_EXPORTER,
    ),
    one(
        "a file without a manifest is there",
        _EXPORTER,
        "if not {file.name, manifest_name(file.name)} <= there:",
        "if file.name not in there:",
        _IN_EXPORTER,
    ),
    one(
        "one broken partition stops the others",
        _EXPORTER,
        "                except (JournalError, CdrError, CursorMovedError) as error:\n"
        "                    failures[part_id] = str(error)\n",
        "                except CursorMovedError as error:\n                    failures[part_id] = str(error)\n",
        _IN_EXPORTER,
    ),
    one(
        "what an interrupted write left stays",
        _SINK,
        "            leftover.unlink(missing_ok=True)\n",
        "            pass\n",
        _IN_SINK,
    ),
    one(
        "a file's name is not on the disk",
        _SINK,
        "        # Without this the name may be lost with the power although the content is safe.\n"
        "        _sync_folder(self._folder)\n",
        "",
        _IN_SINK,
    ),
    one(
        "a failed write leaves its half",
        _SINK,
        "                temporary.unlink(missing_ok=True)\n",
        "                pass\n",
        _IN_SINK,
    ),
    one(
        "a swept session's late record is not asked for",
        _SERVICER,
        "    return records[max(records)].entry.session_settled.close_cause == accounting_pb2.CLOSE_CAUSE_SWEPT",
        "    return False",
        _IN_BILLING,
    ),
    one(
        "a receipt fails while accounting is away", _SERVICER, "            if found:\n                return []\n", "", _IN_BILLING
    ),
    one(
        "an exported record loses its number",
        _SERVICER,
        "records.setdefault(entry.session_settled.record_sequence_number, pb.ReceiptRecord(entry=entry))",
        "records[entry.session_settled.record_sequence_number] = pb.ReceiptRecord(entry=entry)",
        _IN_BILLING,
    ),
    one("a session charged twice agrees", _RECONCILE, "        if number != last_number + 1:", "        if False:", _IN_RECONCILE),
    one(
        "a charge that is no debit and no debt agrees",
        _RECONCILE,
        "        if settled.charged_amount != parts:",
        "        if False:",
        _IN_RECONCILE,
    ),
    one(
        "a stranger in the folder agrees",
        _RECONCILE,
        "        for name in sorted(names - known):",
        "        for name in sorted(known - names):",
        _IN_RECONCILE,
    ),
    one(
        "a cursor that counts otherwise agrees",
        _RECONCILE,
        "        if self._cursor.next_record_number != self._record_number + 1:",
        "        if False:",
        _IN_RECONCILE,
    ),
)

_OF_VENDORS: Final = (
    one(
        "a layer that moves a vendor leaves its endpoints",
        _VENDORS,
        "    moves = above.base_url not in (None, below.base_url)",
        "    moves = False",
        _IN_VENDORS,
    ),
    one(
        "an endpoint that no layer named goes on elsewhere",
        _VENDORS,
        "            if dialect not in named:\n                continue\n",
        "",
        _IN_VENDORS,
    ),
    one(
        "a field with a price stays free",
        _VENDORS,
        "extra = tuple(each for each in moved.extra_fields if each not in priced)",
        "extra = tuple(moved.extra_fields or ())",
        _IN_VENDORS,
    ),
    one(
        "a layer's errors come last",
        _VENDORS,
        "errors=above.errors + below.errors)",
        "errors=below.errors + above.errors)",
        _IN_VENDORS,
    ),
    one(
        "a metered field in capitals passes",
        _VENDORS,
        "        elif name.casefold() in METERED_FIELDS:\n            yield field,",
        "        elif name in METERED_FIELDS:\n            yield field,",
        _IN_VENDORS,
    ),
    one(
        "a metered field has a price",
        _VENDORS,
        '        elif name.casefold() in METERED_FIELDS:\n            yield "priced_fields",',
        '        elif False:\n            yield "priced_fields",',
        _IN_VENDORS,
    ),
    one(
        "an address may have a user in it",
        _VENDORS,
        "url.query or url.fragment or url.username is not None or",
        "url.query or url.fragment or",
        _IN_VENDORS,
    ),
    one(
        "an error that matches all is taken",
        _VENDORS,
        "    if not (error.http_status or error.code or error.message_part):",
        "    if False:",
        _IN_VENDORS,
    ),
    one(
        "Anthropic's key is a bearer",
        _VENDORS,
        '("anthropic_messages", "x_api_key"),',
        '("anthropic_messages", "bearer"),',
        _IN_VENDORS,
    ),
    one(
        "a vendor without a profile has no endpoint",
        _VENDORS,
        '.by_dialect() or {"openai_chat": Endpoint()}',
        ".by_dialect()",
        _IN_VENDORS,
    ),
)

_OF_CHARGES: Final = (
    one("a debt is an item of a bucket", _ITEMS, 'parts.append((PaidBy.DEBT, "", settled.debt_amount))', "pass", _IN_ITEMS),
    one("what nobody paid has no item", _ITEMS, 'parts.append((PaidBy.OPERATOR, "", settled.absorbed_amount))', "pass", _IN_ITEMS),
    one(
        "a further record is a further call", _ITEMS, "is_first = settled.record_sequence_number == 1 and", "is_first =", _IN_ITEMS
    ),
    one("a call counts once for each source", _ITEMS, "int(is_first and number == 1),", "int(is_first),", _IN_ITEMS),
    one(
        "a refund is charged",
        _ITEMS,
        "kind=Kind.REFUND, amount=-granted.amount",
        "kind=Kind.REFUND, amount=granted.amount",
        _IN_ITEMS,
    ),
    one(
        "a repaid debt is charged again",
        _ITEMS,
        "amount=-repaid.amount, paid_by=PaidBy.DEBT",
        "amount=0, paid_by=PaidBy.DEBT",
        _IN_ITEMS,
    ),
    one("a debt written off is charged", _ITEMS, "given_up.unit, -given_up.amount,", "given_up.unit, given_up.amount,", _IN_ITEMS),
    one(
        "a pack in the row of a change is a change",
        _ITEMS,
        "granted.subscription_id, granted.source.startswith(_RESTART)",
        "granted.subscription_id, sale.restarted or granted.source.startswith(_RESTART)",
        _IN_ITEMS,
    ),
    one(
        "a renewal paid outside is a change",
        _ITEMS,
        "                if order_id and entry.index == index + 1:",
        "                if False:",
        _IN_ITEMS,
    ),
    one(
        "a payment from outside has no record",
        _ITEMS,
        "        if not completed.payment_reference:",
        "        if completed.payment_reference:",
        _IN_ITEMS,
    ),
    one(
        "two items of an entry have one number",
        _ITEMS,
        "record_number=record_number and record_number + number - 1",
        "record_number=record_number",
        _IN_ITEMS,
    ),
    one(
        "charges of the release before get numbers of records",
        _EXPORTER,
        "with_charges=0 < cursor.charges_from_seq <= cursor.exported_seq + 1,",
        "with_charges=True,",
        _IN_EXPORTER,
    ),
    one(
        "items of before the update are not made",
        _EXPORTER,
        "while cursor.backfilled_seq < last_seq:",
        "while False:",
        _IN_EXPORTER,
    ),
    one(
        "a payment forgets the order that was exported before",
        _EXPORTER,
        "orders = await self._store.orders(order_ids) if order_ids else {}",
        "orders = {}",
        _IN_EXPORTER,
    ),
    one(
        "a charge in no file agrees",
        _RECONCILE,
        "                    self._take_charges(expected_items)",
        "                    pass",
        _IN_RECONCILE,
    ),
    one(
        "an altered item agrees",
        _RECONCILE,
        "elif (found := item._asdict()) != expected:",
        "elif False and (found := item._asdict()):",
        _IN_RECONCILE,
    ),
    one(
        "an item that nobody made agrees",
        _RECONCILE,
        "        self.take_unjournaled_items(items_by_place.values())",
        "        pass",
        _IN_RECONCILE,
    ),
    one(
        "charges are not summed",
        _RECONCILE,
        'self._sums.setdefault(key, [0, 0])[side] += cdr["amount"]',
        "pass",
        _IN_RECONCILE,
    ),
    one(
        "a statement does not wait for the export",
        _SERVICER,
        "        await self._exporter.export_account(request.account_id)\n",
        "",
        _IN_BILLING,
    ),
    one(
        "a statement lacks in silence what is not exported",
        _EXPORTER,
        "        if part_id in failures:",
        "        if False:",
        _IN_BILLING,
    ),
    one(
        "an order's receipt is everybody's",
        _SERVICER,
        "if order is None or order.account_id != request.account_id:",
        "if order is None:",
        _IN_BILLING,
    ),
    one("absorbed usage is charged", _STATEMENT, "for line in usage) - absorbed", "for line in usage)", _IN_STATEMENT),
    one(
        "units are added",
        _STATEMENT,
        "[line for line in usage if (line.unit, line.currency) == unit]",
        "list(usage)",
        _IN_STATEMENT,
    ),
    one(
        "December ends with the begin of its year",
        "services/edge/api/admin/statements.py",
        "datetime(year + number // 12,",
        "datetime(year,",
        "tests/journeys/test_statements.py",
    ),
    one(
        "usage of a credit line is of the balance",
        _QUERIES,
        "f\" THEN '{CREDIT_LINE}' ELSE paid_by END\"",
        '" THEN paid_by ELSE paid_by END"',
        _IN_STORES,
    ),
    one(
        "a period has its end in it",
        _QUERIES,
        '"account_id = $1 AND time_us >= $2 AND time_us < $3"',
        '"account_id = $1 AND time_us >= $2 AND time_us <= $3"',
        _IN_STORES,
    ),
)

RECORDS: Final = (*_OF_AMOUNTS, *_OF_THE_CONTRACT, *_OF_RECORDS, *_OF_CHARGES, *_OF_VENDORS)
