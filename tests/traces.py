"""Where real traffic and vendors' quirks are, if they stand beside the project."""

from pathlib import Path

import pytest

TRACES = Path(__file__).parents[2] / "shared" / "traces"
# Bodies with vendors' quirks, and an index that says what a caller must get and the right usage of each.
STREAMS = Path(__file__).parents[2] / "shared" / "standards" / "streams"

needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="no real traces beside the project")
needs_streams = pytest.mark.skipif(not STREAMS.is_dir(), reason="no collection of vendors' streams beside the project")
