"""`python -m infra.observability` writes the rules, for Prometheus and for the chart, and the dashboards."""

from pathlib import Path
from typing import Final

from infra.observability.dashboards import BOARDS, written
from infra.observability.rules import of_one_cell, of_the_chart

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "infra" / "observability"
DASHBOARDS: Final = FOLDER / "dashboards"


def main() -> None:
    """Writes the files."""
    (FOLDER / "rules.yaml").write_text(of_one_cell(), encoding="utf-8")
    (ROOT / "charts" / "tokenline" / "files" / "rules.yaml").write_text(of_the_chart(), encoding="utf-8")
    DASHBOARDS.mkdir(exist_ok=True)
    for board in BOARDS:
        (DASHBOARDS / f"{board.name}.json").write_text(written(board), encoding="utf-8")


if __name__ == "__main__":
    main()
