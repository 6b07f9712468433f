"""The path of a call, for every dialect: admission, the session, the call itself."""

import time
from typing import Final, NamedTuple

from services.edge.call.admission import Admitted, Interpreter, admit, keep_open_routes, model_of
from services.edge.call.call import Call
from services.edge.call.dialect import Dialect, Rate, Request
from services.edge.call.metrics import CallMetrics
from services.edge.call.once import Once, problem_of
from services.edge.call.outcome import Ended, cause_of
from services.edge.call.session import Session, Settlement
from services.edge.catalog import CatalogHolder, SellableModel, SellableOffering, Snapshot
from services.edge.charging.port import Charging
from services.edge.http.connection import Client
from services.edge.http.problems import (
    Problem,
    key_ended,
    limit_used_up,
    model_not_found,
    quota_below_answer,
    quota_below_choices,
    quota_held,
    quota_held_below_answer,
    quota_used_up,
    rate_limited,
    too_deep,
    unavailable,
)
from services.edge.http.stream import ClientAnswer
from services.edge.identity.principals import Principal
from services.edge.routing.router import Router
from services.edge.vendors.vendor import VendorClient
from services.token_classes import NOTHING
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_NOTHING_USED: Final = Settlement(NOTHING, pb.USAGE_PROVENANCE_VENDOR, cause_of(Ended.REJECTED))
_FAILED: Final = Settlement(NOTHING, pb.USAGE_PROVENANCE_PARTIAL, cause_of(Ended.FAILED))


class _Opening(NamedTuple):
    """A call that is to be opened: the client's own request, whose it is, what it is called, and its client's answer."""

    dialect: Dialect
    request: Request
    principal: Principal
    charging_id: str
    run_label: str
    answer: ClientAnswer
    once: Once | None

    def tell_rates(self, opened: pb.Granted | pb.Refused) -> None:
        """Tells the client what rates leave, as far as accounting says it."""
        rates = []
        if opened.HasField("request_rate"):
            rates.append(_rate("requests", opened.request_rate))
        if opened.HasField("token_rate"):
            rates.append(_rate("tokens", opened.token_rate))
        if rates:
            for header in self.dialect.rate_headers(rates, time.time_ns() // 1_000_000):
                self.answer.add_header(*header)


class CallPath:
    """Serves calls of every dialect."""

    def __init__(
        self,
        catalog: CatalogHolder,
        charging: Charging,
        vendors: VendorClient,
        router: Router,
        metrics: CallMetrics,
        heartbeat_interval_ms: int,
        interpreter: Interpreter,
    ) -> None:
        self._catalog = catalog
        self._charging = charging
        self._vendors = vendors
        self._router = router
        self._metrics = metrics
        self._heartbeat_interval_s = heartbeat_interval_ms / 1_000
        self._interpreter = interpreter
        # The catalog that the router knows.
        self._routed: Snapshot | None = None

    async def serve(
        self,
        dialect: Dialect,
        request: Request,
        principal: Principal,
        charging_id: str,
        client: Client,
        answer: ClientAnswer,
        once: Once | None = None,
    ) -> None:
        """Serves one call that makes output or costs something; `once` is its client's name for it.

        Errors: `Problem`, `ServiceError`, `ClientGoneError`.
        """
        snapshot = self._catalog.current
        if snapshot is None:
            raise unavailable("no catalog is loaded yet")
        if snapshot is not self._routed:
            self._routed = snapshot
            self._router.keep(snapshot.routes())
        model = model_of(snapshot, request.model_id)
        equivalents = client.allows_equivalents()
        if principal.is_minted:
            # The models that it may call are its run's, which accounting alone knows.
            equivalents = False
        try:
            admitted = await self._admit(dialect, request, model, principal)
        except RecursionError:
            # Its depth was read, but writing it anew needs a little more.
            raise too_deep() from None
        run_label = client.run_label()
        with client.interruptible():
            opening = _Opening(dialect, request, principal, charging_id, run_label, answer, once)
            admitted, granted = await self._open(snapshot, opening, admitted)
        client.opened(granted.ends_in_ms)
        session = Session(self._charging, charging_id, principal, granted, client.revoke)
        try:
            keep_open_routes(self._router, snapshot, admitted, granted.offering_id, principal.account_id, equivalents=equivalents)
            if not admitted.routes:
                # They are for other offerings, or in other regions.
                session.release_later(_NOTHING_USED)
                raise model_not_found(admitted.model.model_id)
            await self._serve(snapshot, admitted, granted, session, client, answer)
        finally:
            # Releases the session after a fault of ours before the call.
            session.release_later(_FAILED)

    async def _serve(
        self,
        snapshot: Snapshot,
        admitted: Admitted,
        granted: pb.Granted,
        session: Session,
        client: Client,
        answer: ClientAnswer,
    ) -> None:
        """Serves a call whose session is open. Errors: those of `serve`. Only a fault of ours leaves it unreleased."""
        request = admitted.request
        if request.streamed:
            answer.expect_stream(request.answer(admitted.routes[0].endpoint).content_type, self._heartbeat_interval_s)
        call = Call(
            admitted,
            session,
            client,
            answer,
            self._vendors,
            self._metrics,
            snapshot.abandoned(granted.offering_id, streamed=request.streamed),
        )
        limit = call.limit
        if request.makes_output and limit is not None and limit < 1:
            # Each choice needs at least one token, or the vendor can't be told a limit.
            session.release_later(_NOTHING_USED)
            raise quota_below_choices(request.choices)
        if limit is not None and not request.takes_limit:
            session.release_later(_NOTHING_USED)
            # A grant that is not the last one is less than was asked for because of others.
            refused = quota_below_answer if granted.final_unit_action else quota_held_below_answer
            raise refused(admitted.output_limit * request.choices)
        try:
            await call.run()
        except Problem as problem:
            if not answer.begun:
                raise
            # Comments have gone out, so the problem comes as the stream's last event.
            ended = request.answer(admitted.routes[0].endpoint)
            await answer.break_off(problem, ended.interrupted(problem, session.charging_id))

    async def _open(self, snapshot: Snapshot, opening: _Opening, admitted: Admitted) -> tuple[Admitted, pb.Granted]:
        """Reserves, for the requested model or the one that calls go on with. Errors: `Problem`, `ServiceError`."""
        admitted, opened = await self._reserve(opening, admitted)
        if isinstance(opened, pb.Granted):
            return admitted, opened
        offering = snapshot.offering(opened.offering_id)
        cheaper = _restricted_to(snapshot, opened, offering)
        if cheaper is None:
            raise self._refused(opened, admitted, offering.redirect_offering_id if offering else "")
        # The quota has ended, but the offering lets calls go on with a cheaper model.
        admitted = await self._admit(opening.dialect, opening.request, cheaper, opening.principal)
        admitted, opened = await self._reserve(opening, admitted)
        if isinstance(opened, pb.Granted):
            return admitted, opened
        raise self._refused(opened, admitted)

    async def _admit(self, dialect: Dialect, request: Request, model: SellableModel, principal: Principal) -> Admitted:
        """Checks a request as far as possible without accounting. Errors: `Problem` 400, 503."""
        spoken = dialect.name
        if spoken not in model.routes:
            spoken, request = await self._interpreter.interpret(dialect, request, model)
        return admit(self._router, spoken, request, model, principal.account_id)

    async def _reserve(self, opening: _Opening, admitted: Admitted) -> tuple[Admitted, pb.Granted | pb.Refused]:
        """Asks accounting; asks once more with the exact bound if the balance is less than the bound by bytes."""
        opened = await self._create(opening, admitted)
        if isinstance(opened, pb.Granted) or opened.result_code != pb.RESULT_CODE_QUOTA_LIMIT_REACHED:
            return admitted, opened
        exact = await admitted.measured_exactly()
        if exact is None:
            return admitted, opened
        return exact, await self._create(opening, exact)

    async def _create(self, opening: _Opening, admitted: Admitted) -> pb.Granted | pb.Refused:
        """Asks accounting once, and notes what rates leave. Errors: `Problem` 409, 422 for a call that was made before."""
        create = admitted.create(opening.principal, opening.run_label)
        if opening.once is not None:
            opening.once.write(create)
        opened = await self._charging.create(opening.principal.account_id, opening.charging_id, create)
        if isinstance(opened, pb.KnownCall):
            raise problem_of(opened)
        opening.tell_rates(opened)
        return opened

    def _refused(self, refused: pb.Refused, admitted: Admitted, redirect_offering_id: str = "") -> Problem:
        problem = _refusal(refused, admitted, redirect_offering_id)
        self._metrics.refusals.add(problem.code or problem.type)
        return problem


def _restricted_to(snapshot: Snapshot, refused: pb.Refused, offering: SellableOffering | None) -> SellableModel | None:
    """The model that calls go on with when the quota has ended; None if the refusal has another reason, or calls end."""
    if (
        offering is None
        or refused.result_code != pb.RESULT_CODE_QUOTA_LIMIT_REACHED
        or refused.final_unit_action != pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS
        or refused.held
    ):
        return None
    return snapshot.model(offering.restricted_model_id)


def _rate(of: str, left: pb.RateLeft) -> Rate:
    return Rate(of, left.limit, left.remaining, left.reset_ms)


def _refusal(refused: pb.Refused, admitted: Admitted, redirect_offering_id: str) -> Problem:
    unit = refused.unit.currency or registry_pb2.Unit.Name(refused.unit.unit).removeprefix("UNIT_")
    match refused.result_code:
        case pb.RESULT_CODE_RATE_LIMITED:
            return rate_limited(refused.limit_id, refused.retry_after_ms, refused.message)
        case pb.RESULT_CODE_END_USER_SERVICE_REJECTED:
            return key_ended(refused.message)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.held:
            return quota_held(refused.needed_amount, refused.free_amount, refused.held_amount, unit, refused.retry_after_ms)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.limit_id:
            return limit_used_up(refused.limit_id, refused.free_amount, unit, refused.retry_after_ms)
        case pb.RESULT_CODE_QUOTA_LIMIT_REACHED:
            return quota_used_up(
                refused.needed_amount,
                refused.free_amount,
                unit,
                redirect_offering_id,
                refused.message,
                unbounded=admitted.tokens.media.unbounded,
            )
        case _:
            return model_not_found(admitted.model.model_id)
