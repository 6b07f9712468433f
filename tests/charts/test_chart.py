"""The chart without a cluster: rendered, linted, checked against Kubernetes' schemas, and what it refuses."""

import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

import helm_python
import jsonschema_rs
import pytest
import yaml

from charts.values import CLIENT_PATHS, client_paths, schema, values_table, values_yaml
from infra.cluster import CHART, ROOT, ClusterError, regions, values_of
from services.accounting.config import AccountingConfig
from services.authentication.config import AuthenticationConfig
from services.billing.config import BillingConfig
from services.edge.config import EdgeConfig
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.config import RegistryConfig
from services.runtime.config import parse_yaml
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.charts.rendering import CASES, REQUIRED, VERSION, merged, objects_of, of_kind, rendered
from tests.openapi.documents import NAMES, operations

# Those in support, and the next one.
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")
# The package validates as well, but reads megabytes of schemas for each object.
SCHEMAS: Final = files("kubernetes_validate") / "kubernetes-json-schema"
CONFIGS: dict[str, Any] = {
    "authentication": AuthenticationConfig,
    "registry": RegistryConfig,
    "accounting": AccountingConfig,
    "billing": BillingConfig,
    "edge": EdgeConfig,
    "vendor-simulator": VendorSimulatorConfig,
}


@pytest.fixture(params=list(CASES))
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return objects_of(request.param)


def kubernetes_schema(version: str, name: str) -> Any:
    """A schema of Kubernetes, which allows no fields but those that it names."""
    return json.loads((SCHEMAS / f"v{version}.0-local-strict" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def definitions(version: str) -> jsonschema_rs.Registry:
    """All that schemas of objects refer to."""
    name = "_definitions"
    return jsonschema_rs.Registry([(f"/api/{name}.json", kubernetes_schema(version, name))])


@cache
def validator(version: str, api_version: str, kind: str) -> jsonschema_rs.Draft202012Validator:
    """Judges objects of a kind; of the group rbac.authorization.k8s.io the files have the first word."""
    group, _, number = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
    return jsonschema_rs.Draft202012Validator(kubernetes_schema(version, name), registry=definitions(version))


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_all_of_it(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        if each["apiVersion"] != "monitoring.coreos.com/v1":
            validator(version, each["apiVersion"], each["kind"]).validate(each)


def test_every_object_is_of_its_cell(objects: list[dict[str, Any]]) -> None:
    labels = {
        "app.kubernetes.io/name": "tokenline",
        "app.kubernetes.io/instance": "tokenline",
        "app.kubernetes.io/version": VERSION,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/part-of": "tokenline",
    }
    for each in objects:
        metadata = each["metadata"]
        # Priorities are the cluster's.
        assert metadata.get("namespace") == (None if each["kind"] == "PriorityClass" else "cell"), metadata["name"]
        assert labels.items() <= metadata["labels"].items(), metadata["name"]


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_lint(values: dict[str, Any]) -> None:
    report = helm_python.lint(CHART, values, strict=True, namespace="cell")
    # An icon is recommended, as information.
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    assert report["errors"] == []


def test_services_take_the_configs_that_they_are_given(objects: list[dict[str, Any]]) -> None:
    seen = set()
    for each in objects:
        service = each["metadata"]["name"].removeprefix("tokenline-")
        if each["kind"] == "ConfigMap" and "config.yaml" in each["data"]:
            parse_yaml(each["data"]["config.yaml"], CONFIGS[service], service)
            seen.add(service)
        if each["kind"] == "ConfigMap" and service == "migration":
            for name, text in each["data"].items():
                parse_yaml(text, CONFIGS[name.removesuffix(".yaml")], name)
    assert seen >= CONFIGS.keys() - {"vendor-simulator"}


def test_a_changed_value_rolls_what_reads_it_and_nothing_else() -> None:
    def checksums(values: dict[str, Any]) -> dict[str, str]:
        return {
            each["metadata"]["name"]: json.dumps(each["spec"]["template"]["metadata"]["annotations"], sort_keys=True)
            for each in rendered(values)
            if each["kind"] in ("Deployment", "StatefulSet")
        }

    before = checksums(REQUIRED)
    for change, rolled in (
        ({"services": {"accounting": {"config": {"held_wait_ms": 1}}}}, {"tokenline-accounting"}),
        ({"catalog": {"offerings.yaml": "offerings: []"}}, {"tokenline-registry"}),
        ({"services": {"edge": {"replicas": 7}}}, set()),
        ({"services": {"edge": {"config": {"edges_max": 7}}}}, {"tokenline-edge"}),
        ({"telemetry": {"traceSamplePpm": 1}}, set(before)),
    ):
        after = checksums(merged(REQUIRED, change))
        assert {name for name in before if before[name] != after[name]} == rolled, change


def test_names_that_look_like_numbers_stay_names() -> None:
    for each in rendered(CASES["everything"], namespace="2024"):
        assert each["metadata"].get("namespace", "2024") == "2024", each["kind"]


def passed_by(ingress: dict[str, Any]) -> set[str]:
    """The paths of all documents that an Ingress lets pass."""
    (rule,) = ingress["spec"]["rules"]
    prefixes = tuple(each["path"] for each in rule["http"]["paths"] if each["pathType"] == "Prefix")
    exact = {each["path"] for each in rule["http"]["paths"] if each["pathType"] == "Exact"}

    def passes(path: str) -> bool:
        return path in exact or any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)

    return {operation.path for name in NAMES for operation in operations(name) if passes(operation.path)}


def test_an_ingress_leads_to_each_operation_that_its_callers_have() -> None:
    ways = of_kind(objects_of("everything"), "Ingress")
    assert passed_by(ways["tokenline"]) == {operation.path for name in ("account", "calls") for operation in operations(name)}
    of_admin = {operation.path for operation in operations("admin") if operation.path.startswith("/v1/")}
    assert passed_by(ways["tokenline-admin"]) == of_admin


_CARRIER: Final = {
    "address": "https://api.operator.example",
    "tokenUrl": "https://api.operator.example/token",
    "clientId": "tokenline",
    "keySecret": "carrier-key",
    "peers": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
}
REFUSED = [
    ({"sevices": {}}, "sevices"),
    ({"services": {"edge": {"replica": 3}}}, "replica"),
    ({"services": {"payments": {}}}, "payments"),
    ({"services": {"billing": {"replicas": 2}}}, "replicas"),
    ({"services": {"edge": {"replicas": 0}}}, "minimum"),
    ({"services": {"accounting": {"replicas": "2"}}}, "got string, want integer"),
    ({"services": {"accounting": {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}}}, "minimum"),
    (
        {"services": {"accounting": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}}},
        "maxReplicas must not be below minReplicas",
    ),
    ({"services": {"accounting": {"config": {"validty_ms": 1}}}}, "validty_ms"),
    ({"services": {"accounting": {"config": {"validity_ms": "30s"}}}}, "got string, want integer"),
    ({"services": {"accounting": {"config": {"listen_address": "0.0.0.0:1"}}}}, "listen_address"),
    ({"services": {"edge": {"drainSeconds": 100_000}}}, "maximum"),
    ({"services": {"edge": {"volume": {"kind": "disk"}}}}, "kind"),
    ({"services": {"edge": {"resources": {"limits": {"memory": "lots"}}}}}, "memory"),
    ({"cell": {"region": ""}}, "region"),
    ({"cell": {"region": "North-East"}}, "region"),
    ({"cell": {"partitions": 0}}, "minimum"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"postgresql": {"url": ""}}, "url"),
    ({"postgresql": {"url": "mysql://db/x"}}, "url"),
    ({"postgresql": {"url": "postgresql://me:secret@db/x"}}, "url"),
    ({"postgresql": {"url": "postgresql://db/x?user=me"}}, "has the parameter user; a URL takes target_session_attrs, sslmode"),
    ({"postgresql": {"accountingUrls": ["postgresql://db/x?sslmode=require&password=secret"]}}, "has the parameter password"),
    ({"postgresql": {"caSecret": "ca"}}, "add ?sslmode=verify-full&sslrootcert=/etc/tokenline/postgresql/ca.crt"),
    (
        {"postgresql": {"url": "postgresql://db/x?sslmode=verify-full&sslrootcert=/etc/tokenline/postgresql/ca.crt"}},
        "names the file of postgresql.caSecret, which is empty",
    ),
    ({"postgresql": {"peers": []}}, "postgresql.peers is empty: say which pods or addresses postgresql has"),
    ({"etcd": {"peers": []}}, "etcd.peers is empty: say which pods or addresses etcd has"),
    ({"etcd": {"endpoints": []}}, "endpoints"),
    ({"etcd": {"endpoints": ["http://etcd:2379"]}}, "endpoints"),
    ({"etcd": {"prefix": "tokenline"}}, "prefix"),
    ({"etcd": {"username": "tokenline"}}, "etcd.username and etcd.passwordSecret go together"),
    ({"etcd": {"passwordSecret": "etcd-password"}}, "etcd.username and etcd.passwordSecret go together"),
    (
        {
            "postgresql": {
                "url": "postgresql://db/x?sslmode=require&sslrootcert=/etc/tokenline/postgresql/ca.crt",
                "caSecret": "ca",
            }
        },
        "postgresql.caSecret is set, but postgresql://db/x?sslmode=require",
    ),
    ({"carrier": {"address": "http://api.operator.example"}}, "address"),
    ({"carrier": {"address": "https://api.operator.example", "steps": "three"}}, "steps"),
    (
        {"carrier": {"address": "https://api.operator.example", "peers": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}},
        "carrier.tokenUrl is empty: carrier.address needs tokenUrl, clientId and keySecret",
    ),
    *(({"carrier": {**_CARRIER, missing: ""}}, f"carrier.{missing} is empty") for missing in ("clientId", "keySecret")),
    ({"carrier": {"address": "https://api.operator.example"}}, "carrier.peers is empty"),
    ({"services": {"billing": {"config": {"carrier": {}}}}}, "carrier"),
    ({"ingress": {"enabled": True}}, "ingress.host is empty"),
    ({"ingress": {"admin": True}}, "admin"),
    ({"adminIngress": {"enabled": True}}, "adminIngress.host is empty"),
    (
        {"ingress": {"enabled": True, "host": "a.example.net"}, "adminIngress": {"enabled": True, "host": "a.example.net"}},
        "adminIngress.host and ingress.host are both a.example.net",
    ),
    (
        {"adminIngress": {"enabled": True, "host": "a.example.net"}},
        "networkPolicy.operators is empty, so the controller of adminIngress could reach nothing",
    ),
    ({"telemetry": {"otlpEndpoint": "collector:4317"}}, "networkPolicy.telemetry is empty"),
    ({"networkPolicy": {"clients": [{"podSelectr": {}}]}}, "podSelectr"),
    ({"catalog": {"offerings.yaml": {"offerings": []}}}, "got object, want string"),
    ({"catalog": {"offerings.yml": "offerings: []"}}, "offerings.yml"),
    ({"catalog": {"a/b.yaml": "offerings: []"}}, "a/b.yaml"),
    ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "networkPolicy.monitoring is empty, so Prometheus could read nothing"),
    ({"services": {"edge": {"volume": {"size": "100M"}}}}, "size"),
    ({"secrets": {"adminToken": "Not A Name"}}, "adminToken"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_values_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        rendered(merged(REQUIRED, change))
    assert message in str(refused.value)


def test_an_unknown_region() -> None:
    with pytest.raises(ClusterError, match="there is no region 'nowhere'; infra/regions has beijing, hongkong"):
        values_of("nowhere")


@pytest.mark.parametrize("region", regions())
def test_the_catalog_layer_of_a_region_is_valid(region: str) -> None:
    folder = ROOT / "infra/regions" / region / "catalog"
    catalog = load_catalog([base_catalog_folder(), folder])
    offered = {each.offering_id for each in catalog.offerings}
    assert any(each.startswith(region) for each in offered)


def test_regions_differ_in_what_they_should() -> None:
    beijing, hongkong = (
        yaml.safe_load((ROOT / f"infra/regions/{each}/values.yaml").read_text()) for each in ("beijing", "hongkong")
    )
    assert beijing["cell"]["region"] != hongkong["cell"]["region"]
    assert beijing["postgresql"]["url"] != hongkong["postgresql"]["url"]


def test_skaffold_knows_every_region() -> None:
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    profiles = {each["name"]: each for each in skaffold["profiles"]}
    assert profiles.keys() == {"local", *regions()}
    for region in regions():
        (release,) = profiles[region]["deploy"]["helm"]["releases"]
        named = [argument for argument in values_of(region) if not argument.startswith("--")]
        files = [ROOT / each for each in release["valuesFiles"]]
        files_set = [f"{key}={ROOT / file}" for key, file in release["setFiles"].items()]
        assert [*map(str, files), *files_set] == named
        assert all(each.exists() for each in files)
    for artifact in skaffold["build"]["artifacts"]:
        assert (ROOT / artifact["context"] / artifact["docker"]["dockerfile"]).exists()


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "infra/development/Dockerfile"])
def test_images_are_made_on_a_pinned_one(dockerfile: str) -> None:
    lines = [line.split() for line in (ROOT / dockerfile).read_text(encoding="utf-8").splitlines() if line]
    (base,) = [line[1] for line in lines if line[0] == "ARG" and line[1].startswith("BASE=")]
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", base)
    stages = {line[3] for line in lines if line[0] == "FROM" and len(line) > 2}
    assert {line[1] for line in lines if line[0] == "FROM"} <= {"${BASE}", "scratch", *stages}
    assert ["USER", "10001:10001"] in lines


def test_the_chart_has_the_version_of_the_code() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]
    assert (chart["type"], chart["kubeVersion"]) == ("application", ">=1.32.0-0")


def test_generated_files_are_fresh() -> None:
    assert (CHART / "values.yaml").read_text(encoding="utf-8") == values_yaml()
    assert json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")) == json.loads(json.dumps(schema()))
    assert (CHART / "README.md").read_text(encoding="utf-8").endswith(values_table())
    assert CLIENT_PATHS.read_text(encoding="utf-8") == client_paths()
