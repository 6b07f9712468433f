"""The largest messages between services: bounds of readers and senders, in one place.

A larger message is refused by its length, before it is read, because a service that was taken over must not fill others' memory.
"""

import json
from typing import Final

_MIB: Final = 1024 * 1024

REQUEST_BYTES_MAX: Final = 4 * _MIB
# 1,024 Releases, each with the most attempts and the longest names that it may have.
CHARGE_REQUEST_BYTES_MAX: Final = 16 * _MIB
# The catalog has 0.1 MiB; 100,000 keys of an account have 10.
ANSWER_BYTES_MAX: Final = 16 * _MIB
# A journal row travels whole, and a stall on one partition can gather thousands of entries in a row.
ROW_ANSWER_BYTES_MAX: Final = 256 * _MIB

_ROWS: Final = {"service": "tokenline.accounting.v1.AccountingService", "method": "ReadJournal"}

# Bounds of a channel's answers, in gRPC's form: for all methods, and for those that are named.
SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {"name": [{}], "maxResponseMessageBytes": ANSWER_BYTES_MAX},
            {"name": [_ROWS], "maxResponseMessageBytes": ROW_ANSWER_BYTES_MAX},
        ]
    }
)
