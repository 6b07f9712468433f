"""The table of callers: the RPCs that each role of a cell may call. A certificate is good for nothing else.

A role is the name in front of ".tokenline" in a certificate. Each line has the methods that a service really calls, no more. The
edge has the administrative API, so it opens accounts, grants and corrects; its own token guards that. It names the actor of a
command (`Actor`), because it saw the proof; billing names itself, for orders that the phone bill pays. A replica of accounting
calls another one to pass a request on, with its actor, to the owner of an account; its own caller was allowed to ask.
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
        "GetAccount": _PASSED_ON | {BILLING, OPERATOR},
        "GetUsage": _PASSED_ON,
        "GrantBucket": _PASSED_ON,
        "GrantAllowances": _PASSED_ON,
        "EndGrant": _PASSED_ON,
        "RefundSession": _PASSED_ON,
        "ReduceBucket": _PASSED_ON,
        "WriteOffDebt": _PASSED_ON,
        "PlaceOrder": _PASSED_ON,
        "ConfirmPayment": _PASSED_ON | {BILLING},
        "CancelOrder": _PASSED_ON | {BILLING},
        "ChangeSubscription": _PASSED_ON,
        "HasOffering": _PASSED_ON,
        "CancelSubscription": _PASSED_ON,
        "RefundPurchase": _PASSED_ON,
        "SendTransfer": _PASSED_ON,
        "SetLimits": _PASSED_ON,
        "OpenRun": _PASSED_ON,
        "EndRuns": _PASSED_ON,
        "ListRuns": _PASSED_ON,
        "ExplainRefusal": _PASSED_ON,
        "GetSessionRecords": frozenset({BILLING, ACCOUNTING}),
        "ReceiveTransfer": frozenset({ACCOUNTING}),
        "WatchOwners": frozenset({EDGE}),
        "ListPartitions": frozenset({EDGE, BILLING, OPERATOR}),
        "MovePartition": frozenset({EDGE}),
        "ReadJournal": frozenset({EDGE, BILLING, OPERATOR}),
        "Audit": frozenset({EDGE, OPERATOR}),
        "ListBurning": _PASSED_ON,
    },
    "tokenline.authentication.v1.AuthenticationService": {
        "CreateMember": frozenset({EDGE}),
        "ListMembers": frozenset({EDGE}),
        "ListAccounts": frozenset({EDGE}),
        "NameAccount": frozenset({EDGE}),
        "CreateInvitation": frozenset({EDGE}),
        "AcceptInvitation": frozenset({EDGE}),
        "EntitleAccount": frozenset({EDGE}),
        "EndEntitlement": frozenset({EDGE}),
        "FreeIdentity": frozenset({EDGE}),
        "CreateKey": frozenset({EDGE}),
        "MintKey": frozenset({EDGE}),
        "RevokeKey": frozenset({EDGE}),
        "RevokeMintedKey": frozenset({EDGE}),
        "ListKeys": frozenset({EDGE}),
        "SuspendAccount": frozenset({EDGE}),
        "ResumeAccount": frozenset({EDGE}),
        "GetSuspension": frozenset({EDGE}),
        "ResolveKey": frozenset({EDGE}),
        "WatchRevocations": frozenset({EDGE}),
    },
    "tokenline.billing.v1.BillingService": {
        "GetReceipt": frozenset({EDGE}),
        "GetOrderReceipt": frozenset({EDGE}),
        "GetStatement": frozenset({EDGE}),
        "GetVendorStatement": frozenset({EDGE}),
        "Reconcile": frozenset({EDGE}),
        "ListCursors": frozenset({EDGE, OPERATOR}),
        "ListDemands": frozenset({EDGE}),
        "SetLine": frozenset({EDGE}),
        "RetryDemand": frozenset({EDGE}),
        "ShowCode": frozenset({EDGE}),
    },
    "tokenline.registry.v1.RegistryService": {
        "GetCatalog": frozenset({OPERATOR}),
        "WatchCatalog": frozenset({EDGE, ACCOUNTING}),
    },
}

# "/package.Service/Method" -> the roles that may call it. Nobody may call a method that is missing here.
CALLERS: Final[Mapping[str, frozenset[str]]] = {
    f"/{service}/{method}": roles for service, methods in _BY_SERVICE.items() for method, roles in methods.items()
}
