"""Refuses usage that no call can have, or that could be neither paid nor owed. Pure."""

from services.accounting.core.account.state import Account
from services.accounting.core.amounts import GRANTED_MAX, RATE_BASE, TOKENS_MAX, PinnedTariff, added_up, charges_of, in_unit
from services.accounting.core.commands import Decision, Fault, ReleaseSession, fail
from services.token_classes import TOKEN_CLASSES, Vector


def unchargeable(account: Account, lines: dict[str, PinnedTariff], command: ReleaseSession) -> Decision | None:
    """Refuses a Release that cannot be charged; None when it can."""
    used = command.used
    if command.unpaid:
        if (absurd := too_many_tokens(command.unpaid, "unpaid")) is not None:
            return absurd
        return too_many_tokens(used) or too_much_to_owe(account, lines, added_up(used, command.unpaid))
    return too_many_tokens(used) or too_much_to_owe(account, lines, used)


def too_many_tokens(usage: Vector, field: str = "used") -> Decision | None:
    """Refuses a count of `field` that can't be true; None when it can."""
    for count in usage:
        if not 0 <= count <= TOKENS_MAX:
            break
    else:
        return None
    name, count = next(each for each in zip(TOKEN_CLASSES, usage, strict=False) if not 0 <= each[1] <= TOKENS_MAX)
    return fail(Fault.AMOUNT_OVERFLOW, f"{field}.{name} is {count}; it must be 0 to {TOKENS_MAX}")


def too_much_to_owe(account: Account, lines: dict[str, PinnedTariff], usage: Vector) -> Decision | None:
    """Refuses a charge that could leave the account owing more than int64 holds."""
    counts = sum(usage)
    for tariff in lines.values():
        debt = account.debts.get(tariff.unit)
        incurred = debt.incurred if debt else 0
        if account.losses and (loss := account.losses.get(tariff.unit)) is not None:
            incurred += loss.absorbed
        # Nearly every charge is far from the bound: the dearest rate for all that was counted shows it.
        if counts * tariff.rate_max // RATE_BASE + len(usage) + incurred <= GRANTED_MAX:
            continue
        charged = sum(charges_of(tariff, usage))
        if charged + incurred > GRANTED_MAX:
            return fail(
                Fault.AMOUNT_OVERFLOW, f"the usage comes to {in_unit(charged, tariff.unit)}, more than an account can have or owe"
            )
    return None
