"""Lines of the log as a process writes them."""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec
import pytest

from services.runtime.logs import KEPT, Format, LogWriter, UnknownLoggerError, begin_notes, note, start_logging

LOGGER = logging.getLogger("services.edge.routing.router")


@contextmanager
def written(log_format: Format = "json", window_s: float = 10.0) -> Iterator[io.StringIO]:
    """What is logged within the block; all of it is there after `flush` of the logger's handler."""
    stream = io.StringIO()
    writer = LogWriter(log_format, stream, window_s)
    LOGGER.addHandler(writer)
    try:
        yield stream
    finally:
        LOGGER.removeHandler(writer)
        writer.close()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    for handler in LOGGER.handlers:
        handler.flush()
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_has_its_time_in_utc_its_level_its_logger_and_what_was_noted() -> None:
    with written() as stream:
        begin_notes()
        note(charging_id="call-1", account_id="acct-1")
        LOGGER.warning("vendor %s fails", "acme")
        begin_notes()
        LOGGER.warning("of another request")
        first, second = lines(stream)
    assert isinstance(first["time"], str)
    assert first["time"].endswith("Z")
    assert {**first, "time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "edge.routing.router",
        "message": "vendor acme fails",
        "charging_id": "call-1",
        "account_id": "acct-1",
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_an_error_is_one_line_of_json_with_its_traceback() -> None:
    with written() as stream:
        try:
            raise ZeroDivisionError("by nothing")
        except ZeroDivisionError:
            LOGGER.exception("call failed")
        (line,) = lines(stream)
    assert line["message"] == "call failed"
    assert str(line["error"]).startswith("Traceback")
    assert str(line["error"]).endswith("ZeroDivisionError: by nothing")


def test_a_text_that_anybody_sent_begins_no_line_and_commands_no_terminal() -> None:
    with written("text") as stream:
        LOGGER.warning("GET %s failed", "/x\n2026-11-30T00:00:00Z ERROR forged: \x1b[2J\x9b2J\r")
        LOGGER.handlers[-1].flush()
        first, second = stream.getvalue().splitlines()
    assert first.endswith(" WARNING edge.routing.router: GET /x")
    assert second == "  2026-11-30T00:00:00Z ERROR forged: \\x1b[2J\\x9b2J\\x0d failed"


def test_a_flood_from_one_place_is_bounded_and_no_line_that_somebody_is_owed_is_left_out() -> None:
    with written(window_s=0.5) as stream:
        for number in range(1_000):
            LOGGER.warning("refused %d", number)
            LOGGER.warning("owed %d", number, extra=KEPT)
        LOGGER.warning("another place")
        # The thread looks at each end of a window.
        while "left out: refused 999" not in stream.getvalue():
            threading.Event().wait(0.01)
        told = [str(line["message"]) for line in lines(stream)]
    assert sum(line.startswith("owed") for line in told) == 1_000
    assert "another place" in told
    passed = sum(line.startswith("refused") for line in told)
    assert passed + sum(int(line.split()[0]) for line in told if "left out" in line) == 1_000
    assert passed < 500


def test_a_reader_that_reads_nothing_holds_nobody_up_and_is_told_what_it_missed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as reader, ThreadPoolExecutor(1) as pool:
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            writer = LogWriter("text", stream)
            for number in range(30_000):
                writer.handle(LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, "line %d", (number,), None, extra=KEPT))
            # Only now it is read.
            rest = pool.submit(reader.readlines)
            writer.close()
        read = rest.result()
    lost = [line.partition("runtime.logs: ")[2] for line in read if "were lost" in line]
    assert lost[0].endswith(" lines were lost: what reads this log is too slow\n")
    assert len(read) - len(lost) + sum(int(line.split()[0]) for line in lost) == 30_000


def test_levels_are_those_of_the_loggers_that_lines_show() -> None:
    root = logging.getLogger()
    before = root.level, LOGGER.level
    try:
        writer = start_logging("text", {"": "error", "edge.routing.router": "debug"})
        assert LOGGER.isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("services.edge.app").isEnabledFor(logging.WARNING)
        root.removeHandler(writer)
        writer.close()
    finally:
        root.setLevel(before[0])
        LOGGER.setLevel(before[1])


@pytest.mark.parametrize("name", ["edge.ruoting", "egde", "..", "edge router"])
def test_a_logger_that_there_is_not_is_told_so(name: str) -> None:
    with pytest.raises(UnknownLoggerError, match="there is no logger"):
        start_logging("text", {name: "debug"})


def test_what_was_said_last_is_written_before_the_process_ends(capfd: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter("text", sys.stderr)
    writer.handle(LOGGER.makeRecord(LOGGER.name, logging.ERROR, "", 0, "the end", (), None))
    writer.close()
    assert capfd.readouterr().err.endswith("ERROR edge.routing.router: the end\n")
