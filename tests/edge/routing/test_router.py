"""What a vendor's failure means."""

import pytest

from services.edge.catalog import Route
from services.edge.routing.router import failed_attempt
from services.edge.vendors.profile import Endpoint, ErrorRule, Meaning
from services.edge.vendors.vendor import VendorFailure, VendorFault

ENDPOINT = Endpoint(
    "acme",
    "openai_chat",
    "http://acme",
    errors=(
        ErrorRule(400, "Arrearage", "", Meaning.ACCOUNT),
        ErrorRule(0, "", "moderation", Meaning.CONTENT),
        ErrorRule(429, "insufficient_quota", "", Meaning.ACCOUNT),
    ),
)
ROUTE = Route("acme", "acme-m", ENDPOINT)


@pytest.mark.parametrize(
    ("failure", "meaning", "is_clients"),
    [
        (VendorFailure("refused", 400, b'{"error": {"code": "Arrearage"}}'), Meaning.ACCOUNT, False),
        (VendorFailure("refused", 400, b'{"error": {"type": "Arrearage"}}'), Meaning.ACCOUNT, False),
        (VendorFailure("refused", 400, b'{"error": {"code": "other"}}'), Meaning.REQUEST, True),
        (VendorFailure("refused", 403, b'{"error": {"message": "Moderation says no"}}'), Meaning.CONTENT, True),
        (VendorFailure("refused", 429, b'{"error": {"code": "insufficient_quota"}}'), Meaning.ACCOUNT, False),
        (VendorFailure("refused", 429, b"not json"), Meaning.RATE_LIMIT, False),
        (VendorFailure("refused", 404), Meaning.ACCOUNT, False),
        (VendorFailure("refused", 302), Meaning.OVERLOADED, False),
        (VendorFailure("refused", 500), Meaning.OVERLOADED, False),
        (VendorFailure("refused", 200, fault=VendorFault(400, "Arrearage")), Meaning.ACCOUNT, False),
        (VendorFailure("refused", 200, fault=VendorFault(200, "server_error")), Meaning.OVERLOADED, False),
        (VendorFailure("broken", 200), None, False),
        (VendorFailure("timeout"), None, False),
        (VendorFailure("garbage", 200), None, False),
    ],
)
def test_the_meaning_of_a_failure(failure: VendorFailure, meaning: Meaning | None, is_clients: bool) -> None:
    failed = failed_attempt(ROUTE, failure)
    assert (failed.meaning, failed.is_clients_fault) == (meaning, is_clients)
