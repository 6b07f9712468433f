"""Network policies: what may be reached, and what not."""

import json

import pytest

from infra.cluster import STORES, get, kubectl
from tests.cluster.cell import TOOLS, ClusterCell, Tools, eventually

_TRY = """
import json, socket, sys
def reached(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        return True
    except OSError:
        return False
print(json.dumps([reached(each) for each in json.loads(sys.argv[1])]))
"""


def addresses(cell: ClusterCell) -> dict[str, str]:
    """Pods themselves and not Services: a name that does not resolve would prove nothing."""
    found = {
        service: f"{cell.pods(service)[0]['status']['podIP']}:7000"
        for service in ("authentication", "registry", "accounting", "billing")
    }
    found["edge"] = f"{cell.pods('edge')[0]['status']['podIP']}:8080"
    found["administration"] = f"{cell.pods('edge')[0]['status']['podIP']}:8081"
    found["metrics"] = f"{cell.pods('accounting')[0]['status']['podIP']}:9000"
    for name, port in (("postgresql", 5432), ("etcd", 2379)):
        found[name] = f"{get(STORES, 'pod', f'{name}-0')['status']['podIP']}:{port}"
    return found


def reached(namespace: str, pod: str, targets: dict[str, str]) -> set[str]:
    said = kubectl(
        "--namespace", namespace, "exec", "--stdin", pod, "--", "python", "-", json.dumps(list(targets.values())), given=_TRY
    )
    return {name for name, was in zip(targets, json.loads(said), strict=True) if was}


@pytest.mark.parametrize(
    ("service", "allowed"),
    [
        ("edge", {"authentication", "registry", "accounting", "billing"}),
        ("authentication", {"postgresql"}),
        ("registry", {"etcd"}),
        ("accounting", {"registry", "accounting", "postgresql", "etcd"}),
        ("billing", {"accounting", "postgresql"}),
    ],
)
def test_a_service_reaches_what_it_must_and_nothing_else(cell: ClusterCell, service: str, allowed: set[str]) -> None:
    # Its own pod is reached from within, whatever policies say.
    own = {pod["status"]["podIP"] for pod in cell.pods(service)}
    targets = {name: address for name, address in addresses(cell).items() if name in allowed or address.split(":")[0] not in own}
    # A policy takes a moment to bite.
    eventually(lambda: reached(cell.namespace, cell.names(service)[-1], targets) == allowed, f"{service} reaches {allowed}", 20)


def test_there_are_metrics_to_be_kept_from_strangers(cell: ClusterCell) -> None:
    address = addresses(cell)["metrics"]
    (name,) = [pod["metadata"]["name"] for pod in cell.pods("accounting") if pod["status"]["podIP"] == address.split(":")[0]]
    assert reached(cell.namespace, name, {"metrics": address}) == {"metrics"}


def test_a_stranger_reaches_the_edge_alone(cell: ClusterCell, tools: Tools) -> None:
    assert reached(TOOLS, "stranger", addresses(cell)) == {"edge"}
