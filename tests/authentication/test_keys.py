import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api_keys import new_key, parse_key
from services.authentication.keys import hash_key, read_hash_key
from services.runtime.config import ConfigError

SECRET = b"0123456789abcdef" * 2


def test_a_key_names_its_region_and_parses() -> None:
    issued = new_key("bj")
    assert re.fullmatch(r"tl-bj-[0-9A-Za-z]{38}", issued.api_key)
    assert parse_key(issued.api_key) == issued
    assert len({new_key("bj").api_key for _ in range(1_000)}) == 1_000


def test_a_masked_key_shows_too_little_to_be_used() -> None:
    issued = new_key("local")
    body = issued.api_key.removeprefix("tl-local-")
    assert issued.masked == f"tl-local-{body[:4]}…{body[28:32]}"


@given(st.integers(min_value=0, max_value=len("tl-ab1-") + 37), st.characters())
def test_any_single_mistyped_character_is_refused(position: int, character: str) -> None:
    valid = new_key("ab1").api_key
    mistyped = valid[:position] + character + valid[position + 1 :]
    assert (parse_key(mistyped) is None) == (mistyped != valid)


@pytest.mark.parametrize(
    "text", ["", "tl-", "tl-local-", "sk-local-" + "a" * 38, "tl-LOCAL-" + "a" * 38, "tl-local-" + "a" * 37, "a" * 10_000]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert parse_key(text) is None


def test_the_stored_hash_depends_on_the_cells_secret() -> None:
    api_key = new_key("local").api_key
    assert hash_key(api_key, SECRET) == hash_key(api_key, SECRET)
    assert hash_key(api_key, SECRET) != hash_key(api_key, SECRET[::-1])
    assert api_key.encode() not in hash_key(api_key, SECRET)


def test_the_hash_key_file(tmp_path: Path) -> None:
    file = tmp_path / "hash_key"
    with pytest.raises(ConfigError, match="hash_key: the hash key cannot be read: No such file"):
        read_hash_key(file)
    with pytest.raises(ConfigError, match="the hash key cannot be read: Is a directory"):
        read_hash_key(tmp_path)
    file.write_bytes(b"short")
    with pytest.raises(ConfigError, match="has 5 bytes; it needs at least 32"):
        read_hash_key(file)
    file.write_bytes(b"\n" * 40)
    with pytest.raises(ConfigError, match="has 0 bytes"):
        read_hash_key(file)
    file.write_bytes(SECRET + b"\n")
    assert read_hash_key(file) == SECRET


def test_random_bytes_are_a_hash_key_whatever_they_end_with(tmp_path: Path) -> None:
    file = tmp_path / "hash_key"
    random_bytes = b" " + b"\xff" * 30 + b"\n"
    file.write_bytes(random_bytes)
    assert read_hash_key(file) == random_bytes
