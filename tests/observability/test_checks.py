"""Audits and reconciliations are counted by what they found, so that a difference calls somebody."""

from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from services.cli.data_folder import Demo
from tests.cli.processes import up
from tests.faults.cell import eventually
from tests.observability.conftest import admin, called


def counts(demo: Demo) -> dict[tuple[str, str], float]:
    """By check and what it found."""
    with urlopen(f"{demo.admin_url}/metrics", timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == "edge_checks_total"]
    return {(sample.labels["check"], sample.labels["found"]): sample.value for sample in samples}


def test_a_difference_is_counted_as_one(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        demo = system.demo
        before = counts(demo)
        assert before == {(check, found): 0 for check in ("audit", "reconcile") for found in ("nothing", "differences")}
        assert called(demo, {}) == 200
        assert admin(demo, "/audit")["breaches"] == []
        eventually(lambda: list((tmp_path / "cdr").glob("**/*.gz")), "CDRs are exported")
        for path in (tmp_path / "cdr").glob("**/*.gz"):
            path.unlink()
        assert admin(demo, "/reconcile")["differences"]
        wanted = {**before, ("audit", "nothing"): 1, ("reconcile", "differences"): 1}
        eventually(lambda: counts(demo) == wanted, "the page is made anew")
