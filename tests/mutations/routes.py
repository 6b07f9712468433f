"""Faults of model calls' routes: what a model is called in, what a route charges; embeddings, completions, lists of models."""

from typing import Final

from tests.mutations.planting import one

_CALLS: Final = "services/edge/api/calls.py"
_KINDS: Final = "tests/edge/call/test_kinds.py"
_DIALECTS: Final = "tests/registry/test_dialects.py"
_PROMPTS: Final = "services/edge/dialects/prompts.py"
_VECTORS: Final = "services/edge/dialects/embeddings/answer.py"
_EMBEDDED: Final = "tests/edge/dialects/test_embeddings.py"

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

_EMBEDDINGS: Final = (
    one("a negative token is read", _PROMPTS, "msgspec.Meta(ge=0, le=_TOKEN_MAX)", "msgspec.Meta(le=_TOKEN_MAX)", _EMBEDDED),
    one("an empty input is read", _PROMPTS, "        if not each:\n", "        if False:\n", _EMBEDDED),
    one("any number of inputs is read", _PROMPTS, "    if len(inputs) > count_max:\n", "    if False:\n", _EMBEDDED),
    one(
        "tokens that come as numbers count as no input",
        "services/edge/tokens/size.py",
        "NO_TEXT._replace(utf8_bytes=tokens, rare=tokens)",
        "NO_TEXT",
        _EMBEDDED,
    ),
    one(
        "several inputs share one context window",
        "services/edge/call/admission.py",
        "    context_tokens = model.context_window_tokens * size.inputs\n",
        "    context_tokens = model.context_window_tokens\n",
        "tests/journeys/test_openai_older.py",
    ),
    one(
        "an answer with fewer vectors than inputs passes",
        _VECTORS,
        "        if len(found) != self._inputs or by_index.keys() != set(range(self._inputs)):\n",
        "        if len(found) > self._inputs:\n",
        _EMBEDDED,
    ),
    one(
        "an answer with more vectors than inputs passes",
        _VECTORS,
        "        if len(found) != self._inputs or by_index.keys() != set(range(self._inputs)):\n",
        "        if len(found) < self._inputs:\n",
        _EMBEDDED,
    ),
    one("vectors of several lengths pass", _VECTORS, "        if len(lengths) != 1 or (", "        if (", _EMBEDDED),
    one(
        "vectors pass in the other encoding",
        _VECTORS,
        "self._vectors = vectors if is_as_asked else",
        "self._vectors = vectors if True else",
        _EMBEDDED,
    ),
    one(
        "the vendor's usage is told where another is charged",
        _VECTORS,
        "        if self._body and is_counted_so:\n",
        "        if self._body:\n",
        _EMBEDDED,
    ),
    one(
        "output of embeddings is charged",
        _VECTORS,
        "[tokens if index in INPUT_INDEXES else 0 for index, tokens in enumerate(counted.counts)]",
        "list(counted.counts)",
        _EMBEDDED,
    ),
    one(
        "an answer has room for any vectors",
        "services/edge/dialects/embeddings/request.py",
        "(self._dimensions or DIMENSIONS_MAX)",
        "DIMENSIONS_MAX",
        _EMBEDDED,
    ),
)

ROUTES: Final = (*_METERED, *_CALLED_IN, *_EMBEDDINGS)
