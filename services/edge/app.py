"""The wiring of the edge."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from litestar import Litestar
from litestar.types import ControllerRouterHandler

from services.edge.api.admin.router import admin_router, read_admin_token
from services.edge.api.calls import ModelCalls, metered
from services.edge.api.health import health_routes
from services.edge.api.me import me_routes
from services.edge.api.me_keys import minting_routes
from services.edge.api.models import AccountOfferings, is_anthropic, models_routes
from services.edge.api.prices import prices_routes
from services.edge.api.readers import Readers
from services.edge.api.reading import RequestReader
from services.edge.api.sockets import Rooms, Sockets
from services.edge.api.token_counts import TokenCounts
from services.edge.api.usage import usage_routes
from services.edge.call.admission import Interpreter
from services.edge.call.dialect import Dialect
from services.edge.call.metrics import CallMetrics
from services.edge.call.path import CallPath
from services.edge.call.priority import PriorityClasses
from services.edge.call.probes import Prober
from services.edge.call.threads import Threads
from services.edge.call.turns import Turns
from services.edge.call.vendor_checks import VendorChecks
from services.edge.catalog import CatalogHolder
from services.edge.charging.client import ChargingClient
from services.edge.charging.outbox import Outbox
from services.edge.charging.port import Charging
from services.edge.config import STRANGERS_PER_SECOND, EdgeConfig
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.dialects.images.dialect import Images
from services.edge.dialects.rerank.dialect import Rerank
from services.edge.dialects.responses.dialect import Responses
from services.edge.dialects.speech.dialect import Speech
from services.edge.dialects.transcriptions.dialect import Transcriptions
from services.edge.dialects.translation.translator import Translations
from services.edge.http.answers import Answers, exception_handlers, in_plain_characters, named
from services.edge.http.bodies import Bodies
from services.edge.http.cross_origin import CrossOrigin
from services.edge.http.metrics import RequestMetrics, export_doors
from services.edge.http.problems import Header, by_server
from services.edge.identity.principals import Principals
from services.edge.routing.router import RetryBudget, Router
from services.edge.vendors.http import HttpVendorClient
from services.edge.vendors.secrets import VendorSecrets
from services.edge.vendors.vendor import VendorClient
from services.runtime.certificates import certificates_of
from services.runtime.clients import connect
from services.runtime.clock import Clock, SystemClock
from services.runtime.disks import watch_disk
from services.runtime.http.limits import HttpLimits
from services.runtime.http.listener import Listener, Refuse, listen_http
from services.runtime.identifiers import uuid7
from services.runtime.lifecycle import Lifecycle
from services.runtime.locks import exclusive
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2_grpc
from tokenline.billing.v1 import billing_pb2_grpc

# Model calls, and the dialects they are in.
CALLS: Final = metered(
    ("/v1/chat/completions", ChatCompletions()),
    ("/v1/messages", MESSAGES),
    ("/v1/messages/count_tokens", COUNT_TOKENS),
    ("/v1/responses", Responses()),
    ("/v1/embeddings", Embeddings()),
    ("/v1/completions", Completions()),
    ("/v1/images/generations", Images()),
    ("/v1/audio/transcriptions", Transcriptions()),
    ("/v1/rerank", Rerank()),
    ("/v1/audio/speech", Speech()),
)
# A dialect's first path is that of its calls.
SERVED_AT: Final = {dialect.name: path for path, dialect in reversed(CALLS)}
# Reads calls of models whose vendors speak another dialect.
INTERPRETER: Final = Interpreter(Translations(), SERVED_AT)
# Paths whose calls can also come over a WebSocket.
WITH_SOCKETS: Final = frozenset({"/v1/responses"})
# Bounds the bodies of all routes except model calls, which bound theirs themselves.
_BODY_BYTES_MAX: Final = 1_000_000
# At most this many of the largest bodies may be on their way in.
_BODIES_IN_ALL: Final = 10
_BODIES_OF_ACCOUNT: Final = 2
# Conversations that sockets keep may have as many bytes as bodies; those of an account, this part of them.
_KEPT_OF_ACCOUNT: Final = 2
# Calls in hand at once: more than a core relays, and far below what its memory holds. Half of the connections at the most, because
# a connection without a call makes way for another client.
_CALLS_MAX: Final = 8_192
# People, Prometheus and probes.
_OPERATORS_CONNECTIONS_MAX: Final = 256
# They have had all the time that clients had.
_OPERATORS_DRAIN_S: Final = 1.0


class Parts(NamedTuple):
    """Parts that the routes work with."""

    readers: Readers
    catalog: CatalogHolder
    offerings: AccountOfferings
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub"
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub"
    billing: "billing_pb2_grpc.BillingServiceAsyncStub"
    # Conditions of the edge's readiness, by name.
    conditions: Mapping[str, Callable[[], bool]]
    checks: VendorChecks


class _Shared(NamedTuple):
    """Parts that model calls and customers' questions have in common."""

    principals: Principals
    turns: Turns
    bodies: Bodies


class Addresses(NamedTuple):
    """Addresses of an edge."""

    # "http://host:port/v1".
    clients: str
    # "http://host:port".
    operators: str

    def __str__(self) -> str:
        return f"{self.clients}, for operators on {self.operators}"


@asynccontextmanager
async def run_edge(
    config: EdgeConfig, lifecycle: Lifecycle, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[Addresses]:
    """Runs the edge; yields its addresses once it listens. It is ready (/readyz) once the services it needs are.

    `environment` holds the vendors' secrets that have no file, under the names that the catalog gives. At the end clients are told
    to close their connections for `drain_notice_ms`; then no new connection is taken, requests under way end, what is owed to
    accounting is delivered, and connections close; operators are served until then. Errors: `ConfigError` when the admin token, a
    vendor's secret or a certificate can't be used; `OSError` when an address cannot be bound.
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

        catalog = await stack.enter_async_context(_catalog(config, registry_channel, environment, lifecycle, clock))
        classes = PriorityClasses(catalog)
        principals = await stack.enter_async_context(_principals(config, authentication_channel, lifecycle))
        vendors = await stack.enter_async_context(HttpVendorClient(config))
        charging = await stack.enter_async_context(_charging(config, accounting_channel, to_accounting, classes))

        metrics = RequestMetrics(logs_access=config.access_log)
        metrics.export()
        offerings = AccountOfferings(accounting, clock)
        router = await stack.enter_async_context(_router(config, vendors, lifecycle))
        counts = TokenCounts(catalog, vendors, router, offerings, INTERPRETER)
        path = _call_path(config, catalog, charging, vendors, router)
        turns = _turns(config, classes)
        bodies = Bodies(_bodies_bytes_max(config), config.account_bodies_bytes_max or _BODIES_OF_ACCOUNT * config.body_bytes_max)
        shared = _Shared(principals, turns, bodies)
        calls = stack.enter_context(_model_calls(config, shared, path, counts, metrics, clock))
        # Once it listens.
        doors: dict[str, Listener] = {}
        export_doors(doors)
        conditions = {
            "catalog": lambda: catalog.current is not None,
            "authentication": lambda: principals.alive,
            "charging": lambda: charging.up,
            "listener": lambda: "clients" in doors and doors["clients"].accepts,
        }
        readers, checks = Readers(*shared), VendorChecks(vendors)
        parts = Parts(readers, catalog, offerings, authentication, accounting, billing, conditions, checks)
        for_operators = Answers(operators_application(parts, token, clock), metrics, clock)
        doors["operators"] = await stack.enter_async_context(_listen_to_operators(for_operators, config, _refusing(clock)))
        cross_origin = CrossOrigin(config.cors_origins) if config.cors_origins else None
        listening = listen_http(
            Answers(clients_application(parts, clock), metrics, clock, calls, cross_origin),
            config.host,
            config.port,
            drain_s=config.drain_timeout_ms / 1_000,
            notice_s=config.drain_notice_ms / 1_000,
            limits=config.http_limits,
            refuse=_refusing(clock, cross_origin),
        )
        doors["clients"] = await stack.enter_async_context(listening)
        yield _addresses(config, doors)


@asynccontextmanager
async def _principals(config: EdgeConfig, channel: grpc.aio.Channel, lifecycle: Lifecycle) -> AsyncIterator[Principals]:
    """The principals of keys, which hear of revocations."""
    principals = Principals(channel, config.cached_key_grace_ms)
    principals.export()
    async with lifecycle.background("edge-revocations", principals.follow_revocations()):
        yield principals


@asynccontextmanager
async def _catalog(
    config: EdgeConfig, channel: grpc.aio.Channel, environment: Mapping[str, str], lifecycle: Lifecycle, clock: Clock
) -> AsyncIterator[CatalogHolder]:
    """The catalog with the vendors' secrets, both kept up to date. Errors: `ConfigError` for a secret of no use."""
    secrets = VendorSecrets(environment, Path(config.vendor_secrets_folder) if config.vendor_secrets_folder else None)
    catalog = CatalogHolder(channel, secrets.current, config.simulator_base_url, clock)
    catalog.followed.export("edge.catalog", "the catalog at the edge")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lifecycle.background("edge-catalog", catalog.follow()))
        if config.vendor_secrets_folder:
            await stack.enter_async_context(lifecycle.background("edge-secrets", secrets.follow(catalog.use)))
        yield catalog


@asynccontextmanager
async def _router(config: EdgeConfig, vendors: VendorClient, lifecycle: Lifecycle) -> AsyncIterator[Router]:
    """The routes' health, which shows itself, and is asked for without calls where vendors have a free path."""
    budget = RetryBudget(config.attempts_max, config.retry_budget_ms / 1_000)
    router = Router(budget=budget, edges_max=config.edges_max)
    router.export()
    async with lifecycle.background("edge-probes", Prober(router, vendors).run()):
        yield router


@asynccontextmanager
async def _charging(
    config: EdgeConfig, channel: grpc.aio.Channel, to_accounting: Callable[[str], grpc.aio.Channel], classes: PriorityClasses
) -> AsyncIterator[ChargingClient]:
    """The client of accounting, with what an outbox still owes it."""
    async with AsyncExitStack() as stack:
        outbox, left = None, list[accounting_pb2.ChargeOperation]()
        if config.outbox:
            stack.enter_context(exclusive(Path(f"{config.outbox}.lock"), config.outbox))
            outbox, left = await Outbox.open(Path(config.outbox), config.outbox_releases_max)
            stack.push_async_callback(outbox.close)
            outbox.export()
            watch_disk("outbox", Path(config.outbox))
        client = await stack.enter_async_context(ChargingClient(channel, config, outbox, left, to_accounting, classes.note))
        client.export()
        yield client


def _turns(config: EdgeConfig, classes: PriorityClasses) -> Turns:
    places = min(_CALLS_MAX, config.http_limits.for_process().connections_max // 2)
    turns = Turns(places, classes)
    turns.export()
    return turns


def _call_path(config: EdgeConfig, catalog: CatalogHolder, charging: Charging, vendors: VendorClient, router: Router) -> CallPath:
    metrics = CallMetrics()
    metrics.export()
    return CallPath(catalog, charging, vendors, router, metrics, config.heartbeat_interval_ms, INTERPRETER)


def _bodies_bytes_max(config: EdgeConfig) -> int:
    return config.bodies_bytes_max or _BODIES_IN_ALL * config.body_bytes_max


@contextmanager
def _model_calls(
    config: EdgeConfig,
    shared: _Shared,
    calls: CallPath,
    counts: TokenCounts,
    metrics: RequestMetrics,
    clock: Clock,
) -> Iterator[dict[str, ModelCalls]]:
    """The model calls by path."""
    principals, turns, bodies = shared
    in_all = _bodies_bytes_max(config)
    rooms = Rooms(bodies, Bodies(in_all, in_all // _KEPT_OF_ACCOUNT), config.body_bytes_max)
    reader, threads = RequestReader(), Threads("long-work")

    def sockets(dialect: Dialect) -> Sockets:
        return Sockets(dialect, principals, reader, rooms, config.answer_timeout_ms / 1_000, metrics, clock)

    try:
        yield {
            path: ModelCalls(
                dialect,
                principals,
                calls,
                counts,
                turns,
                reader,
                threads,
                bodies,
                config.body_bytes_max,
                clock,
                sockets(dialect) if path in WITH_SOCKETS else None,
            )
            for path, dialect in CALLS
        }
    finally:
        threads.close()
        reader.close()


@asynccontextmanager
async def _listen_to_operators(answers: Answers, config: EdgeConfig, refuse: Refuse) -> AsyncIterator[Listener]:
    limits = HttpLimits(
        connections_max=_OPERATORS_CONNECTIONS_MAX,
        connections_per_address_max=_OPERATORS_CONNECTIONS_MAX,
        strangers_per_second=STRANGERS_PER_SECOND,
    )
    listening = listen_http(answers, config.admin_host, config.admin_port, drain_s=_OPERATORS_DRAIN_S, limits=limits, refuse=refuse)
    async with AsyncExitStack() as stack:
        try:
            listener = await stack.enter_async_context(listening)
        except OSError as error:
            raise OSError(f"for operators, admin_port: {error}") from error
        yield listener


def _addresses(config: EdgeConfig, doors: Mapping[str, Listener]) -> Addresses:
    clients = _origin(config.host, doors["clients"].port)
    return Addresses(f"{clients}/v1", _origin(config.admin_host, doors["operators"].port))


def _origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refusing(clock: Clock, cross_origin: CrossOrigin | None = None) -> Refuse:
    """The server's own answers: in the dialect of the path and for the page, as far as these were read, under an ID as all are."""
    dialects = dict(CALLS)

    def refuse(status: int, url: bytes, head: Sequence[Header]) -> tuple[Sequence[Header], bytes]:
        dialect = dialects.get(url.partition(b"?")[0].decode("latin-1"), CALLS[0][1])
        request_id = uuid7(clock.now_us())
        headers = [(b"content-type", b"application/json"), *named(dialect, request_id)]
        if cross_origin is not None:
            headers += cross_origin.told(next((value for name, value in head if name == b"origin"), b""))
        return headers, dialect.problem_body(by_server(status), request_id)

    return refuse


def clients_application(parts: Parts, clock: Clock) -> Litestar:
    """All that clients reach but the model calls."""
    readers = parts.readers
    return _application(
        clock,
        *models_routes(readers, parts.catalog, parts.offerings, clock),
        *prices_routes(parts.catalog),
        *me_routes(readers, parts.accounting, parts.billing),
        *usage_routes(readers, parts.accounting, clock),
        *minting_routes(readers, parts.accounting, parts.authentication),
    )


def operators_application(parts: Parts, admin_token: str, clock: Clock) -> Litestar:
    """All that operators reach, and what runs the edge."""
    return _application(
        clock,
        admin_router(admin_token, parts.catalog, parts.authentication, parts.accounting, parts.billing, clock, parts.checks),
        *health_routes(parts.conditions),
    )


def _application(clock: Clock, *routes: ControllerRouterHandler) -> Litestar:
    handlers: Any = exception_handlers(clock, _BODY_BYTES_MAX, lambda request: MESSAGES if is_anthropic(request) else None)
    return Litestar(
        routes,
        exception_handlers=handlers,
        before_request=in_plain_characters,
        openapi_config=None,
        # The process's own logging stays as it is.
        logging_config=None,
        request_max_body_size=_BODY_BYTES_MAX,
    )
