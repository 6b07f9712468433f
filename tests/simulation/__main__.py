"""Runs many seeds, or replays one."""

import argparse
import logging
import sys
from collections import Counter
from typing import Final

from tests.simulation.buyers import simulate_buyer
from tests.simulation.replicas import simulate_replicas
from tests.simulation.world import simulate

_SIMULATORS: Final = ("owner", "replicas", "buyers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run, from 1 on")
    parser.add_argument("--seed", type=int, help="replay this seed alone")
    parser.add_argument("--calls", type=int, default=150, help="model calls a seed")
    parser.add_argument("--of", choices=_SIMULATORS, help="run this simulator alone")
    arguments = parser.parse_args()
    simulators = _SIMULATORS if arguments.of is None else (arguments.of,)
    logging.disable(logging.CRITICAL if arguments.seed is None else logging.NOTSET)
    total: Counter[str] = Counter()
    seeds = [arguments.seed] if arguments.seed is not None else range(1, arguments.seeds + 1)
    for seed in seeds:
        try:
            if "owner" in simulators:
                total += simulate(seed, calls=arguments.calls).counts
            if "replicas" in simulators:
                total += simulate_replicas(seed, calls=arguments.calls).counts
            if "buyers" in simulators:
                total += simulate_buyer(seed).counts
        except BaseException as error:
            print(f"seed {seed} broke a promise: {error!r}\nreplay it with: python -m tests.simulation --seed {seed}")
            if arguments.seed is not None:
                raise
            return 1
    print(f"{len(seeds)} seeds: " + ", ".join(f"{count} {what}" for what, count in sorted(total.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
