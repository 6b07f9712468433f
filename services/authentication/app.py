"""The wiring of authentication."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from services.authentication.config import AuthenticationConfig
from services.authentication.keys import read_hash_key
from services.authentication.postgresql_store import PostgresqlStore
from services.authentication.servicer import AuthenticationServicer
from services.authentication.sqlite_store import SqliteStore
from services.authentication.store import Store
from services.callers import CALLERS
from services.runtime.certificates import certificates_of
from services.runtime.clock import SystemClock
from services.runtime.disks import watch_disk
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tokenline.authentication.v1 import authentication_pb2_grpc

_SERVICE: Final = "tokenline.authentication.v1.AuthenticationService"


@asynccontextmanager
async def run_authentication(config: AuthenticationConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Runs authentication; yields its address once it listens, and it serves then.

    Errors: `ConfigError` for the hash key file and certificates; those of the store.
    """
    secret = read_hash_key(Path(config.hash_key_file))
    async with AsyncExitStack() as stack:
        store: Store
        if config.postgresql:
            store = await PostgresqlStore.open(config.postgresql)
        else:
            store = await SqliteStore.open(Path(config.database))
            watch_disk("authentication", Path(config.database))
        stack.push_async_callback(store.close)
        servicer = AuthenticationServicer(store, SystemClock(), config.region, secret)
        server = GrpcServer([_SERVICE], CALLERS, reflection=config.reflection)
        authentication_pb2_grpc.add_AuthenticationServiceServicer_to_server(servicer, server.server)
        certificates = await stack.enter_async_context(certificates_of("authentication", config, lifecycle))
        address = await stack.enter_async_context(server.serve(config, certificates))
        stack.push_async_callback(servicer.stop)
        stack.push_async_callback(server.stop_serving)
        await server.set_serving()
        yield address
