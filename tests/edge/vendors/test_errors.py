import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.vendors.errors import fault_of
from services.edge.vendors.vendor import VendorFault

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail", "base_resp", "param"]), children)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "code", "kind", "message", "param"),
    [
        (
            {"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length"}},
            "context_length",
            "invalid_request_error",
            "too long",
            "messages",
        ),
        ({"error": {"message": "no", "type": None, "param": None, "code": None}}, "", "", "no", None),
        ({"error": {"code": 1113, "message": "arrears"}}, "1113", "", "arrears", None),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "",
            "overloaded_error",
            "Overloaded",
            None,
        ),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "1008", "", "insufficient balance", None),
        ({"code": "Arrearage", "message": "Access denied", "request_id": "r"}, "Arrearage", "", "Access denied", None),
        ({"error": "model not found"}, "", "", "model not found", None),
        (
            [{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}],
            "429",
            "RESOURCE_EXHAUSTED",
            "quota",
            None,
        ),
        ({"detail": "Not authenticated"}, "", "", "Not authenticated", None),
        ({"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}, "", "", "field required", None),
        ({"error_code": 17, "error_msg": "daily limit"}, "17", "", "daily limit", None),
        ({"ResponseMetadata": {"Error": {"Code": "AccountOverdue", "Message": "pay"}}}, "AccountOverdue", "", "pay", None),
        (
            {"object": "error", "message": "vllm says no", "type": "BadRequestError", "code": 400},
            "400",
            "BadRequestError",
            "vllm says no",
            None,
        ),
        ("just text", "", "", "just text", None),
        ({}, "", "", "", None),
        ([], "", "", "", None),
        (None, "", "", "", None),
        (5, "", "", "", None),
    ],
)
def test_an_error_of_every_shape_is_read(body: Any, code: str, kind: str, message: str, param: str | None) -> None:
    assert fault_of(400, json.dumps(body).encode(), 37_000) == VendorFault(400, code, kind, message, param, 37_000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><head><title>502 Bad\n Gateway</title></head><body><h1>x</h1></body></html>", "502 Bad Gateway"),
        (b"<html><script>var a = 1;</script><body>No &amp; no</body></html>", "No & no"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error": {"message": "cut o', '{"error": {"message": "cut o'),
    ],
)
def test_a_body_that_is_no_json_is_told_as_text(body: bytes, message: str) -> None:
    assert fault_of(502, body, 0) == VendorFault(502, message=message)


def test_a_vendors_words_are_bounded() -> None:
    fault = fault_of(500, json.dumps({"error": {"message": "m" * 50_000, "code": "c" * 5_000, "param": "p" * 5_000}}).encode(), 0)
    assert len(fault.message) == 2_000
    assert len(fault.code) == 128
    assert fault.param is not None
    assert len(fault.param) == 128
    assert len(fault_of(500, b"<p>" + b"x" * 10_000_000, 0).message) == 2_000


@given(st.binary(max_size=60) | ANY.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_an_error(body: bytes) -> None:
    fault = fault_of(400, body, 0)
    assert isinstance(fault.code + fault.kind + fault.message, str)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"error":' * 5_000 + b"1" + b"}" * 5_000, b"<" * 60_000, b"<title>" * 9_000])
def test_bodies_made_to_be_hard_are_read_at_once(body: bytes) -> None:
    assert fault_of(400, body, 0).http_status == 400
