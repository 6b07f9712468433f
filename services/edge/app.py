"""The wiring of the edge."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from litestar import Litestar

from services.edge.api.admin.router import admin_router, read_admin_token
from services.edge.api.calls import ModelCalls, call_route, named
from services.edge.api.health import health_routes
from services.edge.api.me import me_routes
from services.edge.api.models import AccountOfferings, models_routes
from services.edge.api.token_counts import TokenCounts
from services.edge.call.dialect import Dialect
from services.edge.call.metrics import CallMetrics
from services.edge.call.path import CallPath
from services.edge.catalog import CatalogHolder
from services.edge.charging.client import ChargingClient
from services.edge.charging.outbox import Outbox
from services.edge.config import EdgeConfig
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.http.answers import Answers, exception_handlers
from services.edge.http.metrics import RequestMetrics
from services.edge.http.problems import Header, no_http
from services.edge.identity.principals import Principals
from services.edge.vendors.http import HttpVendorClient
from services.runtime.certificates import certificates_of
from services.runtime.clients import connect
from services.runtime.clock import Clock, SystemClock
from services.runtime.http import Refuse, listen_http
from services.runtime.identifiers import uuid7
from services.runtime.lifecycle import Lifecycle
from services.runtime.locks import exclusive
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2_grpc
from tokenline.billing.v1 import billing_pb2_grpc

# Model calls, and the dialects they are in.
CALLS: Final[tuple[tuple[str, Dialect], ...]] = (
    ("/v1/chat/completions", ChatCompletions()),
    ("/v1/messages", MESSAGES),
    ("/v1/messages/count_tokens", COUNT_TOKENS),
)
# Of all routes but the model calls, which bound their bodies themselves.
_BODY_BYTES_MAX: Final = 1_000_000


class Parts(NamedTuple):
    """What the routes are about."""

    # By path.
    model_calls: Mapping[str, ModelCalls]
    principals: Principals
    catalog: CatalogHolder
    offerings: AccountOfferings
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub"
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub"
    billing: "billing_pb2_grpc.BillingServiceAsyncStub"
    # What must hold for the edge to be ready, by name.
    conditions: Mapping[str, Callable[[], bool]]


@asynccontextmanager
async def run_edge(config: EdgeConfig, lifecycle: Lifecycle, environment: Mapping[str, str] = os.environ) -> AsyncIterator[str]:
    """Runs the edge; yields "http://host:port/v1" once it listens. It is ready (/readyz) once the services it needs are.

    `environment` holds the vendors' secrets, under the names that the catalog gives. At the end clients are told to close their
    connections for `drain_notice_ms`; then no new connection is taken, requests under way end, what is owed to accounting is
    delivered, and connections close. Errors: `ConfigError` when the admin token or a certificate can't be used; `OSError` when the
    address cannot be bound.
    """
    token = read_admin_token(Path(config.admin_token_file))
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        certificates = await stack.enter_async_context(certificates_of("edge", config, lifecycle))
        to_accounting = partial(connect, service="accounting", certificates=certificates)
        registry_channel = await stack.enter_async_context(connect(config.registry_address, "registry", certificates))
        authentication_channel = await stack.enter_async_context(
            connect(config.authentication_address, "authentication", certificates)
        )
        accounting_channel = await stack.enter_async_context(to_accounting(config.accounting_address))
        billing_channel = await stack.enter_async_context(connect(config.billing_address, "billing", certificates))
        authentication = authentication_pb2_grpc.AuthenticationServiceStub(authentication_channel)
        accounting = accounting_pb2_grpc.AccountingServiceStub(accounting_channel)
        billing = billing_pb2_grpc.BillingServiceStub(billing_channel)

        catalog = CatalogHolder(registry_channel, environment, config.simulator_base_url)
        await stack.enter_async_context(lifecycle.background("edge-catalog", catalog.follow()))
        principals = Principals(authentication_channel, config.cached_key_grace_ms)
        await stack.enter_async_context(lifecycle.background("edge-revocations", principals.follow_revocations()))
        vendors = await stack.enter_async_context(HttpVendorClient(config))
        outbox, left = None, list[accounting_pb2.ChargeOperation]()
        if config.outbox:
            stack.enter_context(exclusive(Path(f"{config.outbox}.lock"), config.outbox))
            outbox, left = await Outbox.open(Path(config.outbox), config.outbox_releases_max)
            stack.push_async_callback(outbox.close)
        charging = await stack.enter_async_context(ChargingClient(accounting_channel, config, outbox, left, to_accounting))

        metrics = RequestMetrics()
        metrics.export()
        call_metrics = CallMetrics()
        call_metrics.export()
        offerings = AccountOfferings(accounting)
        calls = CallPath(catalog, charging, vendors, call_metrics, config.heartbeat_interval_ms)
        counts = TokenCounts(catalog, vendors, offerings)
        model_calls = {path: ModelCalls(dialect, principals, calls, counts, config, clock) for path, dialect in CALLS}
        parts = Parts(
            model_calls=model_calls,
            principals=principals,
            catalog=catalog,
            offerings=offerings,
            authentication=authentication,
            accounting=accounting,
            billing=billing,
            conditions={
                "catalog": lambda: catalog.current is not None,
                "authentication": lambda: principals.alive,
                "charging": lambda: charging.up,
            },
        )
        application = application_of(parts, token, clock)
        answers = Answers(application, metrics, clock, model_calls)
        drain_s, notice_s = config.drain_timeout_ms / 1_000, config.drain_notice_ms / 1_000
        listening = listen_http(answers, config.host, config.port, drain_s, notice_s, _refusing(clock))
        port = await stack.enter_async_context(listening)
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield f"http://{host}:{port}/v1"


def _refusing(clock: Clock) -> Refuse:
    """The answers to what is no HTTP: in the dialect of the path, as far as that was read, and under an ID as all others are."""
    dialects = dict(CALLS)

    def refuse(url: bytes) -> tuple[Sequence[Header], bytes]:
        dialect = dialects.get(url.partition(b"?")[0].decode("latin-1"), CALLS[0][1])
        request_id = uuid7(clock.now_us())
        headers = [(b"content-type", b"application/json"), *named(dialect, request_id)]
        return headers, dialect.problem_body(no_http(), request_id)

    return refuse


def application_of(parts: Parts, admin_token: str, clock: Clock) -> Litestar:
    """The application with all routes of the edge."""
    principals = parts.principals
    handlers: Any = exception_handlers(clock, _BODY_BYTES_MAX)
    return Litestar(
        [
            *(call_route(path, serve) for path, serve in parts.model_calls.items()),
            *models_routes(principals, parts.catalog, parts.offerings),
            *me_routes(principals, parts.accounting, parts.billing),
            admin_router(admin_token, parts.catalog, parts.authentication, parts.accounting, parts.billing),
            *health_routes(parts.conditions),
        ],
        exception_handlers=handlers,
        openapi_config=None,
        # The process's own logging stays as it is.
        logging_config=None,
        request_max_body_size=_BODY_BYTES_MAX,
    )
