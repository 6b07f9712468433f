"""Each value of the chart stands where it belongs: in so many places, and nothing else changes with it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import pytest

from tests.charts.rendering import CASES, Object, config_of, merged, of_kind, pod_templates, rendered, with_defaults

# With all that a cell can have, so that each value has its places.
ALL: Final = merged(CASES["everything"], {"grpcTls": {"mode": "both", "certManager": {"enabled": True, "issuerName": "authority"}}})
# Values are given with this number in them, and then with the other.
ONE, OTHER = "977", "983"
_PEERS: Final = [{"podSelector": {"matchLabels": {"a": "x977"}}}]
_URL: Final = "postgresql://x977:5432/a?sslmode=verify-full&sslrootcert=/etc/tokenline/postgresql/ca.crt"
_SCALED: Final = ("authentication", "registry", "accounting", "edge")
_SERVICES: Final = (*_SCALED, "billing")


class Told(NamedTuple):
    """A value, in how many places of the objects it stands, and what must be set beside it."""

    value: Any
    places: int
    beside: Mapping[str, Any] = {}


TOLD: Final[dict[str, Told]] = {
    # Each database of a service, and the migration's, has a config of its own.
    "cell.region": Told("x977", 2),
    "cell.partitions": Told(977, 2),
    # Six services, three migrations, a recovery, two of the books and two tests are containers.
    "image.repository": Told("x977", 14),
    "image.tag": Told("x977", 14, {"image": {"digest": ""}}),
    "image.digest": Told(f"sha256:977{61 * 'a'}", 14),
    # Ten kinds of pods.
    "image.pullSecrets": Told(["x977"], 10),
    "nodeSelector": Told({"a": "x977"}, 10),
    "tolerations": Told([{"key": "x977"}], 10),
    "secrets.adminToken": Told("x977", 3),
    "secrets.hashKey": Told("x977", 1),
    "secrets.vendors": Told("x977", 1),
    "postgresql.url": Told(_URL, 4),
    "postgresql.accountingUrls": Told([_URL], 2),
    # Name and password of three services and of the recovery; each migration reads the name alone.
    "postgresql.secret": Told("x977", 11),
    "postgresql.migrationSecret": Told("x977", 6),
    "postgresql.caSecret": Told("x977", 5),
    "postgresql.peers": Told(_PEERS, 5),
    "etcd.endpoints": Told(["x977:2379"], 3),
    "etcd.prefix": Told("/x977/", 3),
    "etcd.tlsSecret": Told("x977", 3),
    "etcd.username": Told("x977", 3),
    "etcd.passwordSecret": Told("x977", 3),
    "etcd.peers": Told(_PEERS, 3),
    "grpcTls.certManager.issuerName": Told("x977", 5),
    "grpcTls.certManager.durationHours": Told(977, 5),
    "grpcTls.certManager.renewBeforeHours": Told(977, 5),
    "catalog": Told({"x977.yaml": "offerings: []"}, 1),
    # An edge is told how many there may be.
    **{
        f"services.{each}.replicas": Told(977, 2 if each == "edge" else 1, {"services": {each: {"autoscaling": None}}})
        for each in _SCALED
    },
    **{
        f"services.{each}.autoscaling": Told({"minReplicas": 1, "maxReplicas": 977}, 2 if each == "edge" else 1) for each in _SCALED
    },
    **{f"services.{each}.resources.requests.{what}": Told("977M", 1) for each in _SERVICES for what in ("cpu", "memory")},
    **{f"services.{each}.resources.limits.memory": Told("977M", 1) for each in _SERVICES},
    **{f"services.{each}.volume.size": Told("977Gi", 1) for each in ("billing", "edge")},
    **{f"services.{each}.volume.storageClassName": Told("x977", 1) for each in ("billing", "edge")},
    "services.edge.service.port": Told(977, 1),
    "services.edge.service.nodePort": Told(977, 1),
    "services.edge.service.annotations": Told({"a": "x977"}, 1),
    "carrier.address": Told("https://x977", 2),
    "carrier.tokenUrl": Told("https://x977", 2),
    "carrier.clientId": Told("x977", 2),
    "carrier.keySecret": Told("x977", 1),
    "carrier.keyId": Told("x977", 2),
    "carrier.usageIntervalSeconds": Told(977, 2),
    "carrier.peers": Told(_PEERS, 1),
    "carrier.ports": Told([977], 1),
    "books.schedule": Told("977 3 * * *", 1),
    **{f"networkPolicy.{each}": Told(_PEERS, 1) for each in ("clients", "operators", "vendors")},
    # Of all six services.
    **{f"networkPolicy.{each}": Told(_PEERS, 6) for each in ("monitoring", "telemetry")},
    "networkPolicy.vendorPorts": Told([977], 1),
    **{f"{each}.{what}": Told("x977", 1) for each in ("ingress", "adminIngress") for what in ("className", "tlsSecret")},
    # For the rule, and for its certificate.
    **{f"{each}.host": Told("x977.example.net", 2) for each in ("ingress", "adminIngress")},
    **{f"{each}.annotations": Told({"a": "x977"}, 1) for each in ("ingress", "adminIngress")},
    "monitoring.serviceMonitor.intervalSeconds": Told(977, 2),
    "monitoring.serviceMonitor.labels": Told({"b": "x977"}, 1),
    "monitoring.prometheusRule.labels": Told({"b": "x977"}, 1),
    # Six configs, and the migration's three.
    "telemetry.logLevels": Told({"x977": "debug"}, 9),
    "telemetry.otlpEndpoint": Told("x977:4317", 9),
    "telemetry.traceSamplePpm": Told(977, 9),
    "telemetry.traceSlowMs": Told(977, 9),
}
# What makes objects other ones, which other tests look at.
CHOICES: Final = {
    *("image.pullPolicy", "grpcTls.mode", "grpcTls.clients", "grpcTls.certManager.enabled", "grpcTls.certManager.issuerKind"),
    *(f"services.{each}.volume.kind" for each in ("billing", "edge")),
    *("services.edge.service.type", "services.edge.drainNoticeSeconds", "services.edge.drainSeconds", "carrier.steps"),
    *("vendorSimulator.enabled", "networkPolicy.enabled", "ingress.enabled", "adminIngress.enabled"),
    *("monitoring.serviceMonitor.enabled", "monitoring.prometheusRule.enabled"),
    *("telemetry.logFormat", "telemetry.logLevel", "priorityClasses.create"),
    *(f"services.{each}.config" for each in _SERVICES),
}


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The paths of all values."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_each_value_is_known_here() -> None:
    assert sorted(leaves(with_defaults({}))) == sorted([*TOLD, *CHOICES])


def at(path: str, value: Any) -> Object:
    """Values with one set."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def text_of(values: Object, namespace: str = "cell") -> str:
    """All objects, but for the sums of what pods are told."""
    return re.sub(r"-checksum\": \"[0-9a-f]{64}", "", json.dumps(rendered(values, namespace)))


@pytest.mark.parametrize("path", TOLD)
def test_a_value_stands_where_it_belongs_and_changes_nothing_else(path: str) -> None:
    value, places, beside = TOLD[path]
    other = json.loads(json.dumps(value).replace(ONE, OTHER))
    # What is set takes the place of what was there, also of a map.
    base = merged(ALL, beside, at(path, None))
    text = text_of(merged(base, at(path, value)))
    assert text.count(ONE) == places
    assert text_of(merged(base, at(path, other))) == text.replace(ONE, OTHER)


def test_a_namespace_stands_in_each_object_and_in_what_the_cluster_and_etcd_share() -> None:
    objects = rendered(ALL, f"x{ONE}")
    text = text_of(ALL, f"x{ONE}")
    assert text_of(ALL, f"x{OTHER}") == text.replace(ONE, OTHER)
    (rule,) = of_kind(objects, "PrometheusRule").values()
    named = sum(each["metadata"].get("namespace") == f"x{ONE}" for each in objects)
    # Besides: the classes of priority in six pods and by themselves, three prefixes, and what alerts look at.
    assert text.count(ONE) == named + 6 + 2 + 3 + str(rule["spec"]).count(ONE)
    assert named == len(objects) - 2


def told(values: Object) -> dict[str, tuple[Any, Any]]:
    """What the pods of each service are told, and what is said of it to Kubernetes, which makes them anew when that changes."""
    objects = rendered(values)
    maps = {name: each["data"] for name, each in of_kind(objects, "ConfigMap").items()}
    found = {}
    for component, pod in pod_templates(objects).items():
        if pod.owner["kind"] in ("Deployment", "StatefulSet"):
            config = config_of(objects, component)
            if component == "edge" and "edges_max" not in values["services"]["edge"].get("config", {}):
                # Long streams would end for a number of edges that nobody has fixed.
                del config["edges_max"]
            read = (config, maps["tokenline-catalog"] if component == "registry" else None)
            sums = {key: value for key, value in pod.metadata["annotations"].items() if key.endswith("-checksum")}
            found[component] = (read, sums)
    return found


@pytest.mark.parametrize("path", TOLD)
def test_pods_are_made_anew_when_they_are_told_something_else_and_for_nothing_else(path: str) -> None:
    value, _, beside = TOLD[path]
    base = merged(ALL, beside, at(path, None))
    before = told(merged(base, at(path, value)))
    after = told(merged(base, at(path, json.loads(json.dumps(value).replace(ONE, OTHER)))))
    assert made_anew(before, after) == {each for each in before if before[each][0] != after[each][0]}


def made_anew(before: dict[str, tuple[Any, Any]], after: dict[str, tuple[Any, Any]]) -> set[str]:
    """Services of which Kubernetes replaces the pods."""
    return {each for each in before if before[each][1] != after[each][1]}


def test_a_step_towards_tls_makes_all_anew_that_serve_or_call_otherwise() -> None:
    off, both, calling, required = (
        told(merged(ALL, {"grpcTls": {**step, "certManager": {"enabled": False}}}))
        for step in ({"mode": "off"}, {"mode": "both"}, {"mode": "both", "clients": True}, {"mode": "required"})
    )
    everybody = set(_SERVICES)
    assert (made_anew(off, both), made_anew(both, calling), made_anew(calling, required)) == (
        everybody,
        {"accounting", "billing", "edge"},
        everybody - {"edge"},
    )


@pytest.mark.parametrize("service", _SERVICES)
def test_a_service_is_told_what_its_config_says(service: str) -> None:
    field = "access_log" if service == "edge" else "reflection"
    objects = rendered(merged(ALL, {"services": {service: {"config": {field: True}}}}))
    assert {each for each in _SERVICES if config_of(objects, each).get(field)} == {service}


def instances(part: Any) -> Iterator[str]:
    """All that labels and selectors say of whose an object is."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "app.kubernetes.io/instance":
                yield value
            else:
                yield from instances(value)
    elif isinstance(part, list):
        for each in part:
            yield from instances(each)


def test_a_release_with_another_name_selects_its_own() -> None:
    for each in rendered(ALL, name="north"):
        assert {*instances(each)} == {"north"}, each["metadata"]["name"]
