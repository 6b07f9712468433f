"""Every pod that the chart makes: what it may do, what it runs, what it reads, how it is looked at, what it takes of a node."""

import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.charts.rendering import (
    CASES,
    VERSION,
    Object,
    PodTemplate,
    merged,
    objects_of,
    of_kind,
    pod_templates,
    rendered,
    with_defaults,
)

SERVICES: Final = ("authentication", "registry", "accounting", "billing", "edge", "vendor-simulator")
JOBS: Final = ("migration", "recovery", "books", "test")
_READS_THE_CONFIG: Final = "--config=/etc/tokenline/config/config.yaml"

# What a pod may do: nothing but run, as a user who owns nothing.
POD_RIGHTS: Final[Object] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
CONTAINER_RIGHTS: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# All else that a pod says. Sharing the node's network, its processes or its files is none of it.
POD_FIELDS: Final = POD_RIGHTS.keys() | {"containers", "volumes", "serviceAccountName", "terminationGracePeriodSeconds"}
SERVICE_FIELDS: Final = POD_FIELDS | {"topologySpreadConstraints", "priorityClassName"}
FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(SERVICES, SERVICE_FIELDS),
    "migration": POD_FIELDS | {"restartPolicy", "initContainers"},
    "recovery": POD_FIELDS | {"restartPolicy"},
    "books": POD_FIELDS | {"restartPolicy"},
    "test": POD_FIELDS - {"serviceAccountName", "terminationGracePeriodSeconds"} | {"restartPolicy", "activeDeadlineSeconds"},
}
CONTAINER_FIELDS: Final = {
    *("name", "image", "imagePullPolicy", "terminationMessagePolicy", "securityContext", "args", "env", "envFrom", "ports"),
    *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "resources", "volumeMounts"),
}

ARGS: Final = {
    ("authentication", "authentication"): ["serve", "authentication", _READS_THE_CONFIG],
    ("registry", "registry"): ["serve", "registry", _READS_THE_CONFIG],
    ("accounting", "accounting"): ["serve", "accounting", _READS_THE_CONFIG, "--set=advertised_address=$(POD_IP):7000"],
    ("billing", "billing"): ["serve", "billing", _READS_THE_CONFIG],
    ("edge", "edge"): ["serve", "edge", _READS_THE_CONFIG],
    ("vendor-simulator", "vendor-simulator"): ["serve", "vendor-simulator", _READS_THE_CONFIG],
    ("migration", "authentication"): ["migrate", "authentication", "--config=/etc/tokenline/config/authentication.yaml"],
    ("migration", "billing"): ["migrate", "billing", "--config=/etc/tokenline/config/billing.yaml"],
    ("migration", "accounting"): ["migrate", "accounting", "--config=/etc/tokenline/config/accounting.yaml"],
    ("recovery", "recovery"): ["recover", _READS_THE_CONFIG],
    ("books", "audit"): ["audit"],
    ("books", "reconcile"): ["reconcile"],
    ("test", "owners"): ["owners"],
    ("test", "model"): ["model", "list"],
}

LIVE: Final[Object] = {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}
READY: Final[Object] = {"initialDelaySeconds": 3, "periodSeconds": 1, "timeoutSeconds": 3}
STARTED: Final[Object] = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3600}
# A process lives while it answers at all; it is ready when its health says SERVING. Health has a port without TLS.
_GRPC: Final = {
    "startupProbe": {"grpc": {"port": 7002, "service": "liveness"}, **STARTED},
    "readinessProbe": {"grpc": {"port": 7002}, **READY},
    "livenessProbe": {"grpc": {"port": 7002, "service": "liveness"}, **LIVE},
}
PROBES: Final[dict[str, Object]] = {
    **dict.fromkeys(("authentication", "registry", "accounting", "billing"), _GRPC),
    # It is ready once it has found all others, and from then on while it answers: 503 says more than no answer. Where clients
    # come in, a flood of them would keep its probes out, too.
    "edge": {
        "startupProbe": {"httpGet": {"path": "/readyz", "port": "admin"}, **STARTED},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "admin"}, **READY},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "admin"}, **LIVE},
    },
    "vendor-simulator": {
        "startupProbe": {"tcpSocket": {"port": "http"}, **STARTED},
        "readinessProbe": {"tcpSocket": {"port": "http"}, **READY},
        "livenessProbe": {"tcpSocket": {"port": "http"}, **LIVE},
    },
    **{each: {} for each in JOBS},
}
_GRPC_PORTS: Final = {"grpc": 7000, "health": 7002, "metrics": 9000}
PORTS: Final[dict[str, dict[str, int]]] = {
    **dict.fromkeys(("authentication", "registry", "accounting", "billing"), _GRPC_PORTS),
    "edge": {"http": 8080, "admin": 8081},
    "vendor-simulator": {"http": 8090, "metrics": 9000},
    **{each: {} for each in JOBS},
}

DATABASE_USER: Final = {"PGUSER": "tokenline-postgresql: username", "PGPASSWORD": "tokenline-postgresql: password"}
OWNER: Final = {"PGUSER": "owner: username", "PGPASSWORD": "owner: password", "SERVICE_USER": "tokenline-postgresql: username"}
TOKEN_FILE: Final = {"TOKENLINE_TOKEN_FILE": "/etc/tokenline/admin-token/token"}
ENVIRONMENT: Final[dict[str, dict[str, str]]] = {
    "authentication": DATABASE_USER,
    "registry": {},
    "accounting": {**DATABASE_USER, "POD_IP": "its status.podIP"},
    "billing": DATABASE_USER,
    "edge": {"TOKENLINE_URL": "http://127.0.0.1:8081", **TOKEN_FILE},
    "vendor-simulator": {},
    "migration": DATABASE_USER,
    "recovery": DATABASE_USER,
    "books": {"TOKENLINE_URL": "http://tokenline-admin:8081", **TOKEN_FILE, "TOKENLINE_WAIT_S": "60"},
    "test": {"TOKENLINE_URL": "http://tokenline-admin:8081", **TOKEN_FILE, "TOKENLINE_WAIT_S": "60"},
}

CONFIG: Final = "/etc/tokenline/config"
_ADMIN_TOKEN: Final = {"/etc/tokenline/admin-token": "read-only Secret tokenline-admin-token"}
# What each pod reads, by where.
FILES: Final[dict[str, dict[str, str]]] = {
    "authentication": {
        CONFIG: "read-only ConfigMap tokenline-authentication",
        "/etc/tokenline/hash-key": "read-only Secret tokenline-hash-key",
    },
    "registry": {CONFIG: "read-only ConfigMap tokenline-registry"},
    "accounting": {CONFIG: "read-only ConfigMap tokenline-accounting"},
    "billing": {CONFIG: "read-only ConfigMap tokenline-billing", "/var/lib/tokenline": "claim cdr"},
    "edge": {CONFIG: "read-only ConfigMap tokenline-edge", "/var/lib/tokenline": "claim outbox", **_ADMIN_TOKEN},
    "vendor-simulator": {CONFIG: "read-only ConfigMap tokenline-vendor-simulator"},
    "migration": {CONFIG: "read-only ConfigMap tokenline-migration"},
    "recovery": {CONFIG: "read-only ConfigMap tokenline-accounting"},
    "books": _ADMIN_TOKEN,
    "test": _ADMIN_TOKEN,
}
_CA: Final = {"/etc/tokenline/postgresql": "read-only Secret postgresql-ca"}
_OF_ETCD: Final = {
    "/etc/tokenline/etcd-tls": "read-only Secret etcd-tls",
    "/etc/tokenline/etcd-password": "read-only Secret etcd-password",
}
FILES_OF_EVERYTHING: Final[dict[str, dict[str, str]]] = {
    "authentication": _CA,
    "registry": {**_OF_ETCD, "/etc/tokenline/catalog": "read-only ConfigMap tokenline-catalog"},
    "accounting": {**_CA, **_OF_ETCD},
    "billing": {**_CA, "/etc/tokenline/carrier": "read-only Secret carrier-key"},
    "edge": {"/etc/tokenline/vendors": "read-only Secret vendors"},
    "migration": _CA,
    "recovery": {**_CA, **_OF_ETCD},
}


@pytest.fixture
def pods(case: str) -> dict[str, PodTemplate]:
    return pod_templates(objects_of(case))


def test_the_pods_of_a_cell(case: str, pods: dict[str, PodTemplate]) -> None:
    simulated = with_defaults(CASES[case])["vendorSimulator"]["enabled"]
    assert pods.keys() == {each for each in (*SERVICES, *JOBS) if simulated or each != "vendor-simulator"}
    kinds = {
        "billing": "StatefulSet",
        "edge": "StatefulSet",
        "migration": "Job",
        "recovery": "CronJob",
        "books": "CronJob",
        "test": "Pod",
    }
    for component, pod in pods.items():
        assert pod.owner["kind"] == kinds.get(component, "Deployment"), component
        assert pod.owner["metadata"]["name"] == f"tokenline-{component}"


def test_a_pod_has_no_rights(case: str, pods: dict[str, PodTemplate]) -> None:
    values = with_defaults(CASES[case])
    given = {"nodeSelector": values["nodeSelector"], "tolerations": values["tolerations"]}
    given["imagePullSecrets"] = [{"name": each} for each in values["image"]["pullSecrets"]]
    for component, pod in pods.items():
        assert {key: pod.spec[key] for key in POD_RIGHTS} == POD_RIGHTS, component
        assert {key: pod.spec.get(key) for key in given} == {key: value or None for key, value in given.items()}, component
        fields = pod.spec.keys() - given.keys()
        if not values["priorityClasses"]["create"]:
            fields |= {"priorityClassName"} & FIELDS[component]
            assert "priorityClassName" not in pod.spec
        assert fields == FIELDS[component], component
        for container in pod.containers:
            assert container["securityContext"] == CONTAINER_RIGHTS, component
            assert container.keys() <= CONTAINER_FIELDS, component


def test_a_pod_has_an_identity_of_its_own_without_a_token(pods: dict[str, PodTemplate], case: str) -> None:
    accounts = of_kind(objects_of(case), "ServiceAccount")
    for component, pod in pods.items():
        # A pod of `helm test` has the namespace's; one that recovers is accounting.
        name = {"test": None, "recovery": "tokenline-accounting"}.get(component, f"tokenline-{component}")
        assert pod.spec.get("serviceAccountName") == name
        assert name is None or accounts[name]["automountServiceAccountToken"] is False
    assert accounts.keys() == {f"tokenline-{each}" for each in pods if each not in ("test", "recovery")}


def test_a_pod_runs_one_pinned_image(case: str, pods: dict[str, PodTemplate]) -> None:
    image = {"everything": f"tokenline@sha256:{64 * 'a'}"}.get(case, f"tokenline:{VERSION}")
    for component, pod in pods.items():
        for container in pod.containers:
            assert (container["image"], container["imagePullPolicy"]) == (image, "IfNotPresent"), component
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_tag_and_a_digest() -> None:
    digest = f"sha256:{64 * 'b'}"
    for image, expected in (
        ({"repository": "registry.example.net/tokenline", "tag": "1.2"}, "registry.example.net/tokenline:1.2"),
        ({"tag": "1.2", "digest": digest, "pullPolicy": "Always"}, f"tokenline@{digest}"),
    ):
        pods = pod_templates(rendered(merged(CASES["required"], {"image": image})))
        containers = [each for pod in pods.values() for each in pod.containers]
        assert {each["image"] for each in containers} == {expected}
        assert {each["imagePullPolicy"] for each in containers} == {image.get("pullPolicy", "IfNotPresent")}


def test_a_pod_runs_what_it_is_named_after(case: str, pods: dict[str, PodTemplate]) -> None:
    for component, pod in pods.items():
        for container in pod.containers:
            args = [*ARGS[component, container["name"]]]
            if case == "everything" and component == "migration":
                args.append("--grant-to=$(SERVICE_USER)")
            if case == "certificates" and component == "accounting":
                args[-1] = "--set=advertised_address=tls:$(POD_IP):7001"
            assert container["args"] == args
    # One after the other, so that a failure is one of one schema; the first two before the last.
    migration = pods["migration"].spec
    assert [each["name"] for each in migration["initContainers"]] == ["authentication", "billing"]
    assert [each["name"] for each in migration["containers"]] == ["accounting"]
    # The network may learn of a pod a moment after it has begun to call.
    assert {each: pods[each].spec["restartPolicy"] for each in JOBS} == dict.fromkeys(JOBS, "Never")
    assert pods["test"].spec["activeDeadlineSeconds"] == 120


def test_a_pod_is_looked_at_where_it_listens(case: str, pods: dict[str, PodTemplate]) -> None:
    for component, pod in pods.items():
        for container in pod.containers:
            probes = {each: container[each] for each in ("startupProbe", "readinessProbe", "livenessProbe") if each in container}
            assert probes == PROBES[component], component
            ports = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
            expected = dict(PORTS[component])
            if case == "certificates" and "grpc" in expected:
                del expected["grpc"]
                expected["grpc-tls"] = 7001
            assert ports == expected, component


def environment_of(container: Mapping[str, Any]) -> dict[str, str]:
    """What a container finds in its environment; a Secret's key as "NAME: KEY"."""
    found = {}
    for each in container.get("env", ()):
        match each:
            case {"name": name, "value": value}:
                found[name] = value
            case {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}:
                found[name] = f"{secret}: {key}"
            case {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}:
                found[name] = f"its {path}"
            case _:
                raise AssertionError(each)
    return found


def test_a_pod_finds_in_its_environment_what_it_needs(case: str, pods: dict[str, PodTemplate]) -> None:
    expected = {**ENVIRONMENT, "migration": OWNER} if case == "everything" else ENVIRONMENT
    for component, pod in pods.items():
        for container in pod.containers:
            assert environment_of(container) == expected[component], component
            assert "envFrom" not in container, component


def files_of(pod: PodTemplate, container: Mapping[str, Any]) -> dict[str, str]:
    """What a container reads and writes, by where."""
    claims = [each["metadata"]["name"] for each in pod.owner["spec"].get("volumeClaimTemplates", ())]
    volumes = {each: f"claim {each}" for each in claims}
    for each in pod.spec["volumes"]:
        match each:
            case {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}:
                volumes[name] = f"Secret {secret}"
            case {"name": name, "configMap": {"name": config}}:
                volumes[name] = f"ConfigMap {config}"
            case {"name": name, "emptyDir": {"sizeLimit": size}}:
                volumes[name] = f"{size} of the node's disk"
            case _:
                raise AssertionError(each)
    mounted = container["volumeMounts"]
    assert {each["name"] for each in mounted} == volumes.keys()
    return {each["mountPath"]: f"{'read-only ' if each.get('readOnly') else ''}{volumes[each['name']]}" for each in mounted}


def test_a_pod_reads_its_own_files_and_writes_to_its_volume_alone(case: str, pods: dict[str, PodTemplate]) -> None:
    for component, pod in pods.items():
        expected = dict(FILES[component])
        if case == "everything":
            expected |= FILES_OF_EVERYTHING.get(component, {})
        if case == "certificates" and component not in ("migration", "books", "test"):
            owner = "accounting" if component == "recovery" else component
            expected["/etc/tokenline/grpc-tls"] = f"read-only Secret tokenline-{owner}-grpc"
        if case == "ephemeral" and component in ("billing", "edge"):
            expected["/var/lib/tokenline"] = f"{'10Gi' if component == 'billing' else '1Gi'} of the node's disk"
        if component == "registry" and "catalog" in CASES[case]:
            expected["/etc/tokenline/catalog"] = "read-only ConfigMap tokenline-catalog"
        for container in pod.containers:
            assert files_of(pod, container) == expected, component


_JOB_RESOURCES: Final = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
RESOURCES: Final[dict[str, Object]] = {
    "authentication": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
    "registry": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
    "accounting": {"requests": {"cpu": "250m", "memory": "160Mi"}, "limits": {"memory": "2Gi"}},
    "billing": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "1Gi"}},
    "edge": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
    "vendor-simulator": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    "migration": _JOB_RESOURCES,
    "recovery": _JOB_RESOURCES,
    "books": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    "test": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
}


def test_a_pod_asks_for_what_it_takes_and_has_a_limit_of_memory(case: str, pods: dict[str, PodTemplate]) -> None:
    for component, pod in pods.items():
        given = CASES[case].get("services", {}).get(component, {}).get("resources", {})
        for container in pod.containers:
            assert container["resources"] == merged(RESOURCES[component], given), component


def test_pods_spread_over_zones_and_nodes_and_what_serves_stays_longest(case: str, pods: dict[str, PodTemplate]) -> None:
    objects = objects_of(case)
    for component in pods.keys() - JOBS:
        spec = pods[component].spec
        selector = {"app.kubernetes.io/name": "tokenline", "app.kubernetes.io/instance": "tokenline"}
        selector["app.kubernetes.io/component"] = component
        assert selector.items() <= pods[component].labels.items()
        assert spec["topologySpreadConstraints"] == [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
        if case != "no policies":
            assert spec["priorityClassName"] == f"cell-tokenline-{'exporting' if component == 'billing' else 'serving'}"
    classes = {name: (each["value"], each["globalDefault"]) for name, each in of_kind(objects, "PriorityClass").items()}
    serving = {"cell-tokenline-serving": (1_000_000, False), "cell-tokenline-exporting": (500_000, False)}
    assert classes == ({} if case == "no policies" else serving)


def test_a_pod_says_what_it_was_made_from(pods: dict[str, PodTemplate], case: str) -> None:
    for component, pod in pods.items():
        assert pod.labels == pod.owner["metadata"]["labels"]
        assert pod.labels["app.kubernetes.io/component"] == component
        assert pod.labels["app.kubernetes.io/part-of"] == "tokenline"
        if component in JOBS:
            continue
        annotations = pod.metadata["annotations"]
        assert annotations["kubectl.kubernetes.io/default-container"] == component == pod.containers[0]["name"]
        assert re.fullmatch("[0-9a-f]{64}", annotations["tokenline.io/config-checksum"])
        assert ("tokenline.io/catalog-checksum" in annotations) == (component == "registry" and "catalog" in CASES[case])
