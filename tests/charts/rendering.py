"""The chart, rendered without a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

from infra.cluster import CHART, DEVELOPMENT, REGIONS

# What has no default.
REQUIRED: Final[dict[str, Any]] = {
    "cell": {"region": "north"},
    "postgresql": {"url": "postgresql://postgresql:5432/tokenline", "peers": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
    "etcd": {"endpoints": ["etcd:2379"], "peers": [{"podSelector": {"matchLabels": {"app": "etcd"}}}]},
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
            "config": {"body_bytes_max": 50_000_000},
        },
    },
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "monitoring": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "telemetry": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
    },
    "ingress": {
        "enabled": True,
        "host": "*.example.net",
        "className": "nginx",
        "tlsSecret": "tls",
        "annotations": {"a": "b"},
        "admin": True,
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}},
        "prometheusRule": {"enabled": True, "labels": {"a": "b"}},
    },
    "telemetry": {"otlpEndpoint": "collector:4317"},
    "vendorSimulator": {"enabled": True},
    "nodeSelector": {"pool": "charging"},
    "tolerations": [{"key": "charging", "operator": "Exists"}],
}


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


def rendered(values: Mapping[str, Any], namespace: str = "cell") -> list[dict[str, Any]]:
    """The objects of a release. Errors: `helm_python.HelmError` for values that are refused."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(dict(values), name="tokenline", namespace=namespace)
    return [each for name, text in files.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text) if each]


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
