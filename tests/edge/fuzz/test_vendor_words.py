"""Any count and any error of a vendor: read as far as it can be; nothing raises."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.edge.vendors.errors import fault_in, fault_of
from services.edge.vendors.profile import Endpoint, ErrorRule, Meaning, Reasoning, UsageReading
from services.edge.vendors.usage import CHAT, COUNT_MAX, EMBEDDINGS, MESSAGES, merged, read_usage
from services.token_classes import CLASSES, INDEX
from tests.edge.fuzz.inputs import WORDS, anything, broken, json_bytes, tries

NAMES = sorted(
    {name for rules in (CHAT, MESSAGES) for rule in rules.classes for paths in rule.alternatives for path in paths for name in path}
)
# As decoders give it, which may be what no JSON writer would write.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.integers(-5, 2_000),
        st.sampled_from([10**10, 10**10 + 1, 2**63, 10**400, 12.0, 0.5, -0.0, float("nan"), float("inf"), 1e300]),
        st.none(),
        st.booleans(),
        WORDS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from([*NAMES, "total_tokens", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)
READINGS = st.builds(
    UsageReading,
    st.sampled_from(Reasoning),
    st.lists(st.tuples(st.sampled_from(sorted(INDEX.values())), st.sampled_from([("x",), ("x", "input_tokens")])), max_size=2).map(
        tuple
    ),
)
ERROR_NAMES = (
    "error",
    "errors",
    "base_resp",
    "code",
    "status_code",
    "message",
    "msg",
    "detail",
    "param",
    "type",
    "status",
    "fault",
)


@tries(600)
@given(VALUES, st.sampled_from([CHAT, MESSAGES, EMBEDDINGS]), READINGS)
def test_any_usage_is_a_count_or_none(found: Any, rules: Any, reading: UsageReading) -> None:
    count = read_usage(found, rules, reading)
    if count is None:
        return
    assert len(count.counts) <= len(CLASSES)
    assert all(type(each) is int and 0 <= each <= 2 * COUNT_MAX for each in count.counts)


@tries(300)
@given(st.lists(VALUES, max_size=4))
def test_usages_in_any_order_are_merged(usages: list[Any]) -> None:
    joined: dict[str, Any] = {}
    for usage in usages:
        joined = merged(joined, usage)
    assert isinstance(joined, dict)
    read_usage(joined, CHAT, UsageReading())


@tries(600)
@given(
    st.sampled_from([200, 400, 401, 418, 429, 500, 599]),
    st.one_of(
        broken(anything(ERROR_NAMES).map(json_bytes)),
        st.binary(max_size=60),
        st.text(max_size=30).map(lambda text: f"<title>{text}".encode("utf-8", "replace")),
    ),
    st.integers(0, 10**7),
)
def test_any_error_is_a_fault(http_status: int, body: bytes, retry_after_ms: int) -> None:
    fault = fault_of(http_status, body, retry_after_ms)
    assert (fault.http_status, fault.retry_after_ms) == (http_status, retry_after_ms)
    # Clients are told these in JSON.
    assert all(isinstance(word, str) for word in (fault.code, fault.kind, fault.message))
    json.dumps([fault.code, fault.kind, fault.message, fault.param]).encode()
    assert max(len(fault.code), len(fault.kind), len(fault.param or "")) <= 128
    assert len(fault.message) <= 2_000
    rules = (ErrorRule(0, "1", "", Meaning.ACCOUNT), ErrorRule(400, "", "a", Meaning.CONTENT))
    assert Endpoint("vendor", "any", "http://vendor.test", errors=rules).meaning(fault) in Meaning


@tries(300)
@given(VALUES)
def test_any_value_is_a_fault(found: Any) -> None:
    fault = fault_in(found)
    assert isinstance(fault.message, str)
