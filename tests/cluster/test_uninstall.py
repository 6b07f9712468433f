"""What stays when a cell is uninstalled."""

import json

from infra.cluster import kubectl
from tests.cluster.cell import SERVICES, ClusterCell, eventually


def test_uninstall_leaves_nothing_but_data(cell: ClusterCell) -> None:
    cell.uninstall()
    kinds = "deployments,statefulsets,pods,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,jobs,cronjobs"

    def left() -> set[tuple[str, str]]:
        items = cell.get(kinds)["items"]
        return {(each["kind"], each["metadata"]["name"]) for each in items} - _THE_NAMESPACES

    eventually(lambda: not left(), "nothing is left", 120)
    claims = {each["metadata"]["name"] for each in cell.get("persistentvolumeclaims")["items"]}
    assert {"outbox-tokenline-edge-0", "outbox-tokenline-edge-1", "cdr-tokenline-billing-0"} <= claims
    secrets = {each["metadata"]["name"] for each in cell.get("secrets")["items"]}
    certificates = {f"tokenline-{service}-grpc" for service in SERVICES}
    assert secrets - certificates == {"tokenline-admin-token", "tokenline-hash-key", "tokenline-postgresql"}
    classes = json.loads(kubectl("get", "priorityclasses", "--output", "json"))["items"]
    assert not [each for each in classes if each["metadata"]["name"].startswith(f"{cell.namespace}-")]
    cell.remove()


_THE_NAMESPACES = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
