"""Dashboards: that their panels ask for what is there, and that Grafana can lay them out."""

import json
from typing import Any, Final

import pytest

from infra.observability.__main__ import DASHBOARDS
from infra.observability.dashboards import BOARDS, Board, written
from tests.observability.prometheus import selectors, unknown

WIDTH: Final = 24


def panels(board: Board) -> list[dict[str, Any]]:
    """The panels of the file, without headings of rows."""
    made = json.loads((DASHBOARDS / f"{board.name}.json").read_text(encoding="utf-8"))
    return [each for each in made["panels"] if each["type"] != "row"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_ask_for_what_a_running_system_shows(board: Board, known: dict[str, set[str]]) -> None:
    asked = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in panels(board)
        for target in panel["targets"]
    }
    assert len(asked) >= 5
    assert unknown(asked, known) == []
    assert [who for who, each in asked.items() if each.count('namespace=~"$namespace"') != len(selectors(each))] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_have_places_of_their_own(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < WIDTH, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in panels(board)]
    assert len(set(ids)) == len(ids)


def test_files_are_those_that_are_made() -> None:
    made = {f"{board.name}.json": written(board) for board in BOARDS}
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()} == made
