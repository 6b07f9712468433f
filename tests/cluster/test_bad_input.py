"""What cannot work: refused at once, or a status, an event and a log line that say what to do; what runs goes on running."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from infra.cluster import CHART, DEVELOPMENT, STORES, ClusterError, helm, kubectl, make_secret, sql, values_of
from tests.cluster.cell import ClusterCell, eventually, is_ready
from tests.cluster.conftest import SMALL
from tests.etcd_cluster import requiring_password


@pytest.fixture(scope="module", autouse=True)
def running(other: ClusterCell) -> None:
    other.upgrade()


@contextmanager
def going_on(cell: ClusterCell) -> Iterator[None]:
    """What runs goes on running: the same pods, and they answer."""
    before = serving(cell)
    yield
    assert serving(cell) == before
    assert cell.tokenline("owners")["data"]


def serving(cell: ClusterCell) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cell.pods() if is_ready(pod)}


@pytest.fixture
def broken(image_tag: str) -> Iterator[ClusterCell]:
    """A further cell that will not work."""
    made = ClusterCell("hongkong", image_tag, *SMALL, namespace="tokenline-broken", database="broken")
    made.remove()
    made.prepare()
    yield made
    made.remove()


def migration(cell: ClusterCell) -> Any:
    pods = cell.get("pods", "--selector", "app.kubernetes.io/component=migration")["items"]
    return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]) if pods else None


def why_init(pod: Any) -> str:
    """What the first container of the migration job ended with."""
    (first, *_) = pod["status"]["initContainerStatuses"]
    return str((first["state"].get("terminated") or first.get("lastState", {}).get("terminated") or {}).get("message", ""))


# As the runbook has it.
_LOGS = "logs --all-containers --prefix --ignore-errors"


def test_a_missing_secret_is_named_with_the_command_that_makes_it(broken: ClusterCell) -> None:
    broken.kubectl("delete", "secret", "tokenline-hash-key")
    with pytest.raises(ClusterError, match=r"create secret generic tokenline-hash-key --from-literal=key="):
        broken.upgrade()
    broken.kubectl("create", "secret", "generic", "tokenline-hash-key", "--from-literal=wrong=x")
    with pytest.raises(ClusterError, match="the Secret tokenline-hash-key in namespace tokenline-broken has no key key"):
        broken.upgrade()
    assert broken.get("all")["items"] == []


def test_a_second_release_in_a_namespace_is_refused(other: ClusterCell) -> None:
    with (
        going_on(other),
        pytest.raises(ClusterError, match="already holds the cell of release tokenline"),
    ):
        helm("install", "second", str(CHART), "--namespace", other.namespace, *values_of("hongkong"))


def test_a_wrong_password(broken: ClusterCell) -> None:
    broken.kubectl("delete", "secret", "tokenline-postgresql")
    literals = ("--from-literal=username=tokenline", "--from-literal=password=guess")
    broken.kubectl("create", "secret", "generic", "tokenline-postgresql", *literals)
    with pytest.raises(ClusterError, match=r"pre-install|time"):
        broken.upgrade(timeout_s=40)
    said = eventually(lambda: (pod := migration(broken)) and why_init(pod), "the job says why")
    assert "password authentication failed" in said
    assert "check the user and the password" in said


def test_a_database_out_of_reach(broken: ClusterCell) -> None:
    with pytest.raises(ClusterError, match=r"pre-install|time"):
        broken.upgrade("postgresql.url=postgresql://postgresql.tokenline-stores:5433/broken", timeout_s=25)
    said = broken.kubectl(*shlex.split(_LOGS), "--selector=app.kubernetes.io/component=migration")
    assert "PostgreSQL cannot be reached" in said and "check its address, and that it runs" in said


def test_another_size_of_a_volume(cell: ClusterCell) -> None:
    with (
        going_on(cell),
        pytest.raises(ClusterError, match=r"a claim of 10 Gi.*does not make that a claim of 20 Gi.*runbooks/kubernetes.md"),
    ):
        cell.upgrade("services.billing.volume.size=20Gi")


@pytest.mark.parametrize("asked", [["grpcTls.mode=required"], ["grpcTls.mode=both", "grpcTls.clients=true"]])
def test_tls_between_services_in_one_step(other: ClusterCell, asked: list[str]) -> None:
    with going_on(other), pytest.raises(ClusterError, match=r"grpcTls.mode: it is off in the cluster.*: upgrade to both first"):
        other.upgrade(*asked)


def test_etcd_out_of_reach(other: ClusterCell) -> None:
    with going_on(other), pytest.raises(ClusterError, match=r"accounting|time"):
        other.upgrade("etcd.endpoints={etcd.tokenline-stores:2380}", timeout_s=30)
    (new,) = [pod for pod in other.pods("accounting") if not is_ready(pod)]
    assert "can't be reached or has no leader; check endpoints" in other.kubectl("logs", new["metadata"]["name"])
    other.upgrade()


@pytest.fixture
def etcd_with_users() -> Iterator[str]:
    """The name of an etcd that only lets tokenline in, by the password "s3cret", below the broken cell's prefix."""
    name = "etcd-with-users"
    stores = yaml.safe_load_all((DEVELOPMENT / "stores.yaml").read_text(encoding="utf-8"))
    (pod,) = [each["spec"]["template"] for each in stores if each["kind"] == "StatefulSet" and each["metadata"]["name"] == "etcd"]
    pod = {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {"name": name, "labels": {"app": name}}}
    pod["spec"] |= {"volumes": [{"name": "data", "emptyDir": {}}], "terminationGracePeriodSeconds": 0}
    kubectl("--namespace", STORES, "apply", "--filename", "-", given=json.dumps(pod))
    try:
        kubectl("--namespace", STORES, "expose", f"pod/{name}", "--port=2379")
        kubectl("--namespace", STORES, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        for arguments in requiring_password("tokenline", "s3cret", "/tokenline/tokenline-broken/"):
            kubectl("--namespace", STORES, "exec", name, "--", "etcdctl", *arguments)
        yield name
    finally:
        kubectl("--namespace", STORES, "delete", f"pod/{name}", f"service/{name}", "--ignore-not-found")


def test_a_wrong_password_of_etcd(broken: ClusterCell, etcd_with_users: str) -> None:
    named = [
        f"etcd.endpoints={{{etcd_with_users}.{STORES}:2379}}",
        f"etcd.peers[0].podSelector.matchLabels.app={etcd_with_users}",
        "etcd.username=tokenline",
        "etcd.passwordSecret=tokenline-etcd",
    ]
    with pytest.raises(ClusterError, match=r"create secret generic tokenline-etcd --from-literal=password="):
        broken.upgrade(*named)
    make_secret(broken.namespace, "tokenline-etcd", password="guess")
    with pytest.raises(ClusterError, match=r"accounting|registry|time"):
        broken.upgrade(*named, timeout_s=30)
    for service in ("accounting", "registry"):
        (pod,) = broken.names(service)
        assert "the password of user 'tokenline' is wrong, or there is no such user" in broken.kubectl("logs", pod)
    broken.kubectl("delete", "secret", "tokenline-etcd")
    make_secret(broken.namespace, "tokenline-etcd", password="s3cret")
    broken.kubectl("rollout", "restart", "deployment/tokenline-accounting", "deployment/tokenline-registry")
    broken.upgrade(*named)
    assert broken.tokenline("owners")["data"]


def test_a_schema_newer_than_the_image(other: ClusterCell) -> None:
    sql("hongkong", "INSERT INTO authentication.schema_version VALUES (99)")
    try:
        with going_on(other), pytest.raises(ClusterError, match=r"pre-upgrade|time"):
            other.upgrade(timeout_s=60)
        assert "has schema version 99 of authentication" in why_init(migration(other))
        assert "run the newer release" in why_init(migration(other))
    finally:
        sql("hongkong", "DELETE FROM authentication.schema_version WHERE version = 99")
    other.upgrade()


def test_two_cells_on_one_database(other: ClusterCell, image_tag: str) -> None:
    twin = ClusterCell("hongkong", image_tag, *SMALL, namespace="tokenline-broken", database="hongkong")
    twin.prepare()
    try:
        with going_on(other):
            with pytest.raises(ClusterError, match=r"time|ready|accounting"):
                twin.upgrade(timeout_s=30)
            said = eventually(lambda: "".join(map(twin.why, twin.pods("accounting"))), "it says why")
            assert "give all replicas of a cell the same, and each cell a database of its own" in said
            (pod,) = twin.names("accounting")
            assert "Back-off restarting failed container" in twin.events(pod)
    finally:
        twin.kubectl("delete", "namespace", twin.namespace)
        helm_classes = [f"{twin.namespace}-tokenline-{each}" for each in ("serving", "exporting")]
        twin.kubectl("delete", "priorityclass", "--ignore-not-found", *helm_classes)
