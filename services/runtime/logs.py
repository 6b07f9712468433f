"""The process's log on standard error: lines for people or JSON, in UTC. A thread writes them, so that no call waits for a reader.

Nobody can fill it: lines from one place of the code are bounded in number, and so are the lines that wait to be written. How many
were left out is told.
"""

import copy
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, NamedTuple, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

# One place in the code writes this many lines in this time; those for debugging are all wanted.
_LINES_MAX: Final = 20
_WINDOW_S: Final = 10.0
# A peer that leaves in the middle of an answer, or sends headers that are no text, is an event of gRPC's binding each time.
_GRPC_TEXT_LENGTH_MAX: Final = 300
# At most this many lines wait for a slow reader, and the end of the process waits this long for them.
_WAITING_MAX: Final = 10_000
_FLUSH_S: Final = 2.0
_BATCH_MAX: Final = 500
_PACKAGE: Final = "services."
# An attribute of records that are never left out, because somebody is owed what they say.
_KEPT: Final = "is_kept"
KEPT: Final = {_KEPT: True}
# An attribute of records that have all their fields, and arguments that stay as they are.
FIELDS: Final = "fields"
_LEVELS: Final[dict[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# A line that anybody's text is in must not begin another one, nor command a terminal.
_CONTROLS: Final = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))} | {9: "\t", 10: "\n  "}

_NONE: Final[Mapping[str, str]] = {}
_notes: ContextVar[Mapping[str, str]] = ContextVar("log_notes", default=_NONE)


def begin_notes() -> None:
    """Begins a request: what was noted of another one before, from which this task perhaps came, does not count."""
    _notes.set(_NONE)


def note(**fields: str) -> None:
    """Has all further lines of this request say the fields."""
    _notes.set({**_notes.get(), **fields})


def noted() -> Mapping[str, str]:
    """The fields that lines of this request say."""
    return _notes.get()


class UnknownLoggerError(ValueError):
    """A level is given for a logger that there is not."""


def start_logging(log_format: Format = "text", levels: Mapping[str, Level] | None = None) -> "LogWriter":
    """Logs to standard error from now on.

    `levels` are the least ones by the name that lines show, like `edge.routing`; under "" that of all others, else info.

    Errors: `UnknownLoggerError`.
    """
    # No line has them, and they take half of the time of making a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    names = {_logger_name(name): _LEVELS[level] for name, level in (levels or {}).items()}
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LogWriter)]:
        root.removeHandler(handler)
        handler.close()
    writer = LogWriter(log_format, sys.stderr)
    root.addHandler(writer)
    root.setLevel(names.pop("", logging.INFO))
    for name, level in names.items():
        logging.getLogger(name).setLevel(level)
    # Any peer can cause events of gRPC's binding.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_Rarely())
    # A method's name that is no text comes to asyncio's log too.
    logging.getLogger("asyncio").addFilter(_Rarely(UnicodeDecodeError))
    return writer


def _logger_name(shown: str) -> str:
    """The logger's own name. Errors: `UnknownLoggerError`."""
    if not shown:
        return ""
    for name in (_PACKAGE + shown, shown):
        try:
            if name in sys.modules or find_spec(name) is not None:
                return name
        except (ImportError, ValueError):
            continue
    raise UnknownLoggerError(
        f"there is no logger {shown!r}; lines of the log have their loggers' names after the level, like edge.routing"
    )


class _Rarely(logging.Filter):
    """Passes one record in `_WINDOW_S`, as a short line without its traceback, and says how many it has left out."""

    def __init__(self, of: type[BaseException] | None = None) -> None:
        """`of`: only records of such errors count, and all others pass as they are."""
        super().__init__()
        self._of = of
        self._passed_s = 0.0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        cause = record.exc_info[1] if record.exc_info else None
        if self._of is not None and not isinstance(cause, self._of):
            return True
        if record.created - self._passed_s < _WINDOW_S:
            self._left_out += 1
            return False
        text = record.getMessage() if cause is None else f"{record.getMessage()}: {cause}"
        record.msg = f"%.{_GRPC_TEXT_LENGTH_MAX}s; %d more such events since the last such line"
        record.args = (text, self._left_out)
        record.exc_info = None
        self._passed_s, self._left_out = record.created, 0
        return True


class _LeftOut(NamedTuple):
    """Lines of one place that were left out: how many, and what the last one said."""

    lines: int
    name: str
    level: int
    message: str


class _Site:
    """Lines of one place in the code, within a window."""

    __slots__ = ("began_s", "last", "left_out", "passed")

    def __init__(self) -> None:
        self.began_s = float("-inf")
        self.passed = 0
        self.left_out = 0
        self.last: _LeftOut | None = None


class _Bounds:
    """Bounds the lines of each place in the code; for one thread at a time."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._sites: dict[tuple[str, int], _Site] = {}

    def lets_pass(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.levelno < logging.INFO or getattr(record, _KEPT, False):
            return True
        site = self._sites.setdefault((record.pathname, record.lineno), _Site())
        if record.created - site.began_s >= self._window_s and not site.left_out:
            site.began_s, site.passed = record.created, 0
        if site.passed < _LINES_MAX:
            site.passed += 1
            return True
        site.left_out += 1
        site.last = _LeftOut(site.left_out, record.name, record.levelno, _message(record))
        return False

    def over(self, now_s: float) -> Iterator[_LeftOut]:
        """The places that have left something out in a window that is over; it begins anew."""
        for site in self._sites.values():
            if site.left_out and now_s - site.began_s >= self._window_s:
                assert site.last is not None
                yield site.last
                site.began_s, site.passed, site.left_out, site.last = now_s, 0, 0, None


class LogWriter(logging.Handler):
    """Writes lines in a thread of its own, in their order."""

    def __init__(self, log_format: Format, stream: TextIO, window_s: float = _WINDOW_S) -> None:
        super().__init__()
        self._window_s = window_s
        self._line = _json_line if log_format == "json" else _text_line
        self._stream = stream
        self._bounds = _Bounds(window_s)
        self._queue: SimpleQueue[logging.LogRecord | threading.Event] = SimpleQueue()
        self._lost = 0
        # Not the handler's own lock, which who flushes may hold while the thread writes.
        self._counting = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record; what it says is fixed here, because its arguments may change."""
        with self._counting:
            if not self._bounds.lets_pass(record):
                return
            if self._queue.qsize() >= _WAITING_MAX:
                self._lost += 1
                return
        fields = getattr(record, FIELDS, None)
        if fields is None:
            record = copy.copy(record)
            record.msg, record.args = _message(record), None
            setattr(record, FIELDS, _notes.get())
        self._queue.put(record)

    def flush(self) -> None:
        """Returns once all that was taken is written, or after a while."""
        if self._thread.is_alive():
            written = threading.Event()
            self._queue.put(written)
            written.wait(_FLUSH_S)

    def close(self) -> None:
        """Ends the thread, once all is written."""
        if not self._closing.is_set():
            self._closing.set()
            self.flush()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set() or not self._queue.empty():
            taken: list[logging.LogRecord | threading.Event] = []
            try:
                taken.append(self._queue.get(timeout=self._window_s))
                while len(taken) < _BATCH_MAX:
                    taken.append(self._queue.get_nowait())
            except Empty:
                pass
            self._write([self._line(each) for each in taken if isinstance(each, logging.LogRecord)] + self._told())
            for each in taken:
                if isinstance(each, threading.Event):
                    each.set()

    def _told(self) -> list[str]:
        """Lines of what was left out and lost."""
        with self._counting:
            over = list(self._bounds.over(time.time()))
            lost, self._lost = self._lost, 0
        told = []
        for count, name, level, message in over:
            told.append(self._own(name, level, f"{count} more lines like this one were left out: {message}"))
        if lost:
            told.append(self._own(__name__, logging.ERROR, f"{lost} lines were lost: what reads this log is too slow"))
        return told

    def _own(self, name: str, level: int, message: str) -> str:
        record = logging.LogRecord(name, level, __file__, 0, message, None, None)
        setattr(record, FIELDS, _NONE)
        return self._line(record)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads, or the disk is full; the service goes on, and says later how much is missing.
            with self._counting:
                self._lost += len(lines)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # A line that is wrong must not end what it tells of.
        return f"{record.msg!r}: its arguments do not fit: {error}"


def _time(record: logging.LogRecord) -> str:
    seconds, microseconds = divmod(round(record.created * 1_000_000), 1_000_000)
    return f"{_second(seconds)}.{microseconds:06}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def _error(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, FIELDS)
    return fields


def _text_line(record: logging.LogRecord) -> str:
    message = _message(record)
    others = " ".join(f"{name}={value}" for name, value in _fields(record).items() if str(value) not in message)
    line = f"{message} [{others}]" if others else message
    error = _error(record)
    told = f"{line.translate(_CONTROLS)}\n{error}" if error else line.translate(_CONTROLS)
    return f"{_time(record)} {record.levelname} {record.name.removeprefix(_PACKAGE)}: {told}\n"


def _json_line(record: logging.LogRecord) -> str:
    told = {
        "time": _time(record),
        "level": record.levelname.lower(),
        "logger": record.name.removeprefix(_PACKAGE),
        "message": _message(record),
        **_fields(record),
    }
    if error := _error(record):
        told["error"] = error
    return msgspec.json.encode(told, enc_hook=str).decode() + "\n"
