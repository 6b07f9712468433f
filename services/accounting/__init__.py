"""Accounting: accounts, balance buckets, charging sessions, and the journal of everything that changed them.

`core` is pure: values in, decisions out; time and catalog are arguments. `writer` runs it for the partitions of this process: one
writer an account, group commit, no answer before the commit that covers what it saw. `journal` is where entries and checkpoints
are durable, and the fence against a second owner. `cell` says which replica owns which partition; `rpc` is the contract. Upper
rooms import lower ones, and `app` wires them.

Invariants: in every bucket granted = remaining + reserved + consumed + expired + transferred; of every debt
incurred = repaid + written_off + outstanding; of every session rated = charged + absorbed; nothing is negative.

Called by edge (charging stream, balances) and billing (journal); calls registry (catalog).
"""
