"""Measuring affinity: how much of what one route's prompt cache would serve, several routes serve through several edges.

Agents' conversations go on all at once. Each vendor keeps a cache of prefixes of its own. The calls of each conversation go to the
edges in turn, which share nothing. One route falls silent, is killed, and comes back with an empty cache.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from services.cli.agents_trace import AgentCall, calls_of, generated
from services.cli.bench_cell import OWN_CHECKOUT, BenchCell
from services.cli.bench_report import AffinityReport, Share
from services.cli.processes import Processes, free_ports
from services.cli.replay.trace import Row, read_trace
from services.edge.catalog import Route
from services.edge.dialects.chat.request import ChatRequest
from services.edge.routing.router import Router
from services.edge.vendors.profile import Endpoint
from services.vendor_simulator.prefix_cache import PrefixCache

ROUTES: Final = 4
EDGES: Final = 3
_AT_ONCE: Final = 32
# All prompts of a run fit, so that what a cache has lost is the routing's doing alone.
_CACHE_TOKENS: Final = 1_000_000_000
# The route falls silent, is killed and is back after these shares of the calls.
_SILENT, _KILLED, _BACK = 0.4, 0.5, 0.6
_FIRST_BYTE_TIMEOUT_MS: Final = 2_000
# As the breaker's first one; a client pays for a silent route at most once in it.
_PERIOD_S: Final = 5.0
_POINTS: Final = 50
_GENERATED: Final = (200, 30)
_MODEL, _SINGLE = "bench-agents", "bench-agents-single"
# Rounds are short, so that some are disturbed by nothing else.
_TIMED_CALLS, _TIMED_ROUNDS = 500, 200


class _Done(NamedTuple):
    """One call's end."""

    conversation: int
    edge: int
    # Counts of the answer's usage.
    input_tokens: int
    cached_tokens: int
    # Empty: it was answered.
    failure: str
    began_s: float
    seconds: float


def measure_affinity(trace: Path | None, limit: int | None) -> AffinityReport:
    """Measures with the first `limit` rows of a trace; None: with a generated one. Blocking.

    Errors: `CommandError`, `ReplayError`.
    """
    rows = read_trace(trace, limit) if trace is not None else generated(*_GENERATED)[:limit]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        processes = Processes(folder)
        stack.callback(processes.stop)
        bench = _Bench(processes, folder)
        single = asyncio.run(bench.run(rows, _SINGLE, lambda done: None))
        four = asyncio.run(bench.run(rows, _MODEL, bench.lose_a_route(len(rows))))
        answered = sum(not each.failure for each in (*single, *four))
        bill = bench.cell.bill(answered if answered == len(single) + len(four) else None)
    spread = _spread_evenly(calls_of(rows, _MODEL))
    return AffinityReport(
        trace="generated" if trace is None else trace.name,
        conversations=len({row.session for row in rows}),
        calls=len(rows),
        routes=ROUTES,
        edges=EDGES,
        single_percent=_percent(single),
        cached_percent=_percent(four),
        spread_percent=_percent(spread),
        kept_percent=round(100 * _cached(four) / max(1, _cached(single)), 2),
        failed=sum(bool(each.failure) for each in (*single, *four)),
        failures=dict(Counter(each.failure for each in (*single, *four) if each.failure)),
        first_byte_timeout_ms=_FIRST_BYTE_TIMEOUT_MS,
        slow_calls=sum(_is_slow(each) for each in four),
        slow_calls_a_period_max=_slow_in_a_period(four),
        routing_us_per_call=routing_us(ROUTES),
        shares=[
            Share(single=_percent(one), four=_percent(several), spread=_percent(each))
            for one, several, each in zip(_parts(single), _parts(four), _parts(spread), strict=True)
        ],
        lost_at=_SILENT,
        back_at=_BACK,
        breaches=bill.breaches,
        differences=bill.differences,
    )


class _Bench:
    """A cell with several edges, whose vendors are several simulators."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._ports = free_ports(ROUTES)
        for number in range(ROUTES):
            self._serve_vendor(number)
        single = processes.serve("vendor-simulator", "vendor-single", port=0, prefix_cache_tokens=_CACHE_TOKENS)
        secrets, layer = folder / "secrets", folder / "layer"
        secrets.mkdir()
        layer.mkdir()
        vendors = [*(f"http://127.0.0.1:{port}/v1" for port in self._ports), single]
        for number, base_url in enumerate(vendors):
            (secrets / f"BENCH_{number}_KEY").write_text(f"sk-{number}", encoding="ascii")
            (secrets / f"BENCH_{number}_URL").write_text(base_url, encoding="ascii")
        (layer / "bench.yaml").write_bytes(msgspec.json.encode(_layer()))
        self.cell = BenchCell(
            processes,
            folder,
            single,
            "cell",
            OWN_CHECKOUT,
            layer=layer,
            edges=EDGES,
            edge_config={"vendor_secrets_folder": str(secrets), "first_byte_timeout_ms": _FIRST_BYTE_TIMEOUT_MS},
        )

    def _serve_vendor(self, number: int) -> None:
        port = self._ports[number]
        self._processes.serve("vendor-simulator", f"vendor-{number}", port=port, prefix_cache_tokens=_CACHE_TOKENS)

    def lose_a_route(self, calls: int) -> Callable[[int], None]:
        """Told how many calls are done, it makes the first route fall silent, kills it, and starts it again."""
        steps = {
            int(calls * _SILENT): lambda: os.kill(self._processes.pids["vendor-0"], signal.SIGSTOP),
            int(calls * _KILLED): lambda: self._processes.kill("vendor-0"),
            int(calls * _BACK): lambda: self._serve_vendor(0),
        }
        return lambda done: steps.get(done, lambda: None)()

    async def run(self, rows: Sequence[Row], model_id: str, progress: Callable[[int], None]) -> list[_Done]:
        """Makes all calls, those of a conversation one after another; what became of each, in their order."""
        places = asyncio.Semaphore(_AT_ONCE)
        before: dict[int, asyncio.Task[_Done]] = {}
        tasks: list[asyncio.Task[_Done]] = []
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:

            async def make(call: AgentCall, number: int, previous: "asyncio.Task[_Done] | None") -> _Done:
                try:
                    if previous is not None:
                        await previous
                    return await self._make(http, call, number % EDGES)
                finally:
                    places.release()

            for number, call in enumerate(calls_of(rows, model_id)):
                await places.acquire()
                progress(number)
                task = asyncio.create_task(make(call, number, before.get(call.conversation)))
                before[call.conversation] = task
                tasks.append(task)
            return [await task for task in tasks]

    async def _make(self, http: aiohttp.ClientSession, call: AgentCall, edge: int) -> _Done:
        api_keys = self.cell.api_keys
        headers = {**call.headers, "authorization": f"Bearer {api_keys[call.conversation % len(api_keys)]}"}
        began_s = time.monotonic()
        input_tokens, cached, failure = 0, 0, ""
        try:
            async with http.post(self.cell.base_urls[edge] + call.path, data=call.body, headers=headers) as response:
                answer = await response.json()
                if response.status == 200:
                    input_tokens, cached = _usage(answer["usage"])
                else:
                    failure = f"{response.status} {answer['error'].get('code') or answer['error'].get('type')}"
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = type(error).__name__
        return _Done(call.conversation, edge, input_tokens, cached, failure, began_s, time.monotonic() - began_s)


def _usage(usage: dict[str, Any]) -> tuple[int, int]:
    """Input and its cached part, in either dialect's arithmetic."""
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    cached = usage.get("cache_read_input_tokens") or 0
    return usage["input_tokens"] + cached, cached


def _layer() -> dict[str, Any]:
    """The catalog layer: a vendor a route, one more for what a single route gives, and a model of each kind."""
    names = [f"bench-{number}" for number in range(ROUTES + 1)]
    vendors = [
        {
            "vendor_id": name,
            "display_name": name,
            "base_url": "http://bench.invalid/v1",
            "api_key_env": f"BENCH_{number}_KEY",
            "base_url_env": f"BENCH_{number}_URL",
            "endpoints": {"openai_chat": {}, "anthropic_messages": {}},
        }
        for number, name in enumerate(names)
    ]
    models = [
        {
            "model_id": model_id,
            "display_name": model_id,
            "owned_by": "bench",
            "context_window_tokens": 1_000_000,
            "max_output_tokens": 100_000,
            "family_id": "byte-bpe",
            "release_date": "2026-01-01",
            "routes": [{"vendor_id": vendor, "vendor_model_id": "agents"} for vendor in vendor_ids],
        }
        for model_id, vendor_ids in ((_MODEL, names[:-1]), (_SINGLE, names[-1:]))
    ]
    return {"vendors": vendors, "models": models}


def _spread_evenly(calls: Iterable[AgentCall]) -> list[_Done]:
    """Ends of the calls where each goes to the next route in turn, as it would without affinity; worked out, not called."""
    caches = [PrefixCache(_CACHE_TOKENS) for _ in range(ROUTES)]
    done = []
    turns: Counter[int] = Counter()
    for call in calls:
        turns[call.conversation] += 1
        cached = caches[(call.conversation + turns[call.conversation]) % ROUTES].read("agents", [call.text])
        done.append(_Done(call.conversation, 0, len(call.text) // 4, cached, "", 0.0, 0.0))
    return done


def _cached(done: Iterable[_Done]) -> int:
    return sum(each.cached_tokens for each in done)


def _percent(done: Sequence[_Done]) -> float:
    return round(100 * _cached(done) / max(1, sum(each.input_tokens for each in done)), 2)


def _parts(done: Sequence[_Done]) -> list[Sequence[_Done]]:
    count = min(_POINTS, len(done))
    return [done[len(done) * part // count : len(done) * (part + 1) // count] for part in range(count)]


def _is_slow(done: _Done) -> bool:
    return done.seconds * 1_000 >= _FIRST_BYTE_TIMEOUT_MS


def _slow_in_a_period(done: Iterable[_Done]) -> int:
    """The most calls of one conversation at one edge that waited for the silent route and began within one period."""
    began: dict[tuple[int, int], list[float]] = {}
    for each in done:
        if _is_slow(each):
            began.setdefault((each.conversation, each.edge), []).append(each.began_s)
    return max((sum(0 <= other - one < _PERIOD_S for other in times) for times in began.values() for one in times), default=0)


def routing_us(routes: int) -> float:
    """CPU of routing one call of a conversation that its beginning tells, with this many routes, in microseconds."""
    ways = tuple(Route(f"v{number}", "m", Endpoint(f"v{number}", "openai_chat", "http://v")) for number in range(routes))
    messages = [{"role": "system", "content": "You are an agent. " * 50}, {"role": "user", "content": "Do it. " * 50}]
    request = ChatRequest(msgspec.json.encode({"model": "m", "messages": messages}))
    router = Router()

    async def route_calls() -> float:
        began_s = time.process_time()
        for _ in range(_TIMED_CALLS):
            plan = router.plan(ways, "account", request.conversation)
            turn = None if plan.is_closed else plan.next_at_once() or await plan.next()
            assert turn is not None
            turn.answered()
            turn.leave()
        return time.process_time() - began_s

    async def least() -> float:
        return min([await route_calls() for _ in range(_TIMED_ROUNDS)])

    return round(asyncio.run(least()) / _TIMED_CALLS * 1_000_000, 2)
