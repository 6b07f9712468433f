"""What leads to pods: Services, the ways in of clients and of operators, what Prometheus finds."""

from typing import Any, Final

import pytest

from tests.charts.rendering import REQUIRED, Object, config_of, merged, objects_of, of_kind, pod_templates, rendered

GRPC_TLS: Final = [{"name": "grpc-tls", "port": 7001, "targetPort": "grpc-tls"}]
GRPC: Final = [{"name": "grpc", "port": 7000, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}]
PORTS: Final[dict[str, list[Object]]] = {
    **dict.fromkeys(("authentication", "registry", "accounting", "billing"), GRPC),
    "edge": [{"name": "http", "port": 80, "targetPort": "http"}],
    "vendor-simulator": [{"name": "http", "port": 8090, "targetPort": "http"}],
    "admin": [{"name": "admin", "port": 8081, "targetPort": "admin"}],
    "metrics": [
        {"name": "metrics", "port": 9000, "targetPort": "metrics"},
        {"name": "admin", "port": 8081, "targetPort": "admin"},
    ],
}


def test_each_service_leads_to_its_own_pods(case: str, objects: list[Object]) -> None:
    pods = pod_templates(objects)
    of_the_cell = {"app.kubernetes.io/name": "tokenline", "app.kubernetes.io/instance": "tokenline"}
    services = {name.removeprefix("tokenline-"): each["spec"] for name, each in of_kind(objects, "Service").items()}
    running = {each for each, pod in pods.items() if pod.owner["kind"] in ("Deployment", "StatefulSet")}
    assert services.keys() == running | {"admin"} | ({"metrics"} if case == "everything" else set())
    for name, spec in services.items():
        ports, component = PORTS[name], "edge" if name == "admin" else name
        by_default = ("required", "no policies", "certificates", "ephemeral")
        kind = "NodePort" if name == "edge" and case not in by_default else "ClusterIP"
        if (name, case) == ("edge", "everything"):
            ports = [{**ports[0], "nodePort": 30080}]
        if case == "certificates" and ports == GRPC:
            ports = GRPC_TLS
        if name == "metrics":
            # Of every pod for itself, ready or not.
            expected = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": of_the_cell, "ports": ports}
        else:
            expected = {"type": kind, "selector": {**of_the_cell, "app.kubernetes.io/component": component}, "ports": ports}
        assert spec == expected, name
    annotations = {name: each["metadata"].get("annotations") for name, each in of_kind(objects, "Service").items()}
    assert {name for name, each in annotations.items() if each} == ({"tokenline-edge"} if case == "everything" else set())


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_clients_come_in_as_was_chosen_and_operators_from_within(kind: str) -> None:
    given = {"services": {"edge": {"service": {"type": kind, "nodePort": 30080}}}}
    services = of_kind(rendered(merged(REQUIRED, given)), "Service")
    expected = dict.fromkeys(services, "ClusterIP") | {"tokenline-edge": kind}
    assert {name: each["spec"]["type"] for name, each in services.items()} == expected
    (port,) = services["tokenline-edge"]["spec"]["ports"]
    assert port.get("nodePort") == (None if kind == "ClusterIP" else 30080)


def test_addresses_lead_to_where_somebody_listens(objects: list[Object]) -> None:
    pods, services = pod_templates(objects), of_kind(objects, "Service")
    followed = set()
    for component in ("registry", "accounting", "billing", "edge"):
        for field, address in config_of(objects, component).items():
            if not (field.endswith("_address") and field != "listen_address"):
                continue
            host, _, port = address.removeprefix("tls:").partition(":")
            (opened,) = [each for each in services[host]["spec"]["ports"] if each["port"] == int(port)]
            service = host.removeprefix("tokenline-")
            (container,) = pods[service].containers
            (listened,) = [each["containerPort"] for each in container["ports"] if each["name"] == opened["targetPort"]]
            own = config_of(objects, service)
            assert (own["grpc_tls_port"] if address.startswith("tls:") else own["listen_address"]) in (
                listened,
                f"0.0.0.0:{listened}",
            )
            followed.add((component, service))
    others = ("registry", "authentication", "accounting", "billing")
    assert followed == {("accounting", "registry"), ("billing", "accounting"), *(("edge", each) for each in others)}


def test_there_is_no_way_in_unless_it_is_asked_for(case: str, objects: list[Object]) -> None:
    assert list(of_kind(objects, "Ingress")) == (["tokenline", "tokenline-admin"] if case == "everything" else [])


WAYS: Final[dict[str, tuple[str, Object]]] = {
    "ingress": ("tokenline", {}),
    "adminIngress": ("tokenline-admin", {"networkPolicy": {"operators": [{"podSelector": {}}]}}),
}
CLIENTS_CALL: Final = (
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/me/balance",
    "/v1/me/keys",
    "/v1/me/orders",
    "/v1/me/receipts",
    "/v1/messages",
    "/v1/models",
    "/v1/prices",
    "/v1/rerank",
    "/v1/responses",
    "/v1/usage",
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "rest"),
    [
        ({}, {}),
        (
            {"className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
            {"ingressClassName": "nginx", "tls": [{"hosts": ["api.example.net"], "secretName": "tls"}]},
        ),
    ],
)
def test_a_way_in_leads_to_its_own_listener_alone(way: str, given: dict[str, Any], rest: Object) -> None:
    name, needed = WAYS[way]
    values = merged(REQUIRED, needed, {way: {"enabled": True, "host": "api.example.net", **given}})
    (made,) = of_kind(rendered(values), "Ingress").values()
    (rule,) = made["spec"].pop("rules")
    assert (made["metadata"]["name"], made["spec"]) == (name, rest)
    assert made["metadata"].get("annotations") == given.get("annotations")
    assert rule["host"] == "api.example.net"
    service, port = {"tokenline": ("tokenline-edge", "http"), "tokenline-admin": ("tokenline-admin", "admin")}[name]
    backend = {"service": {"name": service, "port": {"name": port}}}
    paths = CLIENTS_CALL if way == "ingress" else ("/v1/admin",)
    assert rule["http"]["paths"] == [{"path": each, "pathType": "Prefix", "backend": backend} for each in paths]


def test_both_ways_in_are_apart() -> None:
    ways = of_kind(objects_of("everything"), "Ingress")
    spec = {name: (each["spec"]["ingressClassName"], each["spec"]["rules"][0]["host"]) for name, each in ways.items()}
    assert spec == {"tokenline": ("nginx", "*.example.net"), "tokenline-admin": ("internal", "admin.example.net")}
    assert {name: each["spec"]["tls"] for name, each in ways.items()} == {
        "tokenline": [{"hosts": ["*.example.net"], "secretName": "tls"}],
        "tokenline-admin": [{"hosts": ["admin.example.net"], "secretName": "admin-tls"}],
    }
    assert {name: each["metadata"]["annotations"] for name, each in ways.items()} == {
        "tokenline": {"a": "b"},
        "tokenline-admin": {"c": "d"},
    }


def test_prometheus_finds_every_pod_of_the_cell() -> None:
    objects = objects_of("everything")
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (service,) = [
        each
        for each in of_kind(objects, "Service").values()
        if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert service["metadata"]["name"] == "tokenline-metrics"
    assert monitor["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/instance": "tokenline",
        "app.kubernetes.io/component": "metrics",
    }
    assert monitor["metadata"]["labels"]["a"] == "b"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "interval": "15s"}, {"port": "admin", "interval": "15s"}]
    assert monitor["spec"]["podTargetLabels"] == ["app.kubernetes.io/component"]
    ports = {each["port"] for each in monitor["spec"]["endpoints"]}
    read = {
        component: ports & {each["name"] for container in pod.containers for each in container.get("ports", ())}
        for component, pod in pod_templates(objects).items()
    }
    services = ("authentication", "registry", "accounting", "billing", "vendor-simulator")
    others = {each: set[str]() for each in ("migration", "recovery", "books", "test")}
    assert read == {**{each: {"metrics"} for each in services}, "edge": {"admin"}, **others}


def test_nothing_is_watched_unless_it_is_asked_for(case: str, objects: list[Object]) -> None:
    watching = {*of_kind(objects, "ServiceMonitor"), *of_kind(objects, "PrometheusRule")}
    assert watching == ({"tokenline"} if case == "everything" else set())
