"""Promises of an offering, as accounting pins them: once ordered, a change of the catalog does not touch them.

Amounts are micro-units; `unit` is "TOKEN", "POINT" or "CURRENCY:" and an ISO 4217 code. These structs stand in journal and
checkpoints: fields are only ever added at the end, with a default.
"""

from enum import IntEnum

import msgspec


class Period(IntEnum):
    """A calendar period; the numbers of the registry's contract."""

    DAY = 1
    WEEK = 2
    MONTH = 3
    # Bounds what is sold once, and is no length of a cycle or a window.
    YEAR = 4


class Payment(IntEnum):
    """How a price is paid; the numbers of the registry's contract."""

    # Nothing is to be paid.
    FREE = 0
    # From the account's own money.
    PREPAID = 1
    # From the account's credit line, or confirmed by the operator's phone billing.
    PHONE_BILL = 2
    # Confirmed from outside.
    EXTERNAL = 3


class FinalAction(IntEnum):
    """The action when the quota ends; the numbers of the protobuf contract."""

    TERMINATE = 1
    REDIRECT = 2
    RESTRICT_ACCESS = 3


class Scope(IntEnum):
    """The subject whose use a limit counts; the numbers of the registry's contract."""

    ACCOUNT = 1
    MEMBER = 2
    KEY = 3


class LimitKind(IntEnum):
    """The measure of a limit."""

    # Requests a minute (GCRA).
    REQUEST_RATE = 1
    # Tokens a minute (GCRA).
    TOKEN_RATE = 2
    # Sessions open at once.
    CONCURRENT_SESSIONS = 3
    # An amount in a unit, within a window or for good.
    USAGE = 4


class Limit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A limit: of every member or key of an account, when it comes from an offering, or of the one it was set for."""

    limit_id: str
    scope: Scope
    kind: LimitKind
    # A minute, at once, or in micro-units of `unit`.
    amount: int
    # Units that may come at once after a pause; for rates.
    burst: int = 0
    # For USAGE.
    unit: str = ""
    # For USAGE: the length of a window that begins with the first call in it; 0: none.
    window_us: int = 0
    # For USAGE: a window of the calendar; None: none.
    calendar: Period | None = None


class Cycle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often a subscription renews."""

    period: Period
    count: int
    # Cycles end with the calendar's period and not with the anniversary of the start.
    calendar: bool
    # A first cycle that the calendar cuts short costs and grants its share of days.
    prorated: bool


class Allowance(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket that an offering grants: each cycle, or once."""

    allowance_id: str
    unit: str
    amount: int
    # The model group it pays for; empty: every model of the offering.
    model_group: str
    priority: int
    # For a pack: how long it is valid.
    valid_for_us: int
    # The part that may live on for one more cycle.
    rollover_cap: int
    # Marks a credit line.
    postpaid: bool
    transferable: bool
    notice_percents: tuple[int, ...]
    # Millionths of the offering's price that it is worth; 0 for all: the one that was used most counts alone.
    weight: int = 0


class Terms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything that an offering sells."""

    offering_id: str
    # Micro-units of `price_unit`; 0: free.
    price: int
    price_unit: str
    # None for a pack.
    cycle: Cycle | None
    automatic_renewal: bool
    grace_us: int
    allowances: tuple[Allowance, ...]
    limits: tuple[Limit, ...]
    final_action: FinalAction
    # IANA name.
    time_zone: str
    # The worth of what is left goes back when it ends early.
    refundable: bool = True
    # It is sold once to an account, or (`once_a`) once in a period of the calendar.
    once: bool = False
    once_a: Period | None = None


def first_terms(terms: Terms) -> Terms:
    """The terms as the first release reads them: it drops what came later."""
    allowances = tuple(msgspec.structs.replace(allowance, weight=0) for allowance in terms.allowances)
    return msgspec.structs.replace(terms, allowances=allowances, refundable=True, once=False, once_a=None)
