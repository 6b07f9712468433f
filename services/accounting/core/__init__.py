"""The rules of charging, pure: values in, decisions out. Time and catalog are arguments; no I/O, no randomness, no protobuf.

`decide` says what a command does, and what has fallen due, as entries; `evolve` alone changes state, entry by entry.
"""
