"""OpenAI's usage of charged counts, as chat completions and responses name it. Pure."""

from typing import Any

from services.token_classes import INDEX, Vector, total_input, total_output


def usage_object(used: Vector, input_name: str, output_name: str) -> dict[str, Any]:
    """The usage of the charged counts; its sides are called `{input_name}_tokens` and `{output_name}_tokens`."""

    def count(name: str) -> int:
        index = INDEX[name]
        return used[index] if index < len(used) else 0

    of_input, of_output = total_input(used), total_output(used)
    input_details = {"cached_tokens": count("cached_input")}
    for name, classes in (
        ("cache_write_tokens", ("cache_write", "cache_write_1h")),
        ("audio_tokens", ("audio_input",)),
        ("image_tokens", ("image_input",)),
    ):
        if tokens := sum(map(count, classes)):
            input_details[name] = tokens
    output_details = {"reasoning_tokens": count("reasoning")}
    for name, each in (("audio_tokens", "audio_output"), ("image_tokens", "image_output")):
        if tokens := count(each):
            output_details[name] = tokens
    return {
        f"{input_name}_tokens": of_input,
        f"{output_name}_tokens": of_output,
        "total_tokens": of_input + of_output,
        f"{input_name}_tokens_details": input_details,
        f"{output_name}_tokens_details": output_details,
    }
