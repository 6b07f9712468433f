"""`tokenline migrate` against real databases."""

import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from services.cli.postgresql_server import PostgresqlServer


def migrate(service: str, config: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services", "migrate", service, "--config", str(config), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def config_of(service: str, database: str, folder: Path) -> Path:
    of_service = {
        "accounting": f"registry_address: unix:{folder}/registry\n",
        "authentication": f"hash_key_file: {folder}/key\n",
        "billing": f"cdr_folder: {folder}/cdr\naccounting_address: unix:{folder}/accounting\n",
    }
    path = folder / f"{service}.yaml"
    path.write_text(f"listen_address: unix:{folder}/{service}\n{database}\n{of_service[service]}", encoding="utf-8")
    return path


@pytest.mark.parametrize("service", ["accounting", "authentication", "billing"])
def test_it_makes_the_schema_once_also_when_several_do(service: str, tmp_path: Path, postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    config = config_of(service, f"postgresql: {url}", tmp_path)
    command = [sys.executable, "-m", "services", "migrate", service, "--config", str(config)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, f"the database of {service} is up to date\n")
    found = subprocess.run(
        [postgresql.programs / "psql", "-At", "-c", f"SELECT version FROM {service}.schema_version", url],
        capture_output=True,
        text=True,
        check=True,
    )
    versions = found.stdout.split()
    assert versions == [str(number) for number in range(1, len(versions) + 1)]
    assert versions
    again = migrate(service, config)
    assert again.returncode == 0


@pytest.mark.parametrize("service", ["accounting", "authentication", "billing"])
async def test_the_services_user_is_let_to_read_and_write_and_no_more(
    service: str, tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    url = postgresql.new_database()
    postgresql.psql('DROP ROLE IF EXISTS "the clerk"')
    config = config_of(service, f"postgresql: {url}", tmp_path)
    refused = migrate(service, config, "--grant-to", "the clerk")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'role "the clerk" does not exist' in refused.stderr
    postgresql.psql('CREATE ROLE "the clerk" LOGIN')
    for _ in range(2):
        assert migrate(service, config, "--grant-to", "the clerk").returncode == 0
    clerk = await asyncpg.connect(url.replace("postgres:@", "the%20clerk@"))
    owner = await asyncpg.connect(url)
    try:
        tables = await clerk.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", service)
        assert len(tables) > 2
        for (table,) in tables:
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                assert await clerk.fetchval("SELECT has_table_privilege($1, $2)", f"{service}.{table}", right), (table, right)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await clerk.execute(f"CREATE TABLE {service}.more ()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await clerk.execute(f"DROP TABLE {service}.schema_version")
    finally:
        await clerk.close()
        await owner.execute('DROP OWNED BY "the clerk"')
        await owner.close()


def test_on_sqlite_and_on_what_is_newer(tmp_path: Path) -> None:
    config = config_of("billing", f"database: {tmp_path}/billing.sqlite3", tmp_path)
    assert migrate("billing", config).returncode == 0
    assert (tmp_path / "billing.sqlite3").exists()
    assert "--grant-to goes with postgresql" in migrate("billing", config, "--grant-to", "clerk").stderr
    import sqlite3

    connection = sqlite3.connect(tmp_path / "billing.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    refused = migrate("billing", config)
    assert refused.returncode == 2
    assert "99" in refused.stderr
    missing = migrate("billing", tmp_path / "nothing.yaml")
    assert (missing.returncode, missing.stdout) == (2, "")
