"""The simulator: the production owner on a store that fails, in virtual time, replayable from a seed.

`python -m tests.simulation --seeds N` runs many seeds and prints the first that breaks; `--seed S` replays one.
"""
