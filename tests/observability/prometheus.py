"""Prometheus and its promtool, as `make test` puts them in place, and what stands in expressions."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import promql_parser
import pytest

_TOOLS: Final = Path(__file__).parents[2] / ".tools"


def tool(name: str) -> str:
    """The path of a program of Prometheus; a test that needs one that is not here is skipped."""
    found = shutil.which(name, path=f"{_TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"no {name} is here: `make .tools/promtool`, or apt-get install prometheus")
    return found


class Selector(NamedTuple):
    """A part of an expression that takes series."""

    name: str
    labels: frozenset[str]


def selectors(expression: str) -> list[Selector]:
    """Each selector of an expression. Errors: `ValueError` for what is no PromQL."""
    found = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(Selector(node.name or "", frozenset(matcher.name for matcher in node.matchers.matchers)))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def unknown(asked: Mapping[str, str], known: Mapping[str, set[str]]) -> list[tuple[str, Selector]]:
    """Selectors, with who asks, of expressions by their asker that name a metric or a label which is nowhere."""
    return [
        (who, each)
        for who, expression in asked.items()
        for each in selectors(expression)
        if each.name not in known or not each.labels <= known[each.name]
    ]
