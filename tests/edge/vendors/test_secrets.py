"""Where vendors' secrets come from, and that they can be replaced while the edge runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.edge.vendors.secrets import VendorSecrets
from services.runtime.config import ConfigError
from services.runtime.lifecycle import Lifecycle
from tests.waiting import until

LOOK_S = 0.01
KEY, OTHER = "TOKENLINE_ACME_API_KEY", "TOKENLINE_OTHER_API_KEY"


@asynccontextmanager
async def following(secrets: VendorSecrets) -> AsyncIterator[list[Mapping[str, str]]]:
    """What the follower is told."""
    told: list[Mapping[str, str]] = []
    async with Lifecycle().background("secrets", secrets.follow(told.append)):
        yield told


def put(folder: Path, name: str, value: str) -> None:
    """Puts a file in place in one step."""
    (folder / f".{name}").write_text(value, encoding="latin-1")
    (folder / f".{name}").replace(folder / name)


def test_a_file_counts_before_the_environment(tmp_path: Path) -> None:
    put(tmp_path, KEY, "  sk-file\n")
    assert VendorSecrets({KEY: "sk-env", OTHER: "sk-other"}, tmp_path).current == {KEY: "sk-file", OTHER: "sk-other"}
    assert VendorSecrets({KEY: "sk-env"}, None).current == {KEY: "sk-env"}


def test_links_of_a_secret_that_kubernetes_mounts_are_read(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_30").mkdir()
    (tmp_path / "..2026_11_30" / KEY).write_text("sk-mounted")
    (tmp_path / "..data").symlink_to("..2026_11_30")
    (tmp_path / KEY).symlink_to(f"..data/{KEY}")
    assert VendorSecrets({}, tmp_path).current == {KEY: "sk-mounted"}


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("acme", "sk-x", "must have the name of a vendor's secret or address, like TOKENLINE_EXAMPLE_API_KEY"),
        (KEY, "sk-x\r\nx-evil: 1", "must have one word of printable ASCII, of at most 65536 bytes"),
        (KEY, "sk-\xe9", "must have one word of printable ASCII"),
        (KEY, "x" * 65_537, "must have one word of printable ASCII"),
    ],
)
def test_a_file_of_no_use_is_named_and_its_value_is_not_told(tmp_path: Path, name: str, value: str, right: str) -> None:
    put(tmp_path, name, value)
    with pytest.raises(ConfigError, match=f"{name}: {right}") as raised:
        VendorSecrets({}, tmp_path)
    assert "sk-" not in str(raised.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing: cannot be read: No such file or directory"):
        VendorSecrets({}, tmp_path / "missing")


async def test_a_change_is_told_and_the_log_has_names_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.edge.vendors.secrets")
    put(tmp_path, KEY, "sk-first")
    secrets = VendorSecrets({}, tmp_path, LOOK_S)
    async with following(secrets) as told:
        put(tmp_path, KEY, "sk-second")
        put(tmp_path, OTHER, "sk-other")
        await until(lambda: bool(told))
        assert told == [{KEY: "sk-second", OTHER: "sk-other"}]
        (tmp_path / OTHER).unlink()
        await until(lambda: len(told) == 2)
        assert told[1] == secrets.current == {KEY: "sk-second"}
    assert [record.getMessage() for record in caplog.records] == [
        f"secrets of vendors were replaced: {KEY}, {OTHER}",
        f"secrets of vendors were replaced: {OTHER}",
    ]


async def test_a_change_of_no_use_leaves_what_was_read_before_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, KEY, "sk-first")
    secrets = VendorSecrets({}, tmp_path, LOOK_S)
    async with following(secrets) as told:
        put(tmp_path, KEY, "two words")
        await until(lambda: bool(caplog.records))
        await asyncio.sleep(5 * LOOK_S)
        assert secrets.current == {KEY: "sk-first"}
        put(tmp_path, KEY, "sk-second")
        await until(lambda: bool(told))
    assert told == [{KEY: "sk-second"}]
    (record,) = caplog.records
    assert record.getMessage().endswith("of at most 65536 bytes; what was read before stays in force")
