"""The head of a vendor's request."""

import pytest

from services.edge.call.dialect import Body, VendorRequest
from services.edge.vendors.profile import Endpoint

REQUEST = VendorRequest("/x", Body(b"{}", "application/json"), ((b"a", b"1"),), ())


@pytest.mark.parametrize(
    ("api_key", "in_header", "header"),
    [
        ("sk-1", False, [(b"authorization", b"Bearer sk-1")]),
        ("sk-1", True, [(b"x-api-key", b"sk-1")]),
        # It is no key of any vendor, who says so; no header has such letters.
        ("ключ-1", False, [(b"authorization", b"Bearer ????-1")]),
        ("", False, []),
    ],
)
def test_the_head_has_the_secret_where_the_vendor_reads_it(
    api_key: str, header: list[tuple[bytes, bytes]], *, in_header: bool
) -> None:
    endpoint = Endpoint("acme", "openai_chat", "http://acme.test/v1", api_key=api_key, key_in_header=in_header)
    assert REQUEST.headers_for(endpoint) == [(b"content-type", b"application/json"), (b"a", b"1"), *header]
