"""Kubernetes' API as far as Helm asks it what is there: a real server that answers with the objects that a test gives it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar, Final

import helm_python

from infra.cluster import CHART
from tests.charts.rendering import CASES, Object, objects_of

NAMESPACE: Final = "cell"
_MISSING: Final = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


def there(kind: str, name: str, api: str = "v1", **rest: Any) -> Object:
    """An object of the namespace."""
    metadata = {"name": name, "namespace": NAMESPACE, **rest.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _path(api: str) -> str:
    return f"/api/{api}" if api == "v1" else f"/apis/{api}"


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _kinds() -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {"v1": {"Secret"}, "cert-manager.io/v1": {"Certificate"}}
    for case in CASES:
        for each in objects_of(case):
            kinds.setdefault(each["apiVersion"], set()).add(each["kind"])
    return kinds


def _answers(objects: Sequence[Object]) -> dict[str, Object]:
    """All that is there, by its path: what kinds there are, and the objects."""
    groups = [
        {"name": api.partition("/")[0], "versions": [version], "preferredVersion": version}
        for api in _kinds()
        if api != "v1"
        for version in [{"groupVersion": api, "version": api.partition("/")[2]}]
    ]
    answers: dict[str, Object] = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for api, kinds in _kinds().items():
        resources = [
            {"name": _plural(kind), "kind": kind, "namespaced": kind != "PriorityClass", "verbs": ["get"]} for kind in sorted(kinds)
        ]
        answers[_path(api)] = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}
    for each in objects:
        folder = f"{_path(each['apiVersion'])}/namespaces/{NAMESPACE}/{_plural(each['kind'])}"
        answers[f"{folder}/{each['metadata']['name']}"] = each
    return answers


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together, or each answer waits for the other end's acknowledgement.
    wbufsize = -1
    answers: ClassVar[Mapping[str, Object]]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        # Without schemas of its kinds it validates nothing.
        body = b"" if path == "/openapi/v2" else json.dumps(self.answers.get(path, _MISSING)).encode()
        self.send_response(200 if path == "/openapi/v2" or path in self.answers else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def _serving(objects: Sequence[Object]) -> Iterator[str]:
    answers = _answers([there("ServiceAccount", "default"), *objects])
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (_Api,), {"answers": answers}))
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def installed(values: Mapping[str, Any], objects: Sequence[Object]) -> dict[str, Any]:
    """What an installation would make and say where these objects are there. Errors: `helm_python.HelmError`, if it is refused."""
    with _serving(objects) as address:
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": address}}],
            "users": [{"name": "a", "user": {}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        with helm_python.Config(
            kubeconfig_content=json.dumps(kubeconfig), namespace=NAMESPACE, storage_driver="memory", qps=10_000, burst_limit=10_000
        ) as helm:
            return helm.install(CHART, "tokenline", dict(values), namespace=NAMESPACE, dry_run="server")
