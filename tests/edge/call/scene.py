"""A call and all that it touches: a catalog of a few models, the doubles, and the application that serves one route."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from services.edge.api.calls import ModelCalls
from services.edge.api.reading import RequestReader
from services.edge.api.token_counts import TokenCounts
from services.edge.call.admission import Interpreter
from services.edge.call.dialect import Charged
from services.edge.call.metrics import CallMetrics
from services.edge.call.path import CallPath
from services.edge.call.priority import PriorityClasses
from services.edge.call.threads import Threads
from services.edge.call.turns import Bounds, Turns
from services.edge.catalog import Snapshot
from services.edge.config import EdgeConfig
from services.edge.http.bodies import Bodies
from services.edge.routing.router import Router
from services.runtime.clock import SystemClock
from tests.edge.call.doubles import (
    CallClient,
    FakeCharging,
    FixedCatalog,
    FixedOfferings,
    NoTranslator,
    OnePrincipal,
    ScriptedVendors,
    now_s,
    vector,
)
from tests.edge.call.line_dialect import LineDialect
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2 as registry

SECRETS: Final = {
    "ACME_KEY": "acme-secret-0123456789",
    "BETA_KEY": "beta-secret-0123456789",
    "SLOW_KEY": "slow-secret-0123456789",
    "RUDE_KEY": "rude-secret-0123456789",
    "DEEP_KEY": "deep-secret-0123456789",
    "ODD_KEY": "odd-secret-0123456789",
}
# Where models can be called whose vendors do not speak the line dialect, which has another's name.
SERVED_AT: Final = {"openai_chat": "/v1/lines", "anthropic_messages": "/v1/others"}
CONTEXT_TOKENS: Final = 100_000
OUTPUT_TOKENS: Final = 8_000


def _endpoint(**fields: Any) -> registry.VendorEndpoint:
    plain = {"limit_counts_reasoning": True, "streams": True, "takes_stream_options": True, "drainable": True}
    return registry.VendorEndpoint(**{"dialect": registry.DIALECT_OPENAI_CHAT, **plain, **fields})


def _vendor(vendor_id: str, **fields: Any) -> registry.Vendor:
    return registry.Vendor(
        vendor_id=vendor_id,
        base_url=f"http://{vendor_id}",
        api_key_env=f"{vendor_id.upper()}_KEY",
        endpoints=[_endpoint(**fields)],
        errors=[
            registry.VendorError(http_status=400, code="Arrearage", meaning=registry.VENDOR_ERROR_MEANING_ACCOUNT),
            registry.VendorError(message_part="sensitive", meaning=registry.VENDOR_ERROR_MEANING_CONTENT),
            registry.VendorError(message_part="context length", meaning=registry.VENDOR_ERROR_MEANING_CONTEXT),
        ],
    )


def _model(
    model_id: str, *vendors: str, family_id: str = "bytes", even: bool = False, places: int = 0, **fields: Any
) -> registry.Model:
    """Its routes are tried in this order, or all of them have one priority; each has so many places."""
    priorities = [0] * len(vendors) if even else range(len(vendors))
    routes = [
        registry.Route(vendor_id=vendor, vendor_model_id=f"{vendor}-{model_id}", priority=priority, edge_concurrency_max=places)
        for vendor, priority in zip(vendors, priorities, strict=True)
    ]
    sizes = {"context_window_tokens": CONTEXT_TOKENS, "max_output_tokens": OUTPUT_TOKENS}
    return registry.Model(model_id=model_id, family_id=family_id, routes=routes, **{**sizes, **fields})


def catalog(**offering: Any) -> Snapshot:
    """The catalog; the fields are those of the offering "plan"."""
    rates = registry.TokenRates(
        input=1_000_000, cached_input=1_000_000, cache_write=1_000_000, output=1_000_000, reasoning=1_000_000
    )
    row = registry.ModelRates(model_id="*", tiers=[registry.ContextTier(rates=rates)])
    message = registry.Catalog(
        vendors=[
            _vendor("acme"),
            _vendor("beta"),
            _vendor("slow", streams=False, drainable=False),
            _vendor("rude", drainable=False),
            _vendor("deep", limit_counts_reasoning=False),
            _vendor("odd", dialect=registry.DIALECT_ANTHROPIC_MESSAGES),
        ],
        tokenizer_families=[
            registry.TokenizerFamily(family_id="bytes", template_tokens_per_message=4, template_tokens_per_request=3),
            registry.TokenizerFamily(family_id="exact", tokenizer="qwen3", template_tokens_per_message=4),
            registry.TokenizerFamily(family_id="seeing", tokenizer="qwen3", image_tokens_max=1_000, template_tokens_per_message=4),
        ],
        models=[
            _model("solo", "acme"),
            _model("pair", "acme", "beta"),
            _model("many", "acme", "beta", "slow", "rude", "deep"),
            _model("narrow", "acme", places=2),
            _model("narrow-pair", "acme", "beta", places=2),
            _model("even", "acme", "beta", "rude", "deep", even=True),
            # Its vendor does not stream.
            _model("whole", "slow"),
            _model("undrained", "rude"),
            # Its vendor speaks another dialect alone.
            _model("other", "odd"),
            _model("hidden", "acme", hidden_reasoning=True),
            _model("exact", "acme", family_id="exact"),
            _model("seeing", "acme", family_id="seeing"),
            # Its second vendor does not stream.
            _model("mixed", "acme", "slow"),
            # Its vendor's limit does not count thought.
            _model("deep", "deep"),
        ],
        tariffs=[registry.Tariff(tariff_id="t", version=1, unit=registry.UNIT_TOKEN, model_rates=[row])],
        offerings=[registry.Offering(offering_id="plan", tariff_id="t", **offering)],
    )
    return Snapshot(message, SECRETS, "")


class Scene:
    """The doubles, and calls over them."""

    def __init__(self, charging: FakeCharging | None = None, snapshot: Snapshot | None = None) -> None:
        self.vendors = ScriptedVendors()
        self.charging = charging or FakeCharging()
        self.principals = OnePrincipal()
        self.metrics = CallMetrics()
        holder = self.catalog = FixedCatalog(snapshot or catalog())
        config = EdgeConfig(
            registry_address="r",
            authentication_address="a",
            accounting_address="c",
            billing_address="b",
            admin_token_file="t",
        )
        self.router = Router(now_s)
        self.turns = Turns(1_000, PriorityClasses(holder), now_s, Bounds(1, 256.0, 0.5))
        interpreter = Interpreter(NoTranslator(), SERVED_AT)
        path = CallPath(holder, self.charging, self.vendors, self.router, self.metrics, config.heartbeat_interval_ms, interpreter)
        free = TokenCounts(holder, self.vendors, self.router, FixedOfferings("plan"), interpreter)
        self.bodies = Bodies(config.body_bytes_max, config.body_bytes_max)
        # The route of each kind of call.
        self._routes: dict[Charged, Any] = {
            charged: ModelCalls(
                LineDialect(charged),
                self.principals,
                path,
                free,
                self.turns,
                RequestReader(),
                Threads("long-work"),
                self.bodies,
                config.body_bytes_max,
                SystemClock(),
            )
            for charged in Charged
        }

    def begin(
        self, head: str, prompt: str = "hi", charged: Charged = Charged.INPUT_AND_OUTPUT, **client: Any
    ) -> "tuple[CallClient, asyncio.Task[None]]":
        """Begins a call at the route that is charged so; the options are the line dialect's."""
        body = client.pop("body", None) or f"{head}\n{prompt}".encode()
        caller = CallClient(body, client.get("headers"), client.get("more_headers", ()))
        return caller, asyncio.get_running_loop().create_task(self._routes[charged](caller))

    async def call(self, head: str, prompt: str = "hi", **client: Any) -> CallClient:
        """Makes a call to its end, and checks what must hold of every call."""
        caller, task = self.begin(head, prompt, **client)
        await task
        self.check()
        return caller

    async def left(self, head: str, when: Callable[[CallClient], bool], prompt: str = "hi") -> CallClient:
        """A call whose client leaves once `when` holds of what it was sent."""
        caller, task = self.begin(head, prompt)

        def look(message: Any) -> None:
            if when(caller):
                caller.leave()

        caller.on_message = look
        await task
        self.check()
        return caller

    def check(self) -> None:
        """What must hold when no call is under way."""
        self.charging.check()
        self.vendors.check()

    @property
    def used(self) -> tuple[int, ...]:
        """What the only Release charges."""
        return vector(self.charging.release_message.used)

    @property
    def unpaid(self) -> tuple[int, ...]:
        """What nobody pays for."""
        return vector(self.charging.release_message.unpaid)

    @property
    def cause(self) -> str:
        """Why the only session was closed."""
        return pb.CloseCause.Name(self.charging.release_message.close_cause).removeprefix("CLOSE_CAUSE_").lower()

    @property
    def provenance(self) -> str:
        """Where the counts came from."""
        return pb.UsageProvenance.Name(self.charging.release_message.provenance).removeprefix("USAGE_PROVENANCE_").lower()

    @property
    def attempts(self) -> list[tuple[str, str, int]]:
        """The attempts of the only Release: vendor, outcome, HTTP status."""
        return [(each.vendor_id, each.outcome, each.http_status) for each in self.charging.release_message.attempts]
