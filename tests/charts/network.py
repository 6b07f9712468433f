"""What network policies let through, worked out as Kubernetes defines it."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from tests.charts.rendering import Object


class Party(NamedTuple):
    """A pod, or an address outside of the cluster, which has neither namespace nor labels."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = {}
    # The names of its ports, where policies name them.
    ports: Mapping[str, int] = {}


class Port(NamedTuple):
    number: int
    protocol: str = "TCP"


def lets_out(policies: Sequence[Object], source: Party, destination: Party, port: Port) -> bool:
    """Whether the policies of the source let it open a connection to this port of the destination."""
    return _lets_through(policies, "egress", source, destination, (destination, port))


def lets_in(policies: Sequence[Object], source: Party, destination: Party, port: Port) -> bool:
    """Whether the policies of the destination let the source open a connection to this port."""
    return _lets_through(policies, "ingress", destination, source, (destination, port))


def _lets_through(policies: Sequence[Object], direction: str, own: Party, other: Party, opened: tuple[Party, Port]) -> bool:
    """Whether the policies of one side let a connection through; who has none is free."""
    specs = [each["spec"] for each in policies if each["metadata"]["namespace"] == own.namespace]
    specs = [each for each in specs if _selects(each["podSelector"], own.labels) and direction.capitalize() in _types(each)]
    if not specs:
        return True
    peers = "to" if direction == "egress" else "from"
    return any(
        _is_among(other, own.namespace, rule.get(peers)) and _is_open(rule.get("ports"), *opened)
        for spec in specs
        for rule in spec.get(direction) or ()
    )


def _types(spec: Object) -> Sequence[str]:
    types: Sequence[str] = spec.get("policyTypes") or (["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    return types


def _is_among(party: Party, namespace: str, peers: Sequence[Object] | None) -> bool:
    if not peers:
        return True
    return any(_is(party, namespace, peer) for peer in peers)


def _is(party: Party, namespace: str, peer: Object) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ip_address(party.address)
        return address in ip_network(block["cidr"]) and not any(address in ip_network(each) for each in block.get("except", ()))
    if not party.namespace:
        return False
    own_namespace = party.namespace == namespace
    names = {"kubernetes.io/metadata.name": party.namespace}
    there = _selects(peer["namespaceSelector"], names) if "namespaceSelector" in peer else own_namespace
    return there and _selects(peer.get("podSelector", {}), party.labels)


def _is_open(ports: Sequence[Object] | None, destination: Party, opened: Port) -> bool:
    if not ports:
        return True
    for each in ports:
        port: Any = each.get("port")
        first = destination.ports.get(port, 0) if isinstance(port, str) else port or 1
        last = each.get("endPort", first if port else 65_535)
        if each.get("protocol", "TCP") == opened.protocol and first <= opened.number <= last:
            return True
    return False


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions", ()))


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case unknown:
            raise ValueError(f"there is no operator {unknown}")
