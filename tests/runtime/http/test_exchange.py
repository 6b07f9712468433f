"""One request and its answer, without a connection."""

import asyncio

import pytest

from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire
from tests.waiting import WAIT_S


class Written(NoWire):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.answers = 0

    def write(self, data: bytes) -> None:
        self.data += data

    def answered(self, exchange: Exchange) -> None:
        self.answers += 1


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


def test_nothing_is_written_to_who_has_left() -> None:
    wire = Written()
    exchange = Exchange(wire, "GET", b"/", [])
    exchange.start(200, [])
    exchange.lose()
    exchange.write(b"piece")
    exchange.end(b"end")
    assert (wire.data, wire.answers, exchange.ended) == (b"", 0, True)
    wire.congested = True
    assert not exchange.congested


def test_an_answer_in_parts_has_one_end_also_where_its_last_part_is_empty() -> None:
    wire = Written()
    exchange = Exchange(wire, "GET", b"/", [])
    exchange.start(200, [])
    exchange.write(b"piece")
    exchange.end()
    assert wire.data.partition(b"\r\n\r\n")[2] == b"5\r\npiece\r\n0\r\n\r\n"
    assert wire.answers == 1


async def test_who_waits_for_a_client_to_leave_waits_no_longer_than_its_answer_lasts() -> None:
    exchange = Exchange(Written(), "GET", b"/", [])
    leaving = asyncio.create_task(exchange.left())
    await asyncio.sleep(0)
    exchange.whole(200, [], b"")
    await asyncio.wait_for(leaving, WAIT_S)
