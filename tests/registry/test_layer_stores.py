"""One suite for the stores of layers: etcd's, for a cell, and a folder's, for one machine."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.registry.catalog_folder import load_catalog
from services.registry.catalog_store import EtcdLayers
from services.registry.changes import HISTORY_MAX, Change, Files, LayerStore, Plan, StaleError, apply, change_numbered, planned
from services.registry.layer_folder import LAYER, FolderLayers, mend
from services.runtime.config import ConfigError
from services.runtime.etcd import EtcdClient
from tests.etcd_cluster import EtcdCluster
from tests.registry.catalogs import CATALOG, write

NOW = datetime(2026, 11, 30, tzinfo=UTC)
OFFERING = "offerings:\n  - {{offering_id: {}, display_name: Plan, tariff_id: flat, reservation_policy: worst_case}}\n"
FIRST, SECOND = {"plans.yaml": OFFERING.format("first")}, {"plans.yaml": OFFERING.format("second"), "more/x.yaml": "{}\n"}


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.fixture(params=["etcd", "folder"])
async def store(request: pytest.FixtureRequest, etcd: EtcdCluster, tmp_path: Path) -> AsyncIterator[LayerStore]:
    base = write(tmp_path / "base", CATALOG).parent
    if request.param == "folder":
        yield FolderLayers(tmp_path / LAYER, tmp_path / "history", [base])
        return
    async with EtcdClient(etcd.config) as client:
        yield EtcdLayers(client, f"/{tmp_path.name}/", [base])


async def plan(store: LayerStore, files: Files | None) -> Plan:
    return planned(await store.read(), LAYER, files, Path("new"), NOW)


async def changed(store: LayerStore, files: Files | None, action: str = "apply") -> Change:
    return await apply(store, await plan(store, files), "anna", action, NOW)


async def test_a_layer_is_put_replaced_and_taken_away(store: LayerStore) -> None:
    assert dict((await store.read()).layers) == {}
    assert await store.history() == []
    await changed(store, FIRST)
    assert dict((await store.read()).layers) == {LAYER: FIRST}
    await changed(store, SECOND)
    assert dict((await store.read()).layers) == {LAYER: SECOND}
    await changed(store, None, "remove")
    assert dict((await store.read()).layers) == {}
    assert [(each.number, each.by, each.layer, each.action, each.summary, each.time) for each in await store.history()] == [
        (1, "anna", LAYER, "apply", "1 offering comes, 1 entry changes", NOW),
        (2, "anna", LAYER, "apply", "2 models leave offerings, 1 offering comes, 2 entries change", NOW),
        (3, "anna", LAYER, "remove", "2 models leave offerings, 1 entry changes", NOW),
    ]


async def test_a_change_keeps_what_was_before_it(store: LayerStore) -> None:
    for files in (FIRST, SECOND, None):
        await changed(store, files)
    history = await store.history()
    assert [each.before() for each in history] == [None, FIRST, SECOND]
    await changed(store, change_numbered(history, 2).before(), "rollback")
    assert dict((await store.read()).layers) == {LAYER: FIRST}
    with pytest.raises(ConfigError, match="the history has no change 9; it has 1 to 3"):
        change_numbered(history, 9)
    with pytest.raises(ConfigError, match="the history has no change 1; it is empty"):
        change_numbered([], 1)


async def test_of_two_who_change_at_once_the_second_is_told(store: LayerStore) -> None:
    one, other = await plan(store, FIRST), await plan(store, SECOND)
    await apply(store, one, "anna", "apply", NOW)
    with pytest.raises(StaleError):
        await apply(store, other, "bert", "apply", NOW)
    assert dict((await store.read()).layers) == {LAYER: FIRST}
    assert [each.by for each in await store.history()] == ["anna"]


async def test_the_history_is_bounded(store: LayerStore) -> None:
    state = await plan(store, FIRST)
    for number in range(HISTORY_MAX + 3):
        now = await store.read()
        files = FIRST if number % 2 else SECOND
        await apply(store, state._replace(now=now, files=files), "anna", "apply", NOW)
    assert [each.number for each in await store.history()] == list(range(4, HISTORY_MAX + 4))


async def test_an_invalid_change_says_all_that_is_wrong(store: LayerStore) -> None:
    bad = {"plans.yaml": OFFERING.format("first").replace("flat", "flatter").replace("worst_case", "worst")}
    with pytest.raises(ConfigError) as caught:
        await plan(store, bad)
    assert getattr(caught.value, "flaws", None) == (
        "new/plans.yaml:2: offerings[0].tariff_id: no tariff has the ID 'flatter'; known are: flat, usd",
        "new/plans.yaml:2: offerings[0].reservation_policy: must be worst_case or expected or calibrated; it is 'worst'",
    )
    with pytest.raises(ConfigError, match="no layer 'catalog' is published; there are: none"):
        await plan(store, None)


async def test_a_layer_that_cannot_be_read_stops_changes_of_others(etcd: EtcdCluster, tmp_path: Path) -> None:
    base = write(tmp_path / "base", CATALOG).parent
    async with EtcdClient(etcd.config) as client:
        await client.put(f"/{tmp_path.name}/broken", b"7")
        store = EtcdLayers(client, f"/{tmp_path.name}/", [base])
        with pytest.raises(ConfigError, match="layer 'broken' cannot be read, so that nothing is valid: remove it"):
            await plan(store, FIRST)


async def test_other_files_of_the_folder_stay_and_no_half_of_a_change_does(tmp_path: Path) -> None:
    base = write(tmp_path / "base", CATALOG).parent
    folder = tmp_path / LAYER
    store = FolderLayers(folder, tmp_path / "history", [base])
    write(folder, "keep me", "README.txt")
    await changed(store, SECOND)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == ["README.txt", "more/x.yaml", "plans.yaml"]
    assert [each.offering_id for each in load_catalog([base, folder]).offerings] == ["default", "metered", "second"]
    # Killed after the old folder was moved away, and before the new one stood in its place.
    folder.rename(tmp_path / f".{LAYER}.old")
    mend(folder)
    assert (folder / "plans.yaml").read_text(encoding="utf-8") == SECOND["plans.yaml"]
    mend(folder)
    assert (folder / "plans.yaml").exists()


@pytest.mark.parametrize("killed", ["before the folder", "between the folders", "after the folder", "while it was written"])
async def test_a_change_during_which_its_process_was_killed_was_made_or_was_not(tmp_path: Path, killed: str) -> None:
    base = write(tmp_path / "base", CATALOG).parent
    folder, history = tmp_path / LAYER, tmp_path / "history"
    store = FolderLayers(folder, history, [base])
    await changed(store, FIRST)
    await changed(store, SECOND)
    pending = history / "pending.json"
    (history / "000002.json").rename(pending)
    if killed != "after the folder":
        for path in (folder / "plans.yaml", folder / "more" / "x.yaml"):
            path.unlink()
        write(folder, FIRST["plans.yaml"], "plans.yaml")
    if killed == "between the folders":
        folder.rename(tmp_path / f".{LAYER}.old")
    if killed == "while it was written":
        pending.write_bytes(pending.read_bytes()[:20])
    made = killed == "after the folder"
    now = await store.read()
    assert (dict(now.layers), now.last_number) == ({LAYER: SECOND if made else FIRST}, 1 + made)
    assert [each.number for each in await store.history()] == ([1, 2] if made else [1])
    assert not pending.exists()
    await changed(store, None, "remove")
    assert [each.before() for each in await store.history()] == ([None, FIRST, SECOND] if made else [None, FIRST])
