"""A transcription as subtitles: SRT and WebVTT. Pure."""

from typing import Any

from services.edge.vendors.vendor import VendorFailure


def srt(segments: list[Any]) -> str:
    """Numbered subtitles with their times. Errors: `VendorFailure` garbage for what is no segment."""
    cues = (f"{number}\n{_cue(each, ',')}" for number, each in enumerate(segments, 1))
    return "\n".join(cues)


def vtt(segments: list[Any]) -> str:
    """Subtitles as the web has them. Errors: `VendorFailure` garbage for what is no segment."""
    return "WEBVTT\n\n" + "\n".join(_cue(each, ".") for each in segments)


def _cue(segment: Any, point: str) -> str:
    try:
        begin, end, text = float(segment["start"]), float(segment["end"]), segment["text"].strip()
        # A blank line would end the subtitle.
        lines = "\n".join(line for line in text.splitlines() if line.strip())
        return f"{_time(begin, point)} --> {_time(end, point)}\n{lines}\n"
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise VendorFailure("garbage", 200) from None


def _time(seconds: float, point: str) -> str:
    whole = round(seconds * 1_000)
    minutes, milliseconds = divmod(whole, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1_000:02}{point}{milliseconds % 1_000:03}"
