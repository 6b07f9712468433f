"""What a client is told of a vendor's failure, and the largest limit that a vendor may be told."""

import pytest

from services.edge.call.outcome import problem_of
from services.edge.call.usage import with_error, within_error
from services.edge.http.problems import INVALID_REQUEST, Problem
from services.edge.routing.router import FailedAttempt
from services.edge.vendors.profile import Meaning
from services.edge.vendors.vendor import Outcome, VendorFailure, VendorFault
from tests.edge.call.scene import catalog

KEY = "sk-0123456789abcdef"


def problem(meaning: Meaning | None, fault: VendorFault | None, outcome: Outcome = "refused") -> Problem:
    """The problem of a call whose only vendor refused it so."""
    model = catalog().model("solo")
    assert model is not None
    (route,) = model.routes["openai_chat"]
    status = fault.http_status if fault is not None else 0
    return problem_of([FailedAttempt(route, VendorFailure(outcome, status), fault, meaning)], [KEY], 0)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("garbage", "The model's vendor failed to answer."),
        ("unreachable", "The model's vendor cannot be reached at the moment. Try again."),
        ("timeout", "The model's vendor cannot be reached at the moment. Try again."),
    ],
)
def test_a_vendor_without_an_answer_is_told_in_our_own_words(outcome: Outcome, said: str) -> None:
    assert problem(None, None, outcome).message == said


@pytest.mark.parametrize(
    ("meaning", "silent", "code", "param"),
    [
        (Meaning.CONTENT, "The model's vendor refused the content of this request.", "content_policy_violation", "messages"),
        (
            Meaning.CONTEXT,
            "The input is longer than the model takes. Shorten the messages.",
            "context_length_exceeded",
            "messages",
        ),
        (Meaning.REQUEST, "The model's vendor refused the request as malformed.", None, None),
    ],
)
def test_a_clients_own_fault_is_told_and_the_vendor_s_words_are_quoted(
    meaning: Meaning, silent: str, code: str | None, param: str | None
) -> None:
    told = problem(meaning, VendorFault(400, message="too long by 7"))
    quoted = f'{silent} The vendor says: "too long by 7"'
    assert (told.status, told.type, told.code, told.message, told.param) == (400, INVALID_REQUEST, code, quoted, param)
    # A refusal costs nothing, so it brings no text.
    assert problem(meaning, VendorFault(400, message="a" * 200 + "b" * 1_800)).message == f'{silent} The vendor says: "{"a" * 200}"'
    for words in ("", f"key {KEY}", KEY[:8], KEY[-8:]):
        assert problem(meaning, VendorFault(400, message=words)).message == silent
    # Seven characters give nothing away.
    assert problem(meaning, VendorFault(400, message=KEY[:7])).message == f'{silent} The vendor says: "{KEY[:7]}"'


def test_a_malformed_request_s_code_and_field_are_the_vendor_s_unless_they_tell_a_secret() -> None:
    told = problem(Meaning.REQUEST, VendorFault(422, code="bad_tools", message="no", param="tools[0]"))
    quoted = 'The model\'s vendor refused the request as malformed. The vendor says: "no"'
    assert (told.code, told.message, told.param) == ("bad_tools", quoted, "tools[0]")
    for word in (KEY, "a text", "w" * 65, "größe"):
        told = problem(Meaning.REQUEST, VendorFault(422, code=word, message="no", param=word))
        assert (told.code, told.message, told.param) == (None, quoted, None)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("choices", [1, 2, 3, 7])
def test_the_limit_within_an_error_is_the_largest_there_is(choices: int, exact: bool) -> None:
    for counted in [*range(400), 4_095, 9_944, 100_001, 99_999_999]:
        limit = within_error(counted, choices, exact=exact)
        assert limit == 0 or with_error(limit, choices, exact=exact) <= counted
        assert with_error(limit + 1, choices, exact=exact) > counted
