"""A table that fits the terminal: its columns fold between words, and where they would break IDs, each row is a block of lines."""

from typing import Final

from rich.box import Box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

# A table is measured as if it had all the room that it wants.
_ROOM: Final = 10_000


class Rows(Table):
    """A table below its heading, or blocks of `name: value` where the terminal is too narrow for its longest words."""

    def __init__(self, heading: str, box: Box) -> None:
        super().__init__(box=box)
        # No title of rich's, which would fold to the width of a table that is narrower.
        self._heading = heading

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.rows:
            # A head without rows would look as if something were missing.
            yield Text(f"{self._heading}: none", style="italic")
            return
        yield Text(self._heading, style="italic")
        roomy = options.update(max_width=_ROOM)
        widths = [_width(console, roomy, column) for column in self.columns]
        between = self.__rich_measure__(console, roomy).maximum - sum(each.maximum for each in widths)
        spare = options.max_width - between - sum(each.minimum for each in widths)
        if spare < 0:
            yield from self._blocks()
            return
        if sum(each.maximum - each.minimum for each in widths) > spare:
            # Left alone, a narrow table takes its columns' widths evenly, and breaks words where there is room beside them.
            for column, given in zip(self.columns, _shared(widths, spare), strict=True):
                column.width = given
        yield from super().__rich_console__(console, options)

    def _blocks(self) -> RenderResult:
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield Text("")
            for column, cell in zip(self.columns, cells, strict=True):
                if text := str(cell):
                    yield Text(f"  {column.header}: {text}" if column.header else f"  {text}")
        yield Text("")


def _width(console: Console, options: ConsoleOptions, column: Column) -> Measurement:
    """The width of a column's longest word, and that of its longest line."""
    parts = [Measurement.get(console, options, Text(str(each))) for each in (column.header, *column.cells)]
    maximum = max(each.maximum for each in parts)
    return Measurement(maximum if column.no_wrap else max(each.minimum for each in parts), maximum)


def _shared(widths: list[Measurement], spare: int) -> list[int]:
    """The width of each column: its longest word, and what is left to those that want the least first."""
    given = [each.minimum for each in widths]
    order = sorted(range(len(widths)), key=lambda index: widths[index].maximum - widths[index].minimum)
    for left, index in zip(range(len(order), 0, -1), order, strict=True):
        more = min(widths[index].maximum - widths[index].minimum, spare // left)
        given[index] += more
        spare -= more
    return given
