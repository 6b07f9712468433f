"""Audits and reconciliations are counted by what they found, so that a difference calls somebody."""

from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from services.billing.carrier.demands import Source, State
from services.cli.data_folder import Demo
from tests.cli.processes import Up, up
from tests.faults.cell import eventually
from tests.observability.conftest import admin, called
from tests.waiting import WAIT_S


def counts(
    demo: Demo, name: str = "edge_checks_total", labels: tuple[str, str] = ("check", "found")
) -> dict[tuple[str, str], float]:
    """A metric's values by two labels; those of checks by what they found."""
    with urlopen(f"{demo.admin_url}/metrics", timeout=WAIT_S) as page:
        families = text_string_to_metric_families(page.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {(sample.labels[labels[0]], sample.labels[labels[1]]): sample.value for sample in samples}


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


def test_what_the_carrier_refuses_is_counted_from_0_on(system: Up) -> None:
    # Prometheus sees no increase in a series that begins with 1.
    shown = counts(system.demo, "billing_phone_bill_ended_total", ("source", "state"))
    assert shown == {(source, state): 0 for source in Source for state in (State.DENIED, State.DISPUTED)}
