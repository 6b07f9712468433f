"""TLS between services, as the chart renders it: certificates, ports, addresses, and each step of the way there."""

from typing import Any, Final

import helm_python
import msgspec
import pytest

from services.callers import CALLERS
from tests.charts.rendering import REQUIRED, merged, rendered

_SERVERS: Final = ("accounting", "authentication", "billing", "registry")
_ALL: Final = (*_SERVERS, "edge")
_CALLS: Final = {
    "accounting": ("registry",),
    "billing": ("accounting",),
    "edge": ("accounting", "authentication", "billing", "registry"),
}
# The steps of an upgrade: what is set, the ports that are served, and whether services call with TLS.
_STEPS: Final[dict[str, tuple[dict[str, Any], dict[str, int], bool]]] = {
    "off": ({"mode": "off"}, {"grpc": 7000}, False),
    "both": ({"mode": "both"}, {"grpc": 7000, "grpc-tls": 7001}, False),
    "both with clients": ({"mode": "both", "clients": True}, {"grpc": 7000, "grpc-tls": 7001}, True),
    "required": ({"mode": "required"}, {"grpc-tls": 7001}, True),
}


def _objects(values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in rendered(merged(REQUIRED, {"grpcTls": values}))}


def _workload(objects: dict[tuple[str, str], dict[str, Any]], service: str) -> dict[str, Any]:
    kind = "StatefulSet" if service in ("billing", "edge") else "Deployment"
    spec: dict[str, Any] = objects[kind, f"tokenline-{service}"]["spec"]["template"]["spec"]
    return spec


def _config(objects: dict[tuple[str, str], dict[str, Any]], service: str) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.json.decode(objects["ConfigMap", f"tokenline-{service}"]["data"]["config.yaml"])
    return config


@pytest.mark.parametrize("step", _STEPS)
def test_a_step_serves_at_its_ports_and_calls_as_it_says(step: str) -> None:
    values, ports, calls_with_tls = _STEPS[step]
    objects = _objects(values)
    for service in _SERVERS:
        container = _workload(objects, service)["containers"][0]
        config = _config(objects, service)
        assert config["listen_address"] == "0.0.0.0:7000"
        assert (config.get("grpc_tls", "off"), config.get("grpc_tls_port")) == (
            values["mode"],
            None if values["mode"] == "off" else 7001,
        )
        listed = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert listed == {**ports, "health": 7002, "metrics": 9000}
        served = objects["Service", f"tokenline-{service}"]["spec"]["ports"]
        assert {each["name"]: (each["port"], each["targetPort"]) for each in served} == {
            name: (port, name) for name, port in ports.items()
        }
        policy = objects["NetworkPolicy", f"tokenline-{service}"]["spec"]
        assert [each["port"] for each in policy["ingress"][0]["ports"]] == list(ports)
    for service, called in _CALLS.items():
        config = _config(objects, service)
        for other in called:
            wanted = f"tls:tokenline-{other}:7001" if calls_with_tls else f"tokenline-{other}:7000"
            assert config[f"{other}_address"] == wanted
        egress = objects["NetworkPolicy", f"tokenline-{service}"]["spec"]["egress"]
        assert [each["port"] for each in egress[1]["ports"]] == list(ports.values())
    arguments = _workload(objects, "accounting")["containers"][0]["args"]
    address = "tls:$(POD_IP):7001" if calls_with_tls else "$(POD_IP):7000"
    assert [each for each in arguments if "advertised" in each] == [f"--set=advertised_address={address}"]


@pytest.mark.parametrize("step", _STEPS)
def test_probes_ask_the_port_of_health(step: str) -> None:
    objects = _objects(_STEPS[step][0])
    for service in _SERVERS:
        container = _workload(objects, service)["containers"][0]
        assert _config(objects, service)["health_port"] == 7002
        assert container["startupProbe"]["grpc"] == {"port": 7002, "service": "liveness"}
        assert container["readinessProbe"]["grpc"] == {"port": 7002}
        assert container["livenessProbe"]["grpc"] == {"port": 7002, "service": "liveness"}
    assert "health_port" not in _config(objects, "edge")


@pytest.mark.parametrize("step", _STEPS)
def test_each_service_has_its_own_certificate_and_no_other(step: str) -> None:
    objects = _objects(_STEPS[step][0])
    off = step == "off"
    for service in _ALL:
        spec = _workload(objects, service)
        secrets = [each["secret"] for each in spec["volumes"] if each["name"] == "grpc-tls"]
        assert secrets == ([] if off else [{"secretName": f"tokenline-{service}-grpc", "defaultMode": 0o440}])
        mounts = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "grpc-tls"]
        assert mounts == ([] if off else [{"name": "grpc-tls", "mountPath": "/etc/tokenline/grpc-tls", "readOnly": True}])
        files = {
            name: file for name, file in _config(objects, service).items() if name.endswith("_file") and name.startswith("grpc")
        }
        assert files == (
            {}
            if off
            else {
                "grpc_certificate_file": "/etc/tokenline/grpc-tls/tls.crt",
                "grpc_key_file": "/etc/tokenline/grpc-tls/tls.key",
                "grpc_ca_file": "/etc/tokenline/grpc-tls/ca.crt",
            }
        )


def test_the_vendor_simulator_has_nothing_to_do_with_it() -> None:
    values = merged(REQUIRED, {"grpcTls": {"mode": "required"}, "vendorSimulator": {"enabled": True}})
    (simulator,) = (
        each
        for each in rendered(values)
        if each["metadata"]["name"] == "tokenline-vendor-simulator" and each["kind"] == "Deployment"
    )
    assert "grpc-tls" not in str(simulator)


def test_cert_manager_makes_a_certificate_of_each_service_where_it_is_asked() -> None:
    assert not [kind for kind, _ in _objects({"mode": "required"}) if kind == "Certificate"]
    asked = {
        "enabled": True,
        "issuerName": "cell-authority",
        "issuerKind": "ClusterIssuer",
        "durationHours": 48,
        "renewBeforeHours": 12,
    }
    objects = _objects({"mode": "required", "certManager": asked})
    made = {name: each for (kind, name), each in objects.items() if kind == "Certificate"}
    assert set(made) == {f"tokenline-{service}-grpc" for service in _ALL}
    for service in _ALL:
        each = made[f"tokenline-{service}-grpc"]
        assert each["apiVersion"] == "cert-manager.io/v1"
        assert each["spec"] == {
            "secretName": f"tokenline-{service}-grpc",
            "dnsNames": [f"{service}.tokenline"],
            "usages": ["digital signature", "server auth", "client auth"],
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "duration": "48h",
            "renewBefore": "12h",
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "cell-authority"},
        }
    # Who calls is who has one.
    assert set().union(*CALLERS.values()) - {"operator"} <= set(_ALL)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clients": True}, "grpcTls.clients goes with grpcTls.mode both: nobody serves with TLS yet"),
        ({"certManager": {"enabled": True}}, "grpcTls.certManager.issuerName is empty: name the issuer that signs for this cell"),
        (
            {"certManager": {"durationHours": 24, "renewBeforeHours": 24}},
            "grpcTls.certManager.renewBeforeHours must be below duration",
        ),
        ({"mode": "on"}, "does not match pattern"),
        ({"mode": False}, "got boolean, want string"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(merged(REQUIRED, {"grpcTls": values}))


def test_an_issuer_is_one_of_the_namespace_unless_it_is_said_to_be_the_clusters() -> None:
    objects = _objects({"mode": "both", "certManager": {"enabled": True, "issuerName": "cell-authority"}})
    issuers = [each["spec"]["issuerRef"]["kind"] for (kind, _), each in objects.items() if kind == "Certificate"]
    assert issuers == len(_ALL) * ["Issuer"]
