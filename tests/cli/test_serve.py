import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from urllib.request import urlopen

import pytest

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.billing.cdr_file import Rows
from services.billing.sqlite_store import SqliteStore
from services.billing.store import first_cursor
from services.cli.embedded import until_serving
from services.cli.postgresql_server import PostgresqlServer
from services.cli.processes import free_ports
from services.cli.serve import SERVICES
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder
from services.registry.config import RegistryConfig
from services.runtime.lifecycle import Lifecycle
from tests.cli.processes import TIMEOUT_S, in_time, started, tokenline


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_of_the_list_is_there(service: str) -> None:
    config_type, run = SERVICES[service]
    assert config_type.startswith(f"services.{service.replace('-', '_')}.")
    assert "telemetry" in resolve_name(config_type).__annotations__
    assert callable(resolve_name(run))


def test_an_unknown_service_is_wrong_usage(tmp_path: Path) -> None:
    refused = tokenline("serve", "bookkeeping", "--config", str(tmp_path / "config.yaml"))
    assert refused.returncode == 2
    assert "'bookkeeping' is not one of" in refused.stderr


def test_an_edge_whose_port_for_operators_is_taken_says_so_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "admin_token").write_text("an-admin-token-for-tests")
    config = tmp_path / "edge.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        addresses = "".join(f"{each}_address: 127.0.0.1:1\n" for each in ("registry", "authentication", "accounting", "billing"))
        config.write_text(f"{addresses}port: 0\nadmin_port: {port}\nadmin_token_file: {tmp_path}/admin_token\n")
        refused = tokenline("serve", "edge", "--config", str(config))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == (
        f"Error: for operators, admin_port: cannot listen on 127.0.0.1:{port}: Address already in use; choose another port"
    )


@pytest.mark.parametrize(
    ("service", "content", "complaint"),
    [
        (
            "vendor-simulator",
            "port: 1\nprot: 2\n",
            "config.yaml:2: prot: is no known field; did you mean port? Known are: port, host,",
        ),
        ("vendor-simulator", "host: x\nport: high\n", "config.yaml:2: port: must be a whole number; it is 'high'"),
        ("vendor-simulator", "port: [1\n", "config.yaml:2: not valid YAML"),
        ("registry", "listen_address: 127.0.0.1:0\n", "config.yaml:1: catalog_folders: is missing; give a list, each element text"),
        (
            "authentication",
            "listen_address: 127.0.0.1:0\ndatabase: /nowhere/at/all.sqlite3\nhash_key_file: /nowhere/at/all\n",
            "/nowhere/at/all: the hash key cannot be read: No such file or directory",
        ),
        ("vendor-simulator", "host: 192.0.2.1\nport: 0\n", "cannot listen on 192.0.2.1:0"),
    ],
)
def test_a_config_that_cannot_be_used_ends_with_2_and_one_line(tmp_path: Path, service: str, content: str, complaint: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content)
    refused = tokenline("serve", service, "--config", str(config))
    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""


def test_a_config_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    refused = tokenline("serve", "registry", "--config", str(tmp_path / "config.yaml"))
    assert refused.returncode == 2
    assert refused.stderr == f"Error: {tmp_path}/config.yaml: cannot be read: No such file or directory\n"


def test_a_service_prints_its_address_tells_metrics_and_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    (metrics_port,) = free_ports(1)
    config.write_text(f"port: 0\ntelemetry:\n  metrics_port: {metrics_port}\n")
    with started("serve", "vendor-simulator", "--config", str(config)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("vendor-simulator listens on http://127.0.0.1:")
        with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=TIMEOUT_S) as answer:
            assert b"# TYPE process_max_fds gauge\n" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0


def test_a_field_can_be_set_beside_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: 0\nhost: 192.0.2.1\n")
    with started("serve", "vendor-simulator", "--config", str(config), "--set", "host=127.0.0.1") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("vendor-simulator listens on http://127.0.0.1:")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("host", "--set host: give it as FIELD=TEXT"),
        ("=x", "--set =x: give it as FIELD=TEXT"),
        ("hst=127.0.0.1", "hst: is no known field; did you mean host?"),
        ("port=80", "port: must be a whole number; it is '80'"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage(tmp_path: Path, setting: str, complaint: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: 0\n")
    refused = tokenline("serve", "vendor-simulator", "--config", str(config), "--set", setting)
    assert refused.returncode == 2
    assert complaint in refused.stderr


def test_a_database_that_is_away_is_waited_for(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    location, _, host = postgresql.new_database().partition("?host=")
    config, port = tmp_path / "config.yaml", free_ports(1)[0]
    (tmp_path / "hash_key").write_text("0" * 64)
    url = f"postgresql://postgres@127.0.0.1:{port}/{location.rpartition('/')[2]}?sslmode=disable"
    config.write_text(f"listen_address: unix:{tmp_path}/authentication\npostgresql: {url}\nhash_key_file: {tmp_path}/hash_key\n")
    with started("serve", "authentication", "--config", str(config)) as process, in_time(process):
        assert process.stdout is not None and process.stderr is not None
        while "PostgreSQL cannot be reached" not in (line := process.stderr.readline()):
            assert line, "it ended"
        assert "check its address, and that it runs; trying again" in line
        relay = subprocess.Popen([sys.executable, "-m", "tests.faults.proxy", str(port), f"{host}/.s.PGSQL.5432"])
        try:
            assert process.stdout.readline().startswith("authentication listens on unix:")
        finally:
            relay.kill()
            relay.wait()


def test_sigterm_counts_from_the_start(tmp_path: Path) -> None:
    """The first process of a container gets it only if it asks for it: 143, and no death by signal, tells that this one does."""
    fifo = tmp_path / "config.yaml"
    os.mkfifo(fifo)
    # Opened once it reads its config, which is what it begins with.
    with started("serve", "registry", "--config", str(fifo)) as process, in_time(process), fifo.open("w"):
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 128 + signal.SIGTERM


def test_what_waits_for_a_database_ends_on_sigterm(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    (tmp_path / "hash_key").write_text("0" * 64)
    url = f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/nothing"
    config.write_text(f"listen_address: unix:{tmp_path}/authentication\npostgresql: {url}\nhash_key_file: {tmp_path}/hash_key\n")
    with started("serve", "authentication", "--config", str(config)) as process, in_time(process):
        assert process.stderr is not None
        while "PostgreSQL cannot be reached" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0


async def test_a_failed_background_task_ends_a_service_with_1(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "billing.sqlite3")
    # As if partition 0 had been exported before accounting's database was restored.
    await store.advance(first_cursor(0, era=7), 5, None, Rows(0, [], [], []))
    await store.close()
    accounting = AccountingConfig(
        listen_address=f"unix:{tmp_path}/accounting",
        database=str(tmp_path / "accounting.sqlite3"),
        registry_address=f"unix:{tmp_path}/registry",
        partitions=1,
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        f"listen_address: unix:{tmp_path}/billing\ndatabase: {tmp_path}/billing.sqlite3\ncdr_folder: {tmp_path}/cdr\n"
        f"accounting_address: unix:{tmp_path}/accounting\n"
    )
    registry = RegistryConfig(listen_address=f"unix:{tmp_path}/registry", catalog_folders=[str(base_catalog_folder())])
    async with run_registry(registry, Lifecycle()), run_accounting(accounting, Lifecycle()) as address:
        await until_serving(address)
        failed = await asyncio.to_thread(tokenline, "serve", "billing", "--config", str(config))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("Error: billing failed: accounting's journal is of era")
