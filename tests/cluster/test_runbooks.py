"""The runbook of a cell on Kubernetes, executed as written, under load."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.cluster import CHART, STORES, ClusterError, kubectl, sql
from services.runtime.identifiers import uuid7
from tests.cluster.cell import VALIDITY_MS, ClusterCell, Driver, Tools, eventually
from tests.cluster.runbook import PAGE, Operator
from tests.faults.load import SHORT
from tests.runbooks import executable_sections, execute, section


@pytest.fixture(scope="module")
def operator(image_tag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    cell = ClusterCell("hongkong", image_tag, namespace="tokenline-runbook", database="runbook")
    cell.remove()
    sql("postgres", 'CREATE DATABASE "runbook"')
    services: dict[str, dict[str, Any]] = {each: {"replicas": 2} for each in ("accounting", "authentication", "registry", "edge")}
    services["accounting"]["config"] = {"validity_ms": VALIDITY_MS}
    yield Operator(cell, image_tag, tmp_path_factory.mktemp("runbook"), {"services": services})
    cell.remove()


@pytest.fixture(scope="module")
def driver(operator: Operator, tools: Tools) -> Iterator[Driver]:
    """Calls that go on all the while; made after Install."""
    load = Driver(operator.cell, operator.cell.new_keys(4, 1_000_000_000), SHORT, 40)
    yield load
    load.kill()


def test_every_section_is_executed() -> None:
    # A cell gets its certificates where it is hurt, under a heavier load.
    source = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("test_runbooks.py", "test_faults.py"))
    assert {title for title in executable_sections(PAGE) if f'"{title}"' not in source} == set()


def test_install(operator: Operator) -> None:
    operator.execute("Install")


@pytest.mark.parametrize("title", ["Upgrade", "Scale", "Roll back", "A secret is changed", "Take a backup"])
def test_nobody_notices(operator: Operator, driver: Driver, title: str) -> None:
    driver.phase(title)
    operator.execute(title)
    time.sleep(2)
    came = driver.phase("between")
    assert came["acknowledged"] > 40
    assert not came["failures"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("services.accounting.config.validity_ms=1", "validity_ms must be 1000 to 600000"),
        # A StatefulSet, whose pod must go before a new one can come.
        ("services.edge.config.idle_timeout_ms=0", "idle_timeout_ms must be 1 to 3600000"),
    ],
)
def test_a_stuck_rollout(operator: Operator, driver: Driver, value: str, message: str) -> None:
    driver.phase("stuck")
    with pytest.raises(ClusterError):
        operator.cell.upgrade(value, *_replicas(2), timeout_s=45)
    assert message in operator.execute("A rollout is stuck")
    operator.cell.await_rollout()
    operator.execute("Upgrade")
    assert not driver.phase("between")["failures"]


def _replicas(count: int) -> list[str]:
    return [f"services.{each}.replicas={count}" for each in ("accounting", "authentication", "registry", "edge")]


def test_a_lost_node(operator: Operator, driver: Driver) -> None:
    operator.execute("A node is lost", 0)
    time.sleep(15)
    operator.execute("A node is lost", 1)
    for name in ("postgresql", "etcd"):
        kubectl("--namespace", STORES, "rollout", "status", f"statefulset/{name}", "--timeout=120s")
    answers(driver)
    operator.execute("A node is lost", 2, 3)
    assert said(operator, "reconcile")["differences"] == []
    answers(driver)


def test_restore(operator: Operator, driver: Driver) -> None:
    title = "Restore the database, etcd and the CDR volume"
    # A mark of how far the journal went is in etcd after 5 s.
    time.sleep(6)
    operator.execute(title)
    answers(driver)
    assert said(operator, "audit")["breaches"] == []
    assert said(operator, "reconcile")["differences"] == []


def test_a_cursor_ahead_of_the_journal_is_found(operator: Operator, driver: Driver) -> None:
    title = "Restore the database, etcd and the CDR volume"
    operator.execute("Take a backup", 0)
    cell, now = operator.cell, uuid7(time.time_ns() // 1_000)
    eventually(lambda: max(cell.charged()) > now, "a call is exported that the backup does not have")
    cell.kubectl("scale", "deployment/tokenline-accounting", "--replicas=0")
    cell.kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=accounting", "--timeout=120s")
    sql(cell.database, "DROP SCHEMA accounting CASCADE")
    sql(cell.database, "CREATE SCHEMA accounting")
    restore = section(PAGE, "Billing is ahead of the journal")[1].commands.splitlines()[-3:-1]
    execute("\n".join(restore).replace("schema=billing", "schema=accounting"), operator.environment, operator.folder, 60)
    operator.execute(title, 1)
    cell.kubectl("scale", "deployment/tokenline-accounting", "--replicas=2")
    ended = "Billing is ahead of the journal"
    assert "was exported from era" in eventually(lambda: operator.execute(ended, 0), "billing ends", 120)
    operator.execute(ended, 1)
    operator.execute(title, 2)
    answers(driver)
    assert said(operator, "reconcile")["differences"] == []


def test_a_volume_that_is_too_small(operator: Operator, driver: Driver) -> None:
    driver.phase("volume")
    pod = operator.cell.get("pod", "tokenline-billing-0")["metadata"]["uid"]
    operator.execute("A volume is too small")
    (claim,) = operator.cell.get("statefulset", "tokenline-billing")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert operator.cell.get("pod", "tokenline-billing-0")["metadata"]["uid"] == pod
    assert not driver.phase("between")["failures"]


def test_uninstalled_and_installed_again_it_goes_on(operator: Operator, driver: Driver) -> None:
    driver.stop()
    cell = operator.cell

    def settled() -> Any:
        audit = said(operator, "audit")
        return audit if audit["open_sessions"] == 0 else None

    before = eventually(settled, "nothing is held any more", 60)
    operator.execute("Uninstall")

    def left() -> set[str]:
        return {each["metadata"]["name"] for each in cell.get("all,configmaps,serviceaccounts,networkpolicies")["items"]}

    # Pods go in their own time.
    eventually(lambda: left() == {"kube-root-ca.crt", "default"}, "nothing is left", 120)
    values = [*("--values", operator.environment["VALUES"]), "--set", "services.billing.volume.size=20Gi"]
    cell.helm("install", "tokenline", str(CHART), *values, "--wait")
    after = said(operator, "audit")
    assert (after["accounts"], after["buckets"], after["breaches"]) == (before["accounts"], before["buckets"], [])
    assert said(operator, "reconcile")["differences"] == []


def answers(driver: Driver) -> None:
    """Calls flow, and none fails any more."""

    def flow() -> bool:
        driver.phase("recovering")
        time.sleep(3)
        came = driver.phase("between")
        return bool(came["acknowledged"] > 60 and not came["failures"])

    eventually(flow, "calls flow", 120)


def said(operator: Operator, command: str) -> Any:
    return operator.cell.tokenline(command)
