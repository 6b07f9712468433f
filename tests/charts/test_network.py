"""Who may open a connection to whom: one table, and the network policies of every rendering worked out and held against it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest
import yaml

from infra.cluster import DEVELOPMENT, namespace_of, regions
from tests.charts.network import Party, Port, lets_in, lets_out
from tests.charts.rendering import CASES, Object, merged, objects_of, pod_templates, rendered

Opened = dict[tuple[str, str], set[Port]]

DNS: Final = frozenset({Port(53), Port(53, "UDP")})
EVERY: Final = DNS | {Port(number) for number in (22, 80, 443, 2379, 4317, 5432, 7000, 7001, 8080, 8081, 8090, 9000, 65535)}
GRPC: Final = {Port(7000)}
CLIENTS: Final = {Port(8080)}
OPERATORS: Final = {Port(8081)}

# Around the cell. Where a cell has no peers for one of them, it is a stranger like all others.
OUTSIDE: Final = {
    "postgresql": Party("10.1.0.1", "tokenline-stores", {"app": "postgresql"}),
    "etcd": Party("10.42.1.1", "tokenline-stores", {"app": "etcd"}),
    "another store": Party("10.42.1.2", "tokenline-stores", {"app": "cache"}),
    "ingress controller": Party("10.42.1.3", "ingress", {"app": "nginx"}),
    "operators' gateway": Party("10.42.1.8", "operators", {"app": "nginx"}),
    "prometheus": Party("10.42.1.4", "monitoring", {"app": "prometheus"}),
    "collector": Party("10.42.1.5", "telemetry", {"app": "collector"}),
    "pod beside": Party("10.42.1.6", "cell", {"app": "batch"}),
    "edge of another cell": Party(
        "10.42.1.7", "other", {"app.kubernetes.io/name": "tokenline", "app.kubernetes.io/component": "edge"}
    ),
    "vendor": Party("203.0.113.1"),
    "carrier": Party("10.9.0.7"),
    "instance metadata": Party("169.254.169.254"),
    "office": Party("192.168.1.1"),
    "data centre": Party("172.16.0.1"),
    "carrier's network": Party("100.64.0.1"),
}
# A pod of the cell that no policy but the first one knows.
NAMELESS: Final = "nameless"

# Who calls whom in every cell, and where. Policies of both sides say so, each for itself.
CALLS: Final[dict[str, dict[str, Any]]] = {
    "authentication": {"postgresql": EVERY},
    "registry": {"etcd": EVERY},
    "accounting": {"registry": GRPC, "accounting": GRPC, "postgresql": EVERY, "etcd": EVERY},
    "billing": {"accounting": GRPC, "postgresql": EVERY},
    "edge": {"authentication": GRPC, "registry": GRPC, "accounting": GRPC, "billing": GRPC, "vendor": {Port(443)}},
    "migration": {"postgresql": EVERY},
    "recovery": {"postgresql": EVERY, "etcd": EVERY},
    "books": {"edge": OPERATORS},
    "test": {"edge": OPERATORS},
}
SERVICES: Final = ("authentication", "registry", "accounting", "billing", "edge")


# Cases of these tests alone, as changes to the one with everything.
_CHANGES: Final[dict[str, Object]] = {
    # On its way to TLS a cell serves both ports, to the callers of the step before and of the one after.
    "both": {"grpcTls": {"mode": "both"}},
    # A Prometheus that finds its targets by itself.
    "no ServiceMonitor": {"monitoring": {"serviceMonitor": {"enabled": False}}},
}


def values_of(case: str) -> Object:
    """The values of a case of these tests."""
    return merged(CASES["everything"], _CHANGES[case]) if case in _CHANGES else CASES[case]


def release_of(case: str) -> list[Object]:
    """The objects of a case of these tests."""
    return rendered(values_of(case)) if case in _CHANGES else objects_of(case)


def calls_of(case: str) -> Opened:
    """All that may be opened in a cell with the values of a case, but for names that are looked up and clients."""
    values = values_of(case)
    calls = {(source, to): set(ports) for source, targets in CALLS.items() for to, ports in targets.items()}
    if case == "certificates":
        calls = {pair: {Port(7001)} if ports == GRPC else ports for pair, ports in calls.items()}
    services = list(SERVICES)
    if case == "both":
        calls = {pair: {Port(7000), Port(7001)} if ports == GRPC else ports for pair, ports in calls.items()}
    if values.get("vendorSimulator", {}).get("enabled"):
        calls["edge", "vendor-simulator"] = {Port(8090)}
        services.append("vendor-simulator")
    if "carrier" in values:
        calls["billing", "carrier"] = {Port(443), Port(8080)}
    if "operators" in values.get("networkPolicy", {}):
        calls["operators' gateway", "edge"] = set(OPERATORS)
    for service in services:
        if "monitoring" in values.get("networkPolicy", {}):
            calls["prometheus", service] = set(OPERATORS) if service == "edge" else {Port(9000)}
        if "telemetry" in values.get("networkPolicy", {}):
            calls[service, "collector"] = set(EVERY)
    return calls


def parties_of(objects: Sequence[Object]) -> dict[str, Party]:
    """The pods of a cell."""
    parties = {}
    for number, (component, pod) in enumerate(pod_templates(objects).items()):
        ports = {port["name"]: port["containerPort"] for each in pod.containers for port in each.get("ports", ())}
        parties[component] = Party(f"10.42.0.{number + 1}", "cell", pod.labels, ports)
    labels = {"app.kubernetes.io/name": "tokenline", "app.kubernetes.io/instance": "tokenline"}
    return {**parties, NAMELESS: Party("10.42.0.99", "cell", labels)}


def opened(
    lets: Callable[[Sequence[Object], Party, Party, Port], bool],
    policies: Sequence[Object],
    sources: Mapping[str, Party],
    targets: Mapping[str, Party],
) -> Opened:
    """What the policies of one side let through, by source and target."""
    found = {
        (source, target): {port for port in EVERY if lets(policies, sources[source], targets[target], port)}
        for source in sources
        for target in targets
    }
    return {pair: ports for pair, ports in found.items() if ports}


@pytest.mark.parametrize("case", [*(each for each in CASES if each != "no policies"), *_CHANGES])
def test_a_pod_may_call_those_whom_the_table_names(case: str) -> None:
    objects = release_of(case)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    cell = parties_of(objects)
    calls = calls_of(case)
    # Everybody looks up names, wherever their server is.
    names = {(source, to): set(DNS) for source in cell.keys() - {NAMELESS} for to in (*cell, *OUTSIDE)}
    assert opened(lets_out, policies, cell, {**cell, **OUTSIDE}) == {
        **names,
        **{(source, to): ports | DNS for (source, to), ports in calls.items() if source in cell},
    }


@pytest.mark.parametrize("case", [*(each for each in CASES if each != "no policies"), *_CHANGES])
def test_a_pod_may_be_called_by_those_whom_the_table_names(case: str) -> None:
    objects = release_of(case)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    cell = parties_of(objects)
    clients = ("ingress controller",) if "clients" in values_of(case).get("networkPolicy", {}) else (*cell, *OUTSIDE)
    assert opened(lets_in, policies, {**cell, **OUTSIDE}, cell) == {
        **{(source, to): ports for (source, to), ports in calls_of(case).items() if to in cell},
        **{(client, "edge"): set(CLIENTS) | calls_of(case).get((client, "edge"), set()) for client in clients},
    }


def test_who_wants_no_policies_gets_none() -> None:
    assert [each["metadata"]["name"] for each in objects_of("no policies") if each["kind"] == "NetworkPolicy"] == []


def test_development_stores_are_for_those_who_have_a_store() -> None:
    stores = list(yaml.safe_load_all((DEVELOPMENT / "stores.yaml").read_text(encoding="utf-8")))
    policies = [each for each in stores if each["kind"] == "NetworkPolicy"]
    templates = {each["metadata"]["name"]: each["spec"]["template"] for each in stores if each["kind"] == "StatefulSet"}
    targets = {}
    for name, template in templates.items():
        (container,) = template["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        targets[name] = Party(OUTSIDE[name].address, "tokenline-stores", template["metadata"]["labels"], ports)
    for region in regions():
        cell = {name: each._replace(namespace=namespace_of(region)) for name, each in parties_of(objects_of(region)).items()}
        strangers = {name: each for name, each in OUTSIDE.items() if name not in targets}
        assert opened(lets_in, policies, {**cell, **strangers, **targets}, targets) == {
            **{(name, "postgresql"): {Port(5432)} for name in ("accounting", "authentication", "billing", "migration", "recovery")},
            **{(name, "etcd"): {Port(2379)} for name in ("accounting", "registry", "recovery")},
        }
        assert opened(lets_out, policies, targets, {**targets, **strangers}) == {}
