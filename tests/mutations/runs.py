"""Faults of runs: minted keys, their budgets, their ends."""

from typing import Final

from tests.mutations.planting import Mutation, one

_LIMITS: Final = "services/accounting/core/limits.py"
_RUNS: Final = "services/accounting/core/runs.py"
_STATE: Final = "services/accounting/core/account/runs.py"
_LIMITED: Final = "services/accounting/core/sessions/limited.py"
_AUDIT: Final = "services/accounting/journal/audit.py"
_SETTLE: Final = "services/accounting/core/sessions/settle.py"
_RECORDS: Final = "services/accounting/core/sessions/records.py"
_CORE: Final = "tests/accounting/core/test_runs.py"
_WRITER: Final = "tests/accounting/writer/test_runs.py"

_OF_ACCOUNTING: Final = (
    one(
        "a child counts in its parent alone and not in those above",
        _LIMITS,
        "    for run in runs:\n        named.update",
        "    for run in runs[:2]:\n        named.update",
        _CORE,
    ),
    one(
        "a child's use is forgotten above it",
        _LIMITS,
        "    for run in runs:\n        named.update",
        "    for run in runs[:1]:\n        named.update",
        _WRITER,
    ),
    one("a budget bounds the grant alone", _SETTLE, "            if excess > 0:\n", "            if False:\n", _CORE),
    one(
        "a count beyond the grant looks at the key's own budget alone",
        _LIMITS,
        "    for run in lineage(account, key_id):\n        for limit in run.limits:\n            if limit.kind",
        "    for run in lineage(account, key_id)[:1]:\n        for limit in run.limits:\n            if limit.kind",
        _CORE,
    ),
    one(
        "a count beyond the grant takes what other calls hold",
        _LIMITS,
        "(counter.used + counter.reserved if counter else 0)\n                room",
        "(counter.used if counter else 0)\n                room",
        _CORE,
    ),
    one(
        "a budget is passed where the worst case was reserved",
        _SETTLE,
        "max(0, session.debt_limit)} if session.expected else {}",
        "max(0, session.debt_limit)}",
        _CORE,
    ),
    one(
        "a late Release passes a budget",
        _SETTLE,
        "        _keep_budgets(account, records, swept.key_id, {}, {})\n",
        "        pass\n",
        _CORE,
    ),
    one(
        "of several buckets those that burn first are spared",
        _RECORDS,
        "in reversed(self.free_debits):",
        "in self.free_debits:",
        _CORE,
    ),
    one(
        "small budgets get a vendor's work for nothing",
        _RECORDS,
        "return paid - moved, nobodys + moved",
        "return paid - moved, nobodys",
        _CORE,
    ),
    one("a budget may be wider than the parent's", _RUNS, "elif unit in caps and amount > caps[unit]:", "elif False:", _CORE),
    one(
        "a budget may be in a unit that the parent lacks",
        _RUNS,
        "if rules.units is not None and unit not in rules.units:",
        "if False:",
        _CORE,
    ),
    one(
        "a life may be longer than the parent's",
        _RUNS,
        "        ends_us = min(ends_us, rules.valid_until_us)\n",
        "        pass\n",
        _CORE,
    ),
    one("a wish for a longer life is no error", _RUNS, "now_us + command.valid_for_us > rules.valid_until_us", "False", _CORE),
    one("a message names all models of the cell", _RUNS, "it may use {some_of(known)}", "it may use {', '.join(known)}", _CORE),
    one("a child may use other models than its parent", _RUNS, "        if model_id not in known:\n", "        if False:\n", _CORE),
    one(
        "a child may have more parallel calls",
        _RUNS,
        "if parallel_max and command.parallel_calls > parallel_max:",
        "if False:",
        _CORE,
    ),
    one("keys are minted at any depth", _RUNS, "    if depth >= DEPTH_MAX:\n", "    if False:\n", _CORE),
    one("five levels", _RUNS, "    if depth >= DEPTH_MAX:\n", "    if depth > DEPTH_MAX:\n", _CORE),
    one("any number of minted keys live", _RUNS, "    if living >= LIVING_MAX:\n", "    if False:\n", _CORE),
    one("ended keys are counted among the living", _RUNS, " and now_us < run.ends_us for run", " for run", _CORE),
    one("any key ends a run", _RUNS, "if run is None or not is_below(account, run, command.by_key_id):", "if run is None:", _CORE),
    one("runs are opened for older members", _RUNS, "    if not catalog.runs:\n", "    if False:\n", _WRITER),
    one("the end of a run is not inherited", _STATE, " or is_below(account, run, key_id)]", "]", _CORE),
    one("a run is forgotten while its call is open", _STATE, " and run.key_id not in charging:", ":", _CORE),
    one("ended runs are kept for ever", _STATE, "    if not ended or (excess <= 0 and ", "    if True or (excess <= 0 and ", _CORE),
    one(
        "counters of forgotten runs stay",
        _STATE,
        "                account.counters.pop(name_of(limit, run.key_id), None)\n",
        "                pass\n",
        _CORE,
    ),
    one("an issued key's limits are multiplied by minting", _LIMITS, "runs[-1].root_key_id if runs else key_id", "key_id", _CORE),
    one(
        "a budget in tokens is passed by in money",
        _LIMITED,
        "plan = within(account, catalog, planned, rules.units, command.model_id, now_us)",
        "plan = planned if within else None",
        _CORE,
    ),
    one(
        "a minted key without its run is as good as an issued one",
        _LIMITED,
        "        if not command.key_is_minted:\n",
        "        if True:\n",
        _CORE,
    ),
    one(
        "hope passes a budget",
        "services/accounting/core/sessions/create.py",
        "hopes = offering.expected and not admission.exact",
        "hopes = offering.expected",
        _CORE,
    ),
    one(
        "hope passes a budget in an Update",
        "services/accounting/core/sessions/extend.py",
        "hopes = session.expected and (rules is None or rules.units is None)",
        "hopes = session.expected",
        _CORE,
    ),
    one(
        "a session outlives its run",
        _LIMITED,
        "or not (account.limits or account.runs or left):",
        "or not (account.limits or left):",
        _CORE,
    ),
    one(
        "a label is lost with the sweep",
        "services/accounting/core/account/sessions.py",
        'run_label=session.run_label if session else "",',
        'run_label="",',
        _CORE,
    ),
    one(
        "the audit believes the counts of runs",
        _AUDIT,
        '            if in_state != in_book:\n                yield f"run of',
        '            if False:\n                yield f"run of',
        _WRITER,
    ),
    one("the audit counts the key alone", _AUDIT, "            key_id = self.parents[key_id]\n", "            return\n", _WRITER),
)

_SQLITE: Final = "services/authentication/sqlite_store.py"
_STORE: Final = "services/authentication/store.py"
_ME: Final = "services/edge/api/me_keys.py"
_STORES: Final = "tests/stores/test_authentication_stores.py"
_JOURNEY: Final = "tests/journeys/test_runs.py"

_OF_KEYS: Final = (
    one(
        "a revocation is not inherited",
        _SQLITE,
        "            family = connection.execute(_FAMILY, (key_id, now_us)).fetchall()\n",
        "            family = [(key_id,)]\n",
        _JOURNEY,
    ),
    one(
        "a key passes below one that an older replica revoked",
        _STORE,
        "next((key for key in lineage if key.revision), lineage[0])",
        "lineage[0]",
        _STORES,
    ),
    one(
        "any holder of a key revokes any other key",
        _SQLITE,
        "if not lineage or (above_key_id and above_key_id not in {key.key_id for key in lineage[1:]}):",
        "if not lineage:",
        _JOURNEY,
    ),
    one(
        "a key revokes itself",
        _SQLITE,
        "not in {key.key_id for key in lineage[1:]}",
        "not in {key.key_id for key in lineage}",
        _STORES,
    ),
    one("any key mints", _STORE, "    if MINT not in parent.scopes.split():\n", "    if False:\n", _STORES),
    one(
        "a key outlives its parent",
        _STORE,
        "min(key.ends_us, parent.ends_us) if parent.ends_us else key.ends_us",
        "key.ends_us",
        _STORES,
    ),
    one("a revoked key mints", _STORE, "    if parent.revision or 0 < parent.ends_us", "    if 0 < parent.ends_us", _STORES),
    one("minted keys are kept for ever", _SQLITE, "newest, _FORGOTTEN_AT_ONCE),", "newest, 0),", _STORES),
    one(
        "the newest revision is forgotten with its key",
        _SQLITE,
        "AND (revision = 0 OR revision < ?)",
        "AND (revision = 0 OR revision <= ?)",
        _STORES,
    ),
    one("the edge lets any key ask for a run", _ME, "        if MINT not in principal.scopes:\n", "        if False:\n", _JOURNEY),
    one(
        "a key whose life is over passes at the edge",
        "services/edge/identity/principals.py",
        "if principal.ends_us and principal.ends_us <= self._clock.now_us():",
        "if False:",
        _JOURNEY,
    ),
    one(
        "a Create does not say that its key was minted",
        "services/edge/call/admission.py",
        "key_is_minted=principal.is_minted,",
        "key_is_minted=False,",
        "tests/edge/call/test_admission.py",
    ),
    one(
        "the field that is too wide is not named",
        _ME,
        'malformed(field, f"{error.message}.", "invalid_value")',
        'malformed(None, f"{error.message}.", "invalid_value")',
        _JOURNEY,
    ),
    one(
        "a revoked run stays as it is at accounting",
        _ME,
        "            await answer(accounting.EndRuns(ending, timeout=_TIMEOUT_S))\n",
        "            pass\n",
        _JOURNEY,
    ),
    one(
        "the operator's revocation leaves runs",
        "services/edge/api/admin/keys.py",
        "        if revoked.parent_key_id or revoked.scopes:\n",
        "        if False:\n",
        _JOURNEY,
    ),
    one("a label may be of any length", "services/edge/http/connection.py", 'r"[!-~]{1,64}"', 'r"[!-~]+"', _JOURNEY),
    one(
        "the first of several labels holds",
        "services/edge/http/connection.py",
        "        if len(values) > 1:\n",
        "        if False:\n",
        "tests/edge/call/test_admission.py",
    ),
    one(
        "a wrong label is not told when tokens are counted",
        "services/edge/api/token_counts.py",
        "        client.run_label()\n",
        "",
        "tests/journeys/test_anthropic_sdk.py",
    ),
    one(
        "a wrong word on equivalents is not told when tokens are counted",
        "services/edge/api/token_counts.py",
        "        client.allows_equivalents()\n",
        "",
        "tests/journeys/test_anthropic_sdk.py",
    ),
    one("a label is not in the CDR", "services/billing/cdr.py", "        settled.run_label,\n", '        "",\n', _JOURNEY),
    one(
        "reconciliation does not look at labels",
        "services/billing/expected.py",
        '        cdr["run_label"] = settled.run_label\n',
        "        pass\n",
        "tests/billing/test_reconcile.py",
    ),
)

RUNS: Final[tuple[Mutation, ...]] = (*_OF_ACCOUNTING, *_OF_KEYS)
