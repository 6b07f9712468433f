"""A running system's administrative API, and how a command finds it."""

import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from services.cli.data_folder import DEFAULT_DATA_DIR, DataFolder
from services.cli.failures import CommandError, CommandFailed, NoAnswerError

_TIMEOUT_S: Final = 30.0
# TOKENLINE_WAIT_S at most; and the time after which one who found nobody asks again.
_WAIT_S_MAX: Final = 600.0
_ASK_AGAIN_S: Final = 0.2


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none, because the admin token would go along to whatever address is named."""

    def redirect_request(self, *_: Any) -> None:
        """Makes no request of a redirect: its status is the answer."""


# The system may be on this machine or inside a cluster; what the environment says of proxies is meant for the way out.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


class _Error(msgspec.Struct, frozen=True):
    message: str
    code: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    error: _Error


class Page(NamedTuple):
    """A page that needs no token."""

    body: bytes
    # Its x-request-id, which has its server's time.
    request_id: str


class System:
    """A system at a base URL without /v1, opened by its admin token.

    What finds nobody at the address asks again for `wait_s`: a network may know a new pod only a moment after it began.
    """

    def __init__(self, base_url: str, admin_token: str, how_to_start: str, wait_s: float = 0.0) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1").rstrip("/")
        self._admin_token = admin_token
        self._how_to_start = how_to_start
        self._wait_s = wait_s

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
        """The JSON object that `/v1/admin` + `path` answers.

        Errors: `CommandFailed` when it says no, with its own sentence; `CommandError` when it is out of reach or fails.
        """
        url = f"{self.base_url}/v1/admin{path.removesuffix('?')}"
        data = None if body is None and method == "GET" else msgspec.json.encode(body or {})
        headers = {"Authorization": f"Bearer {self._admin_token}", "Content-Type": "application/json"}
        try:
            request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310  # the scheme was checked
            with self._open(request, timeout_s) as response:
                answer = msgspec.json.decode(response.read())
        except urllib.error.HTTPError as error:
            raise _refusal(error, url) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._out_of_reach(error) from error
        if not isinstance(answer, dict):
            raise CommandError(f"{url} does not answer as Tokenline does; is this its address?")
        return answer

    def read(self, path: str, timeout_s: float = _TIMEOUT_S) -> Page:
        """A page of the operators' listener that needs no token. Errors: `CommandError`."""
        try:
            with _opener.open(self.base_url + path, timeout=timeout_s) as response:
                return Page(response.read(), response.headers["x-request-id"] or "")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._out_of_reach(error) from error

    def missing(self, timeout_s: float = _TIMEOUT_S) -> list[str]:
        """The conditions of the edge's readiness that do not hold. Errors: `CommandError`."""
        try:
            return is_ready(self.base_url, timeout_s)[1]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._out_of_reach(error) from error

    def _open(self, request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
        until_s = time.monotonic() + self._wait_s
        while True:
            try:
                response: http.client.HTTPResponse = _opener.open(request, timeout=timeout_s)
            except urllib.error.URLError as error:
                # Nothing was sent.
                nobody = isinstance(error.reason, ConnectionRefusedError | socket.gaierror)
                if not nobody or time.monotonic() >= until_s:
                    raise
                time.sleep(_ASK_AGAIN_S)
            else:
                return response

    def _out_of_reach(self, error: Exception) -> CommandError:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            return NoAnswerError(
                f"{self.base_url} does not answer in time; see that its process is not stopped, nor its machine overloaded"
            )
        what = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return CommandError(f"{self.base_url} cannot be reached: {what}; {self._how_to_start}")


def _refusal(error: urllib.error.HTTPError, url: str) -> CommandError | CommandFailed:
    try:
        problem = msgspec.json.decode(error.read(), type=_Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError, OSError, http.client.HTTPException):
        return CommandError(f"{url} answered {error.code}; is this Tokenline's address?")
    if problem.code == "unknown_url":
        return CommandError(
            f"{url} is not served; give the address for operators, as `tokenline up` prints it, whose port is 8081 by default"
        )
    said = f"{problem.message} ({problem.code or error.code})"
    is_no = error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code != HTTPStatus.UNAUTHORIZED
    return (CommandFailed if is_no else CommandError)(said, problem.code)


def is_ready(admin_url: str, timeout_s: float = _TIMEOUT_S) -> tuple[bool, list[str]]:
    """Whether the edge whose operators are at `admin_url` is ready, and which of its conditions do not hold. Blocking."""
    url = admin_url.removesuffix("/v1") + "/readyz"
    try:
        with _opener.open(url, timeout=timeout_s):
            return True, []
    except urllib.error.HTTPError as error:
        return False, msgspec.json.decode(error.read(), type=dict[str, Any]).get("missing", [])


def find_folder(data_dir: Path | None) -> DataFolder | None:
    """The data folder that names the system; None when the environment does."""
    if data_dir is None and os.environ.get("TOKENLINE_URL"):
        return None
    return DataFolder((data_dir or DEFAULT_DATA_DIR).expanduser().absolute())


def find_system(data_dir: Path | None) -> System:
    """The system of `data_dir`, else of TOKENLINE_URL and TOKENLINE_TOKEN, else of the default data folder.

    Errors: `CommandError` that says how to start one.
    """
    folder = find_folder(data_dir)
    if folder is None:
        url, token = os.environ["TOKENLINE_URL"], _token_of_environment()
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"TOKENLINE_URL is {url!r}; it should begin with http:// or https://")
        if "@" in url:
            raise CommandError("TOKENLINE_URL has a user or a password, which nobody asks for; the token goes into TOKENLINE_TOKEN")
        if not token:
            raise CommandError(
                "TOKENLINE_URL is set but TOKENLINE_TOKEN is not; put the admin token there, or its file into TOKENLINE_TOKEN_FILE"
            )
        if not token.isascii() or not token.isprintable():
            raise CommandError("TOKENLINE_TOKEN is no admin token; it should be one word of ASCII characters")
        return System(url, token, "start it, or correct TOKENLINE_URL", _wait_of_environment())
    how_to_start = f"start it with `{folder.start}`"
    demo = folder.read_demo()
    if demo is None:
        raise CommandError(f"no system is ready in {folder.path}; {how_to_start}, or set TOKENLINE_URL and TOKENLINE_TOKEN")
    return System(demo.admin_url, demo.admin_token, how_to_start)


def _wait_of_environment() -> float:
    text = os.environ.get("TOKENLINE_WAIT_S", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s <= _WAIT_S_MAX:
        raise CommandError(f"TOKENLINE_WAIT_S is {text!r}; it should be a number of seconds, 0 to {_WAIT_S_MAX:.0f}")
    return wait_s


def _token_of_environment() -> str:
    file = os.environ.get("TOKENLINE_TOKEN_FILE")
    if os.environ.get("TOKENLINE_TOKEN") or not file:
        return os.environ.get("TOKENLINE_TOKEN", "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"TOKENLINE_TOKEN_FILE: {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def given(**fields: Any) -> dict[str, Any]:
    """The fields of a request that were given; options left out are None."""
    return {field: value for field, value in fields.items() if value is not None}
