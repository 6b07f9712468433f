"""Faults of what calls somebody: differences that nobody hears of, and cells that watch one another's calls."""

from typing import Final

from tests.mutations.planting import one

_CELL: Final = "services/edge/api/admin/cell.py"
_CHECKS: Final = "tests/observability/test_checks.py"

_RULES: Final = "infra/observability/rules.yaml"
_SCENES: Final = "tests/observability/test_rules.py"
_TRACES: Final = "services/runtime/traces.py"
_OF_TRACES: Final = "tests/runtime/test_traces.py"
_DOCTOR: Final = "services/cli/doctor/system.py"
_OF_DOCTOR: Final = "tests/cli/test_doctor.py"

ALARMS: Final = (
    one(
        "a reconciliation's differences are counted as none",
        _CELL,
        '        checks.add("reconcile", _DIRTY if compared.differences else _CLEAN)\n',
        '        checks.add("reconcile", _CLEAN)\n',
        _CHECKS,
    ),
    one(
        "the first difference since a start is none",
        _CELL,
        "            checks.add(check, found, count=0)\n",
        "            pass\n",
        _CHECKS,
    ),
    one(
        "a cell's alerts look at all cells of a name that no cell has",
        "charts/tokenline/templates/monitoring.yaml",
        ' | replace "NAMESPACE-OF-THE-RELEASE" $.Release.Namespace',
        "",
        "tests/observability/test_rules.py",
    ),
    one(
        "an order that the carrier refuses calls somebody", _RULES, '{source!="order",state="denied"}', '{state="denied"}', _SCENES
    ),
    one(
        "a clock that is late is right",
        _RULES,
        "abs(clock_time_seconds - timestamp(clock_time_seconds))",
        "(clock_time_seconds - timestamp(clock_time_seconds))",
        _SCENES,
    ),
    one(
        "a vendor that was never distrusted calls somebody",
        _RULES,
        'increase(edge_vendor_failures_total{meaning="certificate"}[5m])) > 0',
        'increase(edge_vendor_failures_total{meaning="certificate"}[5m])) >= 0',
        _SCENES,
    ),
    one(
        "the first refusal of the carrier is no increase",
        "services/billing/carrier/wiring.py",
        "                ended.add(source, state, count=0)\n",
        "                pass\n",
        _CHECKS,
    ),
    one(
        "an explained call tells the bound of its input for what was reserved",
        "services/accounting/rpc/journal.py",
        "entry.input_bound if entry.input_reserved < 0 else entry.input_reserved",
        "entry.input_bound",
        "tests/cli/test_explain.py",
    ),
    one(
        "a call is explained to who names an account that has not made it",
        "services/edge/api/admin/explain.py",
        'return found if account_id in ("", found[0].account_id) else []',
        "return found",
        "tests/cli/test_explain.py",
    ),
    one(
        "a clock's jump is told again and again",
        "services/runtime/clock_watch.py",
        "            self._ahead_us = ahead_us\n",
        "            pass\n",
        "tests/runtime/test_clock_watch.py",
    ),
    one(
        "the trace of an answer that broke off is dropped",
        _TRACES,
        "if not ((self.failed or status >= _STATUS_OF_REFUSALS or",
        "if not ((status >= _STATUS_OF_REFUSALS or",
        _OF_TRACES,
    ),
    one(
        "who likes to be refused fills the collector",
        _TRACES,
        "is_slow) and tracing.has_room(root.ended_ns))",
        "is_slow))",
        _OF_TRACES,
    ),
    one(
        "a vendor has the doctor print our secret",
        "services/edge/call/vendor_checks.py",
        "    return code if _WORD.fullmatch(code) and not is_quoted else",
        "    return code if _WORD.fullmatch(code) else",
        "tests/cli/test_untold.py",
    ),
    one(
        "the doctor does not see that a partition's export has stopped",
        _DOCTOR,
        '    if samples.total("billing_partitions_stopped") or (behind_s',
        "    if (behind_s",
        _OF_DOCTOR,
    ),
    one(
        "the doctor does not see partitions that nobody owns",
        _DOCTOR,
        "    if None in owners and len(owners) > 1:\n",
        "    if False:\n",
        _OF_DOCTOR,
    ),
    one(
        "what an explained call owes is untold",
        "services/cli/explain.py",
        '        paid += [(record["debt_amount"], "owed: no bucket covers it")] if record["debt_amount"] else []\n',
        "",
        "tests/cli/test_explain.py",
    ),
    one(
        "a certificate that has ended is a vendor that cannot be reached",
        "services/edge/vendors/http.py",
        "certificate_fault=error.verify_message",
        'certificate_fault=""',
        "tests/cli/test_vendor_certificate.py",
    ),
    one(
        "the admin token goes along where a redirect leads",
        "services/cli/client.py",
        "urllib.request.ProxyHandler({}), _NoRedirects)",
        "urllib.request.ProxyHandler({}))",
        "tests/cli/test_admin.py",
    ),
    one(
        "headers for a collector that cannot be read are shown with their secrets",
        _TRACES,
        "_HEADER.fullmatch(header.strip()) is None",
        "False",
        "tests/cli/test_traces.py",
    ),
    one(
        "a client that leaves soon is a failure of its vendor",
        "services/edge/call/call.py",
        "self._given_up = loop.time() < until_s",
        "self._given_up = False",
        "tests/edge/call/test_ends.py",
    ),
)
