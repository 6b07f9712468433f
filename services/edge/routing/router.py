"""Decides about the next route after one did not answer. Pure."""

from typing import NamedTuple

from services.edge.catalog import Route
from services.edge.vendors.errors import fault_of
from services.edge.vendors.profile import CLIENTS, Meaning
from services.edge.vendors.vendor import VendorFailure, VendorFault


class FailedAttempt(NamedTuple):
    """A route that did not answer, and its failure's meaning; None: there was no answer to read a meaning from."""

    route: Route
    failure: VendorFailure
    fault: VendorFault | None
    meaning: Meaning | None

    @property
    def is_clients_fault(self) -> bool:
        """Whether another route would fail in the same way."""
        return self.meaning in CLIENTS


def failed_attempt(route: Route, failure: VendorFailure) -> FailedAttempt:
    """A route's failure with its meaning."""
    fault = failure.fault
    if fault is None and failure.outcome == "refused":
        fault = fault_of(failure.http_status, failure.body, failure.retry_after_ms)
    return FailedAttempt(route, failure, fault, None if fault is None else route.endpoint.meaning(fault))
