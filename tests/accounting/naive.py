"""The charging rules once more, as plainly as possible: dicts, fractions, and a search where the core has a formula.

Written from the contract and the glossary, not from the core, so that both are wrong together only by accident.
"""

import math
from fractions import Fraction
from typing import Any

MINUTE = 60_000_000
MILLION = 1_000_000
CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")
# Later classes, and whose rate each has; the tariffs here have none of their own.
LATER_INPUTS = {
    **{"cache_write_1h": "cache_write", "audio_input": "input", "image_input": "input"},
    **{"audio_milliseconds": "input", "spoken_characters": "input"},
}
LATER_OUTPUTS = {"audio_output": "output", "image_output": "output", "generated_images": "output"}

# (above this much input, rate by class), the highest that applies counts.
Rows = list[tuple[int, dict[str, int]]]
# What a command came to: "granted", "settled", "refused" or a fault, and the numbers that matter.
Outcome = tuple[Any, ...]


class NaiveAccount:
    """One account. `models` maps a model to (unit, rows)."""

    def __init__(self, models: dict[str, tuple[str, Rows]], window: int, validity: int) -> None:
        self.models = models
        self.window = window
        self.validity = validity
        self.buckets: list[dict[str, Any]] = []
        self.debts: dict[str, dict[str, int]] = {}
        self.losses: dict[str, int] = {}
        # In the order of creation; "state" is open, closed or swept.
        self.calls: dict[str, dict[str, Any]] = {}

    # Money

    def price(self, model: str, used: dict[str, int]) -> int:
        """Each class rounded up by itself, all at the tier of the whole input."""
        _, rows = self.models[model]
        total = sum(used.get(each, 0) for each in (*CLASSES[:3], *LATER_INPUTS))
        (rates,) = [rates for above, rates in rows if total > above][-1:]
        return sum(
            math.ceil(Fraction(count * rates[{**LATER_INPUTS, **LATER_OUTPUTS}.get(each, each)], MILLION))
            for each, count in used.items()
        )

    def ceiling(self, model: str, bound: int, output: int) -> int:
        """The most that a call with at most `bound` input and `output` tokens can cost: each token at the dearest rate."""
        possible = [rates for above, rates in self.models[model][1] if above < bound or above < 0]
        ins = [rates[each] for rates in possible for each in CLASSES[:3]]
        outs = [rates[each] for rates in possible for each in CLASSES[3:]]
        cost = math.ceil(Fraction(bound * max(ins), MILLION)) + math.ceil(Fraction(output * max(outs), MILLION))
        # Three classes of input can be rounded up two times more often than one, two of output once more.
        if bound and any(rate % MILLION for rate in ins):
            cost += 2
        if output and any(rate % MILLION for rate in outs):
            cost += 1
        return cost

    def reach(self, model: str, bound: int, limit: int, money: int) -> int:
        """How many output tokens, at most `limit`, the money is enough for; -1 if not even for the input."""
        return next((output for output in range(limit, -1, -1) if self.ceiling(model, bound, output) <= money), -1)

    def payers(self, unit: str, now: int) -> list[dict[str, Any]]:
        able = [each for each in self.buckets if each["unit"] == unit and each["from"] <= now < each["until"]]
        return sorted(able, key=lambda each: (each["priority"], each["until"], each["born"], each["id"]))

    def take(self, unit: str, now: int, amount: int, into: str) -> list[tuple[dict[str, Any], int]]:
        """Moves up to `amount` of what is free into `into`; says what came from where."""
        parts = []
        for bucket in self.payers(unit, now):
            part = min(amount, bucket["remaining"])
            if part:
                bucket["remaining"] -= part
                bucket[into] += part
                parts.append((bucket, part))
                amount -= part
        return parts

    def bound(self, model: str) -> int | None:
        """What may be owed: the price of 4,096 tokens of output; None for a model that costs nothing."""
        rates = [rates for _, rates in self.models[model][1]]
        dearest = max(row[each] for row in rates for each in CLASSES[3:]) or max(max(row.values()) for row in rates)
        return math.ceil(Fraction(4096 * dearest, MILLION)) if dearest else None

    def owed(self, unit: str) -> int:
        debt = self.debts.get(unit, {"incurred": 0, "repaid": 0})
        return debt["incurred"] - debt["repaid"]

    def owe(self, model: str, amount: int) -> tuple[int, int]:
        """(what of it is owed, what is lost)."""
        unit, bound = self.models[model][0], self.bound(model)
        lost = 0
        while bound is not None and amount - lost > max(0, bound - self.owed(unit)):
            lost = amount - max(0, bound - self.owed(unit))
        if amount > lost:
            self.debts.setdefault(unit, {"incurred": 0, "repaid": 0})["incurred"] += amount - lost
        if lost:
            self.losses[unit] = self.losses.get(unit, 0) + lost
        return amount - lost, lost

    # Time

    def until(self, now: int) -> None:
        """Lets happen what falls due, in order; buckets end before sessions of the same moment are swept."""
        due = [(each["until"], 0, number, each) for number, each in enumerate(self.buckets) if not each["over"]]
        due += [
            (call["heard"] + 2 * self.validity, 1, number, call)
            for number, call in enumerate(self.calls.values())
            if call["state"] == "open"
        ]
        for time, kind, _, what in sorted(due, key=lambda each: each[:3]):
            if time > now:
                return
            if kind == 0:
                what["expired"] += what["remaining"]
                what["remaining"] = 0
                what["over"] = True
            else:
                self.close(what, what["used"], time, "swept")

    def close(self, call: dict[str, Any], used: dict[str, int], now: int, state: str) -> tuple[int, int]:
        """Charges an open call: from what it holds, then from what is free, then as debt. (charged, debt)"""
        unit, _ = self.models[call["model"]]
        charged = left = self.price(call["model"], used)
        for bucket, part in call["hold"]:
            paid = min(part, left)
            left -= paid
            bucket["reserved"] -= part
            bucket["consumed"] += paid
            bucket["expired" if bucket["over"] else "remaining"] += part - paid
        left -= sum(part for _, part in self.take(unit, now, left, "consumed"))
        debt, lost = self.owe(call["model"], left)
        call.update(state=state, hold=[], charged=charged, closed=now)
        self.forget(now)
        return charged - lost, debt

    def forget(self, now: int) -> None:
        for charging_id, call in list(self.calls.items()):
            memory = {"open": math.inf, "closed": 15 * MINUTE, "swept": 7 * 24 * 60 * MINUTE}[call["state"]]
            if call["state"] != "open" and call["closed"] < now - memory:
                del self.calls[charging_id]

    # What can be asked

    def grant(self, now: int, key: str, bucket_id: str, content: tuple[int, str, int, int | None, int]) -> Outcome:
        """`content`: priority, unit, amount, begin of validity (None: now), length of validity."""
        priority, unit, amount, start, span = content
        self.until(now)
        for bucket in self.buckets:
            if bucket["key"] == key:
                return ("added", bucket["repaid"]) if bucket["content"] == content else ("IDEMPOTENCY_CONFLICT",)
        begin = now if start is None else start
        if begin + span <= now:
            return ("INVALID_ARGUMENT",)
        bucket = {
            **{"key": key, "id": bucket_id, "content": content, "unit": unit, "priority": priority, "born": now},
            **{"from": begin, "until": begin + span, "over": False, "granted": amount},
            **{"remaining": amount, "reserved": 0, "consumed": 0, "expired": 0, "repaid": 0},
        }
        debt = self.debts.get(unit)
        if debt and begin <= now:
            bucket["repaid"] = min(amount, debt["incurred"] - debt["repaid"])
            bucket["remaining"] -= bucket["repaid"]
            bucket["consumed"] += bucket["repaid"]
            debt["repaid"] += bucket["repaid"]
        self.buckets.append(bucket)
        return ("added", bucket["repaid"])

    def new_call(self, now: int, charging_id: str, made: int, number: int, content: Any) -> Outcome | None:
        """What a Create or an Event gets that is not new; None if it is."""
        call = self.calls.get(charging_id)
        if call is None:
            return ("CHARGING_ID_STALE",) if made < now - 14 * MINUTE or made > now + MINUTE else None
        if call["state"] == "open":
            if number < call["number"]:
                return ("SEQUENCE_INVALID",)
            return call["answer"] if (number, content) == (call["number"], call["content"]) else ("IDEMPOTENCY_CONFLICT",)
        return self.gone(call, number, content)

    def gone(self, call: dict[str, Any], number: int, content: Any) -> Outcome:
        """What a request gets for a call that is closed or swept."""
        if call["state"] == "swept" or number != call["number"]:
            return ("SESSION_CLOSED",)
        answer: Outcome = call["answer"]
        return answer if content == call["content"] else ("IDEMPOTENCY_CONFLICT",)

    def create(self, now: int, charging_id: str, made: int, content: dict[str, Any]) -> Outcome:
        """`content`: the command's fields, without those that have their default."""
        model, bound, limit = content["model_id"], content["input_bound"], content["output_limit"]
        metered = content["metered"]
        self.until(now)
        if (known := self.new_call(now, charging_id, made, 1, content)) is not None:
            return known
        unit, _ = self.models[model]
        bound_of_debt = self.bound(model)
        if bound_of_debt is not None and 0 < self.owed(unit) >= bound_of_debt:
            return ("refused", 0, 0, False)
        wanted = min(limit, self.window) if metered else limit
        free = sum(bucket["remaining"] for bucket in self.payers(unit, now))
        held = sum(bucket["reserved"] for bucket in self.payers(unit, now))
        got = self.reach(model, bound, wanted, free)
        # While others hold something, an eighth of a window is worth beginning for who can ask for more, else only all.
        least = min(wanted, self.window // 8) if metered else wanted
        # Less than 64 tokens, or all that was asked for, is no answer.
        useful = min(limit, 64)
        if self.reach(model, bound, limit, free) < useful or (held and got < least):
            return ("refused", free, held, free + held >= self.ceiling(model, bound, useful))
        answer = ("granted", got, self.reach(model, bound, limit, free), got < wanted and not held)
        self.calls[charging_id] = {
            **{"state": "open", "model": model, "bound": bound, "limit": limit, "number": 1, "content": content, "answer": answer},
            **{"used": dict.fromkeys(CLASSES, 0), "heard": now, "records": 1},
            "hold": self.take(unit, now, self.ceiling(model, bound, got), "reserved"),
        }
        return answer

    def open_call(self, charging_id: str, number: int, content: Any) -> Outcome | None:
        """What an Update or a Release gets that is not the next of an open call; None if it is."""
        call = self.calls.get(charging_id)
        if call is None:
            return ("SESSION_UNKNOWN",)
        if call["state"] != "open":
            return self.gone(call, number, content)
        if number > call["number"]:
            return None
        if number < call["number"]:
            return ("SEQUENCE_INVALID",)
        return call["answer"] if content == call["content"] else ("IDEMPOTENCY_CONFLICT",)

    def update(self, now: int, charging_id: str, number: int, content: Any, used: dict[str, int], wanted: int) -> Outcome:
        self.until(now)
        if (known := self.open_call(charging_id, number, content)) is not None:
            return known
        call = self.calls[charging_id]
        unit, _ = self.models[call["model"]]
        # Eight seconds at the speed since the last request must be three quarters of what comes on top.
        outputs = ("output", "reasoning", *LATER_OUTPUTS)
        made = sum(used.get(name, 0) - call["used"].get(name, 0) for name in outputs)
        speed = Fraction(made, max(1, now - call["heard"]))
        more = min(max(int(speed * 8_000_000 * 4 / 3), self.window // 4, 1), 4 * self.window)
        wanted = min(max(wanted, call["answer"][1]), call["limit"], call["answer"][1] + more)
        own = sum(part for _, part in call["hold"])
        money = own + sum(bucket["remaining"] for bucket in self.payers(unit, now))
        got = max(call["answer"][1], self.reach(call["model"], call["bound"], wanted, money))
        most = max(got, self.reach(call["model"], call["bound"], call["limit"], money))
        call["hold"] += self.take(unit, now, self.ceiling(call["model"], call["bound"], got) - own, "reserved")
        call["hold"] = merged(call["hold"])
        answer = ("granted", got, most, got < wanted)
        call.update(number=number, content=content, used=used, heard=now, answer=answer)
        return answer

    def release(self, now: int, charging_id: str, number: int, content: Any, used: dict[str, int]) -> Outcome:
        self.until(now)
        call = self.calls.get(charging_id)
        if call is not None and call["state"] == "swept":
            if number <= call["number"]:
                return ("SEQUENCE_INVALID",)
            unit, _ = self.models[call["model"]]
            missing = max(0, self.price(call["model"], used) - call["charged"])
            uncovered = missing - sum(part for _, part in self.take(unit, now, missing, "consumed"))
            debt, lost = self.owe(call["model"], uncovered)
            answer: Outcome = ("settled", missing - lost, debt)
            call.update(state="closed", closed=now, number=number, content=content, answer=answer)
            self.forget(now)
            return answer
        if (known := self.open_call(charging_id, number, content)) is not None:
            return known
        assert call is not None
        answer = ("settled", *self.close(call, used, now, "closed"))
        call.update(number=number, content=content, answer=answer)
        return answer

    def event(self, now: int, charging_id: str, made: int, number: int, content: Any, model: str, used: dict[str, int]) -> Outcome:
        self.until(now)
        if (known := self.new_call(now, charging_id, made, number, content)) is not None:
            return known
        call: dict[str, Any] = {"state": "open", "model": model, "hold": []}
        self.calls[charging_id] = call
        answer = ("settled", *self.close(call, used, now, "closed"))
        call.update(number=number, content=content, answer=answer)
        return answer


def merged(hold: list[tuple[dict[str, Any], int]]) -> list[tuple[dict[str, Any], int]]:
    """A hold with one part a bucket, in the order in which they came."""
    parts: dict[str, tuple[dict[str, Any], int]] = {}
    for bucket, part in hold:
        parts[bucket["id"]] = (bucket, parts.get(bucket["id"], (bucket, 0))[1] + part)
    return list(parts.values())
