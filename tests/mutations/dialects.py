"""Faults of reading what clients and vendors write: names, duplicates, output in odd places, usage."""

from typing import Final

from tests.mutations.planting import Mutation

_JSON_TEXT: Final = "services/edge/dialects/json_text.py"
_CHAT_REQUEST: Final = "services/edge/dialects/chat/request.py"
_CHAT_MESSAGES: Final = "services/edge/dialects/chat/messages.py"
_CHAT_ANSWER: Final = "services/edge/dialects/chat/answer.py"
_DELTAS: Final = "services/edge/dialects/chat/deltas.py"
_MESSAGES_REQUEST: Final = "services/edge/dialects/anthropic_messages/request.py"
_MESSAGES_ANSWER: Final = "services/edge/dialects/anthropic_messages/answer.py"
_MEANING: Final = "services/edge/dialects/anthropic_messages/meaning.py"
_USAGE: Final = "services/edge/vendors/usage.py"
_UNMETERED: Final = "services/edge/dialects/unmetered.py"
_METADATA: Final = "services/edge/dialects/metadata.py"
_DISGUISE: Final = "services/edge/dialects/disguise.py"
_TYPED_EVENTS: Final = "services/edge/dialects/typed_events.py"
_TALLY: Final = "services/edge/dialects/tally.py"
_INPUT: Final = "services/edge/dialects/input.py"
_PROFILED: Final = "services/edge/dialects/profiled.py"
_EVENTS: Final = "services/edge/vendors/events.py"
_ASSEMBLY: Final = "services/edge/dialects/chat/assembly.py"

_OF_CHAT_REQUEST: Final = ("tests/edge/dialects/test_chat_request.py",)
_OF_CHAT_ANSWER: Final = ("tests/edge/dialects/test_chat_answer.py",)
_OF_MESSAGES_REQUEST: Final = ("tests/edge/dialects/test_anthropic_requests.py",)
_OF_MESSAGES_ANSWER: Final = ("tests/edge/dialects/test_anthropic_answers.py",)
_EVERY: Final = ("tests/journeys/test_every_dialect.py",)
_OF_METADATA: Final = ("tests/edge/dialects/test_metadata.py",)
_OF_USAGE: Final = ("tests/edge/vendors/test_usage.py",)

_PASSED: Final = (
    Mutation(
        "a choice of another dialect is an answer",
        _CHAT_ANSWER,
        (
            (
                "        if not self._FOREIGN_NAMES.isdisjoint(choice) and self._PART_NAMES.isdisjoint(choice):\n",
                "        if False:\n",
            ),
        ),
        _EVERY,
    ),
    Mutation(
        "a chat is relayed as a completion",
        "services/edge/dialects/completions/answer.py",
        (("        return self._read_whole(body)\n", "        return super().feed_whole(body)\n"),),
        _EVERY,
    ),
    Mutation(
        "chunks of a chat are relayed as those of a completion",
        "services/edge/dialects/completions/answer.py",
        (
            (
                "        # A chat's chunk is clean, and none of a completion.\n        return None\n",
                "        return super()._clean_step(chunk, data)\n",
            ),
        ),
        _EVERY,
    ),
    Mutation(
        "events of another dialect are relayed",
        _TYPED_EVENTS,
        (("    if kind in dialect:\n        raise", "    if False:\n        raise"),),
        _EVERY,
    ),
    Mutation(
        "characters of fields that no vendor gets are charged",
        "services/edge/call/admission.py",
        (("        size = size.known\n", "        pass\n"),),
        _EVERY,
    ),
    Mutation(
        "of two paths that cost extra in a field the last one alone is looked at",
        "services/edge/dialects/chat/fields.py",
        (
            (
                "        paths.setdefault(field, []).append(PricedPath(tuple(steps), free_values))\n",
                "        paths[field] = [PricedPath(tuple(steps), free_values)]\n",
            ),
        ),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a tool that runs at the vendor passes",
        "services/edge/dialects/chat/fields.py",
        ((', ("tools[].type", CLIENT_TOOLS)))', ",))"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a limit that the meter never saw passes to a vendor of messages",
        _PROFILED,
        (("                refuse_unmetered(name, value)\n", "                pass\n"),),
        _OF_MESSAGES_REQUEST,
    ),
    Mutation(
        "a limit that the meter never saw passes to a vendor of chat",
        "services/edge/dialects/chat/fields.py",
        (("            refuse_unmetered(name, plain(raw))\n", ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a limit that the meter never saw passes within another field",
        _UNMETERED,
        (("            waiting += [((place, inner)", "            [((place, inner)"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a limit that the meter never saw passes in another spelling",
        _UNMETERED,
        (('    return fold(name).replace("_", "").replace("-", "")', "    return name"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "media that are not known pass in messages",
        _INPUT,
        (("        if self.is_bounded and (MEDIA", "        if not self.is_bounded and (MEDIA"),),
        _OF_MESSAGES_REQUEST,
    ),
)

_DISGUISED: Final = (
    Mutation(
        "form feeds count as white space",
        "services/edge/tokens/size.py",
        (('        (0x09, 0x0A, b"s"),\n', '        (0x09, 0x0C, b"s"),\n'),),
        ("tests/edge/tokens/test_size.py",),
    ),
    Mutation(
        "signs that nobody writes cost as much as full-width commas",
        "services/edge/tokens/size.py",
        (("        found = _rare(utf8, 0xEF) - utf8.count(_REPLACEMENT) if", "        found = 0 if"),),
        ("tests/edge/tokens/test_estimate.py",),
    ),
    Mutation(
        "scripts beside Hangul cost as much as Hangul",
        "services/edge/tokens/size.py",
        (("        hangul -= found\n", "        rare -= found\n"),),
        ("tests/edge/tokens/test_estimate.py",),
    ),
    Mutation(
        "short names carry a text uncounted",
        _DISGUISE,
        (("    if sum(map(len, names)) > _NAMES_CHARACTERS_MAX:\n", "    if False:\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a list of numbers carries a text uncounted",
        _DISGUISE,
        (("if len(numbers) > _NUMBERS_MAX else []", "if False else []"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a large number carries a text uncounted",
        _DISGUISE,
        (("value.bit_length() > _NUMBER_BITS_MAX", "value.bit_length() < 0"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the index of a block carries a text uncounted",
        _MEANING,
        (("            if is_text and type(index) is int and 0 <= index <= _INDEX_MAX:\n", "            if is_text:\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a member that came twice in an event of messages is relayed twice",
        _TYPED_EVENTS,
        (("    return fields, as_read(data, fields)\n", "    return fields, data\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "metadata in excess of a chat fills up its budget",
        "services/edge/dialects/chat/deltas.py",
        (("            self._excess.append(beyond)\n", "            self.said.append(beyond)\n"),),
        _OF_METADATA,
    ),
    Mutation(
        "a text beside a count of embeddings is relayed",
        "services/edge/dialects/embeddings/answer.py",
        (("if len(raw) > _USAGE_BYTES_MAX:", "if False:"),),
        ("tests/edge/dialects/test_embeddings.py",),
    ),
    Mutation(
        "names that come again in an answer of vectors are relayed",
        "services/edge/dialects/embeddings/answer.py",
        (("len(body) - vectors > FREE_BYTES + self", "len(body) - vectors > 16 * FREE_BYTES + self"),),
        ("tests/edge/dialects/test_embeddings.py",),
    ),
    Mutation(
        "citations that a block began with are lost",
        _MESSAGES_ANSWER,
        (("[*(begun if isinstance(begun, list) else ()), *self._citations]", "[*self._citations]"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "citations that are no list break an answer",
        _MESSAGES_ANSWER,
        (("(begun if isinstance(begun, list) else ())", "(begun or ())"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a member that came twice in a whole message is relayed twice",
        _MESSAGES_ANSWER,
        (("        self._body = as_read(body.strip(), message)\n", "        self._body = body.strip()\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a short member that came twice in an event of messages is relayed twice",
        _TYPED_EVENTS,
        ((' and data[:-1].rstrip(b" ") + data[-1:] == written', ""),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a member that came twice in a chunk is relayed twice",
        "services/edge/dialects/chat/chunks.py",
        (("    return len(data) > len(encode(msgspec.json.decode(data))) + spare_bytes\n", "    return False\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a chunk that says nothing may have a short member twice",
        _CHAT_ANSWER,
        (("usage, FREE_BYTES_A_PIECE if text else 0)", "usage, 256)"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "chunks with shorter words have room for a member twice",
        _CHAT_ANSWER,
        (("        if is_new:\n            self._head_bytes = 0\n", ""),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the escapes of a text make room for a member twice",
        _CHAT_ANSWER,
        (("            escapes = len(encode(text)) - len(text)\n", "            escapes = 0\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "names where a text should be are free",
        _DELTAS,
        (
            (
                "    found.tell(name, value, sum(",
                "    max(0, sum(",
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "names in the details of a thought are free",
        _DELTAS,
        (('            found.names("detail", detail, _DETAIL_NAMES)\n', "            pass\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a text where a function should be is free",
        _DELTAS,
        (("        elif member != kind or not isinstance(value, dict):\n", "        elif member != kind:\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the name of a function is free where it is no text",
        _DELTAS,
        (('        elif member != "name" or not isinstance(value, str):\n', '        elif member != "name":\n'),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the index of a whole answer's call is free",
        _DELTAS,
        (('(member == "index" and not is_whole)', 'member == "index"'),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the usage of a choice is told and free",
        _CHAT_ANSWER,
        (("                if self._choices_asked == 1:\n", "                if self._choices_asked == 0:\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "the type of a piece of text is free",
        _MEANING,
        ((' and type(delta["text"]) is str and delta["type"] == "text_delta"\n', ' and type(delta["text"]) is str\n'),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a text where a message should be is free",
        _MEANING,
        (('            tally.say("message", message)\n', ""),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a text where a message's end should be is free",
        _MEANING,
        (('                    tally.say("ending", delta)\n', "                    pass\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "names in a proof of thought are free",
        _TALLY,
        (('            self.say("opaque", value)\n', "            self.opaque_bytes += bytes_of(texts_of(value))\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "results of tools that nobody asked for are input",
        _MEANING,
        (("        if self._has_results and isinstance", "        if isinstance"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a count of tokens brings any text",
        _MESSAGES_ANSWER,
        (("if len(body) <= _COUNT_BYTES_MAX else", "if len(body) else"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "data of blanks is an event",
        _EVENTS,
        ((" and block[6] > _BLANK:", ":"),),
        ("tests/edge/vendors/test_events.py",),
    ),
    Mutation(
        "empty lines and comments come without end",
        _EVENTS,
        (("        if self._bytes_since_event > EVENT_BYTES_MAX:\n", "        if len(self._rest) > EVENT_BYTES_MAX:\n"),),
        ("tests/edge/vendors/test_events.py",),
    ),
    Mutation(
        "each piece of a list is looked for in all of it",
        _ASSEMBLY,
        (
            (
                "            joined.append(_own(piece))\n            continue\n",
                "            any(each is piece for each in joined)\n            joined.append(_own(piece))\n            continue\n",
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
)

_NAMES: Final = (
    Mutation(
        "a name that another reader folds is let through",
        _JSON_TEXT,
        (("        if meant is not None and meant != name:\n", "        if False:\n"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a name is folded as Python does",
        _JSON_TEXT,
        (('    return name.upper().casefold().replace("\\u0307", "")', "    return name.lower()"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a folded option of a stream is let through",
        "services/edge/dialects/chat/fields.py",
        (('    refuse_folds(options, _OPTIONS_BY_FOLD, "stream_options")\n', ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a folded name of an endpoint's own field is let through",
        "services/edge/dialects/chat/fields.py",
        (("        refuse_folds((name,), own.by_fold)\n", ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a folded member of a message is let through",
        _CHAT_MESSAGES,
        (("        refuse_folds(fields, _MEMBERS_BY_FOLD, param)\n", ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a folded member of a part is let through",
        _CHAT_MESSAGES,
        (("        refuse_folds(part, _PARTS_BY_FOLD, param)\n", ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a folded field of messages is let through",
        _MESSAGES_REQUEST,
        (("        refuse_folds(fields, FIELDS_BY_FOLD)\n", "        pass\n"),),
        _OF_MESSAGES_REQUEST,
    ),
    Mutation(
        "a member that came twice in a message is sent twice",
        _CHAT_MESSAGES,
        (("raw_messages = Raw(encode(messages))", "raw_messages = raw"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a member that came twice in a plain message is sent twice",
        _CHAT_MESSAGES,
        (("        if plain_ones and encode(plain_ones) == raw_bytes:", "        if plain_ones:"),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a member that came twice in a part is sent twice",
        _CHAT_MESSAGES,
        (('        fields["content"] = Raw(encode(parts))\n', ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "a member that came twice in a call is sent twice",
        _CHAT_MESSAGES,
        (('        fields["tool_calls"] = Raw(encode(calls))\n', ""),),
        _OF_CHAT_REQUEST,
    ),
    Mutation(
        "two output limits are sent",
        _CHAT_REQUEST,
        (
            (
                "            elif name in LIMITS or name == endpoint.output_limit_field:",
                "            elif name == endpoint.output_limit_field:",
            ),
        ),
        _OF_CHAT_REQUEST,
    ),
)

_ENDS: Final = (
    Mutation(
        "usage is shown to who did not ask",
        _CHAT_ANSWER,
        (("        if self._options.include_usage:\n", "        if True:\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a chunk of usage is relayed as it comes",
        _CHAT_ANSWER,
        (
            (
                "            self._usage_chunk = data\n            return Step(counted",
                '            self._usage_chunk = data\n            return Step(b"data: %b\\n\\n" % data, counted',
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "an odd chunk of usage is relayed as it comes",
        _CHAT_ANSWER,
        (
            ("        if is_empty and usage is not None and not says:\n", "        if False:\n"),
            ("        elif is_empty and not says:\n", "        elif False:\n"),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a chunk of usage is shown that an odd one has corrected",
        _CHAT_ANSWER,
        (
            (
                '            # One of ours tells it at the end.\n            self._usage_chunk = b""\n',
                "            # One of ours tells it at the end.\n            pass\n",
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "[DONE] goes out before the usage",
        _CHAT_ANSWER,
        (
            ("        if self._options.include_usage:\n", "        out += _DONE\n        if self._options.include_usage:\n"),
            ("        return out + _DONE\n", "        return out\n"),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "[DONE] is relayed as it comes",
        _CHAT_ANSWER,
        (
            (
                "            return Step(finished=self._unfinished <= 0, ended=True)\n",
                "            return Step(_DONE, finished=self._unfinished <= 0, ended=True)\n",
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "message_stop is relayed as it comes",
        _MESSAGES_ANSWER,
        (
            (
                '                self._stop = event_of(kind, data)\n                return b""\n',
                "                self._stop = event_of(kind, data)\n",
            ),
        ),
        _OF_MESSAGES_ANSWER,
    ),
)

_OUTPUT: Final = (
    Mutation(
        "text in an unknown member of a delta is not counted",
        _DELTAS,
        (('        elif name not in ("content", "reasoning_details", *_THOUGHTS):\n', "        elif False:\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "text in an unknown member of a chunk is not counted",
        _CHAT_ANSWER,
        (
            (
                '            if name not in ("choices", "object"):\n                count_member(name, value, found)\n',
                "            pass\n",
            ),
        ),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "thought under another name is not counted",
        _DELTAS,
        (("    _read_thoughts(right, found)\n", ""),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "arguments of a call are not counted",
        _DELTAS,
        (("            found.said.append(function[member])\n", ""),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "metadata is free however long",
        _DELTAS,
        (("METADATA_BYTES_MAX: Final = 256\n", "METADATA_BYTES_MAX: Final = 1_000_000\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "opaque bytes of a member are ignored",
        _DELTAS,
        (("        found.opaque_bytes += len(value)\n        return\n", "        return\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "opaque bytes of a thought's details are ignored",
        _DELTAS,
        (("                found.opaque_bytes += len(value)\n                others += 1\n", "                others += 1\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "opaque bytes of messages are ignored",
        _TALLY,
        (("            self.opaque_bytes += bytes_of([value])\n", "            pass\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "what is encrypted in a result of messages is free",
        _MEANING,
        (("                self.added_opaque_bytes += bytes_of(hidden)\n", ""),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "text in an unknown member of messages is not counted",
        _TALLY,
        (
            (
                '                self.said += texts\n                self.tell(f"{place} {name}"',
                '                self.tell(f"{place} {name}"',
            ),
        ),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "what a message_start says of output is a count",
        _MEANING,
        (("{name: value for name, value in usage.items() if name not in _OUTPUT}", "usage"),),
        _OF_MESSAGES_ANSWER,
    ),
)

_COUNTS: Final = (
    Mutation(
        "an earlier count of output covers what came since",
        _USAGE,
        (("    return counted._replace(has_output=False)\n", "    return counted\n"),),
        _OF_MESSAGES_ANSWER,
    ),
    Mutation(
        "a total that contradicts its parts is thought",
        _USAGE,
        (("        return None\n    return total\n", "        return total\n    return total\n"),),
        _OF_USAGE,
    ),
    Mutation(
        "cached tokens of a plain usage are uncached",
        _USAGE,
        (("    return VendorCount((prompt - cached, cached, 0,", "    return VendorCount((prompt, 0, 0,"),),
        _OF_USAGE,
    ),
    Mutation(
        "cached tokens are uncached",
        _USAGE,
        (('                "prompt_tokens_details.cached_tokens",\n', ""),),
        _OF_USAGE,
    ),
    Mutation(
        "parts are counted beside their whole",
        _USAGE,
        (("        counts[rule.inside] -= number\n", ""),),
        _OF_USAGE,
    ),
    Mutation(
        "reasoning beside the output is dropped",
        _USAGE,
        (("        counts[_REASONING] = beside\n", "        counts[_REASONING] = 0\n"),),
        _OF_USAGE,
    ),
    Mutation(
        "reasoning that only the total has is dropped",
        _USAGE,
        (("    return rest if rest > 0 and thought in (0, rest) else None\n", "    return None\n"),),
        _OF_USAGE,
    ),
    Mutation(
        "reasoning beside the output of a plain usage is taken for a part",
        _USAGE,
        (("    if reading.paths or reading.reasoning is Reasoning.BESIDE:\n", "    if reading.paths:\n"),),
        _OF_USAGE,
    ),
    Mutation(
        "a usage without its total is told as it came",
        _CHAT_ANSWER,
        ((" and self._known_usage().keys() >= USAGE_COUNTS:\n", ":\n"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "a repeated letter has as many tokens as words have",
        "services/edge/tokens/estimate.py",
        ((", 70, 280, -60, -205)", ", 70, 280, 0, 0)"),),
        ("tests/edge/tokens/test_estimate.py",),
    ),
    Mutation(
        "a later zero erases a count",
        _USAGE,
        (("        elif _count(value) or not (_count(before) or isinstance(before, dict)):\n", "        else:\n"),),
        _OF_USAGE,
    ),
)

_TOLD: Final = (
    Mutation(
        "the last usage is the vendor's, whatever was charged",
        _CHAT_ANSWER,
        (("        if self._is_counted_so(used) and self._known_usage().keys()", "        if self._known_usage().keys()"),),
        _OF_CHAT_ANSWER,
    ),
    Mutation(
        "metadata is free without end",
        _METADATA,
        (("        over = cost - self._left\n", "        over = 0\n"),),
        _OF_METADATA,
    ),
    Mutation(
        "what is told again costs as much as what is new",
        _METADATA,
        (("        if known == raw:\n            return 0\n", ""),),
        _OF_METADATA,
    ),
    Mutation(
        "metadata may be told in turns",
        _METADATA,
        (
            (
                '            if self._plain.get(name) == value:\n                return ""\n',
                '            if self._plain.get(f"{name} {value}") == value:\n                return ""\n',
            ),
            ("                self._plain[name] = value\n", '                self._plain[f"{name} {value}"] = value\n'),
        ),
        _OF_METADATA,
    ),
    Mutation(
        "output fills up no budget",
        _METADATA,
        (("min(self._left + FREE_BYTES_A_PIECE, FREE_BYTES)", "self._left"),),
        _OF_METADATA,
    ),
    Mutation(
        "a budget grows with each piece of output",
        _METADATA,
        (("min(self._left + FREE_BYTES_A_PIECE, FREE_BYTES)", "self._left + FREE_BYTES_A_PIECE"),),
        _OF_METADATA,
    ),
    Mutation(
        "a few names are free in each event",
        _METADATA,
        (("told_by_names(members) or [self.beyond(", "told_by_names(members) or [] and [self.beyond("),),
        _OF_METADATA,
    ),
    Mutation(
        "metadata of a clean chunk is free",
        _CHAT_ANSWER,
        (("        if not self._metadata.takes(told, says=says):\n            return False\n", ""),),
        _OF_METADATA,
    ),
    Mutation(
        "any reason to end is free",
        _CHAT_ANSWER,
        (("(pieces or reason not in _REASONS or state", "(pieces or state"),),
        _OF_METADATA,
    ),
    Mutation(
        "a long padding is free",
        _CHAT_ANSWER,
        (("not (says and len(padding) <= FREE_BYTES_A_PIECE)", "False"),),
        _OF_METADATA,
    ),
    Mutation(
        "an ID of a call is free however long",
        _DELTAS,
        (("        found.said.append(call_id[CALL_ID_CHARACTERS_MAX:])\n", ""),),
        _OF_METADATA,
    ),
    Mutation(
        "metadata of a message is free",
        _TALLY,
        (("        self.tell(name, value, bytes_of(beyond))\n", ""),),
        _OF_METADATA,
    ),
    Mutation(
        "names in a result are free",
        _MEANING,
        (
            (
                '        self.added.append(self._metadata.beyond("result", value, bytes_of(texts) + bytes_of(hidden)))\n',
                "        pass\n",
            ),
        ),
        _OF_METADATA,
    ),
)

DIALECTS: Final = (*_TOLD, *_PASSED, *_DISGUISED, *_NAMES, *_ENDS, *_OUTPUT, *_COUNTS)
