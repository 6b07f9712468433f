"""Coding agents on an account with little money: how often `expected` refuses what the account could pay, how far it overdraws.

`python -m tests.accounting.agents TRACE` prints the measurement for sessions one after another and for four at once.
"""

import csv
import gzip
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.accounting.core.account.state import Session
from services.accounting.core.amounts import amount_of, charges_of
from services.accounting.core.commands import CreateSession, Granted, Refused, TopUpBucket
from services.accounting.rpc.catalog import charging_catalog
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.token_classes import Vector, total_input, total_output
from tests.accounting.ledger import ACCOUNT_ID, DAY, SECOND, VALIDITY_US, Ledger, class_of, usage

MODEL_ID = "claude-sonnet-4-5-20250929"
USD = "CURRENCY:USD"
# The edge's estimate of an input is wrong by so much, either way.
ESTIMATE_ERROR = 0.25
WINDOW_TOKENS = 2_048
# What the account has at any moment, in costs of its largest call.
STOCK = 3.0


class Call(NamedTuple):
    """A call of the trace."""

    session: str
    usage: Vector


class Measured(msgspec.Struct):
    """What came out; amounts in micro-dollars."""

    calls: int = 0
    refused: int = 0
    # Refused though the balance less the final cost of all open calls covers this one.
    phantom: int = 0
    charged: int = 0
    overdraft: int = 0
    # What the published bound allowed at the moment of the largest overdraft, and how often it was passed.
    bound: int = 0
    beyond_bound: int = 0
    largest_call: int = 0


def calls_of(trace: Path, limit: int | None = None) -> list[Call]:
    """The calls of a trace file, in its order."""
    opener = gzip.open if trace.suffix == ".gz" else open
    with opener(trace, "rt", encoding="utf-8") as file:
        rows: Iterable[dict[str, str]] = csv.DictReader(file)
        calls = []
        for row in rows:
            cached = int(row["cached_input_tokens"] or 0)
            used = usage(input=int(row["input_tokens"]) - cached, cached_input=cached, output=int(row["output_tokens"]))
            calls.append(Call(row["session"], used))
            if limit is not None and len(calls) == limit:
                break
    return calls


def turns(calls: list[Call], at_once: int) -> Iterator[list[Call]]:
    """The calls that are open together: one of each of so many sessions; a session that ends makes room for the next."""
    sessions: dict[str, list[Call]] = {}
    for call in calls:
        sessions.setdefault(call.session, []).append(call)
    waiting = list(sessions.values())
    running: list[list[Call]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
        yield [session.pop(0) for session in running]
        running = [session for session in running if session]


def measure(calls: list[Call], at_once: int, stock_in_largest_calls: float = STOCK) -> Measured:
    """Runs the calls against the core, topping the account up to its stock as it is used."""
    catalog = charging_catalog(load_catalog([base_catalog_folder()]), VALIDITY_US)
    ledger = Ledger(catalog, "metered-agents")
    tariff = catalog.price("metered-agents", "", USD, MODEL_ID, ledger.now_us)
    assert tariff is not None
    costs = {id(call): sum(charges_of(tariff, call.usage)) for call in calls}
    rng = random.Random(1)
    measured = Measured(largest_call=max(costs.values()))
    stock = int(stock_in_largest_calls * measured.largest_call)
    ledger.grant(stock, unit=USD, valid_for_us=365 * DAY)
    for turn in turns(calls, at_once):
        opened: list[tuple[str, Call, Granted]] = []
        for call in turn:
            top_up(ledger, stock)
            tokens = total_input(call.usage)
            guess = int(tokens * rng.uniform(1 - ESTIMATE_ERROR, 1 + ESTIMATE_ERROR))
            charging_id = ledger.charging_id()
            answer = ledger.ask(
                CreateSession(
                    *(ACCOUNT_ID, charging_id, 1, MODEL_ID, "key-1", "mbr-1", tokens, 32_000),
                    metered=True,
                    input_expected=guess,
                )
            )
            measured.calls += 1
            if isinstance(answer, Refused):
                measured.refused += 1
                final_costs = sum(costs[id(other)] for _, other, _ in opened)
                measured.phantom += balance(ledger) - final_costs >= costs[id(call)]
                continue
            assert isinstance(answer, Granted)
            opened.append((charging_id, call, answer))
        allowed = 0
        for charging_id, call, answer in opened:
            number, granted = 1, answer.output_granted
            while total_output(call.usage) > granted:
                ledger.pass_time(SECOND)
                number += 1
                more = ledger.update(charging_id, number, usage(output=granted), total_output(call.usage) + WINDOW_TOKENS)
                if more.output_granted <= granted:
                    break
                granted = more.output_granted
            allowed += unheld(ledger.state.sessions[charging_id])
            used = usage(
                class_of(call.usage, "input"),
                min(total_output(call.usage), granted),
                cached_input=class_of(call.usage, "cached_input"),
            )
            settled = ledger.release(charging_id, number + 1, used)
            measured.charged += settled.charged
            owed = sum(debt.outstanding for debt in ledger.state.debts.values())
            measured.beyond_bound += owed > allowed
            if owed > measured.overdraft:
                measured.overdraft, measured.bound = owed, allowed
        ledger.pass_time(SECOND)
    return measured


def balance(ledger: Ledger) -> int:
    """What the account has, held or not."""
    return sum(bucket.remaining + bucket.reserved for bucket in ledger.state.buckets.values())


def top_up(ledger: Ledger, stock: int) -> None:
    """Brings the account's money back to `stock`, debt paid first."""
    owed = sum(debt.outstanding for debt in ledger.state.debts.values())
    missing = stock - balance(ledger) + owed
    if missing > 0:
        bucket_id = next(iter(ledger.state.buckets))
        assert ledger.ask(TopUpBucket(ACCOUNT_ID, bucket_id, missing, f"stock-{len(ledger.rows)}")) is not None


def unheld(session: Session) -> int:
    """What a session may cost beyond its hold: its input at full price and all output that was granted, less what it holds."""
    rates = next(iter(session.lines.values())).tiers[-1].rates
    full = amount_of(session.input_bound, class_of(rates, "input"))
    full += amount_of(session.answer.output_granted, class_of(rates, "output"))
    return max(0, full - sum(session.hold.values()))


def main() -> None:
    calls = calls_of(Path(sys.argv[1]))
    for stock in (STOCK, 1.0):
        for at_once in (1, 4):
            measured = msgspec.json.encode(measure(calls, at_once, stock)).decode()
            print(f"{at_once} at once, stock of {stock} largest calls: {measured}")


if __name__ == "__main__":
    main()
