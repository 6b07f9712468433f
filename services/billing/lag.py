"""Lag of the export: how far it is from the end of the journal."""

import time
from collections.abc import Callable, Collection, Mapping

from services.runtime.instruments import Gauge, export


class Lag:
    """The export's lag, as its passes find it."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._began_s = self._whole_s = monotonic_s()
        # By partition: the journal rows that are not exported yet, and partitions that something stopped.
        self._behind: Mapping[int, int] = {}
        self._stopped: Collection[int] = ()

    def begin(self, asked_s: float, behind: Mapping[int, int]) -> None:
        """Notes the begin of a pass: when it asked for the journal's end, and by partition the rows up to there."""
        self._began_s, self._behind = asked_s, behind

    def end(self, stopped: Collection[int]) -> None:
        """Notes the end of a pass, which exported all but the partitions that were stopped."""
        self._behind = {part_id: rows for part_id, rows in self._behind.items() if part_id in stopped}
        self._stopped = stopped
        if not stopped:
            self._whole_s = self._began_s

    @property
    def rows(self) -> int:
        """The journal rows that are not exported, as far as the last pass knows."""
        return sum(self._behind.values())

    @property
    def stopped(self) -> int:
        """The number of partitions that something stopped."""
        return len(self._stopped)

    @property
    def seconds(self) -> float:
        """The time since the journal's end was asked for by the last pass that exported all up to it."""
        return self._monotonic_s() - self._whole_s

    def export(self) -> None:
        """Shows it from now on."""
        description = "Time since all was exported, or since the start; it falls with each pass that exports all"
        export(
            Gauge("billing.export.lag_seconds", description, lambda: self.seconds),
            Gauge("billing.export.lag_rows", "Journal rows that are not exported, as the last pass found", lambda: self.rows),
            Gauge("billing.partitions.stopped", "Partitions that the last pass could not export", lambda: self.stopped),
        )
