"""Faults of what calls somebody: differences that nobody hears of, and cells that watch one another's calls."""

from typing import Final

from tests.mutations.planting import one

_CELL: Final = "services/edge/api/admin/cell.py"
_CHECKS: Final = "tests/observability/test_checks.py"

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
)
