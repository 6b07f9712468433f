"""Every body of the collection of vendors' quirks, translated: its words arrive, and every stream has a begin and an end."""

import gzip
from pathlib import Path

import pytest

from services.edge.call.dialect import Ending
from services.edge.vendors.events import EventReader
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import NOTHING
from tests import traces
from tests.edge.dialects.test_vendor_streams import EXPECTED, STREAMS, body_of
from tests.edge.dialects.translation.test_round_trips import assert_well_formed, heard
from tests.edge.dialects.translation.ways import C, M, R, endpoint, translated

pytestmark = traces.needs_streams

BODIES = sorted(path.name for path in traces.STREAMS.glob("[acr]*")) if traces.STREAMS.is_dir() else []


@pytest.mark.parametrize("client", [M, R])
@pytest.mark.parametrize("name", STREAMS)
def test_the_words_of_a_chat_arrive(client: str, name: str) -> None:
    answer = translated(client, C, stream=True).answer(endpoint(C))
    reader = EventReader()
    out = b"".join(answer.feed(event).out for event in [*reader.feed(body_of(name)), *reader.end()])
    out += answer.end(Ending.COMPLETE, NOTHING)
    assert_well_formed(client, out)
    wanted = EXPECTED[name][0]
    assert heard(client, out).said == (wanted.content or "", wanted.reasoning, list(wanted.calls))


@pytest.mark.parametrize("name", BODIES)
def test_no_body_does_harm(name: str) -> None:
    vendor = {"a": M, "c": C, "r": R}[name[0]]
    path: Path = traces.STREAMS / name
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for client in {C, M, R} - {vendor}:
        answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
        out = b""
        try:
            if ".json" in name:
                out += answer.feed_whole(body).out
            else:
                reader = EventReader()
                for event in [*reader.feed(body), *reader.end()]:
                    out += answer.feed(event).out
        except VendorFailure:
            # Another route is tried, or the answer breaks off.
            pass
        assert_well_formed(client, out + answer.end(Ending.COMPLETE, NOTHING))
