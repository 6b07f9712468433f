"""Who may call which RPC: the roles of a cell's services, and all that their certificates are good for.

A role is the name in front of ".tokenline" in a certificate. Each line is what a service really asks for, no more. The edge has the
administrative API, so it opens accounts, grants and corrects; its own token guards that. It alone says in whose name a command is
given (`Actor`), since it saw the proof. Accounting asks accounting where a replica passes on to the owner of an account what it was
asked itself, with its actor, and was asked by somebody who may.
"""

from collections.abc import Mapping
from typing import Final

EDGE: Final = "edge"
ACCOUNTING: Final = "accounting"
BILLING: Final = "billing"
# People with a tool of their own; they read.
OPERATOR: Final = "operator"

_PASSED_ON: Final = frozenset({EDGE, ACCOUNTING})

_BY_SERVICE: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "tokenline.accounting.v1.AccountingService": {
        "Charge": frozenset({EDGE}),
        "OpenAccount": _PASSED_ON,
        "GetAccount": _PASSED_ON | {OPERATOR},
        "GrantBucket": _PASSED_ON,
        "RefundSession": _PASSED_ON,
        "ReduceBucket": _PASSED_ON,
        "WriteOffDebt": _PASSED_ON,
        "PlaceOrder": _PASSED_ON,
        "ConfirmPayment": _PASSED_ON,
        "CancelOrder": _PASSED_ON,
        "ChangeSubscription": _PASSED_ON,
        "CancelSubscription": _PASSED_ON,
        "SendTransfer": _PASSED_ON,
        "SetLimits": _PASSED_ON,
        "ExplainRefusal": _PASSED_ON,
        "GetSessionRecords": frozenset({BILLING, ACCOUNTING}),
        "ReceiveTransfer": frozenset({ACCOUNTING}),
        "WatchOwners": frozenset({EDGE}),
        "ListPartitions": frozenset({EDGE, BILLING, OPERATOR}),
        "MovePartition": frozenset({EDGE}),
        "ReadJournal": frozenset({EDGE, BILLING, OPERATOR}),
        "Audit": frozenset({EDGE, OPERATOR}),
    },
    "tokenline.authentication.v1.AuthenticationService": {
        "CreateMember": frozenset({EDGE}),
        "CreateKey": frozenset({EDGE}),
        "RevokeKey": frozenset({EDGE}),
        "ListKeys": frozenset({EDGE}),
        "SuspendAccount": frozenset({EDGE}),
        "ResumeAccount": frozenset({EDGE}),
        "GetSuspension": frozenset({EDGE}),
        "ResolveKey": frozenset({EDGE}),
        "WatchRevocations": frozenset({EDGE}),
    },
    "tokenline.billing.v1.BillingService": {
        "GetReceipt": frozenset({EDGE}),
        "Reconcile": frozenset({EDGE}),
        "ListCursors": frozenset({EDGE, OPERATOR}),
    },
    "tokenline.registry.v1.RegistryService": {
        "GetCatalog": frozenset({OPERATOR}),
        "WatchCatalog": frozenset({EDGE, ACCOUNTING}),
    },
}

# "/package.Service/Method" -> the roles that may call it. What is not here nobody may.
CALLERS: Final[Mapping[str, frozenset[str]]] = {
    f"/{service}/{method}": roles for service, methods in _BY_SERVICE.items() for method, roles in methods.items()
}
