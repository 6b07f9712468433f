"""Faults of OpenAI's responses: texts that are told several times, what is kept, how an answer ends."""

from typing import Final

from tests.mutations.planting import Mutation, one

_ITEMS: Final = "services/edge/dialects/responses/items.py"
_REQUEST: Final = "services/edge/dialects/responses/request.py"
_NAMES: Final = "services/edge/dialects/responses/names.py"
_OUTPUT: Final = "services/edge/dialects/responses/output.py"
_MEANING: Final = "services/edge/dialects/responses/meaning.py"
_TELLING: Final = "services/edge/dialects/responses/telling.py"
_ANSWER: Final = "services/edge/dialects/responses/answer.py"
_TALLY: Final = "services/edge/dialects/tally.py"

_OF_REQUESTS: Final = "tests/edge/dialects/test_responses_requests.py"
_OF_ANSWERS: Final = "tests/edge/dialects/test_responses_answers.py"
_OF_METADATA: Final = "tests/edge/dialects/test_metadata.py"
_OF_CLIENTS: Final = "tests/journeys/test_openai_responses.py"

RESPONSES: Final[tuple[Mutation, ...]] = (
    one("a response is kept at the vendor", _REQUEST, '        body["store"] = False\n', "", _OF_REQUESTS),
    one("a response builds on one that a vendor keeps", _REQUEST, "        _refuse_kept(fields)\n", "", _OF_REQUESTS),
    one("an item that a vendor keeps passes", _ITEMS, 'kind == "item_reference" or ', "", _OF_REQUESTS),
    one("a file that a vendor keeps passes as an image", _ITEMS, 'raise _kept(where, "a file")', "pass", _OF_REQUESTS),
    one(
        "a folded field of a response passes",
        _REQUEST,
        "            refuse_folds(fields, FIELDS_BY_FOLD)\n",
        "            pass\n",
        _OF_REQUESTS,
    ),
    one(
        "a folded member of an unknown item passes",
        _ITEMS,
        "            refuse_folds(item, ITEM_BY_FOLD, where)\n",
        "",
        _OF_REQUESTS,
    ),
    one("a limit that is too small passes", _NAMES, "LIMIT_MIN: Final = 16", "LIMIT_MIN: Final = 1", _OF_REQUESTS),
    one("instructions are no input", _REQUEST, "            self._input.texts.append(instructions)\n", "", _OF_REQUESTS),
    one(
        "encrypted thought is no input",
        _ITEMS,
        "            self.opaque_bytes += bytes_of(",
        "            bytes_of(",
        _OF_REQUESTS,
    ),
    one("an image is no input", _ITEMS, "        self.images.append(image_in(", "        (image_in(", _OF_REQUESTS),
    one(
        "the arguments of a call are no input",
        _ITEMS,
        "                self.rest(item, _OF_CALL)\n",
        "                pass\n",
        _OF_REQUESTS,
    ),
    one("the vendor's words for its tools are no input", _ITEMS, "self.hidden_bytes += VENDOR_TOOL_TOKENS", "pass", _OF_REQUESTS),
    one("a search at the vendor passes", _NAMES, '    ("tools[].type", ', '    ("tools[].kind", ', _OF_REQUESTS),
    one(
        "items spell a text for nothing in the middle of an answer",
        _MEANING,
        "None if known is None or () in known.done else known",
        "known",
        _OF_ANSWERS,
    ),
    one(
        "an item that is told at another index stays free",
        _OUTPUT,
        "            known.done.add(())\n",
        "            pass\n",
        _OF_ANSWERS,
    ),
    one("a request's words spell a text for nothing", _OUTPUT, "{**self.response, **{", "{**{", _OF_ANSWERS),
    one("items spell a text for nothing at the end", _MEANING, "None if id(known) in repeated else known", "known", _OF_ANSWERS),
    one(
        "an item's begin tells it again for nothing",
        _MEANING,
        " and word == DONE else None\n            self._item",
        " else None\n            self._item",
        _OF_ANSWERS,
    ),
    one(
        "a text is told to be whole again and again for nothing",
        _MEANING,
        " and steps not in item.done else None",
        " else None",
        _OF_ANSWERS,
    ),
    one(
        "a part's begin tells it again for nothing",
        _MEANING,
        "item is not None and word == DONE and steps",
        "item is not None and steps",
        _OF_ANSWERS,
    ),
    one(
        "a response in progress tells its items again for nothing",
        _MEANING,
        "repeats=kind in TERMINAL",
        "repeats=True",
        _OF_ANSWERS,
    ),
    one(
        "a text counts each time that it is told",
        _MEANING,
        "    if text.startswith(known):\n        return text[len(known) :]\n",
        "",
        _OF_ANSWERS,
    ),
    one(
        "a later telling may say something else for nothing",
        _MEANING,
        '    return "" if known.startswith(text) else text\n',
        '    return ""\n',
        _OF_ANSWERS,
    ),
    one(
        "the output that the end tells is free",
        _MEANING,
        "                self._item(item, None if id(known) in repeated else known, tally)\n",
        "                pass\n",
        _OF_ANSWERS,
    ),
    one(
        "encrypted thought is free",
        _MEANING,
        "                    self.opaque_bytes += bytes_of([new])\n",
        "                    pass\n",
        _OF_ANSWERS,
    ),
    one("a call of a tool has no frame", _MEANING, "            tally.calls += 1\n", "            pass\n", _OF_ANSWERS),
    one(
        "settings of the request are charged as output", _MEANING, "{**self._asked, **told.response}", "told.response", _OF_ANSWERS
    ),
    one("padding of no text is free", _MEANING, "                and delta\n", "", _OF_ANSWERS),
    one("any number of an event is free", _MEANING, "                and number == before + 1\n", "", _OF_ANSWERS),
    one("any padding is free", _MEANING, '                and _is_padding(fields.get("obfuscation"))\n', "", _OF_ANSWERS),
    one("items are known by their place alone", _OUTPUT, "isinstance(item_id, str) and item_id and", "False and", _OF_ANSWERS),
    one(
        "metadata in excess fills up the budget",
        _TALLY,
        "            self._excess.append(beyond)\n",
        "            self.said.append(beyond)\n",
        _OF_METADATA,
    ),
    one(
        "the end of a response is relayed as it comes",
        _ANSWER,
        " if self._streamed and not is_end else ",
        " if self._streamed else ",
        _OF_ANSWERS,
    ),
    one(
        "a cut event is told at the end",
        _ANSWER,
        "        if not (is_cut and self._last_says):\n",
        "        if True:\n",
        _OF_ANSWERS,
    ),
    one(
        "numbers of events fall after a cut",
        _ANSWER,
        "        self._number = self._told_number\n",
        "        self._number = -1\n",
        _OF_ANSWERS,
    ),
    one("open items stay open after a cut", _ANSWER, "        events += closing(self._told)\n", "", _OF_ANSWERS),
    one("ended items end again after a cut", _TELLING, "        if () not in item.done:\n", "        if True:\n", _OF_ANSWERS),
    one(
        "the usage of a response is the vendor's, whatever was charged",
        _ANSWER,
        '        if not self._is_counted_so(used, response.get("usage")):\n',
        "        if False:\n",
        _OF_ANSWERS,
    ),
    one(
        "a response that goes on is a whole answer",
        _ANSWER,
        "        if not isinstance(output, list) or not isinstance(status, str) or status not in _ENDED:\n",
        "        if not isinstance(output, list):\n",
        _OF_ANSWERS,
    ),
    one(
        "a quota that is used up is 402 on responses",
        "services/edge/dialects/responses/dialect.py",
        "        return _TOO_MANY if problem.status == _PAYMENT_REQUIRED else problem.status\n",
        "        return problem.status\n",
        _OF_REQUESTS,
    ),
    one(
        "a web socket gets 405",
        "services/edge/api/calls.py",
        "                raise upgrade_not_supported(exchange.path)\n",
        "                pass\n",
        "tests/journeys/test_sockets.py",
    ),
    one(
        "the vendor's limit of a response has another name",
        "services/registry/vendors.py",
        '    "openai_responses": ("max_output_tokens",),\n',
        '    "openai_responses": ("max_tokens",),\n',
        "tests/registry/test_vendors.py",
    ),
)
