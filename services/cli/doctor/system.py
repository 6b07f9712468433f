"""A running system, by its address for operators: ready, its clock, owners, export, vendors, and what its metrics say."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, TypeVar

from services.cli.client import System
from services.cli.doctor.finding import TIMEOUT_S, Check, Finding, Level, of_certificate, of_clock, of_disk
from services.cli.failures import CommandError, CommandFailed, NoAnswerError
from services.cli.samples import Samples, read_samples

T = TypeVar("T")

_MICRO: Final = 1_000_000
_LAG_ROWS_WARN: Final = 10_000
_LAG_S_WARN: Final = 60
_LAG_S_FAIL: Final = 600
_LEFT_OUT: Final = 2.0
# Metrics that are looked at.
_READ: Final = (
    *("billing_export_lag_seconds", "billing_partitions_stopped", "certificate_end_timestamp_seconds", "disk_free_bytes"),
    *("disk_used_bytes", "edge_catalog_silence_seconds", "edge_route_state", "registry_catalog_refused"),
    *("charging_commits_total", "edge_requests_total"),
)
_VENDORS: Final[Mapping[str, tuple[Level, str, str]]] = {
    "ok": ("ok", "answers and takes the secret", ""),
    "reachable": ("ok", "answers; its free paths say nothing of the secret", ""),
    "key_refused": ("fail", "refuses our secret", "set the right one, and see that it was not revoked there"),
    "account_refused": (
        "fail",
        "refuses our account there, as for arrears",
        "look at the account there: balance, contract, model access",
    ),
    "busy": ("warn", "says that we ask too often", "spread the calls, or have the vendor raise the limit"),
    "failing": ("fail", "fails", "calls go to other routes, where there are any; ask the vendor"),
    "certificate_refused": (
        "fail",
        "shows a certificate that we do not take",
        "if it has ended, only the vendor can mend it: see that this machine's clock is right, and take the vendor out meanwhile",
    ),
    "unreachable": ("fail", "cannot be reached", "check the way out: DNS, firewall, its address in the catalog"),
    "no_secret": (
        "warn",
        "has no secret here, or one of no use; its routes are left out",
        "set its secret, or take it out of the catalog; the edge's log names what is of no use",
    ),
}


def system_checks(system: System) -> list[tuple[str, Check]]:
    """The checks of a running system."""

    # Checks run beside one another, and what several look at is asked for once.
    missing = _once(lambda: system.missing(TIMEOUT_S))
    samples = _once(lambda: read_samples(system.read("/metrics", TIMEOUT_S).body, _READ))
    partitions = _once(lambda: _partitions(system, missing))

    return [
        ("edge", lambda: _ready(system, missing())),
        ("scope", lambda: _scope(samples())),
        ("clock", lambda: _clock(system)),
        ("owners", lambda: _owners(partitions())),
        ("export", lambda: _export(partitions(), samples())),
        ("vendors", lambda: _vendors(system)),
        ("routes", lambda: _routes(samples())),
        ("certificate", lambda: _certificates(samples())),
        ("disk", lambda: _disks(samples())),
        ("registry", lambda: _registry(samples())),
    ]


def _once(ask: Callable[[], T]) -> Callable[[], T]:
    """Asks when the first caller does, and keeps the answer, or the error: nobody waits twice for what does not answer."""
    asking: Lock = Lock()
    kept: Future[T] = Future()

    def answer() -> T:
        with asking:
            if not kept.done():
                try:
                    kept.set_result(ask())
                except (CommandError, CommandFailed) as error:
                    kept.set_exception(error)
        return kept.result()

    return answer


def _ready(system: System, missing: Sequence[str]) -> Iterator[Finding]:
    if missing:
        yield Finding("edge", "fail", f"not ready: {', '.join(missing)}", "see that what is named runs; the edge's log says more")
    else:
        yield Finding("edge", "ok", f"{system.base_url} is ready")


def _scope(samples: Samples) -> Iterator[Finding]:
    if samples.is_of_an_edge:
        told = (
            "clock, routes, certificate, disk and registry are as this edge has them; other edges are asked at their own addresses"
        )
        yield Finding("scope", "ok", told)


def _clock(system: System) -> Iterator[Finding]:
    from services.runtime.identifiers import uuid7_time_us

    asked_s = time.time()
    told_us = uuid7_time_us(system.read("/healthz", TIMEOUT_S).request_id)
    took_s = time.time() - asked_s
    if told_us is not None:
        yield of_clock("clock", told_us / _MICRO - asked_s - took_s / 2, took_s / 2, "the edge")


def _partitions(system: System, missing: Callable[[], Sequence[str]]) -> list[dict[str, Any]] | None:
    """Owner and lag of each partition; None where the edge answers, but not the service that it asks."""
    try:
        listed: list[dict[str, Any]] = system.ask("GET", "/partitions", timeout_s=TIMEOUT_S)["data"]
    except NoAnswerError:
        # Unless the edge is silent itself, which raises what its own check tells.
        missing()
        return None
    except CommandError as error:
        if not error.is_of_a_service_behind:
            raise
        return None
    return listed


def _owners(listed: list[dict[str, Any]] | None) -> Iterator[Finding]:
    if listed is None:
        told = "accounting or billing does not answer the edge, so calls may get 503"
        remedy = "the edge's log says which, and its own log why: a full disk, a quota, a database that is away"
        yield Finding("owners", "fail", told, remedy)
        return
    owners = {each["owner"] for each in listed}
    without = [str(each["part_id"]) for each in listed if each["owner"] is None]
    if None in owners and len(owners) > 1:
        told = f"nobody owns partition {', '.join(without[:5])}{' and others' if len(without) > 5 else ''}"
        yield Finding("owners", "fail", told, "see that accounting runs and reaches etcd; `tokenline owners` shows all")
        return
    by = f"{len(owners):,} replicas of accounting" if None not in owners else "one accounting process"
    yield Finding("owners", "ok", f"{by} for {len(listed):,} partitions")


def _export(listed: list[dict[str, Any]] | None, samples: Samples) -> Iterator[Finding]:
    if listed is None:
        # As the check of owners tells.
        return
    rows = sum(each["lag"] for each in listed)
    behind_s = samples.highest("billing_export_lag_seconds")
    told = f"{rows:,} journal rows wait for their CDR" + (
        "" if behind_s is None else f", the last whole pass {behind_s:,.0f} s ago"
    )
    remedy = "billing's log says why; `tokenline reconcile` shows afterwards that nothing is missing"
    if samples.total("billing_partitions_stopped") or (behind_s or 0) > _LAG_S_FAIL:
        yield Finding("export", "fail", f"{told}: export has stopped", remedy)
    elif rows > _LAG_ROWS_WARN or (behind_s or 0) > _LAG_S_WARN:
        yield Finding("export", "warn", told, remedy)
    else:
        yield Finding("export", "ok", told)


def _vendors(system: System) -> Iterator[Finding]:
    checked = system.ask("POST", "/vendors/check", {}, timeout_s=TIMEOUT_S + 0.4)["data"]
    simulated = [each["vendor_id"] for each in checked if each["state"] == "simulated"]
    if simulated:
        told = f"the built-in simulator answers for {len(simulated):,} of {len(checked):,}, which have no secret"
        yield Finding("vendors", "ok", told)
    for each in checked:
        if each["state"] != "simulated":
            level, told, remedy = _VENDORS[each["state"]]
            yield Finding(f"vendor {each['vendor_id']}", level, f"{told}{_details(each)}", remedy)


def _details(vendor: Mapping[str, Any]) -> str:
    if vendor["duration_ms"] is None:
        return ""
    status = f"HTTP {vendor['http_status']}" if vendor["http_status"] else ""
    answered = " ".join(filter(None, (status, vendor["code"])))
    return f" ({answered}{', ' if answered else ''}{vendor['duration_ms']:,} ms)"


def _routes(samples: Samples) -> Iterator[Finding]:
    left_out = [labels for labels, value in samples.of("edge_route_state") if value == _LEFT_OUT]
    if left_out:
        named = ", ".join(sorted({f"{each['vendor']}/{each['model']}" for each in left_out})[:5])
        yield Finding("routes", "warn", f"{len(left_out):,} left out after failures: {named}", "they are tried again by themselves")


def _certificates(samples: Samples) -> Iterator[Finding]:
    now_s = datetime.now(UTC).timestamp()
    for labels, end_s in samples.of("certificate_end_timestamp_seconds"):
        yield of_certificate(f"certificate of {labels.get('service', 'the edge')}", end_s - now_s)


def _disks(samples: Samples) -> Iterator[Finding]:
    used = {labels["holds"]: value for labels, value in samples.of("disk_used_bytes")}
    # Several may lie on one disk, which is told once.
    of_disks: dict[tuple[float, float], list[str]] = {}
    for labels, free in samples.of("disk_free_bytes"):
        of_disks.setdefault((free, used.get(labels["holds"], 0.0)), []).append(labels["holds"])
    for (free, taken), holds in of_disks.items():
        disk = of_disk("disk of the system", int(free), int(free + taken))
        yield disk._replace(found=f"{disk.found}; it holds {', '.join(holds)}")


def _registry(samples: Samples) -> Iterator[Finding]:
    if samples.total("registry_catalog_refused"):
        told = "the registry's files or layers are not valid; the catalog before them stays in force"
        yield Finding("registry", "fail", told, "`tokenline catalog validate` names the mistake")
    silent_s = samples.highest("edge_catalog_silence_seconds") or 0
    if silent_s > _LAG_S_WARN:
        yield Finding("registry", "warn", f"the edge has not heard of it for {silent_s:,.0f} s", "see that the registry runs")
