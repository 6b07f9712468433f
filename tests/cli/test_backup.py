"""A data folder that is copied while its system runs, and brought back."""

import json
import signal
import stat
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.cli.data_folder import Demo
from tests.cli.processes import ENVIRONMENT, tokenline, up
from tests.runbooks import check_printed, executable_sections, execute, section
from tests.waiting import WAIT_S

CALL = json.dumps({"model": "deepseek-chat", "messages": [{"role": "user", "content": "Hello!"}]}).encode()


def ask(url: str, token: str, body: bytes | None = None) -> tuple[str, Any]:
    """The answer's x-request-id and its body."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=WAIT_S) as response:
        return response.headers["x-request-id"], json.load(response)


class Load:
    """Callers that call one after another, and somebody who has their calls exported all the time."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._ends = threading.Event()
        self._acknowledged: list[str] = []
        self._grown = threading.Condition()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ends with the system."""
        threads = [threading.Thread(target=each) for each in (self._calls, self._calls, self._exports)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ends.set()
            for thread in threads:
                thread.join()

    def acknowledged(self, more: int) -> list[str]:
        """The calls that were answered, once there are `more` than there were."""
        with self._grown:
            wanted = len(self._acknowledged) + more
            assert self._grown.wait_for(lambda: len(self._acknowledged) >= wanted, timeout=60)
            return self._acknowledged.copy()

    def _calls(self) -> None:
        while not self._ends.is_set():
            try:
                charging_id, _ = ask(f"{self._demo.base_url}/chat/completions", self._demo.api_key, CALL)
            except (OSError, urllib.error.URLError):
                return
            with self._grown:
                self._acknowledged.append(charging_id)
                self._grown.notify_all()

    def _exports(self) -> None:
        while not self._ends.is_set():
            try:
                ask(f"{self._demo.admin_url}/v1/admin/reconcile", self._demo.admin_token, b"{}")
            except (OSError, urllib.error.URLError):
                return


def test_all_that_was_acknowledged_before_a_backup_under_load_is_there_after_a_restore(tmp_path: Path) -> None:
    data_dir, copy, restored = tmp_path / "data", tmp_path / "backup", tmp_path / "restored"
    with up(data_dir) as system:
        load = Load(system.demo)
        with load.running():
            before = load.acknowledged(30)
            taken = tokenline("backup", str(copy), "--data-dir", str(data_dir), "--output", "json")
            load.acknowledged(5)
            system.process.send_signal(signal.SIGKILL)
            system.process.wait()
    assert taken.returncode == 0, taken.stderr
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, *copy.rglob("*")) if path.is_dir()} == {0o700}
    # CDR files were exported meanwhile, and are in it.
    assert list((copy / "cdr").iterdir())
    back = tokenline("restore", str(copy), "--data-dir", str(restored), "--output", "json")
    assert back.returncode == 0, back.stdout + back.stderr
    found = json.loads(back.stdout)
    assert (found["wrong"], found["era"]) == ([], 2)
    assert found["reconcile"]["cdrs"] >= len(before)
    with up(restored) as system:
        demo = system.demo
        for charging_id in before:
            _, receipt = ask(f"{demo.base_url}/me/receipts/{charging_id}", demo.api_key)
            assert receipt["charging_id"] == charging_id
        ask(f"{demo.base_url}/chat/completions", demo.api_key, CALL)
        assert tokenline("audit", "--data-dir", str(restored)).returncode == 0
        assert tokenline("reconcile", "--data-dir", str(restored)).returncode == 0


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a system that is down."""
    folder = tmp_path_factory.mktemp("system")
    with up(folder / "data") as system:
        ask(f"{system.demo.base_url}/chat/completions", system.demo.api_key, CALL)
    taken = tokenline("backup", str(folder / "backup"), "--data-dir", str(folder / "data"))
    assert taken.returncode == 0, taken.stderr
    assert "it holds secrets, keep it where nobody else reads it" in taken.stdout
    return folder / "backup"


def test_the_runbook(backup: Path, tmp_path: Path) -> None:
    paths = {"BACKUP": str(tmp_path / "copy"), "DATA_DIR": str(backup.parent / "data"), "HOME": str(tmp_path)}
    environment = {**ENVIRONMENT, **paths, "PATH": f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"}
    titles = ("Take a backup", "The data folder is lost")
    assert executable_sections("data-folder.md") == set(titles)
    for title in titles:
        for block in section("data-folder.md", title):
            check_printed(block, execute(block.commands, environment, tmp_path, 60))


def test_what_is_made_of_the_journal_is_copied_before_it_and_what_it_names_after_it(backup: Path) -> None:
    names = ("outbox.sqlite3", "authentication.sqlite3", "billing.sqlite3", "accounting.sqlite3", "catalog/README.txt")
    copied = [(backup / name).stat().st_mtime_ns for name in names]
    assert copied == sorted(copied)


def test_nothing_is_overwritten(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for arguments in (
        ("backup", str(tmp_path), "--data-dir", str(backup.parent / "data")),
        ("restore", str(backup), "--data-dir", str(tmp_path)),
        ("restore", str(backup), "--data-dir", str(tmp_path / "file")),
    ):
        refused = tokenline(*arguments)
        assert refused.returncode == 2
        assert "is there already; give a folder that is not, nothing is overwritten" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_whole_backup_is_not_restored_and_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    manifest = backup / "backup.json"
    whole, damaged = manifest.read_text(), backup / "accounting.sqlite3"
    content = damaged.read_bytes()

    def refused() -> str:
        said = tokenline("restore", str(backup), "--data-dir", str(tmp_path / "restored"))
        assert said.returncode == 2
        assert not list(tmp_path.iterdir())
        return said.stderr

    try:
        damaged.write_bytes(content[:-1] + b"x")
        assert refused() == f"Error: {damaged} is not what was backed up; take another backup\n"
        damaged.write_bytes(content)
        manifest.write_text(whole.replace('"accounting.sqlite3"', '"../accounting.sqlite3"'))
        assert "names '../accounting.sqlite3', which is no file in a backup; take another backup" in refused()
        manifest.write_text(whole.replace('"form": 1', '"form": 2'))
        assert "is of form 2, and this release reads 1; use the release that made it" in refused()
        manifest.unlink()
        assert "is no backup: it has no backup.json; give the folder that `tokenline backup` made" in refused()
    finally:
        damaged.write_bytes(content)
        manifest.write_text(whole)


def test_a_folder_without_data_and_a_damaged_database_are_told_so(backup: Path, tmp_path: Path) -> None:
    empty = tokenline("backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "nothing"))
    assert (empty.returncode, empty.stderr) == (
        2,
        f"Error: {tmp_path}/nothing holds no data; give the folder of a `tokenline up` with --data-dir\n",
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "accounting.sqlite3").write_bytes(b"no database " * 1_000)
    damaged = tokenline("backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "data"))
    assert damaged.returncode == 2
    assert f"{tmp_path}/data/accounting.sqlite3 is no whole database: file is not a database" in damaged.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
