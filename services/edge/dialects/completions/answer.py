"""A vendor's answer to completions on its way to the client: that of a chat, with texts in place of messages. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.edge.call.dialect import Step
from services.edge.dialects.chat.answer import ChatAnswer
from services.edge.dialects.chat.assembly import Assembly
from services.edge.dialects.chat.chunks import Chunk
from services.edge.dialects.chat.deltas import ChoiceState, Found, Json, count_member
from services.edge.dialects.chat.fields import StreamOptions
from services.edge.dialects.completions.probabilities import TextProbabilities
from services.edge.vendors.profile import UsageReading


class TextAssembly(Assembly):
    """Chunks of texts, joined to a whole answer."""

    _OBJECT = "text_completion"

    def __init__(self) -> None:
        super().__init__()
        # The lists of each choice's probabilities.
        self._probabilities: dict[int, dict[str, list[Any]]] = {}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice["index"]
        self.say(index, choice["text"])
        rest = {name: value for name, value in choice.items() if name not in ("index", "text", "finish_reason", "logprobs")}
        self._choices.setdefault(index, {}).update(rest)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            known = self._probabilities.setdefault(index, {})
            for name, value in logprobs.items():
                if isinstance(value, list):
                    known.setdefault(name, []).extend(value)

    def _choice(self, index: int, reason: str) -> Json:
        said = "".join(self._said.get(index, ()))
        logprobs = self._probabilities.get(index)
        return {**self._choices.get(index, {}), "text": said, "index": index, "logprobs": logprobs, "finish_reason": reason}


class CompletionsAnswer(ChatAnswer):
    """See `services.edge.call.dialect.Answer`. A prompt that a choice begins with, since the client asked for it, is no output."""

    _OBJECT = _CHUNK_OBJECT = "text_completion"
    _ID_PREFIX = "cmpl-"
    _PART_NAMES = frozenset({"text"})
    _FOREIGN_NAMES = ChatAnswer._PART_NAMES
    _NO_PART: Json = {"text": "", "logprobs": None}  # noqa: RUF012  # never changed

    def __init__(
        self,
        reading: UsageReading,
        choices: int,
        alternatives: int | None,
        options: StreamOptions,
        echoed: Sequence[str],
        *,
        streamed: bool,
    ) -> None:
        """`echoed`: the prompt that each choice begins with; empty: none does."""
        super().__init__(reading, choices, alternatives, options, streamed=streamed)
        self._told = TextProbabilities(alternatives)
        # The rest of each prompt, which is still to come.
        self._echoed = list(echoed)

    def _new_assembly(self) -> Assembly:
        return TextAssembly()

    def _clean_step(self, chunk: Chunk, data: bytes) -> Step | None:
        # A chat's chunk is clean, and none of a completion.
        return None

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        return self._read_whole(body)

    def _right_part(self, choice: Json, state: ChoiceState, found: Found, *, is_whole: bool) -> Json:
        text = choice.get("text")
        if not isinstance(text, str):
            count_member("text", text, found)
            text = ""
        found.said.append(self._made(text, state.index))
        return {"text": text}

    def _made(self, text: str, index: int) -> str:
        """The text without the part that repeats the prompt."""
        echoed = self._echoed[index] if index < len(self._echoed) else ""
        if not echoed or not text:
            return text
        if echoed.startswith(text):
            self._echoed[index] = echoed[len(text) :]
            return ""
        self._echoed[index] = ""
        return text.removeprefix(echoed)

    def _count_probabilities(self, value: object, right: Json, said: str, found: Found) -> None:
        self._told.count(value, right["text"], found)

    def _chunk_choice(self, choice: Json) -> Json:
        return choice
