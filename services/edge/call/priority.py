"""Priority classes of accounts as an edge knows them: that of the offering by which the last call was granted or refused."""

from typing import Final

from services.edge.catalog import CatalogHolder, PriorityClass

# As many accounts are remembered, the longest unused is forgotten first.
_ACCOUNTS_MAX: Final = 65_536


class PriorityClasses:
    """Classes of accounts. One is needed before accounting is asked, so it is that of the last call; at first the standard one."""

    def __init__(self, catalog: CatalogHolder) -> None:
        self._catalog = catalog
        # Accounts whose offering has another class than the standard one, by the last use.
        self._offerings: dict[str, str] = {}

    def note(self, account_id: str, offering_id: str) -> None:
        """Notes the offering that accounting has named for an account."""
        self._offerings.pop(account_id, None)
        if self._class_of(offering_id) is PriorityClass.STANDARD:
            return
        self._offerings[account_id] = offering_id
        if len(self._offerings) > _ACCOUNTS_MAX:
            del self._offerings[next(iter(self._offerings))]

    def of(self, account_id: str) -> PriorityClass:
        """The class of an account, by the catalog in force."""
        offering_id = self._offerings.get(account_id)
        return PriorityClass.STANDARD if offering_id is None else self._class_of(offering_id)

    def _class_of(self, offering_id: str) -> PriorityClass:
        snapshot = self._catalog.current
        offering = None if snapshot is None else snapshot.offering(offering_id)
        return PriorityClass.STANDARD if offering is None else offering.priority_class
