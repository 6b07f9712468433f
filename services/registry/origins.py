"""Where a catalog's entries stand in the files of its layers, and which of them make a price."""

import datetime
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.registry.adjustments import PriceAdjustment
from services.registry.catalog import ID_FIELDS
from services.registry.catalog_folder import Layer, parsed
from services.registry.shelf import window_in_force
from services.registry.tariffs import EVERY_MODEL, Tariff


class Origin(NamedTuple):
    """A place in a file that has a part in something."""

    section: str
    entry_id: str
    path: Path
    line: int
    # Its part, for people.
    part: str


class _Entry(NamedTuple):
    path: Path
    field: str
    line_of: Any
    entry: Any

    def line(self, field: str = "") -> int:
        line: int = self.line_of(f"{self.field}.{field}" if field else self.field)
        return line


class Origins:
    """The entries of layers with their places."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Blocking. Errors: `ConfigError` for a file that is malformed."""
        # By section and ID, the lowest layer first.
        self._entries: Final[dict[tuple[str, str], list[_Entry]]] = {}
        for layer in layers:
            for path, text in layer:
                part, line_of = parsed(path, text)
                for section, id_field in ID_FIELDS.items():
                    for index, entry in enumerate(getattr(part, section)):
                        place = _Entry(path, f"{section}[{index}]", line_of, entry)
                        self._entries.setdefault((section, getattr(entry, id_field)), []).append(place)

    def of(self, entry_id: str) -> Iterator[Origin]:
        """All places of entries with this ID, the lowest layer first."""
        for section in ID_FIELDS:
            for number, each in enumerate(self._entries.get((section, entry_id), ())):
                if number == 0:
                    part = "adds it"
                elif section == "vendors":
                    names = (name for name in each.entry.__struct_fields__ if getattr(each.entry, name) is not None)
                    part = f"changes {', '.join(name for name in names if name != 'vendor_id')}"
                else:
                    part = "replaces it"
                yield Origin(section, entry_id, each.path, each.line(), part)

    def ids(self) -> Set[tuple[str, str]]:
        """Section and ID of every entry."""
        return self._entries.keys()

    def of_price(self, tariff_id: str, model_id: str, moment: datetime.datetime) -> list[Origin]:
        """The rows and factors that make a model's price in a tariff at a moment, in the order in which they do."""
        entries = self._entries.get(("tariffs", tariff_id))
        if entries:
            found = [self._row(entries[-1], model_id, moment)]
        elif (making := next(self._adjusting(lambda each: each.tariff_id == tariff_id), None)) is not None:
            found = [*self.of_price(making.entry.of_tariff_id, model_id, moment), *_adjusted(making, model_id, moment)]
        else:
            return []
        for each in self._adjusting(lambda each: each.of_tariff_id == tariff_id and not each.tariff_id):
            found += _adjusted(each, model_id, moment)
        return [each for each in found if each is not None]

    def _row(self, entry: _Entry, model_id: str, moment: datetime.datetime) -> Origin | None:
        tariff: Tariff = entry.entry
        prefix, version, rows, windows = "", tariff.version, tariff.rates, tariff.windows
        for number, each in enumerate(tariff.upcoming):
            if each.effective_time <= moment:
                prefix, version, rows, windows = f"upcoming[{number}].", each.version, each.rates, each.windows
        places = {row.model_id: (f"{prefix}rates[{index}]", f"version {version}") for index, row in enumerate(rows)}
        if (number := window_in_force(tariff, windows, moment)) >= 0:
            window = windows[number]
            made_by = f"version {window.version}, window {window.window_id!r}"
            places |= {
                row.model_id: (f"{prefix}windows[{number}].rates[{index}]", made_by) for index, row in enumerate(window.rates)
            }
        rated = model_id if model_id in places else EVERY_MODEL
        if rated not in places:
            return None
        field, made_by = places[rated]
        return Origin("tariffs", tariff.tariff_id, entry.path, entry.line(field), f"{made_by}, row of {rated!r}")

    def _adjusting(self, wanted: Any) -> Iterator[_Entry]:
        adjustments = (entries[-1] for (section, _), entries in self._entries.items() if section == "price_adjustments")
        return (each for each in adjustments if wanted(each.entry))


def _adjusted(entry: _Entry, model_id: str, moment: datetime.datetime) -> Iterable[Origin]:
    adjustment: PriceAdjustment = entry.entry
    if adjustment.effective_time is not None and adjustment.effective_time > moment:
        return
    index = next((index for index, row in enumerate(adjustment.rates) if row.model_id == model_id), None)
    if index is not None:
        part, line = f"+ version {adjustment.version}, row of {model_id!r}", entry.line(f"rates[{index}]")
    elif adjustment.factor is not None:
        part, line = f"+ version {adjustment.version}, factor {adjustment.factor}", entry.line("factor")
    else:
        part, line = f"+ version {adjustment.version}", entry.line("version")
    yield Origin("price_adjustments", adjustment.adjustment_id, entry.path, line, part)
