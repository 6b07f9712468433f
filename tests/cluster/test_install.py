"""A new cell: installed, called, tested, and what it takes while nobody calls."""

import json
import time
from datetime import datetime

import pytest
from openai import OpenAI

from infra.cluster import RELEASE, ClusterError, get, kubectl
from tests.cluster.cell import SERVICES, ClusterCell, eventually, forwarded


def test_from_install_to_the_first_answered_call(cell: ClusterCell, told: list[str]) -> None:
    began_s = time.monotonic()
    cell.upgrade()
    (key,) = cell.new_keys(1, 1_000_000)
    with forwarded(cell.namespace, "service/tokenline-edge", 80) as url:
        answer = OpenAI(base_url=f"{url}/v1", api_key=key).chat.completions.create(
            model="deepseek-v4-flash", messages=[{"role": "user", "content": "hello"}], max_tokens=20
        )
    told.append(f"install to first answered call: {time.monotonic() - began_s:.1f} s")
    assert answer.usage is not None and answer.usage.total_tokens > 0
    assert cell.tokenline("offering", "list")["data"]


def test_the_image_is_small(cell: ClusterCell, image_tag: str, told: list[str]) -> None:
    (node, *_) = get("default", "nodes")["items"]
    (size,) = [each["sizeBytes"] for each in node["status"]["images"] if any(name.endswith(image_tag) for name in each["names"])]
    told.append(f"image: {size / 1e6:.0f} MB in the node's store")
    assert size <= 250e6


def test_helm_test(cell: ClusterCell) -> None:
    assert "Succeeded" in cell.helm("test", RELEASE)


def test_the_books_are_checked_as_each_night(cell: ClusterCell) -> None:
    cell.kubectl("create", "job", "books-now", "--from=cronjob/tokenline-books")
    try:
        cell.kubectl("wait", "job/books-now", "--for=condition=complete", "--timeout=120s")
        # The first that was made, although its network may have come after it.
        (pod,) = cell.get("pods", "--selector=job-name=books-now")["items"]
        for command, wrong in (("audit", "breaches"), ("reconcile", "differences")):
            said = cell.kubectl("logs", pod["metadata"]["name"], f"--container={command}").split()
            assert said[said.index(wrong) + 1] == "0", said
    finally:
        cell.kubectl("delete", "job", "books-now", "--wait=false")


def test_every_pod_runs_with_no_rights(cell: ClusterCell) -> None:
    for name in cell.names():
        said = cell.exec(name, "python", "-", given=_LOOK)
        assert said.split() == ["10001", "read-only", "no-token", "no-capabilities"], (name, said)


_LOOK = """
import os
from pathlib import Path
print(os.getuid())
for path in ("/x", "/opt/tokenline/x", "/etc/x", "/tmp/x"):
    try:
        Path(path).write_text("x")
        print("wrote", path)
    except OSError as error:
        pass
print("read-only")
print("a-token" if Path("/var/run/secrets/kubernetes.io").exists() else "no-token")
status = dict(line.split(":", 1) for line in Path("/proc/1/status").read_text().splitlines() if ":" in line)
print("no-capabilities" if int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0 else status["CapEff"])
"""


def test_a_pod_alone_is_ready_soon(cell: ClusterCell, told: list[str]) -> None:
    for service in SERVICES:
        (name, *_) = cell.names(service)
        cell.kubectl("delete", "pod", name)
        cell.await_rollout(service)
        newest = max(cell.pods(service), key=lambda pod: pod["metadata"]["creationTimestamp"])
        (status,) = newest["status"]["containerStatuses"]
        (ready,) = [each for each in newest["status"]["conditions"] if each["type"] == "Ready"]
        took = seconds(ready["lastTransitionTime"]) - seconds(status["state"]["running"]["startedAt"])
        told.append(f"{service}: Ready {took:.0f} s after its container started")
        assert took <= 15


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def test_an_idle_cell_takes_little(cell: ClusterCell, told: list[str]) -> None:
    """One of each service; the kubelet's own numbers, from its summary."""
    cell.upgrade(*(f"services.{each}.replicas=1" for each in ("authentication", "registry", "accounting", "edge")))
    eventually(lambda: len(cell.names()) == len(SERVICES), "one pod of each service")
    # Long enough that starting is not counted.
    time.sleep(20)
    before = {name: pod_stats(cell, name) for name in cell.names()}
    time.sleep(30)
    cpu, memory = 0.0, 0
    for name, (at, cpu_ns, _) in before.items():
        now, cpu_now_ns, bytes_now = pod_stats(cell, name)
        cpu += (cpu_now_ns - cpu_ns) / 1e9 / (now - at)
        memory += bytes_now
    told.append(f"idle cell, one of each service: {memory / 1e6:.0f} MB, {100 * cpu:.1f} % of a core")
    assert memory <= 600e6
    assert cpu <= 0.15
    cell.upgrade()


def test_an_autoscaler_goes_on_from_what_is_there(cell: ClusterCell) -> None:
    cell.upgrade("services.authentication.replicas=3")
    before = {pod["metadata"]["uid"] for pod in cell.pods("authentication")}
    scaling = [f"services.authentication.autoscaling.{each}" for each in ("minReplicas=2", "maxReplicas=4", "targetCpuPercent=80")]
    cell.upgrade(*scaling)

    def measured() -> bool:
        status = cell.get("horizontalpodautoscaler", "tokenline-authentication").get("status", {})
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        return conditions.get("ScalingActive") == "True" and bool(status.get("currentMetrics"))

    eventually(measured, "the autoscaler has numbers", 120)
    # On a busy machine it may want one more than there are.
    assert {pod["metadata"]["uid"] for pod in cell.pods("authentication")} >= before
    # Who has set the number last has it: `kubectl scale`, then an autoscaler that finds it too much.
    cell.kubectl("scale", "deployment/tokenline-authentication", "--replicas=4")
    cell.upgrade(*scaling)
    assert cell.get("deployment", "tokenline-authentication")["spec"]["replicas"] > 2
    with pytest.raises(ClusterError, match=r"conflict.*\.spec\.replicas"):
        cell.upgrade()
    # Helm takes an autoscaler away last, so left to it that one could speak once more after the release has.
    cell.kubectl("delete", "horizontalpodautoscaler", "tokenline-authentication")
    cell.upgrade(force=True)
    assert len(cell.pods("authentication")) == 2


def pod_stats(cell: ClusterCell, name: str) -> tuple[float, int, int]:
    """When, CPU time in ns, working set in bytes."""
    (pod,) = [each for each in cell.pods() if each["metadata"]["name"] == name]
    summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/stats/summary"))
    (stats,) = [each for each in summary["pods"] if (each["podRef"]["namespace"], each["podRef"]["name"]) == (cell.namespace, name)]
    return seconds(stats["cpu"]["time"]), stats["cpu"]["usageCoreNanoSeconds"], stats["memory"]["workingSetBytes"]
