"""Headers of a request, looked up by their names."""

from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire


def test_a_header_is_found_by_its_first_value_and_all_of_them_in_their_order() -> None:
    headers = [(b"content-type", b"one"), (b"host", b"x"), (b"content-type", b"two")]
    exchange = Exchange(NoWire(), "POST", b"/", headers)
    assert exchange.value_of(b"content-type") == b"one"
    assert list(exchange.values_of(b"content-type")) == [b"one", b"two"]
    assert (exchange.value_of(b"upgrade"), list(exchange.values_of(b"upgrade"))) == (b"", [])
