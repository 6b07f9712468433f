"""What the chart finds in a namespace, and refuses: Secrets that are missing, another's cell, steps and volumes that cannot be."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import helm_python
import pytest
import yaml

from tests.charts.api_server import installed, there
from tests.charts.rendering import CASES, REQUIRED, Object, merged, of_kind, rendered

_USER: Final = {"username", "password"}
_CERTIFICATE: Final = {"ca.crt", "tls.crt", "tls.key"}
_ALWAYS: Final[dict[str, set[str]]] = {
    "tokenline-admin-token": {"token"},
    "tokenline-hash-key": {"key"},
    "tokenline-postgresql": _USER,
}
# The Secrets that must be there before a cell, with their keys.
SECRETS: Final[dict[str, dict[str, set[str]]]] = {
    "required": _ALWAYS,
    "everything": {
        **_ALWAYS,
        "vendors": set(),
        "owner": _USER,
        "postgresql-ca": {"ca.crt"},
        "etcd-tls": _CERTIFICATE,
        "etcd-password": {"password"},
        "carrier-key": {"key.pem"},
    },
    "certificates": {
        **_ALWAYS,
        **{f"tokenline-{each}-grpc": _CERTIFICATE for each in ("authentication", "registry", "accounting", "billing", "edge")},
    },
}


def secrets(wanted: Mapping[str, set[str]]) -> list[Object]:
    """Secrets with these keys."""
    content = base64.b64encode(b"content").decode()
    return [there("Secret", name, data=dict.fromkeys(keys, content)) for name, keys in wanted.items()]


OF_ALL: Final = secrets(_ALWAYS)


def refused(values: Mapping[str, Any], objects: Sequence[Object]) -> str:
    """Why an installation is refused."""
    with pytest.raises(helm_python.HelmError) as error:
        installed(values, objects)
    return str(error.value)


@pytest.mark.parametrize("case", SECRETS)
def test_a_cell_needs_its_secrets_and_no_more(case: str) -> None:
    assert installed(CASES[case], secrets(SECRETS[case]))["manifest"]


@pytest.mark.parametrize(("case", "name"), [(case, name) for case, wanted in SECRETS.items() for name in wanted])
def test_a_secret_that_is_missing_is_named_with_how_to_make_it(case: str, name: str) -> None:
    without = {each: keys for each, keys in SECRETS[case].items() if each != name}
    said = refused(CASES[case], secrets(without))
    assert (
        f"there is no Secret {name} in namespace cell; make it first: kubectl --namespace cell create secret generic {name}" in said
    )
    assert set(re.findall(r"--from-literal=(\S+?)=\.\.\.", said)) == SECRETS[case][name]


@pytest.mark.parametrize(
    ("case", "name", "key"),
    [(case, name, key) for case, wanted in SECRETS.items() for name, keys in wanted.items() for key in sorted(keys)],
)
def test_a_key_that_a_secret_lacks_is_named(case: str, name: str, key: str) -> None:
    said = refused(CASES[case], secrets({**SECRETS[case], name: SECRETS[case][name] - {key}}))
    assert f"the Secret {name} in namespace cell has no key {key}" in said


def test_secrets_of_a_cell_have_the_names_that_were_given() -> None:
    values = {"secrets": {"adminToken": "a", "hashKey": "b"}, "postgresql": {"secret": "c"}}
    assert installed(merged(REQUIRED, values), secrets({"a": {"token"}, "b": {"key"}, "c": _USER}))["manifest"]


def test_certificates_that_cert_manager_makes_need_not_be_there() -> None:
    values = {"grpcTls": {"mode": "both", "certManager": {"enabled": True, "issuerName": "authority"}}}
    assert installed(merged(REQUIRED, values), OF_ALL)["manifest"]


def edge_of(release: str) -> Object:
    """The Service of a release's edges."""
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "cell"}
    return there(
        "Service", "tokenline-edge", metadata={"annotations": annotations, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    )


def test_a_namespace_holds_one_cell() -> None:
    assert installed(REQUIRED, [*OF_ALL, edge_of("tokenline")])["manifest"]
    said = refused(REQUIRED, [*OF_ALL, edge_of("north")])
    assert "namespace cell already holds the cell of release north: a namespace holds one cell" in said


# In the order of a cell's way to TLS.
STEPS: Final[dict[str, dict[str, Any]]] = {
    "off": {"mode": "off"},
    "both": {"mode": "both"},
    "both with grpcTls.clients": {"mode": "both", "clients": True},
    "required": {"mode": "required"},
}


@pytest.mark.parametrize("now", STEPS)
@pytest.mark.parametrize("then", STEPS)
def test_a_step_towards_tls_or_back_is_one_step(now: str, then: str) -> None:
    before = of_kind(rendered(merged(REQUIRED, {"grpcTls": STEPS[now]})), "ConfigMap")["tokenline-accounting"]
    owner = {"annotations": edge_of("tokenline")["metadata"]["annotations"], "labels": before["metadata"]["labels"]}
    objects = [*secrets(SECRETS["certificates"]), there("ConfigMap", "tokenline-accounting", metadata=owner, data=before["data"])]
    values = merged(REQUIRED, {"grpcTls": STEPS[then]})
    order = list(STEPS)
    far = order.index(then) - order.index(now)
    if abs(far) <= 1:
        assert installed(values, objects)["manifest"]
        return
    through = order[order.index(now) + (1 if far > 0 else -1)]
    said = refused(values, objects)
    assert f"grpcTls.mode: it is {now} in the cluster, whose pods would not reach those of {then} while" in said
    assert said.endswith(f"upgrade to {through} first")


def stateful(service: str, claim: Mapping[str, str] | None) -> Object:
    """The StatefulSet of a service, with a claim of a size and of a class, or with an ephemeral volume."""
    spec: Object = {"template": {"spec": {}}}
    if claim is not None:
        spec["volumeClaimTemplates"] = [{"spec": {"resources": {"requests": {"storage": claim["size"]}}}}]
        if "class" in claim:
            spec["volumeClaimTemplates"][0]["spec"]["storageClassName"] = claim["class"]
    owner = {"annotations": edge_of("tokenline")["metadata"]["annotations"], "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    return there("StatefulSet", f"tokenline-{service}", "apps/v1", metadata=owner, spec=spec)


@pytest.mark.parametrize(
    ("service", "volume", "claim", "same"),
    [
        ("edge", {}, {"size": "1Gi"}, True),
        ("billing", {}, {"size": "10Gi"}, True),
        ("billing", {"size": "2048Gi"}, {"size": "2Ti"}, True),
        ("edge", {"storageClassName": "fast"}, {"size": "1Gi", "class": "fast"}, True),
        ("edge", {"kind": "ephemeral"}, None, True),
        ("edge", {"size": "2Gi"}, {"size": "1Gi"}, False),
        ("billing", {"size": "1Ti"}, {"size": "1Gi"}, False),
        ("edge", {"storageClassName": "fast"}, {"size": "1Gi"}, False),
        ("edge", {"kind": "ephemeral"}, {"size": "1Gi"}, False),
        ("billing", {}, None, False),
    ],
)
def test_a_volume_stays_what_it_is(service: str, volume: dict[str, str], claim: Mapping[str, str] | None, same: bool) -> None:
    values = merged(REQUIRED, {"services": {service: {"volume": volume}}})
    objects = [*OF_ALL, stateful(service, claim)]
    if same:
        assert installed(values, objects)["manifest"]
    else:
        said = refused(values, objects)
        assert f"services.{service}.volume: it is {'a claim of' if claim else 'ephemeral'}" in said
        assert '"A volume is too small" in docs/runbooks/kubernetes.md' in said


@pytest.mark.parametrize("service", ["accounting", "edge"])
def test_the_number_of_pods_is_what_an_autoscaler_said_last(service: str) -> None:
    kind = {"accounting": "Deployment", "edge": "StatefulSet"}[service]
    values = merged(REQUIRED, {"services": {service: {"autoscaling": {"minReplicas": 2, "maxReplicas": 9}}}})
    of_helm = {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    of_scaler = {**of_helm, "manager": "kube-controller-manager", "subresource": "scale"}
    # As long as it has said nothing, what Helm leaves out would become 1.
    for managers, replicas in (([of_helm], 7), ([of_helm, of_scaler], None)):
        is_there = stateful(service, {"size": "1Gi"})
        is_there["kind"] = kind
        is_there["spec"]["replicas"] = 7
        is_there["metadata"]["managedFields"] = managers
        made = [*yaml.safe_load_all(installed(values, [*OF_ALL, is_there])["manifest"])]
        assert of_kind([each for each in made if each], kind)[f"tokenline-{service}"]["spec"].get("replicas") == replicas


@pytest.mark.parametrize(
    ("case", "way_in"),
    [
        ("required", "http://tokenline-edge.cell:80/v1, inside the cluster."),
        ("everything", "https://*.example.net/v1."),
        ("ephemeral", "http://tokenline-edge.cell:80/v1, inside the cluster."),
    ],
)
def test_who_installs_is_told_how_to_go_on(case: str, way_in: str) -> None:
    notes = installed(CASES[case], secrets(SECRETS.get(case, _ALWAYS)))["notes"]
    assert f"Clients find it at {way_in}" in notes
    assert ("No vendor can be called yet" in notes) == (case != "everything")
    assert ("outboxes are ephemeral" in notes) == (case == "ephemeral")
    assert "lets calls run for 600 s" in notes
    commands = re.findall(r"^ +(helm|kubectl) (.*)$", notes, re.MULTILINE)
    in_pod = "--namespace cell exec tokenline-edge-0 -- tokenline"
    assert commands == [
        ("helm", "test tokenline --namespace cell"),
        *(("kubectl", f"{in_pod} {each}") for each in ("owners", "account create", "key create --account ACCOUNT")),
    ]
