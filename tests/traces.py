"""Where real traffic, vendors' quirks and the operators' documents are, if they stand beside the project."""

from pathlib import Path

import pytest

TRACES = Path(__file__).parents[2] / "shared" / "traces"
# Bodies with vendors' quirks, and an index that says what a caller must get and the right usage of each.
STREAMS = Path(__file__).parents[2] / "shared" / "standards" / "streams"

# The documents and scenarios of the operators' carrier billing.
CAMARA = Path(__file__).parents[2] / "shared" / "standards" / "camara"

needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="no real traces beside the project")
needs_streams = pytest.mark.skipif(not STREAMS.is_dir(), reason="no collection of vendors' streams beside the project")
needs_camara = pytest.mark.skipif(not CAMARA.is_dir(), reason="no documents of carrier billing beside the project")
