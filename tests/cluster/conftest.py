"""What cluster tests share: images in the cluster, the stores, one cell, and pods beside it."""

import subprocess
from base64 import b64decode
from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from infra.cluster import ROOT, code_digest, deliver_image, make_secret, sql, start_stores
from tests.cluster.cell import VALIDITY_MS, ClusterCell, Tools, kubeconfig, state_of_cells

# Small, and without claims: for cells that are there for a moment.
SMALL: Final = ("services.edge.volume.kind=ephemeral", "services.billing.volume.kind=ephemeral")
_CLERK: Final = "hongkong_clerk"
ROWS: Final = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Those that share the one cell, in the order in which they stand: it is hurt, then removed.
    order = ("install", "network", "bad_input", "regions", "faults", "certificates", "uninstall", "runbooks")
    items.sort(key=lambda item: order.index(item.path.stem.removeprefix("test_")))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.stash[ROWS]:
        terminalreporter.section("measured")
        for row in config.stash[ROWS]:
            terminalreporter.line(row)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test that failed: what was in the cluster then."""
    report = yield
    if report.failed and kubeconfig() is not None:
        report.sections.append(("cluster", state_of_cells()))
    return report


@pytest.fixture(scope="session")
def told(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the run: what was measured."""
    return pytestconfig.stash[ROWS]


@pytest.fixture(scope="session")
def image_tag(told: list[str]) -> str:
    """The tag of the image of the code as it is, in the cluster; the stores run, too."""
    if kubeconfig() is None:
        pytest.fail("KUBECONFIG names no cluster; make one (kind create cluster --config infra/kind/cluster.yaml) and set it")
    version = subprocess.run(["kubectl", "version"], capture_output=True, text=True, check=True).stdout
    told.append(" ".join(version.split()))
    tag = f"test-{code_digest()}"
    deliver_image(f"tokenline:{tag}", ROOT / "Dockerfile", ROOT)
    start_stores()
    return tag


@pytest.fixture(scope="session")
def tools(image_tag: str) -> Iterator[Tools]:
    pods = Tools(image_tag)
    pods.start()
    yield pods
    pods.remove()


@pytest.fixture(scope="session")
def cell(image_tag: str) -> Iterator[ClusterCell]:
    """The cell of Beijing: two of everything but billing."""
    made = ClusterCell("beijing", image_tag, f"services.accounting.config.validity_ms={VALIDITY_MS}")
    made.remove()
    made.prepare()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def other(image_tag: str) -> Iterator[ClusterCell]:
    """The cell of Hong Kong: one of everything. One user of the database makes its tables, another one uses them."""
    made = ClusterCell("hongkong", image_tag, *SMALL, "postgresql.migrationSecret=tokenline-postgresql-owner")
    made.remove()
    made.prepare()
    owner = {key: b64decode(text).decode() for key, text in made.get("secret", "tokenline-postgresql")["data"].items()}
    make_secret(made.namespace, "tokenline-postgresql-owner", **owner)
    made.kubectl("delete", "secret", "tokenline-postgresql")
    make_secret(made.namespace, "tokenline-postgresql", username=_CLERK, password="clerk")  # of a database that is thrown away
    sql("postgres", f"DROP ROLE IF EXISTS {_CLERK}")
    sql("postgres", f"CREATE ROLE {_CLERK} LOGIN PASSWORD 'clerk'")
    yield made
    made.remove()
    sql("postgres", f"DROP ROLE {_CLERK}")
