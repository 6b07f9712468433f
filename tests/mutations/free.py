"""Faults of what is free: more of it than can be true, or than anybody counts."""

from typing import Final

from tests.mutations.planting import one

_PROBABILITIES: Final = "services/edge/dialects/chat/probabilities.py"
_OF_TEXTS: Final = "services/edge/dialects/completions/probabilities.py"
_VECTORS: Final = "services/edge/dialects/embeddings/answer.py"
_TYPED_EVENTS: Final = "services/edge/dialects/typed_events.py"
_VENDOR_STREAM: Final = "services/edge/call/vendor_stream.py"
_OUTCOME: Final = "services/edge/call/outcome.py"
_MESSAGES_ANSWER: Final = "services/edge/dialects/anthropic_messages/answer.py"
_IN_METADATA: Final = "tests/edge/dialects/test_metadata.py"
_IN_CHAT: Final = "tests/edge/dialects/test_chat_answer.py"
_IN_COMPLETIONS: Final = "tests/edge/dialects/test_completions.py"
_IN_EMBEDDINGS: Final = "tests/edge/dialects/test_embeddings.py"
_IN_MESSAGES: Final = "tests/edge/dialects/test_anthropic_answers.py"
_IN_SILENT: Final = "tests/edge/call/test_silent_events.py"
_IN_TOLD: Final = "tests/edge/call/test_problems_told.py"

FREE: Final = (
    one(
        "alternatives are free that nobody asked for",
        _PROBABILITIES,
        "            if is_free and position < self.alternatives and isinstance",
        "            if is_free and isinstance",
        _IN_METADATA,
    ),
    one(
        "alternatives to no text are free",
        _PROBABILITIES,
        "self._count_token(entry, found, is_free=self.tokens_left >= 0)",
        "self._count_token(entry, found, is_free=True)",
        _IN_METADATA,
    ),
    one(
        "tokens of a character that is told in parts are said",
        _PROBABILITIES,
        "        self.tokens_left += len(self._text) if self._is_asked else 0\n",
        "        self.tokens_left = len(self._text) if self._is_asked else 0\n",
        _IN_METADATA,
    ),
    one(
        "a text has any number of tokens",
        _PROBABILITIES,
        "                self.tokens_left -= 1\n",
        "",
        _IN_METADATA,
    ),
    one(
        "a completion's text has any number of tokens",
        _OF_TEXTS,
        "        self.tokens_left = max(0, self.tokens_left - told)\n",
        "        pass\n",
        _IN_COMPLETIONS,
    ),
    one(
        "probabilities that nobody asked for are free",
        _PROBABILITIES,
        "        self.tokens_left += len(self._text) if self._is_asked else 0\n",
        "        self.tokens_left += len(self._text)\n",
        _IN_METADATA,
    ),
    one(
        "alternatives are of any length",
        _PROBABILITIES,
        "        if size > self._bytes_left:\n",
        "        if False:\n",
        _IN_COMPLETIONS,
    ),
    one(
        "alternatives to short tokens are said",
        _PROBABILITIES,
        "_TIMES_THE_TEXT: Final = 2\n",
        "_TIMES_THE_TEXT: Final = 0\n",
        _IN_METADATA,
    ),
    one(
        "tokens tell a text other than the answer's",
        _PROBABILITIES,
        "            if raw and self._text.startswith(raw, self._at):\n",
        "            if raw:\n",
        _IN_CHAT,
    ),
    one(
        "tokens tell the text from any place",
        _PROBABILITIES,
        "self._text.startswith(raw, self._at):\n",
        "raw in self._text:\n",
        _IN_COMPLETIONS,
    ),
    one(
        "parts of characters are said",
        _PROBABILITIES,
        '        for raw in (token.encode(), _bytes_of(token), bytes(told) if is_part and _are_bytes(told) else b""):\n',
        "        for raw in (token.encode(),):\n",
        _IN_CHAT,
    ),
    one(
        "the bytes of a token tell a text of their own",
        _PROBABILITIES,
        "    return raw in (token.encode(), _bytes_of(token)) or (",
        "    return True or (",
        _IN_CHAT,
    ),
    one(
        "the places of tokens are any numbers",
        _OF_TEXTS,
        "    return not found or (found == sorted(found) and found[-1] - found[0] <= len(text))\n",
        "    return True\n",
        _IN_COMPLETIONS,
    ),
    one(
        "vectors have infinities",
        _VECTORS,
        "    if not numbers or not all(map(math.isfinite, numbers)):\n",
        "    if not numbers:\n",
        _IN_EMBEDDINGS,
    ),
    one(
        "a number of a vector has any number of digits",
        _VECTORS,
        '        if max(map(len, written[1:-1].split(b","))) > NUMBER_BYTES_MAX:\n',
        "        if False:\n",
        _IN_EMBEDDINGS,
    ),
    one(
        "spaces anywhere in an event are relayed",
        _TYPED_EVENTS,
        'data[:-1].rstrip(b" ") + data[-1:] == written\n',
        'data.replace(b" ", b"") == written\n',
        _IN_MESSAGES,
    ),
    one(
        "an event is padded without end",
        _TYPED_EVENTS,
        "_PADDING_BYTES_MAX: Final = 64\n",
        "_PADDING_BYTES_MAX: Final = 6_400\n",
        _IN_MESSAGES,
    ),
    one(
        "events that say nothing are free",
        _VENDOR_STREAM,
        "        return step._replace(said=step.out[-_SILENT_BYTES:]",
        "        return step\n        return step._replace(said=step.out[-_SILENT_BYTES:]",
        _IN_SILENT,
    ),
    one(
        "an event that repeats the one before counts",
        _VENDOR_STREAM,
        "        if silent == self._silent_last:\n",
        "        if False:\n",
        _IN_SILENT,
    ),
    one(
        "events count that the client does not get",
        _VENDOR_STREAM,
        "        if not step.out:\n            return step\n",
        "",
        _IN_SILENT,
    ),
    one(
        "events that keep a connection open count once they are many",
        _VENDOR_STREAM,
        "step.out.translate(None, _DIGITS)",
        "step.out",
        _IN_SILENT,
    ),
    one(
        "the choices of events that say nothing spell a text",
        _VENDOR_STREAM,
        "        silent = step.choice, step.out",
        "        silent = 0, step.out",
        _IN_SILENT,
    ),
    one(
        "output makes no event free",
        _VENDOR_STREAM,
        "            self._silent_free = min(self._silent_free + _SILENT_FREE_A_PIECE, _SILENT_FREE_MAX)\n",
        "",
        _IN_SILENT,
    ),
    one(
        "a vendor's refusal is told whole",
        _OUTCOME,
        "{fault.message[:_QUOTED_CHARACTERS_MAX]}",
        "{fault.message}",
        _IN_TOLD,
    ),
    one(
        "a vendor's code and field are texts",
        _OUTCOME,
        "        return word if _WORD.fullmatch(word) and not",
        "        return word if not",
        _IN_TOLD,
    ),
    one(
        "the usage of a whole message is the vendor's, whatever was charged",
        _MESSAGES_ANSWER,
        "{**self._usage, **({} if is_counted_so else _usage(used, None))}",
        "self._usage",
        _IN_MESSAGES,
    ),
    one(
        "the usage of a message that came whole is the vendor's, whatever was charged",
        _MESSAGES_ANSWER,
        "        if self._body and ending is Ending.COMPLETE and is_counted_so:\n",
        "        if self._body and ending is Ending.COMPLETE:\n",
        _IN_MESSAGES,
    ),
    one(
        "items of a response are looked for one by one",
        "services/edge/dialects/responses/output.py",
        "            found = self._by_id.get(item_id, found)\n",
        "            found = next((each for each in self.items.values() if each.item_id == item_id), found)\n",
        "tests/edge/dialects/test_responses_answers.py",
    ),
    one(
        "limits are set for keys of others",
        "services/edge/api/admin/limits.py",
        "            await _expect_subject(authentication, account_id, wanted.subject)\n",
        "            pass\n",
        "tests/edge/test_admin_sales.py",
    ),
)
