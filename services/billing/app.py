"""The wiring of billing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from services.billing.carrier.comparison import Comparison
from services.billing.carrier.store import CarrierStore
from services.billing.carrier.wiring import PhoneBill, phone_bill
from services.billing.config import BillingConfig
from services.billing.exporter import Exporter
from services.billing.journal import JournalReader
from services.billing.postgresql_store import PostgresqlStore
from services.billing.reconcile import Reconciler
from services.billing.servicer import BillingServicer
from services.billing.sink import FolderSink
from services.billing.sqlite_store import SqliteStore
from services.callers import CALLERS
from services.runtime.certificates import certificates_of
from services.runtime.clients import connect
from services.runtime.disks import watch_disk
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2_grpc

_SERVICE: Final = "tokenline.billing.v1.BillingService"


@asynccontextmanager
async def run_billing(config: BillingConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Runs billing; yields its address once it listens. It serves once accounting has listed its partitions.

    A journal of another era than the exported one ends the process. Errors: those of `Database.open`; `ConfigError` for the
    carrier's key; `OSError` when it cannot listen.
    """
    async with AsyncExitStack() as stack:
        store: PostgresqlStore | SqliteStore
        if config.postgresql:
            store = await PostgresqlStore.open(config.postgresql)
        else:
            store = await SqliteStore.open(Path(config.database))
            watch_disk("billing", Path(config.database))
        stack.push_async_callback(store.close)
        certificates = await stack.enter_async_context(certificates_of("billing", config, lifecycle))
        channel = await stack.enter_async_context(connect(config.accounting_address, "accounting", certificates))
        journal = JournalReader(accounting_pb2_grpc.AccountingServiceStub(channel))
        folder = Path(config.cdr_folder)
        exporter = Exporter(journal, store, FolderSink(folder), config.export_interval_ms)
        demands = CarrierStore(store)
        bill: PhoneBill | None = None
        if config.carrier is not None:
            bill = await stack.enter_async_context(phone_bill(config.carrier, demands, channel, config.export_interval_ms))
        exporter.lag.export()
        watch_disk("cdr", folder)
        server = GrpcServer([_SERVICE], CALLERS, reflection=config.reflection)
        compared = None if bill is None else Comparison(demands, bill.carrier, bill.worker.planning)
        reconciler = Reconciler(journal, store, exporter, folder, compared)
        servicer = BillingServicer(journal, store, exporter, reconciler, demands, None if bill is None else bill.carrier)
        billing_pb2_grpc.add_BillingServiceServicer_to_server(servicer, server.server)
        address = await stack.enter_async_context(server.serve(config, certificates))
        await stack.enter_async_context(lifecycle.background("billing-export", _export(exporter, server)))
        if bill is not None:
            await stack.enter_async_context(lifecycle.background("phone-bill", bill.worker.run()))
        stack.push_async_callback(server.stop_serving)
        yield address


async def _export(exporter: Exporter, server: GrpcServer) -> None:
    await exporter.start()
    await server.set_serving()
    await exporter.run()
