"""Billing: records of calls and other charges, receipts, statements and reconciliation, all made from accounting's journal.

It owns the CDR files, the index by charging_id that serves receipts, the billed items that statements add up, and one durable
cursor a partition that says how far the journal is exported. The core (`cdr`, `items`, `charge`, `cdr_file`) is pure;
`exporter` moves the cursors; `reconcile` proves the result. `carrier` hands the phone bill on, if there is somebody to take it.

Invariants: every session_settled entry of the journal is in exactly one CDR file and one index row, every other charge in one
line of a file, and each amount of both in one item; record numbers count from 1 without a gap in each partition; a file written
again has the same bytes. A range is durable as pending before its file exists, and the cursor passes it only after file and
manifest are on disk.

Called by edge (receipts, statements, reconciliation); calls accounting (partitions, journal, records not exported yet, orders that
the phone bill pays) and the carrier.
"""
