"""Many settlements whose prices are no finite fractions; `python -m tests.accounting.settlements 10000000` prints their drift."""

import sys

from services.accounting.core.account.evolve import evolve
from services.accounting.core.decide import decide
from services.accounting.core.entries import SessionSettled
from tests.accounting.ledger import CATALOG, UNIT, Ledger, event_command, usage

_RATE = 333_333
_GRANTED = 16 * UNIT
_PAUSE_US = 20_000


def settle_thirds(count: int) -> int:
    """Settles `count` Events at a third of a micro-unit a token; how many micro-units account and journal are off by in the end.

    The bucket pays for not quite all of 100,000 of them, so that debt is part of the sum.
    """
    ledger = Ledger()
    bucket = ledger.grant(_GRANTED, valid_for_us=2 * count * _PAUSE_US)
    expected = journaled = 0
    for number in range(count):
        ledger.now_us += _PAUSE_US
        used = usage(input=number % 1_000, output=1)
        (entry,), _ = decide(ledger.state, event_command(ledger.charging_id(), used, model="thirds"), ledger.now_us, CATALOG)
        assert isinstance(entry, SessionSettled)
        journaled += entry.charged
        expected += -(-used[0] * _RATE // 1_000_000) + 1
        evolve(ledger.state, entry, 1, 0)
    debt = ledger.state.debts["TOKEN"].incurred if ledger.state.debts else 0
    absorbed = ledger.state.losses["TOKEN"].absorbed if ledger.state.losses else 0
    return abs(ledger.bucket(bucket).consumed + debt + absorbed - expected) + abs(journaled + absorbed - expected)


if __name__ == "__main__":
    print(settle_thirds(int(sys.argv[1])))
