"""The wiring of the phone bill."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import aiohttp
import grpc

from services.billing.carrier.client import Carrier
from services.billing.carrier.config import CarrierConfig
from services.billing.carrier.demands import FAILED, Source
from services.billing.carrier.orders import Orders
from services.billing.carrier.steps import Steps
from services.billing.carrier.store import CarrierStore
from services.billing.carrier.worker import Worker
from services.runtime.clock import SystemClock
from services.runtime.instruments import Counter, Gauge, export
from tokenline.accounting.v1 import accounting_pb2_grpc


class PhoneBill(NamedTuple):
    """The way to the carrier, and what carries demands along it."""

    carrier: Carrier
    worker: Worker


@asynccontextmanager
async def phone_bill(
    config: CarrierConfig, store: CarrierStore, channel: grpc.aio.Channel, interval_ms: int
) -> AsyncIterator[PhoneBill]:
    """The phone bill of a billing process, begun in its store; `channel` leads to accounting.

    Errors: `ConfigError` for the key; `ServiceError` STORE_UNAVAILABLE.
    """
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=config.timeout_ms / 1_000)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        requests = Counter("billing.carrier.requests", "Requests to the carrier.", ("operation", "outcome"))
        ended = Counter("billing.phone.bill.ended", "Payments and refunds that came to an end.", ("source", "state"))
        # Shown before the first one: Prometheus sees no increase in a series that begins with it.
        for source in Source:
            for state in FAILED:
                ended.add(source, state, count=0)
        clock = SystemClock()
        carrier = Carrier(config, http, clock, requests)
        orders = Orders(accounting_pb2_grpc.AccountingServiceStub(channel))
        steps = Steps(store, carrier, orders, clock, reserves=config.steps == "two")
        worker = Worker(store, steps, clock, interval_ms=interval_ms, usage_interval_s=config.usage_interval_s, ended=ended)
        export(
            requests,
            ended,
            Gauge("billing.phone.bill.open", "Payments and refunds that are not ended.", lambda: worker.open),
            Gauge("billing.phone.bill.failed", "Payments and refunds that were denied or are disputed.", lambda: worker.failed),
        )
        await store.begin()
        yield PhoneBill(carrier, worker)
