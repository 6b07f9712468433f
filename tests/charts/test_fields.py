"""What a release is made of, and that its objects say nothing that no other test looks at: no port, no right, no exception more."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tests.charts.rendering import CASES, Object, merged, of_kind, pod_templates, rendered, with_defaults

# Maps of which each key is somebody's choice; what must stand in them is looked at elsewhere.
_FREE: Final = {"labels", "annotations", "data", "matchLabels", "selector", "nodeSelector", "tolerations", "requests", "limits"}
_SELECTED: Final = "matchLabels"
_METADATA: Final = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations")


def under(path: str, *fields: str | Iterable[str]) -> set[str]:
    """Fields below a field."""
    return {f"{path}.{field}" for each in fields for field in ([each] if isinstance(each, str) else each)}


_PROBE: Final = {
    *under("grpc", "port", "service"),
    *under("httpGet", "path", "port"),
    *("tcpSocket.port", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"),
}
_CONTAINER: Final = {
    *("name", "image", "imagePullPolicy", "terminationMessagePolicy", "args"),
    *under("env", "name", "value", "valueFrom.fieldRef.fieldPath", "valueFrom.secretKeyRef.name", "valueFrom.secretKeyRef.key"),
    *under("securityContext", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities.drop"),
    *under("resources", "requests", "limits"),
    *under("volumeMounts", "name", "mountPath", "readOnly"),
}
_SERVING: Final = {
    *under("ports", "name", "containerPort"),
    *(field for probe in ("startupProbe", "readinessProbe", "livenessProbe") for field in under(probe, _PROBE)),
    "lifecycle.preStop.sleep.seconds",
}
_POD: Final = {
    *("automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets.name", "nodeSelector", "tolerations"),
    *("serviceAccountName", "terminationGracePeriodSeconds", "restartPolicy", "activeDeadlineSeconds", "priorityClassName"),
    *under("securityContext", "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile.type"),
    *under("containers", _CONTAINER),
    *under("volumes", "name", "configMap.name", "secret.secretName", "secret.defaultMode", "emptyDir.sizeLimit"),
}
_WORKLOAD: Final = {
    *("replicas", "minReadySeconds", "revisionHistoryLimit", f"selector.{_SELECTED}"),
    *under("template.metadata", "labels", "annotations"),
    *under("template.spec", _POD, under("containers", _SERVING)),
    *under("template.spec.topologySpreadConstraints", "maxSkew", "topologyKey", "whenUnsatisfiable", f"labelSelector.{_SELECTED}"),
}
_JOB: Final = {
    *("backoffLimit", "activeDeadlineSeconds", "template.metadata.labels"),
    *under("template.spec", _POD, under("initContainers", _CONTAINER)),
}
_PEER: Final = {"ipBlock.cidr", "ipBlock.except", f"namespaceSelector.{_SELECTED}", f"podSelector.{_SELECTED}"}
_CLAIM: Final = {
    *("apiVersion", "kind", "metadata.name", "metadata.labels"),
    *under("spec", "accessModes", "storageClassName", "resources.requests"),
}
SPECS: Final[dict[str, set[str]]] = {
    "Deployment": {*_WORKLOAD, "strategy.type", *under("strategy.rollingUpdate", "maxSurge", "maxUnavailable")},
    "StatefulSet": {
        *_WORKLOAD,
        *("serviceName", "podManagementPolicy", "updateStrategy.type"),
        *under("persistentVolumeClaimRetentionPolicy", "whenDeleted", "whenScaled"),
        *under("volumeClaimTemplates", _CLAIM),
    },
    "Job": _JOB,
    "CronJob": {
        *("schedule", "suspend", "concurrencyPolicy", "startingDeadlineSeconds"),
        *("successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
        *under("jobTemplate.spec", _JOB),
    },
    "Pod": _POD,
    "Service": {
        *("type", "clusterIP", "publishNotReadyAddresses", "selector"),
        *under("ports", "name", "port", "targetPort", "nodePort", "appProtocol"),
    },
    "NetworkPolicy": {
        *(f"podSelector.{_SELECTED}", "policyTypes", "ingress.ports.port", "egress.ports.port", "egress.ports.protocol"),
        *under("ingress.from", _PEER),
        *under("egress.to", _PEER),
    },
    "Ingress": {
        *("ingressClassName", "tls.hosts", "tls.secretName", "rules.host"),
        *under("rules.http.paths", "path", "pathType", "backend.service.name", "backend.service.port.name"),
    },
    "PodDisruptionBudget": {"maxUnavailable", "unhealthyPodEvictionPolicy", f"selector.{_SELECTED}"},
    "HorizontalPodAutoscaler": {
        *("minReplicas", "maxReplicas", "behavior.scaleDown.stabilizationWindowSeconds"),
        *under("scaleTargetRef", "apiVersion", "kind", "name"),
        *under("metrics", "type", "resource.name", "resource.target.type", "resource.target.averageUtilization"),
        *under("behavior.scaleDown.policies", "type", "value", "periodSeconds"),
    },
    "ServiceMonitor": {f"selector.{_SELECTED}", "podTargetLabels", "endpoints.port", "endpoints.interval"},
    "PrometheusRule": {
        "groups.name",
        "groups.interval",
        *under("groups.rules", "record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"),
    },
    "Certificate": {
        *("secretName", "dnsNames", "usages", "duration", "renewBefore"),
        *under("privateKey", "algorithm", "size", "rotationPolicy"),
        *under("issuerRef", "group", "kind", "name"),
    },
}
# Kinds without a specification. There are no Secrets, which people make, and no roles: nothing in a cell talks to Kubernetes.
OTHERS: Final[dict[str, set[str]]] = {
    "ConfigMap": {"data"},
    "ServiceAccount": {"automountServiceAccountToken"},
    "PriorityClass": {"value", "globalDefault", "description"},
}
ANNOTATIONS: Final = {
    *("helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy"),
    *("checkov.io/skip1", "checkov.io/skip2"),
    # Those of `everything` for its ways in.
    *("a", "c"),
}
OF_PODS: Final = {
    *("tokenline.io/config-checksum", "tokenline.io/catalog-checksum", "kubectl.kubernetes.io/default-container"),
}


def fields(part: Any, path: str = "") -> Iterator[str]:
    """The paths of all that an object says; those in lists without their numbers."""
    if isinstance(part, list) and path.rpartition(".")[2] not in _FREE:
        for each in part:
            yield from fields(each, path)
    elif isinstance(part, dict) and part and (path.rpartition(".")[2] not in _FREE or _SELECTED in part):
        for key, value in part.items():
            yield from fields(value, f"{path}.{key}" if path else key)
    else:
        yield path


def test_objects_say_nothing_that_nobody_looks_at(objects: list[Object]) -> None:
    certificates = rendered(
        merged(CASES["certificates"], {"grpcTls": {"certManager": {"enabled": True, "issuerName": "authority"}}})
    )
    for each in [*objects, *certificates]:
        kind = each["kind"]
        known = OTHERS[kind] if kind in OTHERS else under("spec", SPECS[kind])
        assert {*fields(each)} <= {"apiVersion", "kind", *_METADATA, *known}, (kind, each["metadata"]["name"])
        assert each["metadata"].get("annotations", {}).keys() <= ANNOTATIONS, (kind, each["metadata"]["name"])
    for component, pod in pod_templates(objects).items():
        if component != "test":
            assert pod.metadata.get("annotations", {}).keys() <= OF_PODS, component


def test_a_release_is_made_of_these(case: str, objects: list[Object]) -> None:
    values = with_defaults(CASES[case])
    services = ["authentication", "registry", "accounting", "billing", "edge"]
    if values["vendorSimulator"]["enabled"]:
        services.append("vendor-simulator")
    watched, policies = case == "everything", case != "no policies"
    scaled = [each for each in services if values["services"].get(each, {}).get("autoscaling")]
    expected = {
        "Deployment": [each for each in services if each not in ("edge", "billing")],
        "StatefulSet": ["edge", "billing"],
        "Job": ["migration"],
        "CronJob": ["recovery", "books"],
        "Pod": ["test"],
        "Service": [*services, "admin", *(["metrics"] if watched else [])],
        "ConfigMap": [*services, "migration", *(["catalog"] if values["catalog"] else [])],
        "ServiceAccount": [*services, "migration", "books"],
        "NetworkPolicy": [*services, "migration", "recovery", "books", "test", "default-deny"] if policies else [],
        "PodDisruptionBudget": services,
        "HorizontalPodAutoscaler": scaled,
    }
    named = {kind: {f"tokenline-{each}" for each in names} for kind, names in expected.items()}
    named["PriorityClass"] = {f"cell-tokenline-{each}" for each in ("serving", "exporting")} if policies else set()
    named["Ingress"] = {"tokenline", "tokenline-admin"} if watched else set()
    named["ServiceMonitor"] = named["PrometheusRule"] = {"tokenline"} if watched else set()
    kinds = {each["kind"] for each in objects}
    assert {kind: {*of_kind(objects, kind)} for kind in kinds} == {kind: names for kind, names in named.items() if names}


def test_nights_that_failed_are_kept(objects: list[Object]) -> None:
    crons = of_kind(objects, "CronJob")
    kept = {
        name: (each["spec"].get("successfulJobsHistoryLimit"), each["spec"].get("failedJobsHistoryLimit"))
        for name, each in crons.items()
    }
    assert kept == {"tokenline-books": (1, 3), "tokenline-recovery": (None, None)}
