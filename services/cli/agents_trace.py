"""Conversations of coding agents: rows of a trace, their texts, and the requests in which clients would send them."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.cli.replay.trace import Row
from services.vendor_simulator.text import TOKEN_BYTES

# Tokens of the trace that one token sent stands for: the shares stay as they are, and two cores can carry the calls.
SHRINK: Final = 8
SEED: Final = 20261130
# System and first message of the user: the stable beginning, by which a conversation without a mark of its own is known.
_BEGINNING_TOKENS: Final = (64, 256)
# Conversations are recognised in these ways, in turn.
WAYS: Final = ("x-claude-code-session-id", "session-id", "prompt_cache_key", "stable beginning")
# As in the agents' trace of 2025 that is measured where it is there: what a conversation begins with, what a call adds, and how
# often an agent begins anew, in tokens: medians of log-normal values with their sigma.
_FIRST: Final = (30_000, 0.8)
_ADDED: Final = (1_200, 1.3)
_OUTPUT: Final = (250, 0.9)
_PAUSE_S: Final = (15.0, 1.0)
_ANEW_PERCENT: Final = 2
_LONGEST_TOKENS: Final = 190_000
# Prefixes are recorded in blocks of this many tokens.
_BLOCK_TOKENS: Final = 64


class AgentCall(NamedTuple):
    """A call, ready to be sent."""

    conversation: int
    # Appended to a base URL.
    path: str
    headers: dict[str, str]
    body: bytes
    # The prompt, for who keeps a cache of prefixes.
    text: str


def generated(conversations: int, calls_each: int) -> list[Row]:
    """Rows like those of a recorded trace of coding agents, the same each time."""
    chance = random.Random(SEED)  # noqa: S311  # it is no secret

    def value(median: float, sigma: float) -> float:
        return median * chance.lognormvariate(0, sigma)

    rows = []
    for number in range(conversations):
        time_s, tokens, cached = 0.0, int(value(*_FIRST)), 0
        for _ in range(calls_each):
            tokens = min(tokens, _LONGEST_TOKENS)
            rows.append(Row(round(time_s, 3), f"generated-{number}", "", tokens, max(1, int(value(*_OUTPUT))), min(cached, tokens)))
            time_s += value(*_PAUSE_S)
            if chance.randrange(100) < _ANEW_PERCENT or tokens >= _LONGEST_TOKENS:
                tokens, cached = int(value(*_FIRST)), 0
            else:
                cached = tokens // _BLOCK_TOKENS * _BLOCK_TOKENS
                tokens += int(value(*_ADDED))
    return rows


def calls_of(rows: Sequence[Row], model_id: str) -> Iterator[AgentCall]:
    """The calls of all conversations, each of which is under way from the first call to the last.

    So all are there when a route is lost. A prompt repeats as much of its conversation's earlier ones as its row says was cached,
    and goes on with words of its own.
    """
    numbers = {session: number for number, session in enumerate(dict.fromkeys(row.session for row in rows))}
    lengths, places = Counter(row.session for row in rows), Counter[str]()
    order = []
    for index, row in enumerate(rows):
        places[row.session] += 1
        order.append((places[row.session] / lengths[row.session], index))
    last: dict[str, str] = {}
    for _, index in sorted(order):
        row = rows[index]
        number = numbers[row.session]
        cached, tokens = row.cached_input_tokens // SHRINK, max(1, row.input_tokens // SHRINK)
        before = last.get(row.session, "")[: cached * TOKEN_BYTES]
        size = tokens * TOKEN_BYTES - len(before)
        text = before + random.Random(index).randbytes(size // 2 + 1).hex()[:size]  # noqa: S311  # as above
        # A prompt that goes back leaves the longer one known.
        if len(text) >= len(last.get(row.session, "")) or not cached:
            last[row.session] = text
        yield _call(number, row, model_id, text)


def _call(number: int, row: Row, model_id: str, text: str) -> AgentCall:
    output = max(1, row.output_tokens // SHRINK)
    way, session = WAYS[number % len(WAYS)], f"session-{number}"
    body: dict[str, Any] = {"model": model_id, "max_tokens": output, "simulate": {"output_tokens": output}}
    system, user = (tokens * TOKEN_BYTES for tokens in _BEGINNING_TOKENS)
    half = max(user, len(text) - (len(text) - user) // 2)
    turns = [("user", text[system:user]), ("assistant", text[user:half]), ("user", text[half:])]
    messages = [{"role": role, "content": said} for role, said in turns if said]
    if way == "x-claude-code-session-id":
        body |= {"system": text[:system], "messages": messages or [{"role": "user", "content": "."}]}
        return AgentCall(number, "/messages", {way: session}, msgspec.json.encode(body), text)
    body["messages"] = [{"role": "system", "content": text[:system]}, *messages]
    if way == "prompt_cache_key":
        body[way] = session
    headers = {way: session} if way == "session-id" else {}
    return AgentCall(number, "/chat/completions", headers, msgspec.json.encode(body), text)
