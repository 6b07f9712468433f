"""Faults of translation: what is carried, dropped or refused, proofs of thought, the order of blocks, ends and cuts."""

from typing import Final

from tests.mutations.planting import Mutation, one

_ROOM: Final = "services/edge/dialects/translation/"
_REQUEST: Final = f"{_ROOM}request.py"
_ANSWER: Final = f"{_ROOM}answer.py"
_TELLING: Final = f"{_ROOM}telling.py"
_PAIRING: Final = f"{_ROOM}pairing.py"
_PROOFS: Final = f"{_ROOM}proofs.py"
_TRANSLATOR: Final = f"{_ROOM}translator.py"
_CHAT: Final = f"{_ROOM}requests/chat.py"
_MESSAGES: Final = f"{_ROOM}requests/messages.py"
_MESSAGES_BODY: Final = f"{_ROOM}requests/messages_body.py"
_RESPONSES: Final = f"{_ROOM}requests/responses.py"
_OPENAI: Final = f"{_ROOM}requests/openai.py"
_CHAT_ANSWERS: Final = f"{_ROOM}answers/chat.py"
_MESSAGES_ANSWERS: Final = f"{_ROOM}answers/messages.py"
_RESPONSES_ANSWERS: Final = f"{_ROOM}answers/responses.py"
_ADMISSION: Final = "services/edge/call/admission.py"
_COUNTS: Final = "services/edge/api/token_counts.py"

_OF_REQUESTS: Final = "tests/edge/dialects/translation/test_requests.py"
_OF_ANSWERS: Final = "tests/edge/dialects/translation/test_answers.py"
_OF_CALLS: Final = "tests/edge/test_translation.py"

TRANSLATION: Final[tuple[Mutation, ...]] = (
    one(
        "places of translated calls are not named",
        _ADMISSION,
        "if name in spoken or self.translator.targets(name, spoken)]",
        "if name in spoken]",
        _OF_CALLS,
    ),
    one(
        "an odd last event fails an answer that is charged",
        _ANSWER,
        "        except _ODD:\n            return []\n",
        "        except _ODD:\n            raise\n",
        _OF_ANSWERS,
    ),
    one(
        "a last event without a place fails an answer that is charged",
        _ANSWER,
        '        except VendorFailure:\n            return b""\n',
        "        except VendorFailure:\n            raise\n",
        _OF_ANSWERS,
    ),
    one(
        "an odd item hides the others",
        _RESPONSES_ANSWERS,
        "return value if type(value) is list else []",
        "return value or []",
        _OF_ANSWERS,
    ),
    one(
        "a call with an odd name is a fault of ours",
        _CHAT_ANSWERS,
        'str(function.get("name") or "")',
        'function.get("name") or ""',
        _OF_ANSWERS,
    ),
    one("a proof goes to whoever asks", _PROOFS, "self.close(proof) == sealed else None", "sealed else None", _OF_ANSWERS),
    one(
        "a proof is not bound to its vendor",
        _PROOFS,
        r'f"{dialect}\n{vendor_id}\n{model_id}\n"',
        r'f"{dialect}\n{model_id}\n"',
        _OF_ANSWERS,
    ),
    one(
        "proofs of other vendors are sent",
        _REQUEST,
        "not all(map(opened, self._sealed))",
        "False",
        _OF_ANSWERS,
    ),
    one(
        "marks of what is cached vanish",
        _REQUEST,
        "                case PromptCaching.NONE:\n",
        "                case PromptCaching.MARKS if False:\n",
        _OF_REQUESTS,
    ),
    one("marks that are left out are not named", _REQUEST, "dropped = (*dropped, self._client.names.marks)", "pass", _OF_REQUESTS),
    one("dropped fields are not named", _REQUEST, "dropped=(*dropped, *asked.dropped)", "dropped=asked.dropped", _OF_REQUESTS),
    one("a refusal names the vendor's field", _REQUEST, "if own != clients and (", "if False and (", _OF_REQUESTS),
    one("a result passes without its call", _PAIRING, "    if part.call_id not in waiting:\n", "    if False:\n", _OF_REQUESTS),
    one("a call passes without its result", _PAIRING, "    _check(waiting)\n    return right", "    return right", _OF_REQUESTS),
    one("repeated IDs stay", _PAIRING, "while not own or own in taken:", "while not own:", _OF_REQUESTS),
    one("odd IDs reach messages", _MESSAGES_BODY, "    if _ID.fullmatch(call_id):\n", "    if True:\n", _OF_REQUESTS),
    one("priced fields of a chat are carried", _CHAT, "    refuse_priced(fields, _PRICED)\n", "", _OF_REQUESTS),
    one("several answers are asked for as one", _CHAT, "    if request.choices > 1:\n", "    if False:\n", _OF_REQUESTS),
    one("more stop texts than a chat takes", _CHAT, "if len(conversation.stop) > _STOPS_MAX:", "if False:", _OF_REQUESTS),
    one("stop texts vanish on the way to responses", _RESPONSES, "    if conversation.stop:\n", "    if False:\n", _OF_REQUESTS),
    one("thought without calls goes back", _CHAT, "    if calls:\n        message", "    if True:\n        message", _OF_ANSWERS),
    one(
        "an error of a tool looks like a result",
        _CHAT,
        '            texts.insert(0, Text("Error:"))\n',
        "            pass\n",
        _OF_REQUESTS,
    ),
    one("images of a result vanish", _CHAT, "    if images:\n", "    if False:\n", _OF_REQUESTS),
    one("a temperature above 1 reaches messages", _MESSAGES_BODY, "_number(value) > 1", "_number(value) > 2", _OF_REQUESTS),
    one(
        "an empty text reaches messages",
        _MESSAGES_BODY,
        "is_marked=part.is_marked) if text else None",
        "is_marked=part.is_marked)",
        _OF_REQUESTS,
    ),
    one("five marks reach messages", _MESSAGES_BODY, "if marks > _MARKS_MAX:", "if marks > 5:", _OF_REQUESTS),
    one(
        "words of the assistant are gone on with", _PAIRING, "if turns and turns[-1].role == ASSISTANT:", "if False:", _OF_REQUESTS
    ),
    one("a budget of thinking is forgotten", _MESSAGES, 'case "enabled" if not effort:', 'case "enabled" if False:', _OF_REQUESTS),
    one("a long name of a user reaches a vendor", _OPENAI, "user if is_short else", "user if True else", _OF_REQUESTS),
    one("an unsent event is told", _ANSWER, "                self._telling.take_back()\n", "                pass\n", _OF_ANSWERS),
    one("what was sent is taken back later", _TELLING, "        undo.forget()\n", "", _OF_ANSWERS),
    one("blocks of a stream overlap", _TELLING, "            if not block.is_done:\n                return\n", "", _OF_ANSWERS),
    one("what has waited is lost", _TELLING, "out += [self._piece(block, text) for text in block.pieces]", "pass", _OF_ANSWERS),
    one(
        "a cut answer says that it is done",
        _TELLING,
        "Stopped(Stop.LIMIT if is_cut else Stop.DONE)",
        "Stopped(Stop.DONE)",
        _OF_ANSWERS,
    ),
    one(
        "a call that is told as done is none", _TELLING, "if stopped.stop is Stop.DONE and kinds & CALLS:", "if False:", _OF_ANSWERS
    ),
    one("no arguments are no JSON", _CHAT_ANSWERS, 'return self._piece(block, "{}") if', 'return b"" if', _OF_ANSWERS),
    one(
        "usage of messages has cached tokens twice",
        _MESSAGES_ANSWERS,
        '"usage": usage_of(used)}',
        '"usage": {**usage_of(used), "input_tokens": sum(used[:3])}}',
        _OF_ANSWERS,
    ),
    one("a signature of a call is lost", _CHAT_ANSWERS, "proof = _signature(piece)", "proof = None", _OF_ANSWERS),
    one("numbers of a response begin anew", _RESPONSES_ANSWERS, "        self._number = number\n", "", _OF_ANSWERS),
    one(
        "a custom call stays wrapped",
        _RESPONSES_ANSWERS,
        "            return input_of(block.text)\n",
        "            return block.text\n",
        _OF_ANSWERS,
    ),
    one(
        "an item that was cut is complete",
        _RESPONSES_ANSWERS,
        'item = self._item(block, "incomplete" if block.is_cut else "completed")\n        text',
        'item = self._item(block, "completed")\n        text',
        _OF_ANSWERS,
    ),
    one(
        "a client of its own dialect is translated",
        _ADMISSION,
        "if dialect.name in spoken or not spoken:",
        "if not spoken:",
        _OF_CALLS,
    ),
    one(
        "a refusal by one dialect is the last word",
        _TRANSLATOR,
        "                refused = refused or problem\n",
        "                raise\n",
        _OF_REQUESTS,
    ),
    one(
        "a count of ours passes for a vendor's",
        _COUNTS,
        '        answer.add_header(b"x-count-provenance"',
        '        answer.add_header(b"x-count"',
        _OF_CALLS,
    ),
)
