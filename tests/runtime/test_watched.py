"""Figures of every process: its disks, the streams that it follows."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from services.runtime.disks import watch_disk
from services.runtime.followed import Followed
from services.runtime.instruments import page


def samples(name: str) -> dict[str, float]:
    """By the first label's value."""
    families = text_string_to_metric_families(page().decode())
    return {next(iter(sample.labels.values())): sample.value for each in families for sample in each.samples if sample.name == name}


def test_each_disk_says_how_full_it_is_and_one_that_is_gone_hides_no_other(tmp_path: Path) -> None:
    file = tmp_path / "data.sqlite3"
    file.touch()
    watch_disk("tests-file", file)
    watch_disk("tests-gone", tmp_path / "gone")
    free, used = samples("disk_free_bytes"), samples("disk_used_bytes")
    assert free["tests-file"] > 0
    assert used["tests-file"] > 0
    assert "tests-gone" not in free.keys() | used.keys()


def test_a_stream_is_silent_from_its_break_until_it_tells_something_again() -> None:
    now_s = [100.0]
    followed = Followed(lambda: now_s[0])
    now_s[0] += 2
    assert (followed.revision, followed.silence_s) == (0, 2)
    followed.told(7)
    now_s[0] += 50
    assert (followed.revision, followed.silence_s) == (7, 0)
    followed.broke()
    now_s[0] += 3
    followed.broke()
    now_s[0] += 4
    assert (followed.revision, followed.silence_s) == (7, 7)
    followed.told(8)
    assert (followed.revision, followed.silence_s) == (8, 0)
