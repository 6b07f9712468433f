"""Counters of an owner, and its last refusals."""

from typing import Final

from services.accounting.core.commands import ChargeEvent, Command, CreateSession, Refused
from services.accounting.core.entries import SessionSettled

_REFUSALS_KEPT_MAX: Final = 10_000

# The command, its refusal, and the time in microseconds since 1970.
Refusal = tuple[CreateSession | ChargeEvent, Refused, int]


class Metrics:
    """Counts since the start, read by telemetry."""

    def __init__(self) -> None:
        self.commands = 0
        self.refusals = 0
        self.shed = 0
        self.commits = 0
        self.entries = 0
        self.recoveries = 0
        # Records that were partly above what the account may owe.
        self.losses = 0
        # By unit, in micro-units; present from the start, or nobody would see its first increase.
        self.absorbed = {"TOKEN": 0}
        # Worth of vendors' used and unpaid work, in micro-yuan.
        self.paid_worth = 0
        self.unpaid_worth = 0

    def count_losses(self, entry: SessionSettled) -> None:
        """Counts the part of a record that nobody pays."""
        self.paid_worth += entry.paid_worth
        self.unpaid_worth += entry.unpaid_worth
        if entry.absorbed:
            unit = entry.tariff.unit
            self.absorbed[unit] = self.absorbed.get(unit, 0) + entry.absorbed
            self.losses += entry.absorbed > sum(entry.unpaid_amounts)


class Refusals:
    """The last refusals by charging_id, so that somebody can ask for the reason."""

    def __init__(self) -> None:
        # Oldest first.
        self._kept: dict[str, Refusal] = {}

    def remember(self, command: Command, refused: Refused, time_us: int) -> None:
        """Keeps the refusal of a call."""
        if isinstance(command, CreateSession | ChargeEvent):
            self._kept[command.charging_id] = (command, refused, time_us)
            if len(self._kept) > _REFUSALS_KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    def forget(self, charging_id: str) -> None:
        """Drops the refusal of a call that was opened after all, with a smaller bound or a cheaper model."""
        self._kept.pop(charging_id, None)

    def find(self, charging_id: str) -> Refusal | None:
        """The refusal of a call, as long as it is remembered."""
        return self._kept.get(charging_id)
