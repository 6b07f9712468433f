"""Identities: one form for each number, and a hash that tells nothing of it."""

import pytest

from services.authentication.identities import hash_identity, normal_identity
from services.authentication.keys import hash_key
from services.runtime.errors import ServiceError

SECRET = b"0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        *((each, "phone:+8613800138000") for each in (
            "phone:+8613800138000", "phone:+86 138 0013 8000", "phone:+86-138-0013-8000", "phone:0086 13800138000",
            "phone: +8613800138000 ",
        )),
        ("phone:+852 6123 4567", "phone:+85261234567"),
        ("company:91310000ma1fl0000x", "company:91310000MA1FL0000X"),
        ("company:9131-0000 MA1FL0000X", "company:91310000MA1FL0000X"),
        ("person:4711", "person:4711"),
    ],
)  # fmt: skip
def test_a_number_has_one_form(written: str, normal: str) -> None:
    assert normal_identity(written) == normal
    assert hash_identity(written, SECRET) == hash_identity(normal, SECRET)


@pytest.mark.parametrize(
    "wrong",
    [
        "", "13800138000", "+8613800138000", "phone:", "phone:13800138000", "phone:+86138001380001234", "phone:+012345678",
        "phone:+8612", "phone:+86(0)13800138000", "phone:+８６１３８００１３８０００", "phone:+٨٦١٣٨٠٠١٣٨٠٠٠",
        "phone:+8613800138000\x00", "phone:+8613800138000\n", "phone:+86\u00a013800138000", " phone:+8613800138000",
        "phone:+86 010 1234 5678", "phone:+" + "1" * 1_000_000, "Phone:+8613800138000", "passport:4711000", "person:471",
        "person:" + "1" * 41, "person:4711\x00", "company:９１３１", "company:ſſſſ", "company:9131/0000",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(ServiceError) as raised:
        normal_identity(wrong)
    assert raised.value.reason_name == "INVALID_ARGUMENT"
    assert raised.value.message.startswith("identity ")
    assert wrong in ("", "phone:") or wrong not in raised.value.message


def test_the_hash_is_of_the_cell_and_of_no_key() -> None:
    identity = "phone:+8613800138000"
    assert len({hash_identity(identity, SECRET), hash_identity(identity, SECRET[1:]), hash_key(identity, SECRET)}) == 3
    assert hash_identity("person:8613800138000", SECRET) != hash_identity(identity, SECRET)
