"""Pods come, go and are hurt while calls of a real trace arrive; afterwards the books must be exact.

Each row of the table at the end is a step. How long calls took is told, not judged: it counts where nothing else runs, and
docs/benchmarks.md has it from such a run. That calls are answered without a gap, and none fails, is judged.
"""

import hashlib
import json
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from infra.cluster import RELEASE, STORES, ClusterError, kubectl
from services.cli.replay.trace import read_trace
from tests.cluster.cell import SERVICES, VALIDITY_MS, ClusterCell, Driver, Tools, eventually, is_ready
from tests.cluster.peers import SERVERS, shown_certificates
from tests.cluster.runbook import Operator
from tests.faults.load import SHORT
from tests.traces import TRACES

# Of this trace a third of the answers is long enough to be streamed from the vendor, whole answers too: at 200 a second edges and
# simulator fill the two cores by themselves, and a rolling update makes calls wait 6 s.
_CALLS_PER_SECOND: Final = 100
_TRACE: Final = TRACES / "chat_azure2023_conv.csv"
_ROWS_MAX: Final = 5_000


class Scene(NamedTuple):
    cell: ClusterCell
    tools: Tools
    driver: Driver
    operator: Operator


@pytest.fixture(scope="module")
def scene(
    cell: ClusterCell, other: ClusterCell, tools: Tools, image_tag: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    # It would take CPU, and be drained with its node.
    other.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
    cell.upgrade()
    lengths = [(row.input_tokens, row.output_tokens) for row in read_trace(_TRACE, _ROWS_MAX)] if _TRACE.exists() else SHORT
    values = {"services": {"accounting": {"config": {"validity_ms": VALIDITY_MS}}}}
    operator = Operator(cell, image_tag, tmp_path_factory.mktemp("faults"), values)
    operator.run('kubectl config set-context --current --namespace="$NAMESPACE"')
    driver = Driver(cell, cell.new_keys(16, 1_000_000_000), lengths, _CALLS_PER_SECOND)
    yield Scene(cell, tools, driver, operator)
    driver.kill()


class Step(NamedTuple):
    """Something done to the cell while calls arrive."""

    name: str
    act: Callable[[Scene], None]
    # Whether calls may fail, and how long none may be answered, in seconds.
    failures_allowed: bool = False
    gap_s_max: float = 2.0


def quiet(scene: Scene) -> None:
    time.sleep(15)


_CERTIFICATES: Final = "Services get certificates"


def serve_with_tls(scene: Scene) -> None:
    before = set(scene.cell.names())
    scene.operator.execute(_CERTIFICATES, 0, 1)
    # A StatefulSet's pods keep their names, and get a new identity.
    assert not before & set(scene.cell.names()) - {"tokenline-billing-0", "tokenline-edge-0", "tokenline-edge-1"}


def call_with_tls(scene: Scene) -> None:
    scene.operator.execute(_CERTIFICATES, 2)


def require_tls(scene: Scene) -> None:
    scene.operator.execute(_CERTIFICATES, 3)
    scene.cell.keep("grpcTls.mode=required")


def renew_certificates(scene: Scene) -> None:
    cell = scene.cell
    before = cell.started()
    scene.operator.execute(_CERTIFICATES, 4)
    # The node looks at a pod's Secrets once a minute, and when something is said of the pod.
    cell.kubectl("annotate", "pods", "--selector=app.kubernetes.io/part-of=tokenline", "certificates=renewed")
    waiting = {name: f"the certificate of {service} was replaced" for service in SERVICES for name in cell.names(service)}

    def taken() -> bool:
        for name in [name for name, line in waiting.items() if line in cell.kubectl("logs", name)]:
            del waiting[name]
        return not waiting

    eventually(taken, f"taken by {waiting}", 120)
    folder = Path(scene.operator.environment["CERTIFICATES"])
    assert shown_certificates(cell) == {service: {sha256_of(folder / service / "tls.crt")} for service in SERVERS}
    assert cell.started() == before


def sha256_of(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))).hexdigest()


def change_a_value(scene: Scene) -> None:
    before = {pod["metadata"]["uid"] for pod in scene.cell.pods()}
    changed = {pod["metadata"]["uid"] for pod in scene.cell.pods("accounting")}
    scene.cell.upgrade("services.accounting.config.held_wait_ms=250")
    # Only what reads it is rolled.
    assert before - {pod["metadata"]["uid"] for pod in scene.cell.pods()} == changed


def scale_accounting(scene: Scene) -> None:
    for replicas in (1, 3, 1, 2):
        scene.cell.scale("accounting", replicas)


def scale_edge(scene: Scene) -> None:
    for replicas in (4, 2):
        scene.cell.scale("edge", replicas)


def delete_an_owner(scene: Scene) -> None:
    scene.cell.kubectl("delete", "pod", scene.cell.names("accounting")[0], "--force", "--grace-period=0")
    scene.cell.await_rollout("accounting")


def kill_a_container(scene: Scene) -> None:
    pod = scene.cell.pods("accounting")[0]
    assert scene.tools.signal("accounting", signal.SIGKILL, pod["status"]["podIP"]) == 1
    name = pod["metadata"]["name"]

    def restarted() -> bool:
        (now,) = [each for each in scene.cell.pods("accounting") if each["metadata"]["name"] == name]
        return bool(now["status"]["containerStatuses"][0]["restartCount"] == 1 and is_ready(now))

    eventually(restarted, "its container runs again")


def freeze_an_owner(scene: Scene) -> None:
    address = scene.cell.pods("accounting")[0]["status"]["podIP"]
    assert scene.tools.signal("accounting", signal.SIGSTOP, address) == 1
    time.sleep(12)
    scene.tools.signal("accounting", signal.SIGCONT, address)
    time.sleep(3)


def evict_two(scene: Scene) -> None:
    first, second = scene.cell.names("accounting")
    evict(scene.cell, first)
    with pytest.raises(ClusterError, match="would violate the pod's disruption budget"):
        evict(scene.cell, second)
    scene.cell.await_rollout("accounting")


def evict(cell: ClusterCell, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": cell.namespace}}
    path = f"/api/v1/namespaces/{cell.namespace}/pods/{name}/eviction"
    kubectl("create", "--raw", path, "--filename", "-", given=json.dumps(eviction))


def drain_a_node(scene: Scene) -> None:
    """On the only node of a cluster, what is evicted waits until it may come back; the budgets keep the rest."""
    cell = scene.cell
    node = cell.pods("accounting")[0]["spec"]["nodeName"]
    others = {pod["metadata"]["uid"] for pod in cell.pods() if pod["spec"]["nodeName"] == node}
    nodes = json.loads(kubectl("get", "nodes", "--output", "json"))["items"]
    # The simulator stands for vendors, who are elsewhere.
    selector = "app.kubernetes.io/component in (accounting,authentication,registry,billing,edge)"
    command = [
        "kubectl",
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        f"--pod-selector={selector}",
        "--timeout=180s",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as drain:
        try:
            if len(nodes) == 1:
                time.sleep(8)
                for service in ("accounting", "authentication", "registry", "edge"):
                    assert any(is_ready(pod) for pod in cell.pods(service)), service
        finally:
            if len(nodes) == 1:
                kubectl("uncordon", node)
            said, _ = drain.communicate(timeout=200)
            kubectl("uncordon", node)
        assert drain.returncode == 0, said
    assert not others & {pod["metadata"]["uid"] for pod in cell.pods()}
    cell.await_rollout()


def restart_store(name: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        kubectl("--namespace", STORES, "delete", "pod", f"{name}-0")
        kubectl("--namespace", STORES, "rollout", "status", f"statefulset/{name}", "--timeout=120s")
        time.sleep(5)

    return act


def fail_an_upgrade(scene: Scene) -> None:
    """An image that does not exist: the release fails, the pods stay, and a rollback repairs the release."""
    before = {pod["metadata"]["uid"] for pod in scene.cell.pods()}
    with pytest.raises(ClusterError, match=r"pre-upgrade|deadline|time"):
        scene.cell.upgrade("image.tag=does-not-exist", timeout_s=20)
    assert {pod["metadata"]["uid"] for pod in scene.cell.pods()} == before
    (waiting,) = scene.cell.get("pods", "--selector", "app.kubernetes.io/component=migration")["items"]
    assert "tokenline:does-not-exist" in scene.cell.events(waiting["metadata"]["name"])
    scene.cell.helm("rollback", RELEASE, "--wait", "--timeout=120s")
    assert {pod["metadata"]["uid"] for pod in scene.cell.pods()} == before


STEPS: Final = (
    Step("nothing", quiet),
    Step("rolled: served with TLS, too", serve_with_tls),
    Step("rolled: called with TLS", call_with_tls),
    Step("rolled: TLS required", require_tls),
    Step("certificates renewed", renew_certificates),
    Step("a value of accounting changed", change_a_value),
    Step("accounting 2, 1, 3, 1, 2", scale_accounting),
    Step("edge 2, 4, 2", scale_edge),
    Step("owner's pod deleted with force", delete_an_owner, failures_allowed=True, gap_s_max=10.0),
    Step("owner's container killed", kill_a_container, failures_allowed=True, gap_s_max=10.0),
    Step("owner frozen for 12 s", freeze_an_owner, failures_allowed=True, gap_s_max=10.0),
    Step("two evictions, one refused", evict_two),
    Step("node drained", drain_a_node),
    Step("PostgreSQL's pod restarted", restart_store("postgresql"), failures_allowed=True, gap_s_max=30.0),
    Step("etcd's pod restarted", restart_store("etcd")),
    Step("upgrade that fails, rollback", fail_an_upgrade),
)
_COLUMNS: Final = ("acknowledged", "failed", "gap s", "p50 ms", "p99 ms", "max ms", "lost", "twice")
_MEASURED: Final[dict[str, Any]] = {}


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_calls_go_on(scene: Scene, step: Step) -> None:
    scene.driver.phase(step.name)
    step.act(scene)
    time.sleep(3)
    _MEASURED[step.name] = measured = scene.driver.phase("between")
    assert measured["acknowledged"] > _CALLS_PER_SECOND
    assert step.failures_allowed or not measured["failures"], measured
    assert measured["gap_s"] <= step.gap_s_max, measured
    # Whatever failed meanwhile, nothing does any more.
    time.sleep(2)
    after = scene.driver.phase("between")
    assert not after["failures"]
    assert after["acknowledged"] > _CALLS_PER_SECOND


def test_the_books_are_exact(scene: Scene, told: list[str]) -> None:
    acknowledged = scene.driver.stop()
    time.sleep(2 * VALIDITY_MS / 1_000)

    def audited() -> Any:
        said = scene.cell.tokenline("audit")
        return said if said["open_sessions"] == 0 else None

    audit = eventually(audited, "nothing is held any more", 60)
    reconciled = scene.cell.tokenline("reconcile")
    charged = scene.cell.charged()
    told.append(
        f"{len(acknowledged):,} calls acknowledged at {_CALLS_PER_SECOND} a second; audit: {audit['entries']:,} entries, "
        f"{len(audit['breaches'])} breaches; reconcile: {reconciled['cdrs']:,} CDRs, {len(reconciled['differences'])} differences"
    )
    told.append(f"{'step':34}" + "".join(f"{each:>13}" for each in _COLUMNS))
    lost = {each["charging_id"] for each in acknowledged if each["charging_id"] not in charged}
    amounts = {each["charging_id"]: each["tokens"] * 1_000_000 for each in acknowledged}
    otherwise = {each for each in amounts.keys() & charged.keys() if charged[each][0] != amounts[each]}
    twice = {each for each in otherwise if charged[each][0] > amounts[each]}
    for name, measured in _MEASURED.items():
        ids = {each["charging_id"] for each in acknowledged if each["phase"] == name}
        latencies = "".join(f"{1_000 * measured[f'plain_{each}_s']:13.0f}" for each in ("p50", "p99", "max"))
        told.append(
            f"{name:34}{len(ids):13,}{sum(measured['failures'].values()):13}{measured['gap_s']:13.2f}{latencies}"
            f"{len(ids & lost):13}{len(ids & twice):13}"
        )
    assert lost == set()
    assert otherwise == set()
    assert audit["breaches"] == []
    assert reconciled["differences"] == []
    assert len({each["charging_id"] for each in acknowledged}) == len(acknowledged)
