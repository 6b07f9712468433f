"""How pods come and go: in which order, how many at once, how long they get, what stays of them, and what runs before."""

from typing import Any, Final

import pytest

from infra.cluster import regions
from tests.charts.rendering import (
    CASES,
    REQUIRED,
    Object,
    config_of,
    merged,
    of_kind,
    pod_templates,
    rendered,
    with_defaults,
)

DEPLOYMENTS: Final = ("authentication", "registry", "accounting", "vendor-simulator")
VOLUMES: Final = {"billing": "cdr", "edge": "outbox"}


def workloads(objects: list[Object]) -> dict[str, Object]:
    """What runs all the time, by service."""
    found = of_kind(objects, "Deployment") | of_kind(objects, "StatefulSet")
    return {name.removeprefix("tokenline-"): each for name, each in found.items()}


def selector(service: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tokenline",
        "app.kubernetes.io/instance": "tokenline",
        "app.kubernetes.io/component": service,
    }


def test_a_new_pod_is_there_before_an_old_one_goes(objects: list[Object]) -> None:
    for service, each in workloads(objects).items():
        spec = each["spec"]
        assert spec["selector"] == {"matchLabels": selector(service)}
        assert (spec["minReadySeconds"], spec["revisionHistoryLimit"]) == (5, 5)
        if service in DEPLOYMENTS:
            assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        else:
            # One after another, all of them, by their numbers; only a start waits for nobody.
            assert (spec["updateStrategy"], spec["podManagementPolicy"]) == ({"type": "RollingUpdate"}, "Parallel")
            assert spec["serviceName"] == f"tokenline-{service}"


_TWO: Final = {"authentication": 2, "registry": 2, "accounting": 2, "edge": 2, "billing": 1}
REPLICAS: Final[dict[str, dict[str, int]]] = {
    **dict.fromkeys(("required", "no policies", "certificates", "ephemeral"), _TWO),
    # Whose number an autoscaler says, the release leaves it out.
    "everything": {"billing": 1, "vendor-simulator": 1},
    "beijing": {**_TWO, "vendor-simulator": 1},
    "hongkong": {"authentication": 1, "registry": 1, "accounting": 1, "edge": 1, "billing": 1, "vendor-simulator": 1},
}


def test_how_many_pods(case: str, objects: list[Object]) -> None:
    said = {service: each["spec"].get("replicas") for service, each in workloads(objects).items()}
    assert {service: number for service, number in said.items() if number is not None} == REPLICAS[case]


def test_one_pod_of_a_service_may_go_for_a_drain(objects: list[Object]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert {name: each["spec"] for name, each in budgets.items()} == {
        f"tokenline-{service}": {
            "maxUnavailable": 1,
            # One that does not get ready must not hold up a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(service)},
        }
        for service in workloads(objects)
    }


def test_autoscalers_keep_their_bounds(case: str, objects: list[Object]) -> None:
    cpu = {"authentication": 70, "registry": 70, "accounting": 70, "edge": 60}
    most = {"authentication": 5, "registry": 5, "accounting": 5, "edge": 50}
    scalers = {name: each["spec"] for name, each in of_kind(objects, "HorizontalPodAutoscaler").items()}
    if case != "everything":
        assert scalers == {}
        return
    assert scalers == {
        f"tokenline-{service}": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet" if service == "edge" else "Deployment",
                "name": f"tokenline-{service}",
            },
            "minReplicas": 2,
            "maxReplicas": most[service],
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": cpu[service]}},
                }
            ],
            # Every pod that goes moves partitions or cuts long streams.
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                }
            },
        }
        for service in cpu
    }


def test_volumes_outlive_their_pods_and_the_release(case: str, objects: list[Object]) -> None:
    values = with_defaults(CASES[case])["services"]
    for service, volume in VOLUMES.items():
        spec = workloads(objects)[service]["spec"]
        if case == "ephemeral":
            assert not spec.keys() & {"volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"}
            continue
        # What stands in an outbox is money: nothing but a person deletes it.
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        (claim,) = spec["volumeClaimTemplates"]
        assert claim["metadata"] == {"name": volume, "labels": selector(service)}
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": values[service]["volume"]["size"]}}}
        if storage_class := values[service]["volume"]["storageClassName"]:
            asked["storageClassName"] = storage_class
        assert claim["spec"] == asked
    sizes = {service: with_defaults(REQUIRED)["services"][service]["volume"]["size"] for service in VOLUMES}
    assert sizes == {"billing": "10Gi", "edge": "1Gi"}


def test_a_pod_gets_the_time_that_its_end_takes(case: str, objects: list[Object]) -> None:
    pods = pod_templates(objects)
    # Who is called through a Service waits until the Service has forgotten it. Who speaks HTTP tells clients itself, and
    # accounting hands its partitions over while it serves.
    waits = {"authentication": 3, "registry": 3, "billing": 3, "accounting": None, "edge": None, "vendor-simulator": None}
    grace = {}
    for service in workloads(objects):
        (container,) = pods[service].containers
        wait = waits[service]
        assert container.get("lifecycle") == (wait and {"preStop": {"sleep": {"seconds": wait}}}), service
        grace[service] = pods[service].spec["terminationGracePeriodSeconds"]
    in_order = {"authentication": 60, "registry": 60, "accounting": 60, "billing": 60, "vendor-simulator": 60}
    drain = 60 if case in regions() else 600
    # Told to close for 10 s, calls ended, the last Release answered within 10 s, and 20 s.
    in_order["edge"] = 10 + drain + 10 + 20
    assert grace == {service: in_order[service] for service in grace}
    assert {each: pods[each].spec["terminationGracePeriodSeconds"] for each in ("migration", "recovery", "books")} == {
        "migration": 5,
        "recovery": 5,
        "books": 5,
    }


def test_who_drains_is_told_for_how_long_and_gets_longer(case: str, objects: list[Object]) -> None:
    drain = 60_000 if case in regions() else 600_000
    expected = {"edge": (10_000, drain), "vendor-simulator": (5_000, 45_000)}
    for service in workloads(objects):
        config = config_of(objects, service)
        told = (config.get("drain_notice_ms"), config.get("drain_timeout_ms"))
        assert told == expected.get(service, (None, None))
        if service in expected:
            # On top of it, what came last is read for a second.
            grace_ms = 1_000 * pod_templates(objects)[service].spec["terminationGracePeriodSeconds"]
            assert grace_ms > sum(expected[service]) + 1_000


@pytest.mark.parametrize(
    ("edge", "notice_ms", "drain_ms", "grace"),
    [
        ({"drainNoticeSeconds": 20, "drainSeconds": 1200}, 20_000, 1_200_000, 1_250),
        ({"drainNoticeSeconds": 0, "drainSeconds": 1}, 0, 1_000, 31),
        # As long as the last Release may take, in whole seconds.
        ({"drainSeconds": 1200, "drainNoticeSeconds": 20, "config": {"release_timeout_ms": 90_001}}, 20_000, 1_200_000, 1_331),
    ],
)
def test_grace_follows_the_drain(edge: dict[str, Any], notice_ms: int, drain_ms: int, grace: int) -> None:
    objects = rendered(merged(REQUIRED, {"services": {"edge": edge}}))
    config = config_of(objects, "edge")
    assert (config["drain_notice_ms"], config["drain_timeout_ms"]) == (notice_ms, drain_ms)
    assert pod_templates(objects)["edge"].spec["terminationGracePeriodSeconds"] == grace


_WEIGHT: Final = "helm.sh/hook-weight"


def hooks(objects: list[Object], event: str) -> list[list[str]]:
    """What Helm makes at an event, in its order; each group only once the one before is done."""
    weights: dict[int, list[str]] = {}
    for each in objects:
        annotations = each["metadata"].get("annotations", {})
        if event in annotations.get("helm.sh/hook", "").split(","):
            name = f"{each['kind']} {each['metadata']['name']}"
            weights.setdefault(int(annotations.get(_WEIGHT, "0")), []).append(name)
            # Made anew each time, gone when done; one that has failed stays, with what it said.
            assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    return [sorted(weights[weight]) for weight in sorted(weights)]


@pytest.mark.parametrize("event", ["pre-install", "pre-upgrade", "pre-rollback"])
def test_schemas_are_brought_up_to_date_before_anything_else(case: str, objects: list[Object], event: str) -> None:
    before = ["ConfigMap tokenline-migration", "NetworkPolicy tokenline-migration", "ServiceAccount tokenline-migration"]
    if case == "no policies":
        before.remove("NetworkPolicy tokenline-migration")
    assert hooks(objects, event) == [before, ["Job tokenline-migration"]]


def test_helm_test_asks_the_cell(case: str, objects: list[Object]) -> None:
    policy = [] if case == "no policies" else [["NetworkPolicy tokenline-test"]]
    assert hooks(objects, "test") == [*policy, ["Pod tokenline-test"]]


def test_nothing_else_is_a_hook(objects: list[Object]) -> None:
    events = {each["metadata"].get("annotations", {}).get("helm.sh/hook", "") for each in objects}
    assert events == {"", "test", "pre-install,pre-upgrade,pre-rollback"}


def test_books_are_checked_each_night_unless_somebody_else_does_it(objects: list[Object]) -> None:
    cron = of_kind(objects, "CronJob")["tokenline-books"]["spec"]
    assert (cron["schedule"], cron["concurrencyPolicy"], cron.get("suspend")) == ("17 3 * * *", "Forbid", None)
    # Missed while the cluster's own controllers were away, they are made up for within the 26 hours that the alert waits.
    assert cron["startingDeadlineSeconds"] == 7_200
    assert (cron["jobTemplate"]["spec"]["backoffLimit"], cron["jobTemplate"]["spec"]["activeDeadlineSeconds"]) == (2, 3_600)
    others = rendered(merged(REQUIRED, {"books": {"schedule": ""}}))
    assert [each["metadata"]["name"] for each in others if "books" in each["metadata"]["name"]] == []
    assert "books" not in str([each for each in others if each["kind"] == "NetworkPolicy"])


def test_jobs_end_and_recovery_waits_for_a_person(objects: list[Object]) -> None:
    job = of_kind(objects, "Job")["tokenline-migration"]["spec"]
    # A second time, for a database that was just away; before Helm itself gives up.
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (1, 240)
    cron = of_kind(objects, "CronJob")["tokenline-recovery"]["spec"]
    assert cron["suspend"] is True
    # A day that never comes.
    assert cron["schedule"] == "0 0 31 2 *"
    assert (cron["jobTemplate"]["spec"]["backoffLimit"], cron["jobTemplate"]["spec"]["activeDeadlineSeconds"]) == (0, 240)
