"""What services are told: whole configs, as pods of a release read them, and that no secret stands in one."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from infra.cluster import regions
from tests.charts.rendering import CASES, EVERYTHING, config_of, objects_of, of_kind

TELEMETRY: Final = {
    "log_format": "text",
    "log_level": "info",
    "log_levels": {},
    "otlp_endpoint": "",
    "trace_sample_ppm": 1000,
    "trace_slow_ms": 60_000,
}
SAID: Final = {
    "log_format": "json",
    "log_level": "warning",
    "log_levels": {"edge.routing": "debug"},
    "otlp_endpoint": "collector:4317",
}
# An edge has its listener for operators.
METRICS: Final = {"metrics_port": 9000, "metrics_host": "0.0.0.0"}
_DATABASE: Final = "postgresql://postgresql:5432/tokenline"
REQUIRED_CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "authentication": {
        "listen_address": "0.0.0.0:7000",
        "postgresql": _DATABASE,
        "hash_key_file": "/etc/tokenline/hash-key/key",
        "region": "north",
    },
    "registry": {
        "listen_address": "0.0.0.0:7000",
        "catalog_folders": ["/opt/tokenline/catalog"],
        "etcd": {"endpoints": ["etcd:2379"]},
        "etcd_prefix": "/tokenline/cell/catalog/",
    },
    "accounting": {
        "listen_address": "0.0.0.0:7000",
        "postgresql": _DATABASE,
        "partitions": 16,
        "registry_address": "tokenline-registry:7000",
        "etcd": {"endpoints": ["etcd:2379"]},
        "etcd_prefix": "/tokenline/cell/accounting/",
    },
    "billing": {
        "listen_address": "0.0.0.0:7000",
        "postgresql": _DATABASE,
        "cdr_folder": "/var/lib/tokenline/cdr",
        "accounting_address": "tokenline-accounting:7000",
    },
    "edge": {
        "host": "0.0.0.0",
        "port": 8080,
        "admin_host": "0.0.0.0",
        "admin_port": 8081,
        "registry_address": "tokenline-registry:7000",
        "authentication_address": "tokenline-authentication:7000",
        "accounting_address": "tokenline-accounting:7000",
        "billing_address": "tokenline-billing:7000",
        "admin_token_file": "/etc/tokenline/admin-token/token",
        "outbox": "/var/lib/tokenline/outbox.sqlite3",
        "edges_max": 2,
        "drain_notice_ms": 10_000,
        "drain_timeout_ms": 600_000,
    },
}
SIMULATOR: Final = {"host": "0.0.0.0", "port": 8090, "drain_notice_ms": 5_000, "drain_timeout_ms": 45_000}
_BASE_URL: Final = {"simulator_base_url": "http://tokenline-vendor-simulator:8090/v1"}
_CERTIFICATE: Final = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
_LAYERS: Final = {"catalog_folders": ["/opt/tokenline/catalog", "/etc/tokenline/catalog"]}


def configs_of(case: str) -> dict[str, dict[str, Any]]:
    """What each service is told in a case, but for telemetry."""
    configs = {service: dict(config) for service, config in REQUIRED_CONFIGS.items()}
    if case == "everything":
        url = str(EVERYTHING["postgresql"]["url"])
        etcd = {
            "endpoints": ["etcd-0:2379", "[2001:db8::1]:2379"],
            "ca_file": "/etc/tokenline/etcd-tls/ca.crt",
            "certificate_file": "/etc/tokenline/etcd-tls/tls.crt",
            "key_file": "/etc/tokenline/etcd-tls/tls.key",
            "username": "tokenline",
            "password_file": "/etc/tokenline/etcd-password/password",
        }
        configs["authentication"] |= {"postgresql": url}
        configs["registry"] |= {"etcd": etcd, **_LAYERS}
        configs["accounting"] |= {"etcd": etcd, "postgresql": EVERYTHING["postgresql"]["accountingUrls"]}
        carrier = {
            "address": "https://api.operator.example",
            "token_url": "https://auth.operator.example/token",
            "client_id": "tokenline",
            "key_file": "/etc/tokenline/carrier/key.pem",
            "key_id": "key-1",
            "steps": "one",
            "usage_interval_s": 86_400,
        }
        configs["billing"] |= {"postgresql": url, "carrier": carrier}
        configs["edge"] |= {
            "body_bytes_max": 50_000_000,
            "cors_origins": ["https://app.example.com"],
            "edges_max": 50,
            "vendor_secrets_folder": "/etc/tokenline/vendors",
            **_BASE_URL,
        }
        configs["vendor-simulator"] = dict(SIMULATOR)
    for service in ("authentication", "registry", "accounting", "billing"):
        configs[service]["health_port"] = 7002
    if case == "certificates":
        for config in configs.values():
            config |= {f"grpc_{what}_file": f"/etc/tokenline/grpc-tls/{file}" for what, file in _CERTIFICATE.items()}
            if "listen_address" in config:
                config |= {"grpc_tls": "required", "grpc_tls_port": 7001}
            for field, value in config.items():
                if field.endswith("_address") and field != "listen_address":
                    config[field] = f"tls:{value.replace(':7000', ':7001')}"
    if case in regions():
        for service in ("authentication", "accounting", "billing"):
            configs[service]["postgresql"] = f"postgresql://postgresql.tokenline-stores:5432/{case}"
        for service in ("registry", "accounting"):
            configs[service]["etcd"] = {"endpoints": ["etcd.tokenline-stores:2379"]}
        configs["authentication"]["region"] = case
        configs["registry"] |= _LAYERS
        edges = {"beijing": 2, "hongkong": 1}[case]
        configs["edge"] |= {"drain_timeout_ms": 60_000, "edges_max": edges, **_BASE_URL}
        configs["vendor-simulator"] = dict(SIMULATOR)
    return configs


@pytest.mark.parametrize("case", CASES)
def test_what_each_service_is_told(case: str) -> None:
    objects = objects_of(case)
    telemetry = {**TELEMETRY, **SAID} if case == "everything" else TELEMETRY
    expected = {
        service: {**config, "telemetry": telemetry if service == "edge" else telemetry | METRICS}
        for service, config in configs_of(case).items()
    }
    assert {service: config_of(objects, service) for service in expected} == expected
    migration = of_kind(objects, "ConfigMap")["tokenline-migration"]["data"]
    assert {name: yaml.safe_load(text) for name, text in migration.items()} == {
        f"{service}.yaml": expected[service] for service in ("authentication", "accounting", "billing")
    }


@pytest.mark.parametrize("case", CASES)
def test_the_catalog_layer_is_what_was_given(case: str) -> None:
    maps = of_kind(objects_of(case), "ConfigMap")
    assert maps.get("tokenline-catalog", {}).get("data") == CASES[case].get("catalog")


@pytest.mark.parametrize("case", CASES)
def test_secrets_are_named_and_never_made_or_shown(case: str) -> None:
    objects = objects_of(case)
    assert of_kind(objects, "Secret") == {}
    for name, each in of_kind(objects, "ConfigMap").items():
        for text in each["data"].values() if name != "tokenline-catalog" else ():
            for field, value in fields_of(yaml.safe_load(text)):
                # No user in a URL, and of what is secret only the file.
                assert "@" not in str(value), (name, field)
                # An address and a name tell nothing.
                is_public = field in ("token_url", "key_id")
                if any(word in field for word in ("token", "password", "secret", "key")) and not is_public:
                    assert field.endswith(("_file", "_folder")) and value.startswith("/etc/tokenline/"), (name, field)


def fields_of(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All fields of a config, those of its parts too."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from fields_of(value)
        else:
            yield name, value
