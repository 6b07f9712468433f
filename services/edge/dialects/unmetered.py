"""Fields that a vendor may heed though no dialect here has them: limits, more answers, other models, hidden input, media. Pure.

A profile may let unknown fields and content pass. A field that decides the amount of output, the model or the input must be read by
the meter first. So no such field passes, under no spelling and at no depth. `max_completion_tokens` beside `max_tokens` would be a
second limit, which the vendor may heed and the meter never saw.
"""

import re
from typing import Any, Final

from services.edge.dialects.json_text import fold
from services.edge.http.problems import Problem, malformed
from services.edge.tokens.media import Document, Image, image_at, media_type_of
from services.edge.tokens.sound import FAR_SOUND, Sound, sound_in_base64

_BY_MEANING: Final = {
    "would be another limit of the output; write it as max_tokens": (
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "max_gen_len",
        "max_length",
        "max_tokens_to_sample",
        "num_predict",
    ),
    "would change how many answers are made": (
        "n",
        "best_of",
        "candidate_count",
        "num_beams",
        "num_choices",
        "num_completions",
        "num_generations",
        "num_return_sequences",
        "num_samples",
    ),
    "would let another model answer": ("model", "models", "model_id", "fallbacks", "fallback_models", "router"),
    "would add input that is not known here": (
        "messages",
        "system",
        "previous_response_id",
        "conversation",
        "conversation_id",
        "thread",
        "thread_id",
        "cached_content",
    ),
    "costs extra": (
        "service_tier",
        "speed",
        "inference_geo",
        "container",
        "mcp_servers",
        "plugins",
        "modalities",
        "prediction",
        "web_search",
        "web_search_options",
        "enable_search",
        "search_parameters",
    ),
}

_Place = tuple["_Place | None", str | int]

# Names of members and kinds of parts that stand for media, whose tokens have no bound here.
MEDIA: Final = re.compile("audio|video|image|file|document|media|pdf|speech|voice", re.IGNORECASE)


def _plain(name: str) -> str:
    """A name as the most tolerant reader compares it: `maxOutputTokens` is `max_output_tokens`."""
    return fold(name).replace("_", "").replace("-", "")


_MEANINGS: Final = {_plain(name): meaning for meaning, names in _BY_MEANING.items() for name in names}


def refuse_unmetered(name: str, value: Any) -> None:
    """Refuses an unread field, decoded, if a vendor may heed it or any member of it.

    Errors: `Problem` 400 that names the field.
    """
    # A place is the place around it and a name or an index: written out for each member, long names would take any memory.
    waiting: list[tuple[_Place, Any]] = [((None, name), value)]
    while waiting:
        place, each = waiting.pop()
        member = place[1]
        meaning = _MEANINGS.get(_plain(member)) if isinstance(member, str) else None
        if meaning is not None and each is not None:
            where = _written(place)
            raise malformed(where, f"{where} {meaning}. Leave it out.", "unknown_parameter")
        if isinstance(each, dict):
            waiting += [((place, inner), within) for inner, within in each.items()]
        elif isinstance(each, list):
            waiting += [((place, index), within) for index, within in enumerate(each)]


def _written(place: _Place) -> str:
    """A place as errors name it."""
    steps: list[str] = []
    around: _Place | None = place
    while around is not None:
        around, step = around
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}" if around is not None else step)
    return "".join(reversed(steps))


def names_media(value: Any) -> bool:
    """Whether an unknown decoded value names media anywhere."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            kind = each.get("type")
            if (isinstance(kind, str) and MEDIA.search(kind)) or any(map(MEDIA.search, each)):
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False


def unbounded(param: str, kind: str) -> Problem:
    """400. Content that may be any number of tokens."""
    message = f"{param}: content of type {kind!r} has no known bound in tokens here. Send text, or an image as the dialect has it."
    return malformed(param, message, "unsupported_value")


def image_in(url: str, param: str, detail: str | None = None) -> Image:
    """The image at a URL, which is never fetched. Errors: `Problem` 400 for a data URL of another type than an image's."""
    media_type = media_type_of(url)
    if media_type is not None and not media_type.startswith("image/"):
        message = f"{param} holds data of type {media_type!r}, which is no image. Send a data URL of an image, such as image/png."
        raise malformed(param, message, "unsupported_value")
    return image_at(url)._replace(is_low=detail == "low")


def sound_in(data: str, param: str) -> Sound:
    """The sound in base64, in a data URL, or at a URL that is never fetched. Errors: `Problem` 400."""
    if data.startswith(("http://", "https://")):
        return FAR_SOUND
    try:
        return sound_in_base64(data.partition(",")[2] if media_type_of(data) is not None else data)
    except ValueError:
        raise malformed(param, f"{param} is not base64. Send the bytes of a file of sound in base64.", "invalid_value") from None


def document_in(data: str) -> Document:
    """The document in base64 or in a data URL; at a URL that is never fetched, one of unknown size."""
    return Document() if data.startswith(("http://", "https://")) else Document(len(data) * 3 // 4)
