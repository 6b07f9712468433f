"""Faults of amounts: what is reserved for a call, what of it is charged, and who is refused for what nobody paid."""

from typing import Final

from tests.mutations.planting import Mutation

_ADMISSION: Final = "services/edge/call/admission.py"
_PACKS: Final = ("tests/registry/test_packs.py",)
_AMOUNTS: Final = ("tests/journeys/test_amounts.py",)

_RESERVED: Final = (
    Mutation(
        "what an offering holds by calibration is the bound by bytes",
        _ADMISSION,
        (("input_tokens_calibrated=self.tokens.calibrated", "input_tokens_calibrated=self.tokens.bound"),),
        _PACKS,
    ),
    Mutation(
        "a whole answer holds its whole limit",
        _ADMISSION,
        (
            (
                "    metered = streamed and not model.hidden_reasoning and all(",
                "    metered = request.streamed and streamed and not model.hidden_reasoning and all(",
            ),
        ),
        _PACKS,
    ),
)

_KEPT: Final = (
    Mutation(
        "an answer within its limit is cut where our count is above it",
        "services/edge/call/call.py",
        (("covered = meter.low + meter.lowest_of(step) <=", "covered = best <="),),
        ("tests/edge/call/test_kept_limits.py",),
    ),
)

_CHARGED: Final = (
    Mutation(
        "tokens from a cache are input beside it too",
        "services/edge/vendors/usage.py",
        (("        counts[rule.inside] -= number\n", ""),),
        _AMOUNTS,
    ),
    Mutation(
        "a left answer that has said how it ends is not listened to",
        "services/edge/call/call.py",
        (("        if not stream.finished and self._told", "        if self._told"),),
        _AMOUNTS,
    ),
    Mutation(
        "fragments of a call of a tool are counted with their frames",
        "services/edge/dialects/chat/answer.py",
        (("        return function.arguments, 0\n", "        return encode(piece).decode(), 0\n"),),
        _AMOUNTS,
    ),
    Mutation(
        "fragments that name their call are counted with their frames",
        "services/edge/dialects/chat/deltas.py",
        (("            found.said.append(function[member])\n", "            found.said.append(encode(function).decode())\n"),),
        _AMOUNTS,
    ),
    Mutation(
        "an account that leaves its answers goes on",
        "services/accounting/core/losses.py",
        (("_UNPAID_WORTH_MIN: Final = 1_000_000", "_UNPAID_WORTH_MIN: Final = 10_000_000"),),
        _AMOUNTS,
    ),
)

AMOUNTS: Final = (*_RESERVED, *_KEPT, *_CHARGED)
