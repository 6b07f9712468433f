"""What is around the chart: how development clusters are made, by programs that only write down what they are asked, and images."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from infra.cluster import DEVELOPMENT, RELEASE, ROOT, namespace_of, regions, values_of
from tests.charts.rendering import Object

# Takes the place of a program: writes down what it is asked, with what it is handed, and answers what the test says.
_PROGRAM: Final = """
import json, os, sys
given = sys.stdin.read() if "-" in sys.argv else ""
with open(os.environ["ASKED"], "a") as asked:
    print(json.dumps([[os.path.basename(sys.argv[0]), *sys.argv[1:]], given]), file=asked)
words = " ".join(sys.argv[1:])
print(next((answer for question, answer in json.loads(os.environ["ANSWERS"]).items() if question in words), ""), end="")
"""
_PROGRAMS: Final = ("kubectl", "helm", "deliver", "git")
# What git says of the code as it is.
_CODE: Final = {"ls-files": "Dockerfile", "hash-object": 40 * "a"}


class Asked(NamedTuple):
    """A command, and what it was handed."""

    words: str
    given: Any


def asked(folder: Path, arguments: str, answers: dict[str, str]) -> list[Asked]:
    """What `python -m infra.cluster` asks of the cluster's programs."""
    for name in _PROGRAMS:
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\n{_PROGRAM}", encoding="utf-8")
        program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "DELIVER_IMAGE": str(folder / "bin" / "deliver"),
        "ASKED": str(folder / "asked"),
        "ANSWERS": json.dumps(answers),
    }
    subprocess.run(
        [sys.executable, "-m", "infra.cluster", *arguments.split()], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    lines = (folder / "asked").read_text(encoding="utf-8").splitlines()
    return [Asked(" ".join(words), json.loads(given) if given else None) for words, given in map(json.loads, lines)]


def secrets_of(commands: list[Asked]) -> dict[str, dict[str, str]]:
    """The Secrets that were made, with what is in them."""
    made = [each.given for each in commands if each.given and each.given["kind"] == "Secret"]
    return {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["stringData"] for each in made}


@pytest.mark.parametrize("region", regions())
def test_a_region_gets_its_namespace_its_secrets_its_database_and_its_release(tmp_path: Path, region: str) -> None:
    commands = asked(tmp_path, f"up {region}", {**_CODE, "base64decode": "password-of-the-stores", "SELECT datname": "postgres"})
    namespace = f"tokenline-{region}"
    spaces = {each.given["metadata"]["name"]: each.given for each in commands if each.given and each.given["kind"] == "Namespace"}
    assert spaces.keys() == {"tokenline-stores", namespace}
    # The strictest of Kubernetes' own standards.
    assert {each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for each in spaces.values()} == {"restricted"}
    secrets = secrets_of(commands)
    assert {name: set(content) for name, content in secrets.items()} == {
        "tokenline-stores/postgresql": {"password"},
        f"{namespace}/tokenline-admin-token": {"token"},
        f"{namespace}/tokenline-hash-key": {"key"},
        f"{namespace}/tokenline-postgresql": {"username", "password"},
    }
    assert len(secrets[f"{namespace}/tokenline-hash-key"]["key"]) == 64
    assert len(secrets[f"{namespace}/tokenline-admin-token"]["token"]) >= 16
    assert secrets[f"{namespace}/tokenline-postgresql"] == {"username": "tokenline", "password": "password-of-the-stores"}
    words = [each.words for each in commands]
    assert [each for each in words if "CREATE DATABASE" in each] == [
        f"kubectl --namespace tokenline-stores exec postgresql-0 -- psql --no-align --tuples-only --dbname=postgres "
        f'--command=CREATE DATABASE "{region}"'
    ]
    delivered = [each.split()[1:] for each in words if each.startswith("deliver ")]
    assert delivered[1] == ["tokenline-stores:development", str(DEVELOPMENT / "Dockerfile"), str(DEVELOPMENT)]
    # A tag of its own for each state of the code, or nodes would go on with the image that they have.
    tag = f"development-{12 * 'a'}"
    assert delivered[0] == [f"tokenline:{tag}", str(ROOT / "Dockerfile"), str(ROOT)]
    copied = {each for line in instructions("Dockerfile") for each in copied_by(line)}
    assert set(words[0].split()) >= {"git", "ls-files", "--cached", "--others", "Dockerfile", *copied}
    chart = f"{ROOT}/charts/tokenline"
    values = " ".join(values_of(region))
    assert words[-1] == (
        f"helm upgrade --install {RELEASE} {chart} --namespace {namespace} {values} --set image.tag={tag} --wait --timeout=300s"
    )
    # Stores are ready before a cell comes.
    ready = [each for each in words if "rollout status" in each]
    assert ready == [
        f"kubectl --namespace tokenline-stores rollout status statefulset/{each} --timeout=300s" for each in ("postgresql", "etcd")
    ]
    assert words.index(f"kubectl apply --filename {DEVELOPMENT / 'stores.yaml'}") < words.index(ready[0])


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    """A hash key that is made anew would make every API key worthless."""
    answers = {"get secret": "secret/there", "base64decode": "password", "SELECT datname": "postgres\nbeijing"}
    commands = asked(tmp_path, "prepare beijing", answers)
    assert secrets_of(commands) == {}
    assert not [each for each in commands if "CREATE DATABASE" in each.words or each.words.startswith("helm")]


def test_a_cell_that_goes_takes_its_own_along_and_nothing_else(tmp_path: Path) -> None:
    commands = asked(tmp_path, "down beijing", {"get namespace tokenline-stores": "namespace/tokenline-stores"})
    assert [each.words for each in commands] == [
        "helm uninstall tokenline --namespace tokenline-beijing --ignore-not-found --wait",
        "kubectl delete namespace tokenline-beijing --ignore-not-found",
        "kubectl delete priorityclass --ignore-not-found tokenline-beijing-tokenline-serving tokenline-beijing-tokenline-exporting",
        "kubectl get namespace tokenline-stores --ignore-not-found",
        "kubectl --namespace tokenline-stores exec postgresql-0 -- psql --no-align --tuples-only --dbname=postgres "
        '--command=DROP DATABASE IF EXISTS "beijing" WITH (FORCE)',
        "kubectl --namespace tokenline-stores exec etcd-0 -- etcdctl del --prefix /tokenline/tokenline-beijing/",
    ]


def test_all_that_goes_is_every_cell_and_the_stores_last(tmp_path: Path) -> None:
    words = [each.words for each in asked(tmp_path, "down", {})]
    gone = [each.split()[3] for each in words if each.startswith("kubectl delete namespace")]
    assert gone == [*map(namespace_of, regions()), "tokenline-stores"]


def stores() -> dict[tuple[str, str], Object]:
    """PostgreSQL and etcd of a development cluster, by kind and name."""
    documents = yaml.safe_load_all((DEVELOPMENT / "stores.yaml").read_text(encoding="utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.mark.parametrize(("name", "port", "size", "mounts"), [("postgresql", 5432, "4Gi", 4), ("etcd", 2379, "1Gi", 1)])
def test_a_store_keeps_its_data_has_no_rights_and_is_ready_when_it_listens(name: str, port: int, size: str, mounts: int) -> None:
    spec = stores()["StatefulSet", name]["spec"]
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    rights = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
    assert pod["securityContext"] == {**rights, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (container["image"], container["imagePullPolicy"]) == ("tokenline-stores:development", "IfNotPresent")
    assert container["ports"] == [{"name": name, "containerPort": port}]
    assert container["readinessProbe"] == {"tcpSocket": {"port": name}, "periodSeconds": 1}
    assert container["resources"].keys() == {"requests", "limits"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    assert {"name": claim["metadata"]["name"], "mountPath": "/var/lib/stores"} in container["volumeMounts"]
    assert len(container["volumeMounts"]) == mounts
    service = stores()["Service", name]["spec"]
    assert service == {"selector": {"app": name}, "ports": [{"name": name, "port": port}]}
    assert service["selector"] == spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_a_store_is_durable_and_asks_for_a_password() -> None:
    (postgresql,) = stores()["StatefulSet", "postgresql"]["spec"]["template"]["spec"]["containers"]
    script = postgresql["command"][2]
    assert postgresql["command"][:2] == ["sh", "-euc"]
    # Services refuse a database that does not sync.
    assert set(re.findall(r"-c (\w+)=", script)) == {
        "listen_addresses",
        "unix_socket_directories",
        "max_connections",
        "shared_buffers",
    }
    assert "--auth=scram-sha-256" in script and "host all all all scram-sha-256" in script and "trust" not in script
    environment = {each["name"]: each.get("value") or each["valueFrom"]["secretKeyRef"] for each in postgresql["env"]}
    assert environment["PGPASSWORD"] == {"name": "postgresql", "key": "password"}
    assert environment["PGDATA"].startswith("/var/lib/stores/")
    (etcd,) = stores()["StatefulSet", "etcd"]["spec"]["template"]["spec"]["containers"]
    assert etcd["command"] == [
        *("etcd", "--data-dir=/var/lib/stores/etcd", "--listen-client-urls=http://0.0.0.0:2379"),
        *("--advertise-client-urls=http://etcd.tokenline-stores:2379", "--logger=zap", "--log-level=error"),
    ]


@pytest.mark.parametrize("region", regions())
def test_skaffold_installs_what_the_recipe_installs(region: str) -> None:
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    (profile,) = [each for each in skaffold["profiles"] if each["name"] == region]
    helm = profile["deploy"]["helm"]
    assert helm["hooks"] == {"before": [{"host": {"command": [".venv/bin/python", "-m", "infra.cluster", "prepare", region]}}]}
    (release,) = helm["releases"]
    assert (release["name"], release["namespace"], release["chartPath"]) == (RELEASE, namespace_of(region), "charts/tokenline")
    assert release["setValueTemplates"] == {
        "image.repository": "{{.IMAGE_REPO_tokenline}}",
        "image.tag": "{{.IMAGE_TAG_tokenline}}",
    }
    assert skaffold["build"] == {"artifacts": [{"image": "tokenline", "context": ".", "docker": {"dockerfile": "Dockerfile"}}]}


def instructions(dockerfile: str) -> list[str]:
    """The instructions of a recipe, each on one line, without comments."""
    lines = [line for line in (ROOT / dockerfile).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [" ".join(each.split()) for each in "\n".join(lines).replace("\\\n", " ").splitlines()]


def copied_by(instruction: str) -> list[str]:
    """What an instruction takes from the project."""
    return instruction.split()[1:-1] if instruction.startswith("COPY ") and "--from" not in instruction else []


def test_the_image_runs_what_pods_ask_for_without_what_only_builds() -> None:
    made = instructions("Dockerfile")
    last = made[len(made) - made[::-1].index("FROM scratch") - 1 :]
    environment = "PATH=/opt/tokenline/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
    assert last == [
        "FROM scratch",
        "COPY --from=root / /",
        "COPY --from=tokenline /opt/tokenline /opt/tokenline",
        f"ENV {environment}",
        "USER 10001:10001",
        "WORKDIR /opt/tokenline",
        'ENTRYPOINT ["tokenline"]',
    ]
    text = " ".join(made)
    # All that is fetched is locked, and what is built of it fetches nothing.
    installs = [each for step in made for each in step.split(" && ") if " install " in each and "pip" in each]
    assert len(installs) == 3
    assert ["--require-hashes -r /src/requirements" in each or "--no-deps --no-index" in each for each in installs] == 3 * [True]
    # Nobody becomes another user by a program, and the base catalog is where the registry reads it.
    assert "find / -xdev -perm /6000 -type f -exec chmod a-s {} +" in text
    assert "ln -s lib/python3.11/site-packages/services/registry/base_catalog /opt/tokenline/catalog" in text
    assert not re.search(r"\b(curl|wget|ADD|chmod 777|--trusted-host)\b", text)


def test_only_what_goes_into_the_image_is_handed_to_who_builds_it() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = {each for line in instructions("Dockerfile") for each in copied_by(line)}
    assert lines[0] == "*" and lines[-1] == "**/__pycache__"
    assert {each.removeprefix("!") for each in lines[1:-1]} == copied
