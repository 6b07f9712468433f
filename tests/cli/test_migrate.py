"""`tokenline migrate` against real databases."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.postgresql_server import PostgresqlServer


def migrate(service: str, config: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services", "migrate", service, "--config", str(config)]
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


def test_on_sqlite_and_on_what_is_newer(tmp_path: Path) -> None:
    config = config_of("billing", f"database: {tmp_path}/billing.sqlite3", tmp_path)
    assert migrate("billing", config).returncode == 0
    assert (tmp_path / "billing.sqlite3").exists()
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
