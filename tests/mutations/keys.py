"""Faults with keys: revocations that end no call, and lines of the log that tell a key or a secret."""

from typing import Final

from tests.mutations.planting import Mutation

_PRINCIPALS: Final = "services/edge/identity/principals.py"
_OF_PRINCIPALS: Final = ("tests/edge/test_principals.py",)
_OF_REVOCATION: Final = ("tests/journeys/test_revocation.py",)

_REVOKED: Final = (
    Mutation(
        "a revocation ends no call that is under way",
        _PRINCIPALS,
        (("            for end in tuple(self._watching.get(key_id, ())):\n                end(revoked())\n", ""),),
        _OF_REVOCATION,
    ),
    Mutation(
        "a revocation ends calls of cached keys alone",
        _PRINCIPALS,
        (
            (
                "            self._drop(key_id)\n"
                "            for end in tuple(self._watching.get(key_id, ())):\n"
                "                end(revoked())\n",
                "            if key_id in self._digest_by_key_id:\n"
                "                self._drop(key_id)\n"
                "                for end in tuple(self._watching.get(key_id, ())):\n"
                "                    end(revoked())\n",
            ),
        ),
        _OF_PRINCIPALS,
    ),
    Mutation(
        "a call that ends takes the others of its key out of the watch",
        _PRINCIPALS,
        (("            watching.discard(end)\n", "            watching.clear()\n"),),
        _OF_PRINCIPALS,
    ),
    Mutation(
        "a call is not watched for the end of its key",
        "services/edge/api/calls.py",
        (("self._principals.watch(principal, revoke)", "self._principals.watch(principal, lambda problem: None)"),),
        _OF_REVOCATION,
    ),
)

_OF_LOGS: Final = ("tests/journeys/test_logs.py",)


def _said(name: str, file: str, line: str, secret: str, level: str = "debug") -> Mutation:
    """A line of the log before a line of the code, with what it must not have."""
    indent = line[: len(line) - len(line.lstrip())]
    log = f"{indent}__import__('logging').getLogger(__name__).{level}('it is %s', {secret})\n"
    return Mutation(name, file, ((line, log + line),), _OF_LOGS)


_CALLS: Final = "services/edge/api/calls.py"
_VENDORS: Final = "services/edge/vendors/http.py"
_AUTHENTICATION: Final = "services/authentication/servicer.py"

_LOGGED: Final = (
    _said(
        "a vendor's headers stand in the log", _VENDORS, "            target = _target(url, tuple(headers), method)\n", "headers"
    ),
    _said(
        "a refusing vendor's words stand in the log", _VENDORS, "        answer.close()\n        raise VendorFailure(", "refusal"
    ),
    _said("a call's headers stand in the log", _CALLS, "            principal = await self._principals.resolve(", "scope"),
    _said("a question about a key tells it", _PRINCIPALS, "            response = await self._response(", "key"),
    _said("a key that does not pass stands in the log", _PRINCIPALS, "        if found.reason in _MUST_NOT_PASS:\n", "key", "info"),
    _said(
        "what authentication is asked stands in its log",
        _AUTHENTICATION,
        "        parsed = parse_key(request.api_key)\n",
        "request",
    ),
    _said("a key that is issued stands in the log", _AUTHENTICATION, "        key = await self._store.add_key(\n", "issued"),
    _said(
        "a method that fails logs what it was asked",
        "services/runtime/server.py",
        "                code = error.status_code if isinstance(error, ServiceError)",
        "request",
        "warning",
    ),
    _said(
        "what is no HTTP stands in the log",
        "services/runtime/http/connection.py",
        "        self._listener.count_refused(self, status)\n",
        "self._headers",
        "warning",
    ),
    _said(
        "the operators' token stands in the log",
        "services/edge/api/admin/router.py",
        "        if not hmac.compare_digest(",
        'connection.scope["headers"]',
    ),
    _said(
        "a request's headers stand in the log of the server",
        "services/runtime/http/listener.py",
        "            await self._application(exchange)\n",
        "exchange.headers",
    ),
)

KEYS: Final = (*_REVOKED, *_LOGGED)
