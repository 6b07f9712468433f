"""One request and its answer, without a connection."""

import pytest

from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire


def test_a_header_is_found_by_its_first_value_and_all_of_them_in_their_order() -> None:
    headers = [(b"content-type", b"one"), (b"host", b"x"), (b"content-type", b"two")]
    exchange = Exchange(NoWire(), "POST", b"/", headers)
    assert exchange.value_of(b"content-type") == b"one"
    assert list(exchange.values_of(b"content-type")) == [b"one", b"two"]
    assert (exchange.value_of(b"upgrade"), list(exchange.values_of(b"upgrade"))) == (b"", [])


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\r", b"\n"])
def test_a_header_of_an_answer_begins_no_other_line(value: bytes) -> None:
    for header in ((b"x-told", value), (value, b"told")):
        exchange = Exchange(NoWire(), "GET", b"/", [])
        with pytest.raises(ValueError, match="a header of an answer must be one line"):
            exchange.start(200, [header])
        assert not exchange.begun


def test_who_leaves_is_told_of_once() -> None:
    exchange = Exchange(NoWire(), "GET", b"/", [])
    told = []
    exchange.on_gone = lambda: told.append(exchange.gone)
    exchange.lose()
    exchange.lose()
    assert told == [True]
