"""Faults of model calls' routes: what a model is called in, what a route charges; embeddings, completions, lists of models."""

from typing import Final

from tests.mutations.planting import one

_CALLS: Final = "services/edge/api/calls.py"
_KINDS: Final = "tests/edge/call/test_kinds.py"
_DIALECTS: Final = "tests/registry/test_dialects.py"
_PROMPTS: Final = "services/edge/dialects/prompts.py"
_VECTORS: Final = "services/edge/dialects/embeddings/answer.py"
_EMBEDDED: Final = "tests/edge/dialects/test_embeddings.py"
_COMPLETIONS_REQUEST: Final = "services/edge/dialects/completions/request.py"
_COMPLETIONS_ANSWER: Final = "services/edge/dialects/completions/answer.py"
_PROBABILITIES: Final = "services/edge/dialects/completions/probabilities.py"
_MODELS_PY: Final = "services/edge/api/models.py"
_LISTED: Final = "tests/edge/test_models.py"
_PAGES: Final = "tests/edge/test_model_pages.py"
_COMPLETED: Final = "tests/edge/dialects/test_completions.py"

_SECRETS: Final = "services/edge/vendors/secrets.py"
_SECRET: Final = "tests/edge/vendors/test_secrets.py"

_SECRET_FILES: Final = (
    one(
        "the environment counts before a secret's file",
        _SECRETS,
        "{**self._environment, **self._files}",
        "{**self._files, **self._environment}",
        _SECRET,
    ),
    one("a secret's new value is not told", _SECRETS, "            use(self.current)\n", "            pass\n", _SECRET),
    one("a secret may begin another header", _SECRETS, "[!-~]*", ".*(?s:.)*", _SECRET),
    one(
        "the edge does not take a secret that was replaced",
        "services/edge/catalog.py",
        "            self._take(self._snapshot.catalog)",
        "            pass",
        "tests/edge/test_app.py",
    ),
)
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

_COMPLETIONS: Final = (
    one(
        "best_of makes answers that nobody is sent",
        _COMPLETIONS_REQUEST,
        "        if best_of is not None and best_of != self._each:\n",
        "        if False:\n",
        _COMPLETED,
    ),
    one(
        "the answers to several prompts are reserved as one",
        _COMPLETIONS_REQUEST,
        "self._each * self._prompts.inputs\n        if",
        "self._each\n        if",
        _COMPLETED,
    ),
    one(
        "a completion without a limit has the model's",
        _COMPLETIONS_REQUEST,
        "OUTPUT_LIMIT if limit is None else limit",
        "limit",
        _COMPLETED,
    ),
    one(
        "a vendor of completions is told a limit that cannot be paid",
        _COMPLETIONS_REQUEST,
        'Raw(b"%d" % min(limits))',
        'Raw(b"%d" % max(limits))',
        _COMPLETED,
    ),
    one(
        "a suffix is read for nothing",
        _COMPLETIONS_REQUEST,
        "self._suffix * prompts.inputs + unknown_text(",
        "unknown_text(",
        _COMPLETED,
    ),
    one(
        "unknown fields of completions are read for nothing",
        _COMPLETIONS_REQUEST,
        " + unknown_text(self._fields, _FIELDS)",
        "",
        _COMPLETED,
    ),
    one(
        "tokens are echoed as text that is paid",
        _COMPLETIONS_REQUEST,
        "            if self._prompts.tokens:\n",
        "            if False:\n",
        _COMPLETED,
    ),
    one(
        "an echo is paid as output",
        _COMPLETIONS_ANSWER,
        "        return text.removeprefix(echoed)\n",
        "        return text\n",
        _COMPLETED,
    ),
    one(
        "an echo is free again and again",
        _COMPLETIONS_ANSWER,
        '        self._echoed[index] = ""\n',
        "        pass\n",
        _COMPLETED,
    ),
    one("the digits of a probability are free", _PROBABILITIES, " and not told_by_numbers(value)", "", _COMPLETED),
    one(
        "any number of alternatives is free",
        _PROBABILITIES,
        "            if position >= self.alternatives or not _is_number",
        "            if not _is_number",
        _COMPLETED,
    ),
    one(
        "tokens beyond the text are free",
        "services/edge/dialects/chat/probabilities.py",
        "            found.said.append(token)\n",
        "            pass\n",
        _COMPLETED,
    ),
    one(
        "probabilities of a streamed answer are lost in the whole",
        _COMPLETIONS_ANSWER,
        "known.setdefault(name, []).extend(value)",
        "known[name] = value",
        _COMPLETED,
    ),
)

_LARGE: Final = (
    one(
        "an answer of any size is read on the event loop",
        "services/edge/call/vendor_stream.py",
        "        if not self.is_streamed and len(event.data) > _READ_INLINE_BYTES_MAX:\n",
        "        if False:\n",
        "tests/edge/test_large_answers.py",
    ),
)
_MODELS: Final = (
    one(
        "the oldest models come first in Anthropic's list",
        _MODELS_PY,
        "key=lambda model: (-model.release_time_s,",
        "key=lambda model: (model.release_time_s,",
        _PAGES,
    ),
    one("a page begins with the model that it is after", _MODELS_PY, '"after_id") + 1', '"after_id")', _PAGES),
    one(
        "a page before a model is the first of all",
        _MODELS_PY,
        "ordered[max(begin, end - limit) : end]",
        "ordered[begin:limit]",
        _PAGES,
    ),
    one("the last page has more", _MODELS_PY, '"has_more": len(page) < end - begin', '"has_more": bool(page)', _PAGES),
    one(
        "Anthropic's clients get errors of lists in OpenAI's words",
        "services/edge/app.py",
        "MESSAGES if is_anthropic(request) else None",
        "None",
        _LISTED,
    ),
)

ROUTES: Final = (*_SECRET_FILES, *_METERED, *_CALLED_IN, *_EMBEDDINGS, *_COMPLETIONS, *_LARGE, *_MODELS)
