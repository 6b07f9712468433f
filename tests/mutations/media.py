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
        "MediaTokens(context_tokens, len(size.images)",
        "MediaTokens(len(size.images) * _IMAGE_TOKENS_ESTIMATED, len(size.images)",
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
        "        is_hopeful = offering.expected and command.measures == IN_TOKENS\n",
        "        is_hopeful = offering.expected\n",
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
        _CATALOG,
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

MEDIA: Final = (*_IMAGES, *_MEASURES)
