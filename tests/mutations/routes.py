"""Faults of model calls' routes: what a model is called in, what a route charges; embeddings, completions, lists of models."""

from typing import Final

from tests.mutations.planting import one

_CALLS: Final = "services/edge/api/calls.py"
_KINDS: Final = "tests/edge/call/test_kinds.py"
_DIALECTS: Final = "tests/registry/test_dialects.py"

_METERED: Final = (
    one(
        "a route without a meter is registered",
        _CALLS,
        "        if not isinstance(dialect, Dialect) or not isinstance(dialect.charged, Charged):\n",
        "        if False:\n",
        _KINDS,
    ),
    one(
        "a request chooses what it is charged",
        _CALLS,
        "assert request.makes_output is (",
        "assert True or request.makes_output is (",
        _KINDS,
    ),
    one("a path is registered twice", _CALLS, "        if path in paths:\n", "        if False:\n", _KINDS),
)
_CALLED_IN: Final = (
    one(
        "an edge calls a model in every dialect of its vendors",
        "services/edge/catalog.py",
        "            if called_in and dialect not in called_in:\n",
        "            if False:\n",
        _DIALECTS,
    ),
    one(
        "a model of conversations is called for embeddings",
        "services/registry/catalog_message.py",
        "else dialect not in NAMED_DIALECTS",
        "else True",
        _DIALECTS,
    ),
    one(
        "a model names a dialect that no vendor of it speaks",
        "services/registry/catalog.py",
        "elif vendors and not any(dialect in spoken.get(vendor_id, ()) for vendor_id in vendors):",
        "elif False:",
        _DIALECTS,
    ),
)

ROUTES: Final = (*_METERED, *_CALLED_IN)
