"""How large a message between services may be: the bounds of those who read and of those who send, in one place.

What is larger is refused by its length, before it is read: a service that was taken over must not fill the memory of others.
"""

import json
from typing import Final

_MIB: Final = 1024 * 1024

REQUEST_BYTES_MAX: Final = 4 * _MIB
# 1,024 Releases, each with the most attempts and the longest names that one may have.
CHARGE_REQUEST_BYTES_MAX: Final = 16 * _MIB
# The catalog has 0.1 MiB; 100,000 keys of an account have 10.
ANSWER_BYTES_MAX: Final = 16 * _MIB
# A journal row travels whole, and a stall on one partition can gather thousands of entries in a row.
ROW_ANSWER_BYTES_MAX: Final = 256 * _MIB

_ROWS: Final = {"service": "tokenline.accounting.v1.AccountingService", "method": "ReadJournal"}

# What a channel reads of an answer, as gRPC is told: of all methods, and of those that are named.
SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {"name": [{}], "maxResponseMessageBytes": ANSWER_BYTES_MAX},
            {"name": [_ROWS], "maxResponseMessageBytes": ROW_ANSWER_BYTES_MAX},
        ]
    }
)
