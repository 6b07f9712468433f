"""Heads of images, as their formats have them."""

import base64
import struct
import zlib


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, moves: bool = False) -> bytes:
    """A PNG that says this size; `moves`: with the chunk of an animation."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    animation = _chunk(b"acTL", struct.pack(">II", 1_000, 0)) if moves else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + animation + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def jpeg(width: int, height: int, *, metadata_bytes: int = 16) -> bytes:
    """A JPEG that says this size, after metadata."""
    metadata = b"\xff\xe1" + struct.pack(">H", metadata_bytes + 2) + b"\xc0" * metadata_bytes
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8" + metadata + frame + b"\xff\xda\x00\x02"


def gif(width: int, height: int) -> bytes:
    """A GIF that says this size."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"


def webp(width: int, height: int) -> bytes:
    """A WebP of one lossy image of this size."""
    frame = b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(frame)) + b"WEBPVP8 " + struct.pack("<I", len(frame)) + frame


def extended_webp(width: int, height: int) -> bytes:
    """A WebP of several parts, on a canvas of this size."""
    canvas = b"\x02\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas


def in_base64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def data_url(image: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{in_base64(image)}"
