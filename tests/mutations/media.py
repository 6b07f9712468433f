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

MEDIA: Final = (*_IMAGES,)
