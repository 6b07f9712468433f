"""A cell in a cluster, pods that hurt it and call it, and what its books say."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from infra.cluster import (
    CHART,
    RELEASE,
    ROOT,
    STORES_IMAGE,
    ClusterError,
    get,
    helm,
    kubectl,
    prepare,
    remove,
    values_of,
)
from tests.cli.processes import in_time

READY_S_MAX: Final = 180
# Tcc is twice this.
VALIDITY_MS: Final = 5_000
TOOLS: Final = "tokenline-test-tools"
# The names of pods that are not ready.
_NOT_READY: Final = (
    "go-template={{range .items}}{{$name := .metadata.name}}{{range .status.conditions}}"
    '{{if and (eq .type "Ready") (ne .status "True")}}{{$name}} {{end}}{{end}}{{end}}'
)
SERVICES: Final = ("authentication", "registry", "accounting", "billing", "edge")


class ClusterCell:
    """A region's cell: the release in a namespace of its own, with its database."""

    def __init__(self, region: str, image_tag: str, *sets: str, namespace: str = "", database: str = "") -> None:
        self.region = region
        self.namespace = namespace or f"tokenline-{region}"
        self.database = database or region
        self._sets = (
            f"image.tag={image_tag}",
            f"postgresql.url=postgresql://postgresql.tokenline-stores:5432/{self.database}",
            *sets,
        )

    def keep(self, *sets: str) -> None:
        """These values are its own from the next release on."""
        self._sets = (*self._sets, *sets)

    def prepare(self) -> None:
        """Its namespace, secrets and database."""
        prepare(self.namespace, self.database)

    def upgrade(self, *sets: str, timeout_s: int = READY_S_MAX, force: bool = False) -> str:
        """Installs or upgrades it, with values beside its own; `force`: also what others have set. Errors: `ClusterError`."""
        settings = [argument for each in (*self._sets, *sets) for argument in ("--set", each)]
        options = ["--wait", *(["--force-conflicts"] if force else [])]
        command = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", self.namespace]
        return helm(*command, *values_of(self.region), *settings, *options, f"--timeout={timeout_s}s")

    def helm(self, *arguments: str) -> str:
        return helm(*arguments, "--namespace", self.namespace)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return kubectl("--namespace", self.namespace, *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        """What is there, decoded."""
        return get(self.namespace, *arguments)

    def pods(self, service: str = "") -> list[Any]:
        """The pods of a service, or of all, that are not on their way out."""
        selector = f"app.kubernetes.io/component={service}" if service else f"app.kubernetes.io/component in ({','.join(SERVICES)})"
        found = self.get("pods", "--selector", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def names(self, service: str = "") -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.pods(service))

    def started(self) -> set[tuple[str, int]]:
        """The pods, by identity, and how often the container of each was restarted."""
        return {(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in self.pods()}

    def await_rollout(self, *services: str) -> None:
        """Returns once these services are as they were asked to be."""
        for service in services or SERVICES:
            kind = "statefulset" if service in ("edge", "billing") else "deployment"
            self.kubectl("rollout", "status", f"{kind}/tokenline-{service}", f"--timeout={READY_S_MAX}s")

    def scale(self, service: str, replicas: int) -> None:
        """Returns once there are so many, and no more."""
        kind = "statefulset" if service in ("edge", "billing") else "deployment"
        self.kubectl("scale", f"{kind}/tokenline-{service}", f"--replicas={replicas}")
        self.await_rollout(service)
        selector = f"app.kubernetes.io/component={service}"
        eventually(lambda: len(self.get("pods", "--selector", selector)["items"]) == replicas, f"{replicas} of {service}", 120.0)

    def exec(self, pod: str, *command: str, given: str | None = None) -> str:
        """Runs a command in a pod. Errors: `ClusterError`."""
        return self.kubectl("exec", *(["--stdin"] if given is not None else []), pod, "--", *command, given=given)

    def tokenline(self, *arguments: str) -> Any:
        """A command line's answer, decoded."""
        edge = next(pod["metadata"]["name"] for pod in self.pods("edge") if is_ready(pod))
        return json.loads(self.exec(edge, "tokenline", *arguments, "--output", "json"))

    def new_keys(self, count: int, tokens: int) -> list[str]:
        """API keys of so many new accounts with so many tokens each."""
        edge = self.names("edge")[0]
        return list(json.loads(self.exec(edge, "python", "-", str(count), str(tokens), given=_NEW_KEYS)))

    @property
    def url(self) -> str:
        """Its edge, for pods of other namespaces."""
        return f"http://tokenline-edge.{self.namespace}"

    def charged(self) -> dict[str, tuple[int, int]]:
        """charging_id -> (micro-units charged, number of records), of all CDR files."""
        return {
            charging_id: (amount, records)
            for charging_id, amount, records in map(
                json.loads, self.exec("tokenline-billing-0", "python", "-", given=_CHARGED).splitlines()
            )
        }

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE, "--wait")

    def events(self, pod: str) -> str:
        """What happened to a pod, as text."""
        return self.kubectl(
            "get", "events", f"--field-selector=involvedObject.name={pod}", "--output", "jsonpath={.items[*].message}"
        )

    def why(self, pod: Any) -> str:
        """What a pod's status says of its last end."""
        said = []
        for status in pod["status"].get("containerStatuses", []):
            for state in (status["state"], status.get("lastState", {})):
                for detail in state.values():
                    said.append(f"{detail.get('reason', '')} {detail.get('message', '')}")
        return " ".join(said)

    def remove(self) -> None:
        """All of it, data too."""
        # Its pods first: they would go on writing what is emptied.
        self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
        claims = self.get("persistentvolumeclaims")["items"]
        if bound := [claim["metadata"]["name"] for claim in claims if claim["status"]["phase"] == "Bound"]:
            self._empty(bound)
        remove(self.namespace, self.database)
        give_back_volumes(self.namespace)

    def _empty(self, claims: Sequence[str]) -> None:
        """Who gets their volumes next must not find another cell's files."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "emptier", "namespace": self.namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {
                    **{"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "emptier",
                        "image": STORES_IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["find", *(f"/volumes/{claim}" for claim in claims), "-mindepth", "1", "-delete"],
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": claim, "mountPath": f"/volumes/{claim}"} for claim in claims],
                    }
                ],
                "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims],
            },
        }
        self.kubectl("apply", "--filename", "-", given=json.dumps(pod))
        self.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/emptier", "--timeout=60s")


def give_back_volumes(namespace: str) -> None:
    """Volumes that were claimed in a namespace that is gone, where nobody makes new ones; others are deleted by who made them."""
    static = {
        each["metadata"]["name"]
        for each in json.loads(kubectl("get", "storageclasses", "--output", "json"))["items"]
        if each["provisioner"] == "kubernetes.io/no-provisioner"
    }
    for volume in json.loads(kubectl("get", "persistentvolumes", "--output", "json"))["items"]:
        if volume["spec"].get("storageClassName") in static and volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            kubectl("patch", "persistentvolume", volume["metadata"]["name"], "--type=merge", '--patch={"spec":{"claimRef":null}}')


_NEW_KEYS: Final = """
import json, os, sys
from pathlib import Path
from urllib.request import Request, urlopen
token = Path(os.environ["TOKENLINE_TOKEN_FILE"]).read_text().strip()
def ask(path, body):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urlopen(Request(f"http://127.0.0.1:8081/v1/admin{path}", json.dumps(body).encode(), headers), timeout=30) as response:
        return json.load(response)
keys = []
for _ in range(int(sys.argv[1])):
    account = ask("/accounts", {})["account_id"]
    bucket = {"unit": "TOKEN", "amount": int(sys.argv[2]) * 1_000_000, "valid_days": 30, "idempotency_key": "first"}
    ask(f"/accounts/{account}/buckets", bucket)
    keys.append(ask(f"/accounts/{account}/keys", {})["api_key"])
print(json.dumps(keys))
"""
_CHARGED: Final = """
import gzip, json
from pathlib import Path
charged = {}
for file in sorted(Path("/var/lib/tokenline/cdr").glob("*.jsonl.gz")):
    with gzip.open(file) as lines:
        for line in lines:
            record = json.loads(line)
            amount, records = charged.get(record["charging_id"], (0, 0))
            charged[record["charging_id"]] = amount + record["charged_amount"], records + 1
for charging_id, (amount, records) in charged.items():
    print(json.dumps([charging_id, amount, records]))
"""


class Tools:
    """Pods beside the cells: one calls, one sees and signals the processes of a node, one is a stranger."""

    def __init__(self, image_tag: str) -> None:
        self._image = f"tokenline:{image_tag}"

    def start(self) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "privileged"}
        kubectl(
            "apply",
            "--filename",
            "-",
            given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TOOLS, "labels": labels}}),
        )
        files = [ROOT / "tests/__init__.py", *(ROOT / "tests" / each for each in _DRIVER)]
        keys = {f"f{number}": path for number, path in enumerate(files)}
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "driver", "namespace": TOOLS},
            "data": {key: path.read_text(encoding="utf-8") for key, path in keys.items()},
        }
        kubectl("apply", "--filename", "-", given=json.dumps(config_map))
        volume = {
            "name": "driver",
            "configMap": {
                "name": "driver",
                "items": [{"key": key, "path": str(path.relative_to(ROOT))} for key, path in keys.items()],
            },
        }
        for name, extra in (("caller", {"volumes": [volume]}), ("surgeon", {"hostPID": True}), ("stranger", {})):
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": TOOLS},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    # They stay where everybody else is sent away.
                    "tolerations": [{"operator": "Exists"}],
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
                    "containers": [
                        {
                            "name": name,
                            "image": self._image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["sleep", "infinity"],
                            # Callers are elsewhere: when pods start, it is not they who must wait.
                            "resources": {"requests": {"cpu": "300m" if name == "caller" else "10m"}},
                            "env": [{"name": "PYTHONPATH", "value": "/driver"}],
                            "volumeMounts": [{"name": "driver", "mountPath": "/driver"}] if "volumes" in extra else [],
                        }
                    ],
                    **extra,
                },
            }
            kubectl("apply", "--filename", "-", given=json.dumps(pod))
        for name in ("caller", "surgeon", "stranger"):
            kubectl("--namespace", TOOLS, "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={READY_S_MAX}s")

    def signal(self, service: str, number: int, pod_ip: str = "") -> int:
        """Sends a signal to a service's process, that of a pod if its address is given; returns how many got it."""
        script = f"""
import os, sys
from pathlib import Path
hit = 0
for process in Path("/proc").glob("[0-9]*"):
    try:
        words = (process / "cmdline").read_bytes().split(b"\\0")
        mine = b"serve" in words and {service.encode()!r} in words
        if mine and {pod_ip.encode()!r} in (process / "environ").read_bytes():
            os.kill(int(process.name), {number})
            hit += 1
    except OSError:
        pass
print(hit)
"""
        return int(kubectl("--namespace", TOOLS, "exec", "--stdin", "surgeon", "--", "python", "-", given=script))

    def remove(self) -> None:
        kubectl("delete", "namespace", TOOLS, "--ignore-not-found", "--wait=true")


_DRIVER: Final = ("faults/__init__.py", "faults/load.py", "cluster/__init__.py", "cluster/driver.py")


class Driver:
    """The load on a cell, from the pod `caller`. See tests/cluster/driver.py."""

    def __init__(self, cell: ClusterCell, keys: Sequence[str], lengths: Sequence[Sequence[int]], calls_per_second: float) -> None:
        self._process = subprocess.Popen(
            ["kubectl", "--namespace", TOOLS, "exec", "--stdin", "caller", "--", "python", "-m", "tests.cluster.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(base_urls=[cell.url], api_keys=list(keys), lengths=lengths, calls_per_second=calls_per_second, stream_every=10)

    def phase(self, name: str) -> Any:
        """Begins a phase; what came of the one before."""
        self._tell(phase=name)
        return self._hear()

    def stop(self) -> list[Any]:
        """Ends; all acknowledged calls. The last phase counts for nothing."""
        self._tell(stop=True)
        self._hear()
        assert self._process.stdin is not None and self._process.stdout is not None
        outcomes = [json.loads(line) for line in self._process.stdout]
        assert self._process.wait(60) == 0
        return outcomes

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _tell(self, **what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        with in_time(self._process, READY_S_MAX):
            line = self._process.stdout.readline()
        assert line, "the load has ended"
        return json.loads(line)


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[str]:
    """A way to a Service from this machine, as a base URL."""
    command = ["kubectl", "--namespace", namespace, "port-forward", target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "Forwarding from" in line, line
            yield f"http://127.0.0.1:{line.split(':')[1].split(' ')[0]}"
        finally:
            process.terminate()


def state_of_cells() -> str:
    """The pods and last events of all cells, and the last lines of those pods that are not ready; or why they cannot be had."""

    def told(*arguments: str) -> str:
        # A container that has not started has no log; that must not hide the rest.
        try:
            return "\n".join(kubectl(*arguments).splitlines()[-40:])
        except ClusterError as error:
            return str(error)

    said = []
    names = told("get", "namespaces", "--output=name").replace("namespace/", "").split()
    for name in names:
        if name.startswith("tokenline-"):
            said += [name, told("--namespace", name, "get", "pods", "--output=wide")]
            said.append(told("--namespace", name, "get", "events", "--sort-by=.lastTimestamp", "--no-headers"))
            waiting = told("--namespace", name, "get", "pods", "--output", _NOT_READY).split()
            said += [told("--namespace", name, "logs", pod, "--all-containers", "--prefix", "--tail=20") for pod in waiting]
    return "\n".join(said)


def is_ready(pod: Any) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def eventually(condition: Callable[[], object], what: str, seconds: float = 60.0) -> Any:
    """Returns what the condition says once it holds. Errors: `AssertionError` that says what did not come."""
    until_s = time.monotonic() + seconds
    while True:
        try:
            if holds := condition():
                return holds
        except ClusterError as error:
            what = f"{what} ({error})"[:500]
        assert time.monotonic() < until_s, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)


def kubeconfig() -> Path | None:
    """The cluster, if there is one."""
    named = os.environ.get("KUBECONFIG", "")
    return Path(named) if named and Path(named).exists() else None
