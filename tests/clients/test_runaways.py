"""An agent that would go on for ever is stopped by the budget of the key that it was given."""

from pathlib import Path

from tests.clients.agents import MINI, MINI_FOR_EVER
from tests.clients.system import TOKEN, System

BUDGET = 20_000
BALANCE = 1_000_000


def test_a_runaway_is_stopped_by_its_runs_budget_and_told_so(system: System, installed: Path, tmp_path: Path) -> None:
    """mini-swe-agent before a model that only talks: each of its calls asks for a command, with the whole conversation."""
    account = system.open_account(BALANCE)
    minted = system.mint(account, BUDGET)
    turn = MINI_FOR_EVER.turn(installed, system, minted, tmp_path, "say hi")
    exchanges = system.exchanges()
    *answered, refused = [exchange.status for exchange in exchanges]
    # It did not give up by itself.
    assert len(answered) > 2 * MINI.calls, turn.shown[-2_000:]
    assert (set(answered), refused) == ({200}, 402)
    assert turn.status == 1
    assert f"The limit budget-TOKEN@key:{minted.key_id} leaves" in turn.shown, turn.shown[-2_000:]
    run = system.spent(minted)
    bill = system.bill(account, exchanges)
    (budget,) = run["budget"]
    assert (budget["used"], budget["held"], run["calls"]) == (bill.consumed * TOKEN, 0, len(answered))
    assert bill.served["calls"] == len(answered)
    assert BUDGET / 2 < bill.consumed <= BUDGET
