"""The port of charging for the call path, whatever carries it out."""

from typing import Protocol

from tokenline.accounting.v1 import accounting_pb2 as pb

# The answers to a Create: granted, refused, or another call has its name.
Opened = pb.Granted | pb.Refused | pb.KnownCall


class Charging(Protocol):
    """Charges sessions of accounts. Errors of all: `ServiceError`."""

    @property
    def takes_all_classes(self) -> bool:
        """Whether every owner takes token classes after the first five, unpaid usage and the cause `revoked`."""
        ...

    async def create(self, account_id: str, charging_id: str, create: pb.CreateSession) -> Opened:
        """Opens a session.

        Errors: UNAVAILABLE when there was no answer in time, OVERLOADED when it was shed; nothing stays held then.
        """
        ...

    async def update(self, account_id: str, charging_id: str, number: int, update: pb.UpdateSession) -> pb.Granted:
        """Reports, renews and asks for more."""
        ...

    async def release(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> pb.Settled | None:
        """Settles a session; returns once that is durable: the charge, or None when the Release stands in the outbox.

        Errors: UNAVAILABLE when that took too long, and then it goes on being sent. A cancellation does not stop it either.
        """
        ...

    def release_later(self, account_id: str, charging_id: str, number: int, release: pb.ReleaseSession) -> None:
        """Settles a session whose caller does not wait."""
        ...
