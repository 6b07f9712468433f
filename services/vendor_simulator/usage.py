"""A chat completion's usage object in every form that vendors give it, and Anthropic's."""

from typing import Any, Final

from services.vendor_simulator.answer import Counts

NEGATIVE_TOKENS: Final = -5
ABSURD_TOKENS: Final = 10**15


def chat_usage(counts: Counts, output_tokens: int) -> dict[str, Any]:
    """Usage after `output_tokens` tokens of each choice, in the form that `simulate` asks for."""
    shape = counts.simulate.usage_report.shape
    prompt = counts.input_tokens
    completion = output_tokens * counts.choices
    reasoning = min(counts.reasoning_tokens, output_tokens) * counts.choices
    cached = counts.cached_input_tokens
    if shape == "negative":
        completion = NEGATIVE_TOKENS
    elif shape == "absurd":
        completion = ABSURD_TOKENS
    elif shape == "prompt_zero":
        prompt = 0
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    details, output_details = _details(counts, reasoning)
    if shape == "without_details":
        return usage
    if shape == "top_level_cached":
        return usage | {"cached_tokens": cached}
    if shape == "hit_and_miss":
        usage |= {"prompt_cache_hit_tokens": cached, "prompt_cache_miss_tokens": prompt - cached}
        return usage | {"completion_tokens_details": output_details}
    if shape == "reasoning_beside":
        usage["completion_tokens"] = completion - reasoning
    elif shape == "thoughts_in_total":
        usage["completion_tokens"] = completion - reasoning
        return usage | {"prompt_tokens_details": details}
    elif shape == "completion_zero":
        # All of the output is told as thought.
        usage["completion_tokens"] = 0
        output_details["reasoning_tokens"] = completion
    return usage | {"prompt_tokens_details": details, "completion_tokens_details": output_details}


def no_usage_yet() -> dict[str, Any]:
    """The zeros that some vendors send until they know better."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _details(counts: Counts, reasoning: int) -> tuple[dict[str, Any], dict[str, Any]]:
    modalities = counts.simulate.modalities
    details: dict[str, Any] = {"cached_tokens": counts.cached_input_tokens}
    output_details: dict[str, Any] = {"reasoning_tokens": reasoning}
    if written := counts.cache_write_tokens + counts.cache_write_1h_tokens:
        details["cache_write_tokens"] = written
    if modalities.image_input_tokens:
        details["image_tokens"] = modalities.image_input_tokens
    if modalities.audio_input_tokens:
        details["audio_tokens"] = modalities.audio_input_tokens
    if modalities.image_output_tokens:
        output_details["image_tokens"] = modalities.image_output_tokens * counts.choices
    if modalities.audio_output_tokens:
        output_details["audio_tokens"] = modalities.audio_output_tokens * counts.choices
    return details, output_details


def messages_usage(counts: Counts, output_tokens: int, added: bool = True) -> dict[str, Any]:
    """Anthropic's usage after `output_tokens` tokens, with or without the input that the vendor added."""
    shape = counts.simulate.usage_report.shape
    written = counts.cache_write_tokens + counts.cache_write_1h_tokens
    plain = counts.input_tokens - counts.cached_input_tokens - written
    if not added:
        plain = max(0, plain - counts.simulate.added_input_tokens)
    output = {"negative": NEGATIVE_TOKENS, "absurd": ABSURD_TOKENS}.get(shape, output_tokens)
    usage: dict[str, Any] = {
        "input_tokens": 0 if shape == "prompt_zero" else plain,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": counts.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write_tokens,
            "ephemeral_1h_input_tokens": counts.cache_write_1h_tokens,
        },
        "output_tokens": output,
        "service_tier": "standard",
    }
    if counts.reasoning_tokens and shape != "without_details":
        usage["output_tokens_details"] = {"thinking_tokens": min(counts.reasoning_tokens, output_tokens)}
    return usage


def responses_usage(counts: Counts) -> dict[str, Any]:
    """A response's usage: that of a chat under other names."""
    usage = {_OF_RESPONSES.get(name, name): value for name, value in chat_usage(counts, counts.output_tokens).items()}
    if "input_tokens_details" in usage:
        # OpenAI tells it even where nothing was written.
        usage["input_tokens_details"].setdefault("cache_write_tokens", 0)
    return usage


_OF_RESPONSES: Final = {
    "prompt_tokens": "input_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens": "output_tokens",
    "completion_tokens_details": "output_tokens_details",
}
