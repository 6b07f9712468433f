"""A phone bill of tests: the store that billing has, the carrier as the simulator has it, and orders without an accounting."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.billing.carrier.client import Carrier
from services.billing.carrier.config import CarrierConfig
from services.billing.carrier.demands import Demand
from services.billing.carrier.orders import Orders
from services.billing.carrier.steps import Steps
from services.billing.carrier.store import CarrierStore
from services.billing.carrier.worker import Worker
from services.billing.cdr_file import Rows
from services.billing.items import BilledItem, Kind, PaidBy, PlacedOrder
from services.billing.sqlite_store import SqliteStore
from services.billing.store import first_cursor
from services.carrier_simulator.api import CarrierSimulator
from services.carrier_simulator.app import serve_carrier
from services.carrier_simulator.behaviour import Behaviour
from services.carrier_simulator.ledger import Ledger, Payment
from services.carrier_simulator.tokens import Tokens, read_public_key
from services.runtime.errors import ServiceError
from services.runtime.instruments import Counter
from tests.carrier_simulator.world import HeldClock
from tokenline.errors.v1 import errors_pb2

ACCOUNT: Final = "acct-1"
LINE: Final = "+8613800000001"
PRICE: Final = 9_900_000
# Until everything that waits is due.
LATER_US: Final = 700 * 1_000_000


def write_keys(folder: Path) -> Path:
    """The client's key and its public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "private.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder


class TestOrders(Orders):
    """Orders in a table: "awaiting_payment", "completed" with its reference, or "failed"."""

    __test__ = False

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        # The account whose partition has no owner.
        self.unreachable = ""
        self.references: dict[str, str] = {}

    async def obstacle(self, account_id: str, order_id: str) -> str:
        if account_id == self.unreachable:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "the partition has no owner")
        state = self.states.get(order_id, "unknown")
        return "" if state == "awaiting_payment" else f"the order is {state}"

    async def confirm(self, account_id: str, order_id: str, payment_id: str) -> str:
        if self.references.setdefault(order_id, payment_id) != payment_id:
            return "it was confirmed with another reference"
        if self.states[order_id] == "failed":
            return "the order is failed"
        self.states[order_id] = "completed"
        return ""

    async def give_up(self, account_id: str, order_id: str, reason: str) -> None:
        if self.states[order_id] == "awaiting_payment":
            self.states[order_id] = "failed"


class Bill:
    """See the module."""

    def __init__(self, database: SqliteStore, simulator: CarrierSimulator, clock: HeldClock, config: CarrierConfig) -> None:
        self.database = database
        self.simulator = simulator
        self.clock = clock
        self.config = config
        self.orders = TestOrders()
        self.requests = Counter("requests", "", ("operation", "outcome"))
        self.ended = Counter("ended", "", ("source", "state"))
        self.store = CarrierStore(database)
        self.http: aiohttp.ClientSession
        self.carrier: Carrier
        self.worker: Worker
        self._seq = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, keys: Path, steps: str = "two", **changes: Any) -> AsyncIterator["Bill"]:
        clock = HeldClock()
        simulator = CarrierSimulator(Ledger(clock), Tokens({"tokenline": read_public_key(keys / "public.pem")}, clock))
        database = await SqliteStore.open(folder / "billing.db")
        try:
            async with serve_carrier(simulator) as address, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
                config = CarrierConfig(
                    address=address,
                    token_url=f"{address}/oauth2/token",
                    client_id="tokenline",
                    key_file=str(keys / "private.pem"),
                    steps=steps,  # type: ignore[arg-type]
                    **changes,
                )
                bill = cls(database, simulator, clock, config)
                bill.http = http
                bill.build(CarrierStore(database), Carrier(config, http, clock, bill.requests), bill.orders)
                await bill.store.begin()
                await bill.store.set_line(ACCOUNT, LINE)
                yield bill
        finally:
            await database.close()

    def build(self, store: CarrierStore, carrier: Carrier, orders: Orders) -> None:
        """Starts a process anew, in effect."""
        self.carrier = carrier
        steps = Steps(store, carrier, orders, self.clock, reserves=self.config.steps == "two")
        usage_interval_s = self.config.usage_interval_s
        self.worker = Worker(store, steps, self.clock, interval_ms=10, usage_interval_s=usage_interval_s, ended=self.ended)

    async def export(self, items: Sequence[BilledItem] = (), orders: Sequence[PlacedOrder] = ()) -> None:
        """Writes items and orders of the next row, as the export does."""
        cursor = (await self.database.cursors()).get(0, first_cursor(0, 1))
        self._seq = cursor.exported_seq + 1
        placed = [item._replace(sequence_number=self._seq, item_number=number) for number, item in enumerate(items, 1)]
        await self.database.advance(cursor, self._seq, None, Rows(0, [], placed, list(orders)))

    def item(self, kind: Kind, amount: int, paid_by: str = PaidBy.BUCKET, **fields: Any) -> BilledItem:
        """An item on the account's credit line."""
        at = (0, 1, 0, 1, 0)
        bucket_id = "line" if paid_by == PaidBy.BUCKET else ""
        made = BilledItem(*at, kind, ACCOUNT, self.clock.now_us(), "CURRENCY", "CNY", amount, paid_by, bucket_id)
        return made._replace(**fields)

    async def sell_on_credit(self, amount: int = PRICE, subscription_id: str = "sub-1") -> None:
        """A subscription whose price its own credit line pays."""
        price = self.item(Kind.PRICE, amount, order_id="ord-line", subscription_id=subscription_id, offering_id="phone")
        await self.export([self.item(Kind.CREDIT_LINE, 0), price])

    async def place(self, order_id: str = "ord-1", amount: int = PRICE, account_id: str = ACCOUNT) -> None:
        """An order that waits for its payment by phone bill."""
        self.orders.states[order_id] = "awaiting_payment"
        order = PlacedOrder(order_id, account_id, self.clock.now_us(), "family", "", 2, "CURRENCY", "CNY", amount, renews=False)
        await self.export(orders=[order])

    async def rounds(self, count: int = 8) -> None:
        """Rounds of the worker, each when all that waits is due."""
        for _ in range(count):
            await self.worker.round()
            self.clock.time_us += LATER_US // 10

    async def demands(self) -> list[Demand]:
        return await self.store.of_account(ACCOUNT)

    async def only(self) -> Demand:
        """The one demand there is."""
        (demand,) = await self.demands()
        return demand

    def next(self, operation: str, **behaviour: Any) -> None:
        """Lets the carrier behave otherwise at the next request of an operation."""
        self.simulator.behaviours.add(Behaviour(operation=operation, **behaviour))

    @property
    def paying(self) -> str:
        """The operation that asks the carrier for a payment."""
        return "preparePayment" if self.config.steps == "two" else "createPayment"

    def billed(self) -> list[Payment]:
        """Payments that the carrier bills."""
        return [each for each in self.simulator.ledger.payments if each.status == "succeeded"]

    def billed_amount(self) -> int:
        """All that the carrier bills less what it gave back, in micro-units."""
        return int(sum(self.simulator.ledger.remaining(each) for each in self.billed()) * 1_000_000)
