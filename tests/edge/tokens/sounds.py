"""Files of sound, as their formats have them."""

import io
import struct
import wave


def wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """Silence in 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"\0\0" * round(seconds * rate) * channels)
    return file.getvalue()


# A frame of MPEG-1 Layer III has 1,152 samples.
_SAMPLES = 1_152
_RATE = 44_100
_FRAME = b"\xff\xfb\x90\xc0"
_FRAME_BYTES = 417
_XING_PLACE = 21


def mp3(seconds: float, *, told_seconds: float | None = None, tag_bytes: int = 0) -> bytes:
    """Frames of 128 kbit/s; `told_seconds`: a Xing header that says this length; `tag_bytes`: a tag before them."""
    frames = round(seconds * _RATE / _SAMPLES)
    frame = _FRAME.ljust(_FRAME_BYTES, b"\0")
    told = b""
    if told_seconds is not None:
        xing = b"Xing" + struct.pack(">iii", 3, round(told_seconds * _RATE / _SAMPLES), 1_000_000)
        told = (_FRAME + b"\0" * (_XING_PLACE - len(_FRAME)) + xing).ljust(_FRAME_BYTES, b"\0")
    size = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x03\0\0" + size + b"\0" * tag_bytes if tag_bytes else b""
    return tag + told + frame * frames
