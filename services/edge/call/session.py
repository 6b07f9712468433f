"""A charging session at the edge: the grant, its renewal and extension, and the one Release."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from services.edge.call.usage import Meter
from services.edge.charging.port import Charging
from services.edge.http.problems import Problem, key_ended, unavailable
from services.edge.identity.principals import Principal
from services.runtime.errors import ServiceError
from services.token_classes import FIRST, NOTHING, TOKEN_CLASSES, Vector, folded
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# A question at a threshold asks for at least this many tokens.
_EXTENSION_TOKENS_MIN: Final = 256
# A grant is renewed when this part of its validity is over. If accounting did not answer, the question is repeated after this time.
_RENEW_AT: Final = 2 / 3
_RENEW_AGAIN_S: Final = 1.0
_ASKED_AGAIN: Final = (errors_pb2.ERROR_REASON_UNAVAILABLE, errors_pb2.ERROR_REASON_OVERLOADED)


class NotExtendedError(Exception):
    """Accounting could not say whether the quota goes on."""


class Settlement:
    """The report at a session's end: charged usage, the vendor's unpaid work, and the provenance of the counts."""

    __slots__ = ("cause", "provenance", "unpaid", "used")

    def __init__(self, used: Vector, provenance: pb.UsageProvenance, cause: pb.CloseCause, unpaid: Vector | None = None) -> None:
        self.used = used
        self.provenance = provenance
        self.cause = cause
        self.unpaid = unpaid


class Session:
    """An open session. In every case call `release` or `release_later`; after the first call, they change nothing."""

    def __init__(
        self,
        charging: Charging,
        charging_id: str,
        principal: Principal,
        granted: pb.Granted,
        ended: Callable[[Problem], None],
    ) -> None:
        """`ended` is called with a message when the time of the session's key, member or account has ended."""
        self._charging = charging
        self.charging_id = charging_id
        self._principal = principal
        self._number = 1
        self._step = max(granted.output_tokens_granted, _EXTENSION_TOKENS_MIN)
        self._renewing: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._exhausted = False
        self._unanswered = False
        self._ended = ended
        # The answer's meter, from which Updates report. None before the client was sent any output: then a sweep charges nothing.
        self.meter: Meter | None = None
        self.released = False
        self.attempts: list[pb.VendorAttempt] = []
        self._take(granted)

    def _take(self, granted: pb.Granted) -> None:
        self.granted = granted.output_tokens_granted
        self.payable = granted.output_tokens_payable
        # Output up to this count needs no question.
        self.safe = self.granted - granted.output_tokens_threshold
        self.offering_id = granted.offering_id
        self._renew_in(granted.validity_ms / 1_000 * _RENEW_AT)
        self._stop_ending()
        if granted.ends_in_ms:
            message = f"the time of {granted.ending_subject} has ended; ask the operator for a longer one"
            self._ending = asyncio.get_running_loop().call_later(granted.ends_in_ms / 1_000, self._end, message)

    def _stop_ending(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _end(self, message: str) -> None:
        if not self.released:
            self._ended(key_ended(message))

    def _renew_in(self, delay_s: float) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = asyncio.get_running_loop().call_later(delay_s, self._ask, 0)

    def held(self) -> int:
        """The output tokens that are reserved now."""
        return self.granted

    @property
    def is_exhausted(self) -> bool:
        """Whether the last question brought nothing: the next one comes with the grant's renewal."""
        return self._exhausted and not self._unanswered

    def ask_for_more(self) -> None:
        """Asks for the next window in the background, unless a question is under way or the last one brought nothing."""
        if not self._exhausted:
            self._ask(self.granted + self._step)

    async def more(self) -> bool:
        """Waits for the answer under way, and asks once more if that brought nothing; returns whether the grant has grown.

        Errors: `NotExtendedError` when accounting did not answer.
        """
        before = self.granted
        if self._asking is not None:
            await asyncio.shield(self._asking)
        if self.granted == before and not self.released:
            self._ask(before + self._step)
            assert self._asking is not None
            await asyncio.shield(self._asking)
        if self.granted == before and self._unanswered:
            raise NotExtendedError
        return self.granted > before

    def _ask(self, output_tokens_wanted: int) -> None:
        if self._asking is None and not self.released:
            self._asking = asyncio.create_task(self._update(output_tokens_wanted), name="session-update")

    async def _update(self, output_tokens_wanted: int) -> None:
        if self.released:
            # The session was released before this task began: no number may follow the Release's.
            return
        self._number += 1
        update = pb.UpdateSession(output_tokens_wanted=output_tokens_wanted)
        if self.meter is None:
            self._write(NOTHING, update.used)
        else:
            self._write(self.meter.so_far(), update.used)
            update.attempts.extend(self.attempts)
        before = self.granted
        try:
            granted = await self._charging.update(self._principal.account_id, self.charging_id, self._number, update)
        except ServiceError as error:
            # The hold stands as it is; the Release tells the usage.
            logger.warning("session %s was not extended: %s", self.charging_id, error.message)
            self._unanswered = True
            if error.reason in _ASKED_AGAIN and not self.released:
                self._renew_in(_RENEW_AGAIN_S)
            elif error.reason == errors_pb2.ERROR_REASON_SUBJECT_ENDED:
                self._end(error.message)
        else:
            self._unanswered = False
            if not self.released:
                self._take(granted)
        finally:
            self._asking = None
            self._exhausted = output_tokens_wanted > before == self.granted

    async def release(self, settlement: Settlement) -> None:
        """Settles; returns once that is durable. Errors: `Problem` 503 when that takes too long; the Release goes on after that."""
        if self.released:
            return
        number, message = self._close(settlement)
        try:
            await self._charging.release(self._principal.account_id, self.charging_id, number, message)
        except ServiceError as error:
            logger.warning("session %s is not settled yet: %s", self.charging_id, error.message)
            raise unavailable("the charge for this call is not confirmed yet") from error

    def release_later(self, settlement: Settlement) -> None:
        """Settles without waiting; does nothing if the session is released already."""
        if not self.released:
            number, message = self._close(settlement)
            self._charging.release_later(self._principal.account_id, self.charging_id, number, message)

    def _close(self, settlement: Settlement) -> tuple[int, pb.ReleaseSession]:
        self.released = True
        self.meter = None
        if self._renewing is not None:
            self._renewing.cancel()
        self._stop_ending()
        self._number += 1
        message = pb.ReleaseSession(provenance=settlement.provenance, close_cause=settlement.cause, attempts=self.attempts)
        self._write(settlement.used, message.used)
        if self._charging.takes_all_classes:
            if settlement.unpaid is not None and any(settlement.unpaid):
                self._write(settlement.unpaid, message.unpaid)
        elif settlement.cause == pb.CLOSE_CAUSE_REVOKED:
            message.close_cause = pb.CLOSE_CAUSE_QUOTA_EXHAUSTED
        return self._number, message

    def _write(self, counts: Vector, usage: pb.TokenUsage) -> None:
        """Writes counts into a usage without counts."""
        if len(counts) > FIRST and not self._charging.takes_all_classes:
            counts = folded(counts)
        usage.SetInParent()
        for name, count in zip(TOKEN_CLASSES, counts, strict=False):
            if count:
                setattr(usage, name, count)
