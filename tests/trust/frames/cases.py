"""Conversations with a server, drawn by a seed: right ones in which some frames are wrong."""

import gzip
from random import Random
from typing import Final

from tests.trust.frames.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    field,
    frame,
    message,
    request,
    reset,
    settings,
    window_update,
)
from tokenline.accounting.v1 import accounting_pb2 as pb

HELLO: Final = PREFACE + settings(header_table_size=0)


def malformed(operations: int, account_id: str = "acct-1") -> bytes:
    """A request of operations that are none: each is answered at once, by an error."""
    each = pb.ChargeOperation(account_id=account_id, charging_id="none", release=pb.ReleaseSession())
    return pb.ChargeRequest(operations=[each] * operations).SerializeToString()


def conversation(random: Random) -> list[bytes]:
    """What a peer writes, piece by piece. One in eight is right, so that what is beside it is reached too."""
    steps = _right(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        _MUTATIONS[random.randrange(len(_MUTATIONS))](random, steps)
    return [step for step in steps if step]


def _right(random: Random) -> list[bytes]:
    steps = [PREFACE, settings(header_table_size=0)]
    for stream in range(1, 2 * random.randint(1, 3), 2):
        steps.append(request(stream))
        steps += [data(stream, message(malformed(random.randint(0, 3)))) for _ in range(random.randint(1, 3))]
        steps.append(random.choice([frame(DATA, END_STREAM, stream), reset(stream), b""]))
    return steps


def _somewhere(random: Random, steps: list[bytes]) -> int:
    return random.randrange(len(steps))


def _drop(random: Random, steps: list[bytes]) -> None:
    steps[_somewhere(random, steps)] = b""


def _twice(random: Random, steps: list[bytes]) -> None:
    at = _somewhere(random, steps)
    steps.insert(at, steps[at])


def _swap(random: Random, steps: list[bytes]) -> None:
    one, other = _somewhere(random, steps), _somewhere(random, steps)
    steps[one], steps[other] = steps[other], steps[one]


def _cut(random: Random, steps: list[bytes]) -> None:
    at = _somewhere(random, steps)
    steps[at] = steps[at][: random.randint(0, len(steps[at]))]


def _garble(random: Random, steps: list[bytes]) -> None:
    at = _somewhere(random, steps)
    garbled = bytearray(steps[at])
    for _ in range(min(len(garbled), random.randint(1, 4))):
        garbled[random.randrange(len(garbled))] = random.randrange(256)
    steps[at] = bytes(garbled)


def _head(random: Random, steps: list[bytes]) -> None:
    """Another kind, other flags, another stream or another length in the head of a frame."""
    at = _somewhere(random, steps)
    head = bytearray(steps[at])
    if len(head) >= 9:
        place, value = random.choice([(0, 255), (2, 255), (3, random.randrange(12)), (4, random.randrange(256)), (8, 0), (8, 2)])
        head[place] = value
        steps[at] = bytes(head)


def _insert(random: Random, steps: list[bytes]) -> None:
    steps.insert(_somewhere(random, steps) + 1, random.choice(_ODD)(random))


def _noise(random: Random) -> bytes:
    return random.randbytes(random.randint(1, 200))


_ODD: Final = (
    lambda random: frame(random.randrange(10, 256), random.randrange(256), random.randrange(4), _noise(random)),
    lambda random: frame(random.randrange(10), random.randrange(256), random.randrange(4), _noise(random)),
    lambda random: frame(CONTINUATION, random.choice((0, END_HEADERS)), random.randrange(4), block()),
    lambda random: frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02" + block()),
    lambda random: frame(PRIORITY, 0, 1, b"\x00\x00\x00\x01\xff"),
    lambda random: frame(SETTINGS, random.choice((0, 1)), random.choice((0, 1)), _noise(random)[:7]),
    lambda random: settings(initial_window_size=random.choice((0, 2**31 - 1, 2**31, 2**32 - 1))),
    lambda random: settings(max_frame_size=random.choice((0, 16_383, 2**24, 2**32 - 1)), enable_push=7),
    lambda random: settings(max_concurrent_streams=0, max_header_list_size=0),
    lambda random: frame(PING, random.choice((0, 1)), random.choice((0, 1)), bytes(random.choice((8, 7, 0, 9)))),
    lambda random: frame(GOAWAY, 0, random.choice((0, 1)), bytes(random.choice((8, 4)))),
    lambda random: window_update(random.choice((0, 1, 99)), random.choice((0, 1, 2**31 - 1, 2**31))),
    lambda random: frame(WINDOW_UPDATE, 0, 1, b"\x01"),
    lambda random: reset(random.choice((0, 1, 2, 99)), random.randrange(20)),
    lambda random: frame(DATA, PADDED, 1, bytes([random.choice((0, 255))]) + message(b"")),
    lambda random: frame(DATA, random.choice((0, END_STREAM)), random.choice((0, 1, 2, 99)), message(malformed(1))),
    lambda random: data(1, bytes(70_000), frame_bytes_max=random.choice((16_384, 17_000, 70_000))),
    lambda random: frame(DATA, 0, 1, message(malformed(1), compressed=random.choice((1, 2, 255)))),
    lambda random: frame(DATA, END_STREAM, 1, message(b"", length=random.choice((1, 2**24 + 1, 2**32 - 1)))),
    lambda random: frame(DATA, END_STREAM, 1, message(_noise(random))),
    lambda random: frame(DATA, 0, 1, b"\x00\x00"),
    lambda random: frame(DATA, 0, 1, message(malformed(1_025))[:16_384]),
    lambda random: frame(HEADERS, END_HEADERS | random.choice((0, END_STREAM)), random.choice((1, 2, 101)), _noise(random)),
    lambda random: frame(HEADERS, END_HEADERS, 103, block("/tokenline.accounting.v1.AccountingService/Audit")),
    lambda random: frame(HEADERS, END_HEADERS, 105, block("/none.of.Ours/Any")) + data(105, message(b"")),
    lambda random: frame(HEADERS, END_HEADERS, 107, b"".join(field(b":path", b"/") for _ in range(3))),
    lambda random: frame(HEADERS, END_HEADERS, 109, block("/x", (field(b"UPPER", b"case"), field(b"te", b"gzip")))),
    lambda random: frame(
        HEADERS, END_HEADERS, 111, block("/x", (field(b"grpc-timeout", random.choice((b"1X", b"99999999999H", b""))),))
    ),
    lambda random: frame(HEADERS, END_HEADERS, 113, block(more=(field(b"text", bytes(range(128, 200))), field(b"b-bin", b"!")))),
    lambda random: frame(HEADERS, 0, 115, block()) + frame(DATA, 0, 115, message(b"")),
    lambda random: (
        frame(HEADERS, END_HEADERS, 117, block(more=(field(b"grpc-encoding", b"gzip"),)))
        + data(117, message(gzip.compress(bytes(random.choice((10, 20 * 1024 * 1024)))), compressed=1), END_STREAM)
    ),
    lambda random: (
        frame(HEADERS, END_HEADERS, 119, block(more=(field(b"grpc-encoding", b"none-such"),))) + data(119, message(b"x", 1))
    ),
    lambda random: PREFACE,
    _noise,
)
_MUTATIONS: Final = (_drop, _twice, _swap, _cut, _garble, _head, _insert, _insert, _insert, _insert)
