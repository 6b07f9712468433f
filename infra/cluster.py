"""`python -m infra.cluster up|prepare|down [REGION]`: cells of the regions in a development cluster, whichever KUBECONFIG names.

`up` makes the images and delivers them, runs PostgreSQL and etcd, makes what secrets are missing, and installs the region's cell; a
second time it upgrades it. `prepare` does all but the image of the services and installing. `down` uninstalls it, with its
data; without a region all cells, and PostgreSQL and etcd. How an image gets into the cluster is one command, DELIVER_IMAGE, called
with NAME DOCKERFILE CONTEXT; infra/kind/deliver-image unless it is set.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts/tokenline"
REGIONS: Final = ROOT / "infra/regions"
DEVELOPMENT: Final = ROOT / "infra/development"
STORES: Final = "tokenline-stores"
STORES_IMAGE: Final = "tokenline-stores:development"
RELEASE: Final = "tokenline"
_READY_S_MAX: Final = 300


class ClusterError(Exception):
    """What was asked cannot be done. The message says what to do."""


def regions() -> list[str]:
    """The regions that have values here."""
    return sorted(path.parent.name for path in REGIONS.glob("*/values.yaml"))


def namespace_of(region: str) -> str:
    """Where a region's cell is."""
    return f"tokenline-{region}"


def values_of(region: str) -> list[str]:
    """Helm's arguments for a region's cell in a development cluster. Errors: `ClusterError` for an unknown region."""
    folder = REGIONS / region
    if region not in regions():
        raise ClusterError(f"there is no region {region!r}; infra/regions has {', '.join(regions())}")
    arguments = ["--values", str(DEVELOPMENT / "values.yaml"), "--values", str(folder / "values.yaml")]
    for file in sorted((folder / "catalog").glob("*.yaml")):
        key = file.name.replace(".", r"\.")
        arguments += ["--set-file", f"catalog.{key}={file}"]
    return arguments


def run(*command: str | Path, given: str | None = None, timeout_s: float = 900.0) -> str:
    """Runs a command and returns what it printed. Errors: `ClusterError` with what it said."""
    if shutil.which(str(command[0])) is None:
        raise ClusterError(f"{command[0]} is not installed here; it is needed for a cluster")
    done = subprocess.run(
        [str(each) for each in command], input=given, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=ROOT
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(map(str, command[:6]))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*arguments: str, given: str | None = None) -> str:
    """kubectl. Errors: `ClusterError`."""
    return run("kubectl", *arguments, given=given)


def get(namespace: str, *arguments: str) -> Any:
    """What `kubectl get` says, decoded."""
    return json.loads(kubectl("--namespace", namespace, "get", *arguments, "--output", "json"))


def helm(*arguments: str, timeout_s: float = 900.0) -> str:
    """helm. Errors: `ClusterError`."""
    return run("helm", *arguments, timeout_s=timeout_s)


def deliver_image(name: str, dockerfile: Path, context: Path) -> None:
    """Builds an image and brings it into the cluster, by DELIVER_IMAGE."""
    command = os.environ.get("DELIVER_IMAGE", str(ROOT / "infra/kind/deliver-image")).split()
    run(*command, name, dockerfile, context)


def start_stores() -> None:
    """PostgreSQL and etcd, ready, and their image before them."""
    deliver_image(STORES_IMAGE, DEVELOPMENT / "Dockerfile", DEVELOPMENT)
    kubectl("apply", "--filename", "-", given=json.dumps(_namespace(STORES)))
    make_secret(STORES, "postgresql", password=token_hex(16))
    kubectl("apply", "--filename", str(DEVELOPMENT / "stores.yaml"))
    for name in ("postgresql", "etcd"):
        kubectl("--namespace", STORES, "rollout", "status", f"statefulset/{name}", f"--timeout={_READY_S_MAX}s")


def prepare(namespace: str, database: str) -> None:
    """A namespace with the secrets that a cell needs, and its database."""
    kubectl("apply", "--filename", "-", given=json.dumps(_namespace(namespace)))
    make_secret(namespace, "tokenline-admin-token", token=token_hex(24))
    make_secret(namespace, "tokenline-hash-key", key=token_hex(32))
    password = run(
        *("kubectl", "--namespace", STORES, "get", "secret", "postgresql"),
        *("--output", "go-template={{.data.password | base64decode}}"),
    )
    make_secret(namespace, "tokenline-postgresql", username="tokenline", password=password)
    if database not in sql("postgres", "SELECT datname FROM pg_database").split():
        sql("postgres", f'CREATE DATABASE "{database}"')


def sql(database: str, statement: str) -> str:
    """What a statement prints, row by row."""
    in_pod = ["psql", "--no-align", "--tuples-only", f"--dbname={database}", f"--command={statement}"]
    return kubectl("--namespace", STORES, "exec", "postgresql-0", "--", *in_pod)


def make_secret(namespace: str, name: str, **content: str) -> None:
    """A Secret, unless it is there."""
    if not kubectl("--namespace", namespace, "get", "secret", name, "--ignore-not-found"):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": content}
        kubectl("create", "--filename", "-", given=json.dumps(secret))


def _namespace(name: str) -> dict[str, Any]:
    # The strictest of Kubernetes' own standards.
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def up(region: str) -> None:
    """Installs or upgrades a region's cell, with the code as it is."""
    values = values_of(region)
    tag = f"development-{code_digest()}"
    deliver_image(f"tokenline:{tag}", ROOT / "Dockerfile", ROOT)
    start_stores()
    namespace = namespace_of(region)
    prepare(namespace, region)
    install = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", namespace, *values, "--set", f"image.tag={tag}"]
    print(helm(*install, "--wait", f"--timeout={_READY_S_MAX}s"))


def code_digest() -> str:
    """Changes with what goes into the image."""
    texts = ("Dockerfile", "LICENSE", "README.md", "pyproject.toml", "requirements.lock", "requirements-build.lock")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", *texts, "services", "protos/gen")
    existing = "\n".join(name for name in listed.split() if (ROOT / name).exists())
    hashes = run("git", "hash-object", "--stdin-paths", given=existing)
    return run("git", "hash-object", "--stdin", given=existing + hashes)[:12]


def down(region: str | None) -> None:
    """Removes a region's cell with its data; without a region all of them, and the stores."""
    for each in regions() if region is None else [region]:
        values_of(each)
        remove(namespace_of(each), each)
    if region is None:
        kubectl("delete", "namespace", STORES, "--ignore-not-found")


def remove(namespace: str, database: str) -> None:
    """Removes a cell, and what it has in the stores."""
    # First its pods: a namespace that has some looks again only after half of their grace period.
    helm("uninstall", RELEASE, "--namespace", namespace, "--ignore-not-found", "--wait")
    kubectl("delete", "namespace", namespace, "--ignore-not-found")
    classes = [f"{namespace}-tokenline-{kind}" for kind in ("serving", "exporting")]
    kubectl("delete", "priorityclass", "--ignore-not-found", *classes)
    if kubectl("get", "namespace", STORES, "--ignore-not-found"):
        sql("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        kubectl("--namespace", STORES, "exec", "etcd-0", "--", "etcdctl", "del", "--prefix", f"/tokenline/{namespace}/")


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    try:
        match arguments:
            case ["up", region]:
                up(region)
            case ["prepare", region]:
                values_of(region)
                start_stores()
                prepare(namespace_of(region), region)
            case ["down"]:
                down(None)
            case ["down", region]:
                down(region)
            case _:
                print(
                    f"usage: python -m infra.cluster up REGION | prepare REGION | down [REGION]; regions: {', '.join(regions())}",
                    file=sys.stderr,
                )
                return 2
    except ClusterError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
