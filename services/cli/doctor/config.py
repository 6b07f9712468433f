"""A service's config, and all that it names: certificates, database, etcd, the services that it calls, its disk."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

from services.cli.doctor.finding import TIMEOUT_S, Check, Finding, of_certificate, of_clock
from services.cli.doctor.folder import disk, schema, sqlite_schema
from services.cli.migrate import STORES
from services.cli.serve import SERVICES

_DIALLED: Final = ("registry", "authentication", "accounting", "billing")
_MICRO: Final = 1_000_000
# Half of the exchange may lie on either side of the server's look at its clock.
_CLOCK_RESOLUTION_S: Final = 0.1


def config_checks(service: str, file: Path) -> list[tuple[str, Check]]:
    """The checks of a service's config; of a config that cannot be read, that alone."""
    from services.runtime.config import ConfigError, read_yaml

    name = f"{service} config"
    try:
        config = read_yaml(file, resolve_name(SERVICES[service][0]))
    except ConfigError as error:
        failed = Finding(name, "fail", str(error), "correct the file; the fields stand in services/*/config.py")
        return [(name, lambda: [failed])]
    checks: list[tuple[str, Check]] = [(name, lambda: [Finding(name, "ok", f"{file} is right")])]
    if any(getattr(config, "grpc_files", ())):
        checks.append((f"{service} certificate", lambda: _certificate(service, config)))
    if service in STORES:
        checks += [(f"{service} database", check) for check in _databases(service, config)]
    if getattr(config, "etcd", None) is not None:
        checks.append((f"{service} etcd", lambda: [asyncio.run(_etcd(service, config))]))
    for other in _DIALLED:
        if address := getattr(config, f"{other}_address", ""):
            checks.append((f"{service} to {other}", partial(_peer_found, service, other, address, config)))
    for field in ("database", "cdr_folder", "outbox"):
        if path := getattr(config, field, ""):
            checks.append((f"{service} disk", partial(disk, f"{service} disk", Path(path))))
    return checks


def _certificate(service: str, config: Any) -> Iterator[Finding]:
    from services.runtime.certificates import Certificates
    from services.runtime.config import ConfigError

    check = f"{service} certificate"
    try:
        ends = Certificates(service, config).ends
    except ConfigError as error:
        yield Finding(check, "fail", str(error))
        return
    yield of_certificate(check, (ends - datetime.now(UTC)).total_seconds())


def _databases(service: str, config: Any) -> list[Check]:
    check = f"{service} database"
    sqlite_module, postgresql_module = STORES[service]
    if config.database:
        path = Path(config.database)
        if not path.exists():
            return [lambda: [Finding(check, "warn", f"{path} is not there yet", "it is made at the first start")]]
        return [lambda: sqlite_schema(check, path, import_module(sqlite_module).SCHEMA_VERSION)]
    servers = config.servers if service == "accounting" else (config.postgresql,)
    known: int = import_module(postgresql_module).SCHEMA_VERSION
    return [partial(_postgresql_found, service, dsn, known) for dsn in servers]


def _postgresql_found(service: str, dsn: str, known: int) -> list[Finding]:
    return asyncio.run(_postgresql(service, dsn, known))


async def _postgresql(service: str, dsn: str, known: int) -> list[Finding]:
    from services.runtime.errors import ServiceError
    from services.runtime.postgresql import look

    check = f"{service} database"
    began_s = time.time()
    try:
        looked = await look(dsn, service, TIMEOUT_S)
    except ServiceError as error:
        return [Finding(check, "fail", error.message, "see that it runs, and check the URL, the user and the password")]
    # The clock was looked at last.
    off_s = looked.now_us / _MICRO - time.time()
    took_s = time.time() - began_s
    reached = Finding(check, "ok", f"PostgreSQL answers after {took_s * 1_000:,.0f} ms")
    found = schema(f"{service} schema", "PostgreSQL", looked.schema_version, known)
    return [reached, found, of_clock(f"{service} clock", off_s, _CLOCK_RESOLUTION_S, "PostgreSQL")]


async def _etcd(service: str, config: Any) -> Finding:
    from services.runtime.config import ConfigError
    from services.runtime.etcd import EtcdClient, EtcdError

    check = f"{service} etcd"
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S), EtcdClient(config.etcd) as etcd:
            found = await etcd.get_prefix(config.etcd_prefix)
    except (ConfigError, EtcdError) as error:
        return Finding(check, "fail", str(error), "see that etcd runs; calls go on without it, but no partition changes its owner")
    except TimeoutError:
        remedy = "see that etcd runs; calls go on without it, but no partition changes its owner"
        return Finding(check, "fail", f"etcd does not answer within {TIMEOUT_S:g} s", remedy)
    took_ms = (time.monotonic() - began_s) * 1_000
    return Finding(check, "ok", f"answers after {took_ms:,.0f} ms, {len(found.keys):,} keys below {config.etcd_prefix}")


def _peer_found(service: str, other: str, address: str, config: Any) -> list[Finding]:
    return [asyncio.run(_peer(service, other, address, config))]


async def _peer(service: str, other: str, address: str, config: Any) -> Finding:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from services.runtime.certificates import Certificates
    from services.runtime.clients import connect
    from services.runtime.config import ConfigError

    check = f"{service} to {other}"
    try:
        certificates = Certificates(service, config) if any(config.grpc_files) else None
        async with connect(address, other, certificates) as channel:
            asking = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            serving = (await asking).status == health_pb2.HealthCheckResponse.SERVING
    except ConfigError as error:
        return Finding(check, "fail", str(error))
    except grpc.aio.AioRpcError as error:
        said = (error.details() or error.code().name).splitlines()[0]
        return Finding(check, "fail", f"{address}: {said}", f"see that {other} runs and listens there, and takes this certificate")
    if not serving:
        return Finding(check, "warn", f"{address} is there and does not serve yet", f"{other}'s log says what it waits for")
    return Finding(check, "ok", f"{address} serves")
