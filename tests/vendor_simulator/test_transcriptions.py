"""Files of sound as the simulator reads them."""

import pytest

from services.vendor_simulator.transcriptions import parse_transcription
from tests.edge.tokens.sounds import wav

# Without a length in its head, a file lasts as long as its bytes do at 32 kbit/s.
RATELESS = wav(1)[:24] + b"\0" * 8 + wav(1)[32:]


def form(sound: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b\r\n'
    return head + b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + sound + b"\r\n--b--\r\n"


@pytest.mark.parametrize(("sound", "seconds"), [(wav(1.5), 1.5), (RATELESS, len(RATELESS) / 4_000), (b"RIFF", 4 / 4_000)])
def test_a_file_lasts_as_its_head_says_or_else_as_its_bytes_last(sound: bytes, seconds: float) -> None:
    assert parse_transcription(form(sound)).seconds == seconds
