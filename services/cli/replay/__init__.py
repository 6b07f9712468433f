"""`tokenline replay`: real HTTP calls after a recorded trace, and whether the bill equals the sum of the rows.

The expected charge is added up here, from the trace's numbers and the prices that `/v1/models` publishes; nothing of
it comes from the answers, except where quota ran out and cut one short.

Reading order: `trace` (rows), `plan` (the calls that rows become), `calls` (HTTP), `bill` (the sum of the rows, and the
accounts' balances), `report`, `command`.
"""
