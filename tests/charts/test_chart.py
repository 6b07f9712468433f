"""The chart without a cluster: rendered, linted, checked against Kubernetes' schemas and policies, and what it refuses."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from charts.values import schema, values_table, values_yaml
from infra.cluster import CHART, ROOT, ClusterError, regions, values_of
from services.accounting.config import AccountingConfig
from services.authentication.config import AuthenticationConfig
from services.billing.config import BillingConfig
from services.edge.config import EdgeConfig
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.config import RegistryConfig
from services.runtime.config import parse_yaml
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.charts.rendering import EVERYTHING, REQUIRED, merged, region_values, rendered
from tests.openapi.documents import NAMES, operations

CASES = {
    "required": REQUIRED,
    "everything": merged(REQUIRED, EVERYTHING),
    "no policies": merged(REQUIRED, {"networkPolicy": {"enabled": False}, "priorityClasses": {"create": False}}),
    "ephemeral": merged(REQUIRED, {"services": {each: {"volume": {"kind": "ephemeral"}} for each in ("edge", "billing")}}),
    **{region: region_values(region) for region in regions()},
}
# Those in support, and the next one.
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")
CONFIGS: dict[str, Any] = {
    "authentication": AuthenticationConfig,
    "registry": RegistryConfig,
    "accounting": AccountingConfig,
    "billing": BillingConfig,
    "edge": EdgeConfig,
    "vendor-simulator": VendorSimulatorConfig,
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(request.param)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_all_of_it(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        if each["apiVersion"] != "monitoring.coreos.com/v1":
            kubernetes_validate.validate(each, version, strict=True)


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


def test_each_pod_is_covered_by_a_policy_and_a_budget() -> None:
    objects = rendered(CASES["everything"])
    workloads = [each for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
    assert len(workloads) == 6
    for kind, selector in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        covered = [each["spec"][selector]["matchLabels"] for each in objects if each["kind"] == kind]
        for workload in workloads:
            assert workload["spec"]["selector"]["matchLabels"] in covered, (kind, workload["metadata"]["name"])
    jobs = [each for each in objects if each["kind"] in ("Job", "CronJob", "Pod")]
    assert {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in jobs} == {"migration", "recovery", "test"}
    policies = {each["metadata"]["name"] for each in objects if each["kind"] == "NetworkPolicy"}
    assert policies >= {"tokenline-default-deny", "tokenline-migration", "tokenline-recovery", "tokenline-test"}


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
        ({"telemetry": {"traceSamplePpm": 1}}, set(before)),
    ):
        after = checksums(merged(REQUIRED, change))
        assert {name for name in before if before[name] != after[name]} == rolled, change


def test_names_that_look_like_numbers_stay_names() -> None:
    for each in rendered(CASES["everything"], namespace="2024"):
        assert each["metadata"].get("namespace", "2024") == "2024", each["kind"]


def test_clients_that_are_named_do_not_lock_out_helm_test() -> None:
    objects = rendered(CASES["everything"])
    (policy,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "tokenline-edge")]
    (test,) = [each for each in objects if each["kind"] == "Pod"]
    allowed = policy["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"a": "b"}}} in allowed
    labels = next(each["podSelector"]["matchLabels"] for each in allowed if "podSelector" in each)
    assert labels.items() <= test["metadata"]["labels"].items()


@pytest.mark.parametrize("admin", [False, True])
def test_an_ingress_leads_to_each_operation_that_clients_have(admin: bool) -> None:
    (ingress,) = [
        each for each in rendered(merged(CASES["everything"], {"ingress": {"admin": admin}})) if each["kind"] == "Ingress"
    ]
    (rule,) = ingress["spec"]["rules"]
    prefixes = tuple(each["path"] for each in rule["http"]["paths"])

    def passes(path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)

    passed = {operation.path for name in NAMES for operation in operations(name) if passes(operation.path)}
    own = {operation.path for name in ("account", "calls") for operation in operations(name)}
    of_admin = {operation.path for operation in operations("admin") if operation.path.startswith("/v1/")}
    assert passed == (own | of_admin if admin else own)


@pytest.mark.parametrize("secret", ["", "owner"])
def test_who_makes_the_tables_lets_the_services_use_them(secret: str) -> None:
    (job,) = [each for each in rendered(merged(REQUIRED, {"postgresql": {"migrationSecret": secret}})) if each["kind"] == "Job"]
    spec = job["spec"]["template"]["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        keys = {each["name"]: each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"]}
        assert keys["PGUSER"] == (secret or "tokenline-postgresql")
        assert ("--grant-to=$(SERVICE_USER)" in container["args"]) == bool(secret)
        assert keys.get("SERVICE_USER", "") == ("tokenline-postgresql" if secret else "")


@pytest.mark.parametrize(("config", "seconds"), [({}, 1_250), ({"release_timeout_ms": 90_001}, 1_331)])
def test_grace_exceeds_what_a_drain_takes(config: dict[str, int], seconds: int) -> None:
    drain = {"drainSeconds": 1200, "drainNoticeSeconds": 20, "config": config}
    objects = rendered(merged(REQUIRED, {"services": {"edge": drain}}))
    (edge,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", "tokenline-edge")]
    # As long as the last Release may take, and 20 s.
    assert edge["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


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
    ({"etcd": {"endpoints": []}}, "endpoints"),
    ({"etcd": {"endpoints": ["http://etcd:2379"]}}, "endpoints"),
    ({"etcd": {"prefix": "tokenline"}}, "prefix"),
    ({"etcd": {"username": "tokenline"}}, "etcd.username and etcd.passwordSecret go together"),
    ({"ingress": {"enabled": True}}, "ingress.host is empty"),
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


def test_the_chart_has_the_version_of_the_code() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_generated_files_are_fresh() -> None:
    assert (CHART / "values.yaml").read_text(encoding="utf-8") == values_yaml()
    assert json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")) == json.loads(json.dumps(schema()))
    assert (CHART / "README.md").read_text(encoding="utf-8").endswith(values_table())


@pytest.mark.parametrize("case", ["everything", "beijing"])
def test_policies(case: str, tmp_path: Path) -> None:
    """checkov, with what does not apply named in its config, and why."""
    checkov = ROOT / ".policy/bin/checkov"
    assert checkov.exists(), "checkov is not installed; run `make policy`"
    (tmp_path / "cell.yaml").write_text(
        yaml.safe_dump_all(rendered(merged(CASES[case], {"image": EVERYTHING["image"]}))), encoding="utf-8"
    )
    command: list[str | Path] = [
        checkov,
        "--config-file",
        ROOT / "infra/policy/checkov.yaml",
        "--directory",
        tmp_path,
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    failed = {(each["check_id"], each["check_name"], each["resource"]) for each in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["passed"] > 500
    assert report["summary"]["parsing_errors"] == 0
