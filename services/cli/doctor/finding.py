"""Findings: how bad each is, and what to do about it."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, Final, Literal, NamedTuple

from services.cli.failures import CommandError, CommandFailed, os_error_text

Level = Literal["ok", "warn", "fail"]

# People and probes wait for the answer.
TIMEOUT_S: Final = 2.0
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_DISK_FREE_WARN: Final = 2 * _GIB
_DISK_FREE_FAIL: Final = 200 * _MIB
_DISK_SHARE_WARN: Final = 0.05
_DAYS_WARN: Final = 14
_DAYS_FAIL: Final = 3
_CLOCK_WARN_S: Final = 2.0
_CLOCK_FAIL_S: Final = 60.0


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    level: Level
    found: str
    # Tells what to do; empty where nothing is to be done.
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def examine(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """Findings of all checks in their order, which run beside one another; one that does not end in time has failed."""
    begun = [(name, _begun(name, check)) for name, check in checks]
    wait([future for _, future in begun], timeout=TIMEOUT_S + 0.5)
    found: list[Finding] = []
    for name, future in begun:
        late = [Finding(name, "fail", f"no answer within {TIMEOUT_S:g} s", "see that it runs, and is not overloaded")]
        told = future.result() if future.done() else late
        # An error that ended several checks, such as a system out of reach, is told once: by the first of them.
        errors = {each.found for each in found if _is_error(each)}
        found += [each for each in told if not _is_error(each) or each.found not in errors]
    return found


def _begun(name: str, check: Check) -> Future[list[Finding]]:
    """A check in a thread that does not keep the process from ending: a dead network disk can hold it for ever."""
    future: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(_findings(name, check))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name=f"doctor {name}", daemon=True).start()
    return future


def _is_error(finding: Finding) -> bool:
    # A fault that a check has judged comes with a remedy.
    return finding.level == "fail" and not finding.remedy


def _findings(name: str, check: Check) -> list[Finding]:
    try:
        return list(check())
    except (CommandError, CommandFailed) as error:
        return [Finding(name, "fail", error.message)]
    except OSError as error:
        return [Finding(name, "fail", os_error_text(error))]


def of_disk(check: str, free_bytes: int, total_bytes: int) -> Finding:
    """How full a file system is."""
    free = f"{_size(free_bytes)} of {_size(total_bytes)} are free"
    if free_bytes < _DISK_FREE_FAIL:
        return Finding(check, "fail", free, "make room at once: a full disk stops every commit")
    if free_bytes < _DISK_FREE_WARN or free_bytes < total_bytes * _DISK_SHARE_WARN:
        return Finding(check, "warn", free, "make room, or move the data to a larger disk")
    return Finding(check, "ok", free)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:,.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:,.1f} MiB"


def of_certificate(check: str, left_s: float) -> Finding:
    """How long a certificate is good."""
    days = left_s / 86_400
    told = f"{days:,.0f} days left" if days >= 0 else f"ended {-days:,.0f} days ago"
    if days < _DAYS_FAIL:
        return Finding(check, "fail", told, "have a new one signed and put it in place; no restart is needed")
    return Finding(check, "warn" if days < _DAYS_WARN else "ok", told, "have a new one signed" if days < _DAYS_WARN else "")


def of_clock(check: str, off_s: float, resolution_s: float, of_whom: str) -> Finding:
    """How far a clock is from this machine's."""
    if abs(off_s) <= max(_CLOCK_WARN_S, resolution_s):
        return Finding(check, "ok", f"{of_whom} agrees within {max(abs(off_s), resolution_s):.3f} s")
    told = f"{of_whom} is {abs(off_s):,.1f} s {'ahead of' if off_s > 0 else 'late against'} this machine"
    level: Level = "fail" if abs(off_s) > _CLOCK_FAIL_S else "warn"
    return Finding(check, level, told, "set both by NTP: calls, limits and cycles go by the clock")


def report(findings: list[Finding]) -> dict[str, Any]:
    """The findings as JSON."""
    return {"ok": all(each.level != "fail" for each in findings), "findings": [each._asdict() for each in findings]}
