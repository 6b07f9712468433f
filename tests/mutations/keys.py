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

KEYS: Final = _REVOKED
