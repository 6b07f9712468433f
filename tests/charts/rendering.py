"""The chart, rendered without a cluster: the values that tests render it with, and what stands in the objects."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import helm_python
import yaml

from infra.cluster import CHART, DEVELOPMENT, REGIONS, regions

Object = dict[str, Any]

# What has no default.
REQUIRED: Final[dict[str, Any]] = {
    "cell": {"region": "north"},
    "postgresql": {"url": "postgresql://postgresql:5432/tokenline", "peers": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
    "etcd": {
        "endpoints": ["etcd:2379"],
        "peers": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tokenline-stores"}},
                "podSelector": {"matchLabels": {"app": "etcd"}},
            }
        ],
    },
}
# Everything that is left out by default.
_VERIFIED: Final = "?sslmode=verify-full&sslrootcert=/etc/tokenline/postgresql/ca.crt"
EVERYTHING: Final[dict[str, Any]] = {
    "image": {"digest": f"sha256:{64 * 'a'}", "pullSecrets": ["registry"]},
    "secrets": {"vendors": "vendors"},
    "postgresql": {
        "url": f"postgresql://a:5432,b:5432/tokenline{_VERIFIED}&target_session_attrs=read-write",
        "accountingUrls": [f"postgresql://c:5432/tokenline{_VERIFIED}", f"postgresql://d:5432/tokenline{_VERIFIED}"],
        "migrationSecret": "owner",
        "caSecret": "postgresql-ca",
    },
    "etcd": {
        "endpoints": ["etcd-0:2379", "[2001:db8::1]:2379"],
        "tlsSecret": "etcd-tls",
        "username": "tokenline",
        "passwordSecret": "etcd-password",
    },
    "catalog": {"offerings.yaml": "time_zone: Asia/Harbin\n"},
    "services": {
        **{each: {"autoscaling": {"minReplicas": 2, "maxReplicas": 5}} for each in ("authentication", "registry", "accounting")},
        "edge": {
            "autoscaling": {"minReplicas": 2, "maxReplicas": 50, "targetCpuPercent": 60},
            "resources": {"requests": {"cpu": 2, "memory": 5e8}, "limits": {"memory": "2Gi"}},
            "service": {"type": "NodePort", "nodePort": 30080, "annotations": {"a": "b"}},
            "volume": {"storageClassName": "fast"},
            "config": {"body_bytes_max": 50_000_000, "cors_origins": ["https://app.example.com"]},
        },
    },
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "operators": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operators"}}}],
        "monitoring": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "telemetry": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "telemetry"}}}],
    },
    "carrier": {
        "address": "https://api.operator.example",
        "tokenUrl": "https://auth.operator.example/token",
        "clientId": "tokenline",
        "keySecret": "carrier-key",
        "keyId": "key-1",
        "steps": "one",
        "peers": [{"ipBlock": {"cidr": "10.9.0.0/24"}}],
        "ports": [443, 8080],
    },
    "ingress": {
        "enabled": True,
        "host": "*.example.net",
        "className": "nginx",
        "tlsSecret": "tls",
        "annotations": {"a": "b"},
    },
    "adminIngress": {
        "enabled": True,
        "host": "admin.example.net",
        "className": "internal",
        "tlsSecret": "admin-tls",
        "annotations": {"c": "d"},
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}},
        "prometheusRule": {"enabled": True, "labels": {"a": "b"}},
    },
    "telemetry": {
        "logFormat": "json",
        "logLevel": "warning",
        "logLevels": {"edge.routing": "debug"},
        "otlpEndpoint": "collector:4317",
    },
    "vendorSimulator": {"enabled": True},
    "nodeSelector": {"pool": "charging"},
    "tolerations": [{"key": "charging", "operator": "Exists"}],
}


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values in layers, as Helm takes them: maps are merged, anything else replaced."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            before = result.get(key)
            result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def region_values(region: str) -> dict[str, Any]:
    """The values of a region's cell in a development cluster."""
    catalog = {path.name: path.read_text(encoding="utf-8") for path in sorted((REGIONS / region / "catalog").glob("*.yaml"))}
    return merged(_yaml(DEVELOPMENT / "values.yaml"), _yaml(REGIONS / region / "values.yaml"), {"catalog": catalog})


def rendered(values: Mapping[str, Any], namespace: str = "cell", name: str = "tokenline") -> list[dict[str, Any]]:
    """The objects of a release. Errors: `helm_python.HelmError` for values that are refused."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(dict(values), name=name, namespace=namespace)
    return [
        each for name, text in files.items() if name.endswith(".yaml") for each in yaml.load_all(text, yaml.CSafeLoader) if each
    ]


def with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as templates see them."""
    return merged(_yaml(CHART / "values.yaml"), values)


VERSION: Final[str] = _yaml(CHART / "Chart.yaml")["appVersion"]
# By name, all values that tests render the chart with.
CASES: Final[dict[str, dict[str, Any]]] = {
    "required": REQUIRED,
    "everything": merged(REQUIRED, EVERYTHING),
    "no policies": merged(REQUIRED, {"networkPolicy": {"enabled": False}, "priorityClasses": {"create": False}}),
    "certificates": merged(REQUIRED, {"grpcTls": {"mode": "required"}}),
    "ephemeral": merged(REQUIRED, {"services": {each: {"volume": {"kind": "ephemeral"}} for each in ("edge", "billing")}}),
    **{region: region_values(region) for region in regions()},
}


@cache
def objects_of(case: str) -> list[Object]:
    """The objects of a case, in namespace cell; not to be changed."""
    return rendered(CASES[case])


class PodTemplate(NamedTuple):
    """What one object makes pods of."""

    owner: Object
    metadata: Object
    spec: Object

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.metadata["labels"]
        return labels

    @property
    def containers(self) -> list[Object]:
        """All, those that run before the others first."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pod_templates(objects: Sequence[Object]) -> dict[str, PodTemplate]:
    """All pods that a release makes, by component."""
    found = {}
    for each in objects:
        match each["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                template = each["spec"]["template"]
            case "CronJob":
                template = each["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                template = each
            case _:
                continue
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        assert component not in found, component
        found[component] = PodTemplate(each, template["metadata"], template["spec"])
    return found


def of_kind(objects: Sequence[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind, by name."""
    found = [each for each in objects if each["kind"] == kind]
    named = {each["metadata"]["name"]: each for each in found}
    assert len(named) == len(found), kind
    return named


def config_of(objects: Sequence[Object], service: str) -> dict[str, Any]:
    """The config that the pods of a service read."""
    return dict(yaml.safe_load(of_kind(objects, "ConfigMap")[f"tokenline-{service}"]["data"]["config.yaml"]))
