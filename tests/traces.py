"""Where real traffic is, if it stands beside the project."""

from pathlib import Path

import pytest

TRACES = Path(__file__).parents[2] / "shared" / "traces"

needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="no real traces beside the project")
