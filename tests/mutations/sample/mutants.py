"""Makes the mutants of a file: one small change each, by mutmut's operators.

A mutant is named by its text, not by its line, so that the sample and the table of survivors stay as they are where other code is
changed.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation.mutators import mutation_operators

# Every run would notice that these are called with something else.
_CALLS_LEFT: Final = ("isinstance", "len")


class Mutant(NamedTuple):
    """One change of a file."""

    # From the project's folder.
    file: str
    # The function or class, and the lines that change, before and after. It is unique in the file.
    name: str
    # The first and the last line of the statement's changed part.
    lines: tuple[int, int]
    # Whether it runs in calls of a function; else when the module is imported.
    in_function: bool
    # The characters of the file that are replaced, and by which.
    start: int
    end: int
    replacement: str

    def applied(self, text: str) -> str:
        """The file's text with the change, of that without."""
        return text[: self.start] + self.replacement + text[self.end :]


class _Change(NamedTuple):
    """A mutant of which the text is not looked at yet."""

    within: str
    in_function: bool
    # Where its statement begins.
    line: int
    place: CodeRange
    replacement: str


class _Changes(cst.CSTVisitor):
    """Gathers the changes of a module, in the order of its text."""

    METADATA_DEPENDENCIES = (PositionProvider, WhitespaceInclusivePositionProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Change] = []
        self._scope: list[str] = []
        self._functions = 0
        self._lines: list[int] = []
        self._left: set[cst.CSTNode] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Takes the changes of a node, except of declarations: they say how a thing is written, not what it does."""
        if isinstance(node, cst.ClassDef | cst.FunctionDef):
            self._scope.append(node.name.value)
        self._functions += isinstance(node, cst.FunctionDef)
        if isinstance(node, cst.BaseSmallStatement | cst.BaseCompoundStatement):
            self._lines.append(self.get_metadata(PositionProvider, node).start.line)
        if isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom | cst.Parameters) or node in self._left:
            return False
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in _CALLS_LEFT:
            return False
        if isinstance(node, cst.ClassDef):
            self._left.update((*node.bases, *node.keywords))
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                self.found.extend(self._change(node, mutated) for mutated in operator(node))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        """Undoes what `on_visit` did to the place."""
        if isinstance(original_node, cst.ClassDef | cst.FunctionDef):
            self._scope.pop()
        self._functions -= isinstance(original_node, cst.FunctionDef)
        if isinstance(original_node, cst.BaseSmallStatement | cst.BaseCompoundStatement):
            self._lines.pop()

    def _change(self, node: cst.CSTNode, mutated: cst.CSTNode) -> _Change:
        place = self.get_metadata(WhitespaceInclusivePositionProvider, node)
        return _Change(
            ".".join(self._scope), self._functions > 0, self._lines[-1], place, cst.Module(body=()).code_for_node(mutated)
        )


def mutants_of(file: str, text: str) -> list[Mutant]:
    """All mutants of a file of Python, in the order of its text. Errors: `libcst.ParserSyntaxError`."""
    changes = _Changes()
    MetadataWrapper(cst.parse_module(text)).visit(changes)
    starts = list(accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0))
    mutants = []
    names: Counter[str] = Counter()
    for change in changes.found:
        start = starts[change.place.start.line - 1] + change.place.start.column
        end = starts[change.place.end.line - 1] + change.place.end.column
        mutant = Mutant(file, "", (change.line, change.place.end.line), change.in_function, start, end, change.replacement)
        name = f"{change.within or 'module'}: {_differing(text, mutant, starts)}"
        names[name] += 1
        mutants.append(mutant._replace(name=name if names[name] == 1 else f"{name} ({names[name]})"))
    return mutants


def _differing(text: str, mutant: Mutant, starts: Sequence[int]) -> str:
    """The lines that differ, before and after, without the lines that begin and end both in the same way."""
    first = max(start for start in starts if start <= mutant.start)
    last = text.find("\n", mutant.end)
    before = [line.strip() for line in text[first:last].splitlines()]
    after = [line.strip() for line in (text[first : mutant.start] + mutant.replacement + text[mutant.end : last]).splitlines()]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    return f"{' '.join(before)} -> {' '.join(after)}"


def sample(mutants: Iterable[Mutant], seed: int) -> list[Mutant]:
    """All mutants in the seed's order: the first N are the sample of N.

    The order goes by a digest of seed and name, so that another mutant more or less moves none of the others.
    """
    return sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed}\n{mutant.file}\n{mutant.name}".encode()).digest())


def modules_of_money(root: Path) -> list[str]:
    """The files that mutants are made of: the charging rules, and the edge's rules of a call that do no I/O."""
    core = (path.relative_to(root).as_posix() for path in (root / "services/accounting/core").rglob("*.py"))
    call = (f"services/edge/call/{name}.py" for name in ("dialect", "outcome", "usage"))
    return sorted([*core, *call])
