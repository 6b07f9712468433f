"""Carries a transfer to the owner of its receiver's partition."""

from typing import Final

from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroups
from services.accounting.core.commands import Failed, Fault, ReceiveTransfer
from services.accounting.rpc import commands
from services.runtime.errors import ServiceError

_DELIVERY_S_MAX: Final = 5.0
_FAULTS: Final = frozenset(int(fault) for fault in Fault)


class Delivery:
    """Delivers to an owner of this replica, or to another replica."""

    def __init__(self, groups: ServerGroups, directory: Directory) -> None:
        self._groups = groups
        self._directory = directory

    async def deliver(self, command: ReceiveTransfer) -> Failed | None:
        """Gives a transfer to the receiver's owner; returns its refusal, if it was not taken."""
        address = self._directory.addresses.get(self._groups.partition_of(command.account_id), self._directory.own_address)
        if address == self._directory.own_address:
            return await self._groups.receive(command)
        try:
            request = commands.receive_transfer_message(command)
            await self._directory.forward(address, "ReceiveTransfer", request, _DELIVERY_S_MAX)
        except ServiceError as error:
            return Failed(Fault(error.reason) if error.reason in _FAULTS else Fault.UNAVAILABLE, error.message)
        return None
