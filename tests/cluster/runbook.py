"""Whoever runs a cell: executes what docs/runbooks/kubernetes.md says, as it stands there."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from infra.cluster import CHART, STORES, get, kubectl
from tests.charts.rendering import merged, region_values
from tests.cluster.cell import ClusterCell, kubeconfig
from tests.runbooks import check_printed, execute, section

PAGE: Final = "kubernetes.md"
_COMMAND_S_MAX: Final = 400.0


class Operator:
    """Executes sections of the page for a cell."""

    def __init__(self, cell: ClusterCell, image_tag: str, folder: Path, values: Mapping[str, Any]) -> None:
        """`folder`: for files that the page makes; `values`: over those of the cell's region."""
        self.cell = cell
        self.folder = folder
        database = f"postgresql://postgresql.{STORES}:5432/{cell.database}"
        of_cell = {"image": {"tag": image_tag}, "postgresql": {"url": database}}
        (folder / "values.yaml").write_text(yaml.safe_dump(merged(region_values(cell.region), of_cell, values)), encoding="utf-8")
        named = kubeconfig()
        assert named is not None
        shutil.copy(named, folder / "kubeconfig")
        self.environment = {
            **os.environ,
            # Where `tokenline` is.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(folder / "kubeconfig"),
            "NAMESPACE": cell.namespace,
            "CHART": str(CHART),
            "VALUES": str(folder / "values.yaml"),
            "BACKUP": str(folder),
            "CERTIFICATES": str(folder / "certificates"),
            "DATABASE": cell.database,
            "PGUSER": "tokenline",
            "PGPASSWORD": kubectl(
                *("--namespace", STORES, "get", "secret", "postgresql", "--output", "go-template={{.data.password | base64decode}}")
            ),
            "NODE": get("default", "nodes")["items"][-1]["metadata"]["name"],
        }

    def execute(self, title: str, *blocks: int) -> str:
        """The blocks of a section, or some of them; returns what they printed."""
        printed = ""
        for number, block in enumerate(section(PAGE, title)):
            if not blocks or number in blocks:
                said = self.run(block.commands)
                check_printed(block, said)
                printed += said
        return printed

    def run(self, commands: str) -> str:
        """Runs commands as the page's are; returns what they printed. Errors: `AssertionError` when one fails."""
        return execute(commands, self.environment, self.folder, _COMMAND_S_MAX)
