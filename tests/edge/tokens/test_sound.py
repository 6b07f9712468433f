"""Lengths of sound: what a head says, and what the bytes can last."""

import base64
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.tokens.sound import Sound, sound_in_base64, sound_of
from tests.edge.tokens.sounds import mp3, wav

HEAD = 44


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(1, 8_000, 1), (2.5, 16_000, 1), (0.25, 48_000, 2)])
def test_a_wave_of_fixed_numbers_lasts_as_long_as_its_bytes(seconds: float, rate: int, channels: int) -> None:
    content = wav(seconds, rate, channels)
    length = -(-(len(content)) * 1_000 // (rate * channels * 2))
    assert sound_of(content) == Sound(length, length, length)
    assert round(seconds * 1_000) <= length <= round(seconds * 1_000) + 3


def test_a_wave_that_says_that_it_is_shorter_is_not() -> None:
    content = bytearray(wav(10))
    # The size of its data, and the bytes of a second.
    content[40:44] = struct.pack("<I", 100)
    content[28:32] = struct.pack("<I", 2**31)
    assert sound_of(bytes(content)).milliseconds == sound_of(wav(10)).milliseconds


@pytest.mark.parametrize(
    ("place", "value"),
    [
        # Another coding than numbers of a fixed size, no rate, an absurd one, no channel, many, odd bits.
        (20, struct.pack("<H", 0x55)),
        (24, struct.pack("<I", 0)),
        (24, struct.pack("<I", 2**31)),
        (22, struct.pack("<H", 0)),
        (22, struct.pack("<H", 65_535)),
        (34, struct.pack("<H", 1)),
        # The chunk that says it is not the first: another reader may find another.
        (12, b"LIST"),
    ],
)
def test_a_wave_whose_second_is_not_known_has_no_bound(place: int, value: bytes) -> None:
    content = bytearray(wav(10))
    content[place : place + len(value)] = value
    sound = sound_of(bytes(content))
    assert sound.milliseconds_max == 0
    assert sound.milliseconds >= sound.milliseconds_min > 0 or sound.milliseconds_min == len(content) * 1_000 // 6_144_000


BASE_GUID = bytes.fromhex("000000001000800000aa00389b71")


def head(kind: int, bits: int, *, size: int = 16, block_bytes: int = 0, valid_bits: int = 0, subformat: bytes = b"") -> bytes:
    """A head of one channel of 8,000 numbers a second, and 8,000 bytes."""
    plain = struct.pack("<HHIIHH", kind, 1, 8_000, 0, block_bytes or bits // 8, bits)
    more = struct.pack("<HHI", 22, valid_bits, 0) + subformat if subformat else b""
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", size) + plain + more + bytes(8_000 - 36 - len(more))


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (head(1, 64), 0.125),
        (head(3, 32), 0.25),
        (head(7, 8), 1),
        (head(0xFFFE, 16, size=40, valid_bits=16, subformat=b"\1\0" + BASE_GUID), 0.5),
        (head(0xFFFE, 32, size=40, valid_bits=0, subformat=b"\3\0" + BASE_GUID), 0.25),
        # Readers differ: some take the bits, others their room.
        (head(0xFFFE, 64, size=40, valid_bits=8, subformat=b"\1\0" + BASE_GUID), 1),
        # mu-law has 8 bits, whatever is said; a float has 32 or 64.
        (head(7, 64), 0),
        (head(3, 8), 0),
        # A short head has 8 bits.
        (head(1, 64, size=14), 0),
        (head(1, 64, block_bytes=1), 0),
        # MP3, in the head of large numbers; a subformat of another family; the end of the head that is not there.
        (head(0xFFFE, 64, size=40, valid_bits=64, subformat=b"\x55\0" + BASE_GUID), 0),
        (head(0xFFFE, 64, size=40, valid_bits=64, subformat=b"\1\0" + bytes(14)), 0),
        (head(0xFFFE, 64, size=18, valid_bits=64, subformat=b"\1\0" + BASE_GUID), 0),
        (head(0xFFFE, 64), 0),
    ],
)
def test_a_wave_lasts_as_long_as_any_reader_takes_it_to(content: bytes, seconds: float) -> None:
    assert sound_of(content).milliseconds_max == seconds * 1_000


def test_a_chunk_within_another_says_nothing_of_a_wave() -> None:
    content = wav(10)
    dense = wav(0, rate=768_000)[12:36]
    listed = content[:12] + b"LIST" + struct.pack("<I", len(dense)) + dense + content[12:]
    assert sound_of(listed).milliseconds_max == 0


@pytest.mark.parametrize("told_seconds", [None, 10])
def test_mpeg_has_the_length_of_its_frames_or_of_its_head(told_seconds: float | None) -> None:
    sound = sound_of(mp3(10, told_seconds=told_seconds))
    assert 9_950 <= sound.milliseconds <= 10_050
    # 128 kbit/s are sixteen times the lowest rate, and two fifths of the highest.
    assert 155_000 <= sound.milliseconds_max <= 165_000
    assert 3_950 <= sound.milliseconds_min <= 4_050


@pytest.mark.parametrize(("told_seconds", "shortest", "longest"), [(0.1, 4_000, 4_100), (80_000, 160_000, 162_000)])
def test_a_head_that_lies_is_kept_within_what_the_bytes_can_last(told_seconds: float, shortest: int, longest: int) -> None:
    sound = sound_of(mp3(10, told_seconds=told_seconds))
    assert shortest - 50 <= sound.milliseconds <= longest


def test_a_picture_before_the_sound_is_none() -> None:
    plain, tagged = sound_of(mp3(10)), sound_of(mp3(10, tag_bytes=100_000))
    assert (tagged.milliseconds_max, tagged.milliseconds_min) == (plain.milliseconds_max, plain.milliseconds_min)
    # A tag that says that it is longer than the file is all of it.
    assert sound_of(b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + b"x" * 100) == Sound(1, 0, 0)


def test_a_rate_that_changes_is_that_of_the_frames_that_were_seen() -> None:
    # Frames of 128 and of 160 kbit/s, by turns, so that no constant rate is found in the head.
    turns = b"".join(frame.ljust(size, b"\0") for frame, size in ((b"\xff\xfb\x90\xc0", 417), (b"\xff\xfb\xa0\xc0", 522)))
    sound = sound_of(turns * 1_000)
    assert sound.milliseconds == pytest.approx(2_000 * 1_152 / 44.1, rel=0.01)


def test_other_sound_under_the_mark_of_mpeg_has_no_lowest_rate() -> None:
    # Frames of AAC (ADTS), which have silence in next to no bytes.
    assert sound_of(b"\xff\xf1\x50\x80" + bytes(40_000)) == Sound(10_001, 0, 6)


@pytest.mark.parametrize(
    "begin", [b"OggS", b"\xff", b"\xff\xf1", b"fLaC", b"\0\0\0 ftypM4A ", b"\x1aE\xdf\xa3", b"", b"RIFF\0\0\0\0WAVE"]
)
def test_other_formats_have_no_bound_and_are_expected_by_their_bytes(begin: bytes) -> None:
    sound = sound_of(begin + bytes(40_000))
    assert (sound.milliseconds, sound.milliseconds_max) == ((40_000 + len(begin)) * 1_000 // 4_000, 0)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"ID3", b"\xff\xfb\x90\xc0", b"OggS", b"fLaC", b"RIFFxxxxWAVEfmt ", b"xxxxftyp"])
)
def test_no_file_raises_an_error(tail: bytes, head: bytes) -> None:
    sound = sound_of(head + tail)
    assert sound.milliseconds >= 1
    assert sound.milliseconds_max == 0 or sound.milliseconds <= sound.milliseconds_max


@pytest.mark.parametrize(
    "begin", [b"\xff\xfb\x90\xc0", b"ID3\x03\0\0\0\0\0\x0a" + b"\0" * 10 + b"\xff\xe2", b"fLaC", b"\0\0\0\x08ftyp", b"OggS"]
)
@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\0\0\0\x08free", b"OggS" + b"\0" * 23, b"\xff\xfb\x10\xc0"])
def test_a_file_of_many_small_parts_keeps_nobody_waiting(begin: bytes, filling: bytes) -> None:
    content = begin + filling * (4_000_000 // len(filling))
    began_s = time.process_time()
    assert sound_of(content).milliseconds >= 1
    # All of it takes seconds.
    assert time.process_time() - began_s < 0.5


def test_base64_is_read_with_its_line_ends_and_nothing_else() -> None:
    content = wav(1)
    assert sound_in_base64(base64.encodebytes(content).decode()) == sound_of(content)
    for bad in ("a", "****", "AAA=AAAA"):
        with pytest.raises(ValueError):
            sound_in_base64(bad)
