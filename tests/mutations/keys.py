"""Faults with keys: revocations that end no call."""

from typing import Final

from tests.mutations.planting import Mutation

_PRINCIPALS: Final = "services/edge/identity/principals.py"
_OF_PRINCIPALS: Final = ("tests/edge/test_principals.py",)
_OF_REVOCATION: Final = ("tests/journeys/test_revocation.py",)

_REVOKED: Final = (
    Mutation(
        "a revocation ends no call that is under way",
        _PRINCIPALS,
        (("            for revoked in tuple(self._watching.get(key_id, ())):\n                revoked()\n", ""),),
        _OF_REVOCATION,
    ),
    Mutation(
        "a revocation ends calls of cached keys alone",
        _PRINCIPALS,
        (
            (
                "                del self._cached[digest]\n"
                "            for revoked in tuple(self._watching.get(key_id, ())):\n"
                "                revoked()\n",
                "                del self._cached[digest]\n"
                "                for revoked in tuple(self._watching.get(key_id, ())):\n"
                "                    revoked()\n",
            ),
        ),
        _OF_PRINCIPALS,
    ),
    Mutation(
        "a call that ends takes the others of its key out of the watch",
        _PRINCIPALS,
        (("        watching.discard(revoked)\n", "        watching.clear()\n"),),
        _OF_PRINCIPALS,
    ),
    Mutation(
        "a call is not watched for the end of its key",
        "services/edge/api/calls.py",
        (("self._principals.watch(principal, revoke)", "self._principals.watch(principal, lambda: None)"),),
        _OF_REVOCATION,
    ),
)

KEYS: Final = _REVOKED
