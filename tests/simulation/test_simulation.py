"""A fixed set of seeds keeps every promise; without the fence they do not."""

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.simulation import mutations
from tests.simulation.buyers import simulate_buyer
from tests.simulation.replicas import simulate_replicas
from tests.simulation.world import Report, simulate

SEEDS = range(1, mutations.SEEDS + 1)
# Planted faults are tried in so many parts, side by side where tests are.
_PARTS = 4


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Thousands of injected failures would be logged."""
    logging.disable(logging.CRITICAL)
    yield
    # Owners that were left to die are logged when they are collected.
    gc.collect()
    logging.disable(logging.NOTSET)


@cache
def kept(run: Callable[[int], Report], seed: int) -> Counter[str]:
    """What happened in a run, which is run once for all tests of a process."""
    return run(seed).counts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("run", [simulate, simulate_replicas, simulate_buyer])
def test_a_seed_keeps_every_promise(run: Callable[[int], Report], seed: int) -> None:
    """Replay one with `python -m tests.simulation --seed S`."""
    kept(run, seed)


def test_the_seeds_of_replicas_meet_what_they_are_for() -> None:
    total: Counter[str] = Counter()
    for seed in range(1, 21):
        total += kept(simulate_replicas, seed)
    for what, least in (("crash", 20), ("freeze", 20), ("leave", 20), ("etcd", 20), ("moved", 15), ("released", 1_000)):
        assert total[what] >= least, (what, total)


def test_the_buyers_try_what_they_are_for() -> None:
    total: Counter[str] = Counter()
    for seed in range(21, 41):
        total += kept(simulate_buyer, seed)
    for what, least in (
        ("PlaceOrder", 400),
        ("ConfirmPayment", 80),
        ("ConfirmPayment refused", 1),
        ("ChangeSubscription", 150),
        ("ChangeSubscription refused", 150),
        ("CancelSubscription", 60),
        ("RefundPurchase", 50),
        ("RefundPurchase refused", 50),
        ("RefundSession", 100),
        ("RefundSession refused", 20),
        ("WriteOffDebt", 20),
        ("SendTransfer", 5),
        ("TopUpBucket", 50),
    ):
        assert total[what] >= least, (what, total)


def test_replicas_without_the_fence_break_a_promise() -> None:
    broken = []
    for seed in range(1, 13):
        try:
            simulate_replicas(seed, fenced=False)
        except Exception:
            broken.append(seed)
            break
    assert broken


def test_the_seeds_meet_what_they_are_for() -> None:
    """Else a workload that avoids all trouble would pass above."""
    total: Counter[str] = Counter()
    for seed in range(1, 11):
        total += kept(simulate, seed)
    for what, least in (
        ("crash", 10),
        ("freeze", 10),
        ("restart", 10),
        ("clock", 10),
        ("created", 500),
        ("released", 500),
        ("refused", 50),
        ("repeated", 100),
        ("abandoned", 30),
        ("late", 10),
    ):
        assert total[what] >= least, (what, total)


def test_a_seed_replays() -> None:
    assert simulate(3).counts == kept(simulate, 3)
    assert simulate_replicas(3).counts == kept(simulate_replicas, 3)
    assert simulate_buyer(3).counts == kept(simulate_buyer, 3)


def test_without_the_fence_a_promise_is_broken() -> None:
    """The simulation would notice: two owners that both write break the journal."""
    broken = []
    for seed in range(1, 11):
        # With it this very run keeps them.
        simulate(seed, calls=60)
        try:
            simulate(seed, fenced=False, calls=60)
        except Exception:
            broken.append(seed)
            break
    assert broken


@pytest.mark.parametrize("part", range(_PARTS))
def test_every_planted_fault_is_noticed(part: int) -> None:
    """Else the simulator would prove little: see `tests.simulation.mutations` for what is planted."""
    assert mutations.main(part, _PARTS) == 0
