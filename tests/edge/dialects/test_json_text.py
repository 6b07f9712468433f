from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.edge.dialects import json_text
from services.edge.http.problems import Problem

Raw = msgspec.Raw


def fields(text: str) -> json_text.Fields:
    return json_text.read_object(text.encode())


def refusal(call: Callable[[], Any]) -> Problem:
    with pytest.raises(Problem) as raised:
        call()
    assert raised.value.status == 400
    return raised.value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"{}{}", "invalid_json"),
        (b'{"a":01}', "invalid_json"),
        (b'{"a":1,}', "invalid_json"),
        (b'{"a":"\x01"}', "invalid_json"),
        (b'{"a":"\\q"}', "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b"{'a':1}", "invalid_json"),
        (b'\xef\xbb\xbf{"a":1}', "invalid_json"),
        (b'{"a":"\xff"}', "invalid_json"),
        (b'{"\xff":1}', "invalid_json"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_json"),
        (b'{"a":"\\ud800"}', "invalid_json"),
        (b'{"a":{"b":["\\udc00\\ud800"]}}', "invalid_json"),
        (b'{"\\ud800":1}', "invalid_json"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
        (b"[]", "invalid_type"),
        (b"5", "invalid_type"),
    ],
)
def test_what_is_no_object_to_every_reader_is_refused(body: bytes, code: str) -> None:
    assert refusal(lambda: json_text.read_object(body)).code == code


def test_values_keep_their_text_and_the_last_of_a_name_holds() -> None:
    read = fields('{"a": 1.50, "b": [1,  2], "a" : 1e2, "\\u0062": {"x" :null}}')
    assert {name: bytes(raw) for name, raw in read.items()} == {"a": b"1e2", "b": b'{"x" :null}'}
    assert list(read) == ["a", "b"]


def test_a_member_that_is_decoded_later_is_not_checked_twice_and_is_checked_then() -> None:
    body = b'{"a":"\xff"}'
    read = json_text.read_object(body, "a")
    assert refusal(lambda: json_text.text(read, "a")).param == "a"
    assert "UTF-8" in refusal(lambda: json_text.text(read, "a")).message
    assert refusal(lambda: json_text.read_object(body, "b")).code == "invalid_json"


@pytest.mark.parametrize(
    "name", ["Max_Tokens", "MAX_TOKENS", "max_token\u017f", "max_to\u212aens", "ma\u0058_tokens", "MAX_TO\u212aEN\u017f"]
)
def test_a_name_that_folds_to_a_known_one_is_refused_with_both(name: str) -> None:
    known = json_text.by_fold(("max_tokens", "n"))
    problem = refusal(lambda: json_text.refuse_folds({"odd": 1, name: 2}, known, "outer"))
    assert problem.param == f"outer.{name}"
    assert "max_tokens" in problem.message
    assert name in problem.message


@pytest.mark.parametrize("name", ["m\u0131n", "M\u0130N", "m\u0130n"])
def test_an_i_of_any_kind_is_one(name: str) -> None:
    assert refusal(lambda: json_text.refuse_folds({name: 1}, json_text.by_fold(("min",)))).param == name


def test_names_that_are_known_or_others_pass() -> None:
    json_text.refuse_folds({"max_tokens": 1, "maxtokens": 2, "": 3, "n ": 4}, json_text.by_fold(("max_tokens", "n")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("100", 100), ("9007199254740991", 2**53 - 1), ("null", None)],
)
def test_an_integer_is_read(text: str, expected: int | None) -> None:
    assert json_text.integer(fields(f'{{"a":{text}}}'), "a", 1) == expected
    assert json_text.integer({}, "a", 1) is None


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "-0", "1.0", "1e0", "1E1", "true", '"1"', "[1]", "{}", "9007199254740992", "1" * 19, "1" * 5_000],
)
def test_an_integer_that_readers_read_differently_is_none(text: str) -> None:
    assert refusal(lambda: json_text.integer(fields(f'{{"a":{text}}}'), "a", 1, "the.param")).param == "the.param"


def test_an_integer_has_bounds() -> None:
    assert json_text.integer(fields('{"a":128}'), "a", 1, most=128) == 128
    assert "1 to 128; it is 129" in refusal(lambda: json_text.integer(fields('{"a":129}'), "a", 1, most=128)).message


def test_text_and_truth_are_read_or_refused_by_name() -> None:
    read = fields('{"a":"\\u4f60","b":true,"c":null,"d":5}')
    assert (json_text.text(read, "a"), json_text.text(read, "c"), json_text.text(read, "e")) == ("你", None, None)
    assert (json_text.truth(read, "b"), json_text.truth(read, "c"), json_text.truth(read, "e")) == (True, None, None)
    assert refusal(lambda: json_text.text(read, "d", right="a word")).message == "d must be a word."
    assert refusal(lambda: json_text.truth(read, "d", "x.d")).message == "x.d must be true or false."
    assert json_text.is_set(read, "a")
    assert not json_text.is_set(read, "c")
    assert not json_text.is_set(read, "e")


def test_objects_and_lists_are_taken_apart_one_level_deep() -> None:
    assert json_text.members(Raw(b'{"a": [1]}'), "p") == {"a": Raw(b"[1]")}
    assert json_text.objects(Raw(b'[{"a": 1.0},{}]'), "p") == [{"a": Raw(b"1.0")}, {}]
    assert json_text.elements(Raw(b"[1.0, {}]"), "p") == [Raw(b"1.0"), Raw(b"{}")]
    assert json_text.plain(Raw(b'{"a": [1.0]}')) == {"a": [1.0]}
    for call in (json_text.members, json_text.objects, json_text.elements):
        assert refusal(lambda call=call: call(Raw(b"5"), "p")).param == "p"  # type: ignore[misc]  # bound in the loop
    assert refusal(lambda: json_text.plain(Raw(b'{"a":1e999}'))).code == "invalid_json"
