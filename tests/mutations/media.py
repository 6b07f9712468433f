"""Faults of images, sound and other media: their bounds, and what is charged for them."""

from typing import Final

from tests.mutations.planting import one

_MEDIA: Final = "services/edge/tokens/media.py"
_OF_MEDIA: Final = "tests/edge/tokens/test_media.py"
_USAGE: Final = "services/edge/call/usage.py"
_OF_USAGE: Final = "tests/edge/call/test_usage.py"
_ADMITTED: Final = "tests/edge/call/test_admission.py"

_IMAGES: Final = (
    one(
        "a head of another type than declared is believed", _MEDIA, 'media_type == "image/png" and is_still', "is_still", _OF_MEDIA
    ),
    one(
        "an image that moves counts as one",
        _MEDIA,
        "        is_still = _MOVES not in head\n",
        "        is_still = True\n",
        _OF_MEDIA,
    ),
    one("a canvas is believed", _MEDIA, 'rb"RIFF.{4}WEBPVP8[ L]"', 'rb"RIFF.{4}WEBPVP8[ LX]"', _OF_MEDIA),
    one("base64 is read as one reader does", _MEDIA, "    if _BASE64.fullmatch(text) is None:\n", "    if False:\n", _OF_MEDIA),
    one("a size of nothing is believed", _MEDIA, "if width > 0 and height > 0 else", "if width >= 0 else", _OF_MEDIA),
    one("an image of unknown size costs nothing", _MEDIA, "    if not image.width:\n        return tokens_max\n", "", _OF_MEDIA),
    one("an image has no largest size", _MEDIA, "return min(max(tokens, rule.tokens_min), tokens_max)", "return tokens", _OF_MEDIA),
    one(
        "a begun square counts as none",
        _MEDIA,
        "squares = -(-long // rule.square_pixels)",
        "squares = (long // rule.square_pixels)",
        _OF_MEDIA,
    ),
    one("an image is never enlarged", _MEDIA, "    if rule.short_side_pixels:\n", "    if False:\n", _OF_MEDIA),
    one(
        "low detail is had of vendors that have none", _MEDIA, "image.is_low and rule.low_detail_tokens", "image.is_low", _OF_MEDIA
    ),
    one(
        "images without a rule are bounded by an estimate",
        _USAGE,
        "MediaTokens(context_tokens if unbounded else bound",
        "MediaTokens(likely",
        _OF_USAGE,
    ),
    one(
        "the reason for so large a reservation is not told",
        "services/edge/call/path.py",
        "unbounded=admitted.tokens.media.unbounded",
        'unbounded=""',
        _ADMITTED,
    ),
    one(
        "a document passes as an image",
        "services/edge/dialects/unmetered.py",
        'if media_type is not None and not media_type.startswith("image/"):',
        "if False:",
        "tests/edge/dialects/test_chat_request.py",
    ),
    one(
        "a rule of images needs no largest image",
        "services/registry/catalog.py",
        "    if not tokens_max:\n",
        "    if False:\n",
        "tests/registry/test_catalog_folder.py",
    ),
)

_ANSWER: Final = "services/edge/dialects/images/answer.py"
_OF_IMAGES: Final = "tests/edge/dialects/test_images.py"
_AMOUNTS: Final = "services/accounting/core/amounts.py"
_CREATE: Final = "services/accounting/core/sessions/create.py"
_OF_MEASURES: Final = "tests/accounting/core/test_measures.py"
_CATALOG: Final = "services/registry/catalog.py"
_TARIFFS: Final = "services/registry/tariffs.py"
_OF_PRICES: Final = "tests/registry/test_measures.py"

_MEASURES: Final = (
    one(
        "more images pass than were asked for", _ANSWER, "1 <= len(self._data) <= self._images", "1 <= len(self._data)", _OF_IMAGES
    ),
    one(
        "an answer without images passes",
        _ANSWER,
        "1 <= len(self._data) <= self._images",
        "len(self._data) <= self._images",
        _OF_IMAGES,
    ),
    one(
        "images on the way cost nothing",
        "services/edge/dialects/images/request.py",
        'frozenset({b"0"})',
        'frozenset({b"2"})',
        _OF_IMAGES,
    ),
    one(
        "a vendor chooses the number of images",
        "services/edge/dialects/images/request.py",
        '            written["n"] = Raw(b"1")\n',
        "            pass\n",
        _OF_IMAGES,
    ),
    one("free text comes with an image", _ANSWER, "_is_text(self._members[name], _WORD_BYTES_MAX)", "True", _OF_IMAGES),
    one(
        "tokens of images are output of text",
        _ANSWER,
        "counts[_IMAGE_TOKENS], counts[_OUTPUT] = counts[_OUTPUT], 0",
        "pass",
        _OF_IMAGES,
    ),
    one(
        "a side is charged in two measures",
        _USAGE,
        "        kept = in_measures(counted.counts, self._measures)\n",
        "        kept = counted.counts\n",
        _OF_USAGE,
    ),
    one("images that nobody counted are free", _USAGE, "            if self._images:\n", "            if False:\n", _OF_USAGE),
    one(
        "images are reserved as tokens",
        _AMOUNTS,
        "_own_rates(rates, _OUTPUTS[measures.output])",
        "_own_rates(rates, _OUTPUT_TOKENS)",
        _OF_MEASURES,
    ),
    one(
        "characters are reserved as tokens",
        _AMOUNTS,
        "_own_rates(rates, _INPUTS[measures.input])",
        "_own_rates(rates, _INPUT_TOKENS)",
        _OF_MEASURES,
    ),
    one(
        "images are granted in hope",
        _CREATE,
        "not admission.exact and command.measures == IN_TOKENS",
        "not admission.exact",
        _OF_MEASURES,
    ),
    one(
        "rates of tokens count characters",
        _CREATE,
        "tokens if command.input_measure is Measure.TOKEN else 0",
        "tokens",
        _OF_MEASURES,
    ),
    one(
        "an account may owe 4,096 images",
        "services/accounting/core/offerings.py",
        "Measure.IMAGE: 1,",
        "Measure.IMAGE: _DEBT_TOKENS,",
        _OF_MEASURES,
    ),
    one(
        "an image may cost what a token does",
        _TARIFFS,
        "                    if token_class not in rates.given():\n",
        "                    if False:\n",
        _OF_PRICES,
    ),
    one(
        "a model is charged in what its dialect does not count",
        _CATALOG,
        "            if measure not in right:\n",
        "            if False:\n",
        _OF_PRICES,
    ),
    one(
        "an answer is several images",
        _CATALOG,
        'if model.output_measure == "image" and model.max_output_tokens != 1:',
        "if False:",
        _OF_PRICES,
    ),
)

_SOUND: Final = "services/edge/tokens/sound.py"
_OF_SOUND: Final = "tests/edge/tokens/test_sound.py"
_FORM: Final = "services/edge/dialects/transcriptions/form.py"
_TRANSCRIPTION: Final = "services/edge/dialects/transcriptions/request.py"
_TEXT: Final = "services/edge/dialects/transcriptions/answer.py"
_OF_TEXT: Final = "tests/edge/dialects/test_transcriptions.py"

_LENGTHS: Final = (
    one(
        "a wave is as short as it says",
        _SOUND,
        "            return Sound(length, length, length)\n",
        "            return Sound(_told_ms(content), length, length)\n",
        _OF_SOUND,
    ),
    one("mu-law has the bits that a head says", _SOUND, "7: frozenset({8})}", "7: frozenset({8, 64})}", _OF_SOUND),
    one("a short head has the bits that follow", _SOUND, "size >= _WAVE_FORMAT_BYTES and block", "block", _OF_SOUND),
    one("a block of other numbers is believed", _SOUND, " and block_bytes * 8 == channels * bits", "", _OF_SOUND),
    one(
        "the end of an extended head is not read",
        _SOUND,
        "more, valid_bits, _, kind, guid_end =",
        "more, valid_bits, _, _, guid_end =",
        _OF_SOUND,
    ),
    one("bits have all of their room", _SOUND, "bits = min(valid_bits or bits, bits)", "pass", _OF_SOUND),
    one("any family of subformats is numbers", _SOUND, " and guid_end == _WAVE_GUID_END", "", _OF_SOUND),
    one("an absurd rate is believed", _SOUND, " and rate in _WAVE_RATES", "", _OF_SOUND),
    one(
        "a second chunk says what a wave is",
        _SOUND,
        "_WAVE_FORMAT.match(content)",
        "re.search(rb'fmt .{4}(.{16})', content, re.DOTALL)",
        _OF_SOUND,
    ),
    one("a head makes sound shorter than its bytes", _SOUND, "_BYTES_EXPECTED, shortest, 1)", "_BYTES_EXPECTED, 1)", _OF_SOUND),
    one("a head makes sound longer than its bytes", _SOUND, "min(likely, longest) if longest else likely", "likely", _OF_SOUND),
    one("a picture is sound", _SOUND, "        content = content[_id3_bytes(content) :]\n", "", _OF_SOUND),
    one(
        "a begun second is reserved as a part",
        _USAGE,
        "-(-(sound.milliseconds_max or most) // _MS) * _MS",
        "(sound.milliseconds_max or most)",
        _OF_USAGE,
    ),
    one("sound without a bound is free", _USAGE, "(sound.milliseconds_max or most)", "sound.milliseconds_max", _OF_USAGE),
    one(
        "seconds that can not be are charged",
        _USAGE,
        "input_tokens.bound if measures.input is Measure.MILLISECOND else",
        "",
        _OF_USAGE,
    ),
    one(
        "the text of a model that listens is charged",
        _USAGE,
        "        self._makes_output = output_max > 0\n",
        "        self._makes_output = True\n",
        _OF_USAGE,
    ),
    one("sound without a rate has a bound", _USAGE, "if not rate or not all(", "if not all(", _OF_USAGE),
    one(
        "one of two files is heard",
        _FORM,
        "    if len(files) != 1 or not files[0].content:\n",
        "    if not files or not files[0].content:\n",
        _OF_TEXT,
    ),
    one("one of two values holds", _FORM, "        if len(values) > 1:\n", "        if False:\n", _OF_TEXT),
    one(
        "a vendor gets the client's name of a file",
        _FORM,
        'name = f"sound.{file.ending}" if file.ending else "sound"',
        'name = "talk.wav"',
        _OF_TEXT,
    ),
    one("a second file comes as a field", _FORM, "    if segment.filename is not None:\n", "    if False:\n", _OF_TEXT),
    one("a vendor is asked for a form without a count", _TRANSCRIPTION, '"text": "json"', '"text": "text"', _OF_TEXT),
    one(
        "sound beside the file is not measured",
        _TRANSCRIPTION,
        "            elif name in _PRICED:\n",
        "            elif False:\n",
        _OF_TEXT,
    ),
    one("seconds round down", _TEXT, "length: int = math.ceil(seconds * _MS)", "length = int(seconds * _MS)", _OF_TEXT),
    one(
        "a vendor's own count of sound is told",
        _TEXT,
        '{**self._whole, "usage": _told(used)}',
        "self._whole",
        _OF_TEXT,
    ),
    one(
        "bytes of sound count as values of JSON",
        "services/edge/api/calls.py",
        "is_json=self._dialect.is_json",
        "is_json=True",
        "tests/journeys/test_openai_media.py",
    ),
    one(
        "a file that is too long is sent",
        "services/edge/call/admission.py",
        "length * 100 > most * _CONTEXT_PERCENT_MAX",
        "False",
        "tests/journeys/test_openai_media.py",
    ),
)

_CHAT: Final = "services/edge/dialects/chat/messages.py"
_OF_CHAT: Final = "tests/edge/dialects/test_chat_request.py"
_BUSY: Final = (
    one("a head of nothing but segments is walked", _MEDIA, " and head.count(_SEGMENT) <= _SEGMENTS_MAX", "", _OF_MEDIA),
    one(
        "sound of many parts is walked to its end",
        _SOUND,
        "super().__init__(content[:_HEAD_BYTES])",
        "super().__init__(content)",
        _OF_SOUND,
    ),
    one(
        "characters are refused as tokens",
        "services/edge/call/admission.py",
        "    if model.measures.input is Measure.TOKEN and estimated",
        "    if estimated",
        "tests/journeys/test_openai_media.py",
    ),
)
_AGAIN: Final = (
    one(
        "a form that is sent again is another call",
        "services/edge/api/calls.py",
        "content if self._dialect.is_json else _without_boundary(content)",
        "content",
        "tests/journeys/test_openai_media.py",
    ),
)
_DOCUMENTS: Final = (
    one("sound of a chat is no input", _CHAT, "        self._sounds.append(sound_in(", "        (sound_in(", _OF_CHAT),
    one("a document of a chat is no input", _CHAT, "        self._documents.append(document_in(data))\n", "", _OF_CHAT),
    one("a file of one vendor passes to another", _CHAT, '        if is_set(file, "file_id"):\n', "        if False:\n", _OF_CHAT),
    one("media hide in sound", _CHAT, "            if member not in known.values():\n", "            if False:\n", _OF_CHAT),
    one(
        "a document of a message is no input",
        "services/edge/dialects/anthropic_messages/prompt.py",
        "                self.documents.append(document_in(data) if type(data) is str else Document())\n",
        "                pass\n",
        "tests/edge/dialects/test_anthropic_requests.py",
    ),
    one(
        "a file of a response is no input",
        "services/edge/dialects/responses/items.py",
        "        self.documents.append(document_in(",
        "        (document_in(",
        "tests/edge/dialects/test_responses_requests.py",
    ),
    one("documents have a bound of their own", _USAGE, '        unbounded.append("documents")\n', "", _OF_USAGE),
)

_RANKS: Final = "services/edge/dialects/rerank/answer.py"
_RANKED: Final = "services/edge/dialects/rerank/request.py"
_OF_RANKS: Final = "tests/edge/dialects/test_rerank.py"
_RERANK: Final = (
    one(
        "a query is read once",
        _RANKED,
        "each * count for each in size_of(self._query)",
        "each for each in size_of(self._query)",
        _OF_RANKS,
    ),
    one("documents share a context window", _RANKED, 'self._texts, count, "documents")', 'self._texts, 1, "documents")', _OF_RANKS),
    one(
        "documents come back from the vendor",
        _RANKED,
        'elif name not in ("stream", "return_documents"):',
        'elif name != "stream":',
        _OF_RANKS,
    ),
    one(
        "any number of documents is ranked",
        _RANKED,
        "    if not 1 <= len(documents) <= DOCUMENTS_MAX:\n",
        "    if not documents:\n",
        _OF_RANKS,
    ),
    one("a document is ranked twice", _RANKS, "len(indexes) == len(results) and indexes", "indexes", _OF_RANKS),
    one("a document that nobody sent is ranked", _RANKS, "indexes <= set(range(self._documents))", "True", _OF_RANKS),
    one("more results pass than were asked for", _RANKS, "results[: self._most]", "results", _OF_RANKS),
    one(
        "output of ranks is charged",
        _RANKS,
        "[tokens if index in INPUT_INDEXES else 0 for index, tokens in enumerate(counted.counts)]",
        "list(counted.counts)",
        _OF_RANKS,
    ),
    one(
        "ranks are counted in one place alone",
        _RANKS,
        '(("usage",), ("meta", "tokens"), ("meta", "billed_units"))',
        '(("usage",),)',
        _OF_RANKS,
    ),
)

_SPOKEN: Final = "services/edge/dialects/speech/request.py"
_OF_SPEECH: Final = "tests/edge/dialects/test_speech.py"
_STREAM: Final = "services/edge/call/vendor_stream.py"
_JOURNEYS: Final = "tests/journeys/test_openai_media.py"
_SPEECH: Final = (
    one(
        "a character brings sound without end",
        "services/edge/dialects/speech/answer.py",
        "        if self._bytes_left < 0:\n",
        "        if False:\n",
        _OF_SPEECH,
    ),
    one("instructions are free", _SPOKEN, "self._spoken + self._told + self._unknown", "self._spoken + self._unknown", _OF_SPEECH),
    one("bytes are charged and not characters", _SPOKEN, "characters=len(self._read),", "characters=size.utf8_bytes,", _OF_SPEECH),
    one("sound comes as events", _SPOKEN, "frozenset({b'\"audio\"'})", "frozenset({b'\"audio\"', b'\"sse\"'})", _OF_SPEECH),
    one("sound is looked at for events", _STREAM, "PieceReader() if relays_bytes else EventReader()", "EventReader()", _JOURNEYS),
    one("a page is relayed as sound", _STREAM, "not named or sound is not None", "True", _JOURNEYS),
    one("the end of sound is a break", _STREAM, "self.ended or self._ends_with_body", "self.ended", _JOURNEYS),
    one(
        "sound has another type than the vendor says",
        "services/edge/call/call.py",
        "            self._answer.stream_content_type = stream.sound_type or stream.answer.content_type\n",
        "            pass\n",
        _JOURNEYS,
    ),
    one(
        "sound that breaks off looks whole",
        "services/edge/http/stream.py",
        "            self._exchange.cut()\n",
        "            self._exchange.end()\n",
        _JOURNEYS,
    ),
    one(
        "a comment stands in the middle of sound",
        "services/edge/http/stream.py",
        "        if not content_type.startswith(_EVENTS):\n            return\n",
        "",
        "tests/edge/http/test_stream.py",
    ),
    one("sound is no output", _USAGE, " or self._calls or self._sound_bytes", " or self._calls", _JOURNEYS),
    one(
        "a text that is too long is spoken",
        "services/edge/call/admission.py",
        "model.measures.input is Measure.CHARACTER and size.characters > most",
        "False",
        _JOURNEYS,
    ),
)

_BESIDE: Final = "services/edge/dialects/transcriptions/beside.py"
_UNLIMITED: Final = (
    one(
        "members beside the text of a sound are free",
        _TEXT,
        'told_beside(whole) if self._wanted != "text" else ""',
        '""',
        _OF_TEXT,
    ),
    one("segments tell any text", _BESIDE, '        if _tells_again(parts, whole["text"]):\n', "        if True:\n", _OF_TEXT),
    one("segments tell the text in any order", _BESIDE, "    left = iter(text)\n", "    left = text\n", _OF_TEXT),
    one("a segment of no text has measures", _BESIDE, "for part in parts if part)", "for part in parts)", _OF_TEXT),
    one("members beside the text have no bound", _BESIDE, ' + written[free:].decode("utf-8", "ignore")', "", _OF_TEXT),
    one(
        "a usage of images says anything",
        "services/edge/dialects/images/answer.py",
        "if is_counted_so and len(encode(self._usage)) <= _USAGE_BYTES_MAX:",
        "if is_counted_so:",
        "tests/edge/dialects/test_images.py",
    ),
    one(
        "a part of the price is enough for output that can not be limited",
        "services/edge/call/path.py",
        "        if limit is not None and not request.takes_limit:\n",
        "        if False:\n",
        _JOURNEYS,
    ),
    one(
        "who waits for others is told to pay",
        "services/edge/call/path.py",
        "if granted.final_unit_action else quota_held_below_answer",
        "if True else quota_held_below_answer",
        "tests/edge/call/test_admission.py",
    ),
    one(
        "images can be limited", "services/edge/dialects/images/request.py", "takes_limit = False", "takes_limit = True", _JOURNEYS
    ),
    one("transcriptions can be limited", _TRANSCRIPTION, "takes_limit = False", "takes_limit = True", _JOURNEYS),
)

MEDIA: Final = (*_UNLIMITED, *_IMAGES, *_MEASURES, *_LENGTHS, *_BUSY, *_AGAIN, *_DOCUMENTS, *_RERANK, *_SPEECH)
