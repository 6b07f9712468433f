"""A function fits a screen."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_LINES_MAX: Final = 70


def _longer(source: str) -> dict[str, int]:
    """Lines of the functions above the limit by qualified name; nested functions count in those around them too."""

    def visit(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            # No function stands within an expression.
            if isinstance(child, ast.expr):
                continue
            inner = scope
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = (*scope, child.name)
                lines = (child.end_lineno or child.lineno) - child.lineno + 1
                if lines > _LINES_MAX and not isinstance(child, ast.ClassDef):
                    yield ".".join(inner), lines
            yield from visit(child, inner)

    return dict(visit(ast.parse(source), ()))


def test_no_function_is_longer_than_a_screen() -> None:
    longer = {
        f"{path.relative_to(_ROOT)}:{name}": lines
        for folder in ("services", "tests")
        for path in sorted((_ROOT / folder).rglob("*.py"))
        for name, lines in _longer(path.read_text(encoding="utf-8")).items()
    }
    assert not longer, f"cut these functions to at most {_LINES_MAX} lines"


def test_a_function_of_one_line_more_is_found_wherever_it_stands() -> None:
    body = "\n        x = 1" * 69
    fitting = f"class A:\n    def fitting(self):{body}"
    assert _longer(fitting) == {}
    assert _longer(f"{fitting}\n        x = 2") == {"A.fitting": 71}
    assert _longer(f"def outer():\n    async def inner():{body}\n        x = 2") == {"outer": 72, "outer.inner": 71}
    # Decorators, such as the options of a command, are no part of the function.
    decorated = fitting.replace("    def", "    @cached\n    @timed\n    def")
    assert _longer(decorated) == {}
