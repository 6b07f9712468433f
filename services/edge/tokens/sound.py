"""Lengths of sound in a request, as far as the file itself tells them. Pure.

A head may lie, and vendors count what they hear. So a length is two numbers: what the head says, for the likely charge, and the
longest that the bytes can last in their format, for what is reserved. Nothing is decoded, and nothing is fetched.
"""

import binascii
import re
import struct
from io import SEEK_END, SEEK_SET, BytesIO
from typing import Final, NamedTuple

from tinytag import TinyTag, TinyTagException

from services.edge.tokens.media import without_line_ends

_MS: Final = 1_000
# The fewest bytes of a second, by format. The lowest rate of MPEG audio is 8 kbit/s. Others have silence in next to no bytes.
_MPEG_BYTES_MIN: Final = 1_000
# The most: MPEG audio has 320 kbit/s, and no format of speech has more than eight channels of 192,000 numbers of 32 bits.
_MPEG_BYTES_MAX: Final = 40_000
_BYTES_MAX: Final = 8 * 192_000 * 4
# A second of speech whose head tells nothing is expected to have this many bytes.
_BYTES_EXPECTED: Final = 4_000
# Bits of numbers and codes of a fixed size: integers, floats, A-law, mu-law. Readers take 8 of the last two, whatever a head says.
_WAVE_BITS: Final = {1: frozenset({8, 16, 24, 32, 64}), 3: frozenset({32, 64}), 6: frozenset({8}), 7: frozenset({8})}
# A head with more: its bits may be fewer than their room, and what they are stands at its end.
_WAVE_EXTENSIBLE: Final = 0xFFFE
_WAVE_EXTENSION: Final = struct.Struct("<HHIH14s")
_WAVE_EXTENSION_BYTES: Final = 22
_WAVE_GUID_END: Final = bytes.fromhex("000000001000800000aa00389b71")
_WAVE_RATES: Final = range(4_000, 768_001)
_WAVE_CHANNELS_MAX: Final = 64
# The first chunk of a file, where any reader finds it. In one of fewer than 16 bytes readers take the bits for 8.
_WAVE_FORMAT: Final = re.compile(rb"RIFF.{4}WAVEfmt (.{4})(.{16})(.{24})?", re.DOTALL)
_WAVE_FORMAT_BYTES: Final = 16
_ID3_HEAD_BYTES: Final = 10
# Formats that tell their length at their begin: MPEG audio and FLAC; MPEG-4 does, too.
_TELLING: Final = (b"\xff", b"fLaC")
_HEAD_BYTES: Final = 64 * 1024


class Sound(NamedTuple):
    """Sound, in milliseconds: its likely length, the longest that its bytes can last (0: no bound is known), and the shortest."""

    milliseconds: int
    milliseconds_max: int
    milliseconds_min: int = 0


# Sound by URL, which is never fetched: expected to last a minute.
FAR_SOUND: Final = Sound(60_000, 0)


def sound_of(content: bytes) -> Sound:
    """The length of a file of sound; never 0, because a vendor counts at least its begun second."""
    size = len(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        fixed = _wave_bytes_per_second(content)
        if fixed:
            # Its head may say less, and a reader takes all that is there.
            length = -(-size * _MS // fixed)
            return Sound(length, length, length)
        least, most = 0, _BYTES_MAX
    else:
        content = content[_id3_bytes(content) :]
        size = len(content)
        least, most = (_MPEG_BYTES_MIN, _MPEG_BYTES_MAX) if _is_mpeg(content) else (0, _BYTES_MAX)
    shortest = size * _MS // most
    longest = -(-size * _MS // least) if least else 0
    likely = max(_told_ms(content) or size * _MS // _BYTES_EXPECTED, shortest, 1)
    return Sound(min(likely, longest) if longest else likely, longest, shortest)


def sound_in_base64(data: str) -> Sound:
    """The length of a file in base64. Errors: `ValueError` for what is none."""
    return sound_of(binascii.a2b_base64(without_line_ends(data), strict_mode=True))


class _Head(BytesIO):
    """A file of which only the first bytes can be read, because a reader takes its time over many small parts."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content[:_HEAD_BYTES])
        self._size = len(content)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """See `BytesIO`; the end is that of the file."""
        return super().seek(max(0, self._size + offset)) if whence == SEEK_END else super().seek(offset, whence)


def _told_ms(content: bytes) -> int:
    """The length that the head tells; 0 where it tells none."""
    if not content.startswith(_TELLING) and content[4:8] != b"ftyp":
        # Others tell it at their end, after any number of parts.
        return 0
    try:
        told = TinyTag.get(file_obj=_Head(content), tags=False)
    except (TinyTagException, OSError):
        return 0
    seconds = told.duration or 0.0
    if told.bitrate and _is_mpeg(content):
        # The frames of a head may be all that was seen of a rate that changes.
        seconds = max(seconds, len(content) * 8 / (told.bitrate * 1_000))
    # A day is longer than any file that is taken here.
    return round(seconds * _MS) if 0 < seconds < 86_400 else 0


def _is_mpeg(content: bytes) -> bool:
    """Whether it begins with a frame of MPEG audio, of layer I, II or III; other sound under its mark has no lowest rate."""
    return content[:1] == b"\xff" and len(content) > 1 and content[1] & 0xE0 == 0xE0 and content[1] & 0x06 != 0


def _wave_bytes_per_second(content: bytes) -> int:
    """The bytes of a second; 0 where a second has no fixed number of them, or an absurd one."""
    found = _WAVE_FORMAT.match(content)
    if found is None:
        return 0
    kind, channels, rate, _, block_bytes, bits = struct.unpack("<HHIIHH", found[2])
    size = int.from_bytes(found[1], "little")
    # Some readers go by the size of a block, and others by the bits.
    is_certain = size >= _WAVE_FORMAT_BYTES and block_bytes * 8 == channels * bits
    if kind == _WAVE_EXTENSIBLE:
        more, valid_bits, _, kind, guid_end = _WAVE_EXTENSION.unpack(found[3] or bytes(_WAVE_EXTENSION.size))
        is_certain &= (
            size >= _WAVE_FORMAT_BYTES + _WAVE_EXTENSION.size and more >= _WAVE_EXTENSION_BYTES and guid_end == _WAVE_GUID_END
        )
        bits = min(valid_bits or bits, bits)
    is_fixed = bits in _WAVE_BITS.get(kind, ()) and 1 <= channels <= _WAVE_CHANNELS_MAX and rate in _WAVE_RATES
    return rate * channels * bits // 8 if is_fixed and is_certain else 0


def _id3_bytes(content: bytes) -> int:
    """The bytes of a tag before the sound, with its picture; at most all."""
    if not content.startswith(b"ID3") or len(content) < _ID3_HEAD_BYTES:
        return 0
    size = 0
    for byte in content[6:_ID3_HEAD_BYTES]:
        size = size << 7 | byte & 0x7F
    return min(size + _ID3_HEAD_BYTES, len(content))
