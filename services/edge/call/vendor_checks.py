"""Asks vendors whether each answers and takes our secret, by a path that costs nothing, for an operator who wants to know now."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from services.edge.catalog import Snapshot
from services.edge.vendors.errors import fault_of
from services.edge.vendors.profile import Endpoint, Meaning
from services.edge.vendors.vendor import VendorClient, VendorFailure

# All are asked at once, and people wait for the answer.
_TIMEOUT_S: Final = 2.0
# Vendors that speak OpenAI's dialects list their models there, without a charge.
_LIST_OF_MODELS: Final = "/models"
_PAYMENT_REQUIRED: Final = 402
_WRONG_KEY: Final = frozenset({401, 403})
_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_NO_SUCH_PATH: Final = frozenset({404, 405})
# Said of vendors that were connected to.
_LOST: Final = {"broken": "it hung up", "garbage": "no HTTP came", "timeout": "no answer"}


class VendorChecks:
    """Checks of vendors; it can ask for nothing else."""

    def __init__(self, vendors: VendorClient) -> None:
        self._vendors = vendors

    async def lines(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """One line for each vendor of the catalog, by its `state`.

        simulated and no_secret: not asked. ok; reachable: it answers, but this path says nothing of the secret; key_refused;
        account_refused, as for arrears; busy: too many requests; failing: an error of its own; certificate_refused: we do not take
        its certificate, and `code` says why; unreachable, with what the network says, if it does.
        """
        return list(await asyncio.gather(*(_line(self._vendors, snapshot, each.vendor_id) for each in snapshot.catalog.vendors)))


async def _line(vendors: VendorClient, snapshot: Snapshot, vendor_id: str) -> dict[str, Any]:
    endpoints = snapshot.endpoints(vendor_id)
    line: dict[str, Any] = {"vendor_id": vendor_id, "host": None, "http_status": None, "code": None, "duration_ms": None}
    if not endpoints or vendor_id in snapshot.simulated:
        return {**line, "state": "simulated" if endpoints else "no_secret"}
    endpoint = _asked(endpoints)
    began_s = time.monotonic()
    state, status, code = await _ask(vendors, endpoint)
    return {
        **line,
        "state": state,
        "host": urlsplit(endpoint.base_url).hostname,
        "http_status": status or None,
        "code": code or None,
        "duration_ms": round((time.monotonic() - began_s) * 1_000),
    }


def _asked(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """The endpoint whose free path is known, else that of chats."""
    known = (each for each in endpoints.values() if each.probe_path)
    return next(known, endpoints.get("openai_chat") or next(iter(endpoints.values())))


async def _ask(vendors: VendorClient, endpoint: Endpoint) -> tuple[str, int, str]:
    """The state, the HTTP status, 0 where there is none, and the vendor's code."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await vendors.get(endpoint.base_url + (endpoint.probe_path or _LIST_OF_MODELS), endpoint.key_headers)
    except TimeoutError:
        return "unreachable", 0, "no answer"
    except VendorFailure as failure:
        return _state(endpoint, failure)
    return "ok", 200, ""


def _state(endpoint: Endpoint, failure: VendorFailure) -> tuple[str, int, str]:
    status = failure.http_status
    if failure.certificate_fault:
        return "certificate_refused", 0, failure.certificate_fault
    if failure.outcome != "refused":
        return "unreachable", status, failure.network_fault or _LOST.get(failure.outcome, "")
    fault = fault_of(status, failure.body, failure.retry_after_ms)
    code = _shown(fault.code or fault.kind, endpoint)
    if status in _NO_SUCH_PATH:
        return "reachable", status, code
    if status in _WRONG_KEY:
        return "key_refused", status, code
    meaning = endpoint.meaning(fault)
    if status == _PAYMENT_REQUIRED or meaning is Meaning.ACCOUNT:
        return "account_refused", status, code
    return "busy" if meaning is Meaning.RATE_LIMIT else "failing", status, code


def _shown(code: str, endpoint: Endpoint) -> str:
    """A vendor's code, where it is a word and no part of the secret, which a vendor may quote."""
    is_quoted = any(code.encode() in value for _, value in endpoint.key_headers)
    return code if _WORD.fullmatch(code) and not is_quoted else ""
