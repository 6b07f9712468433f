"""Pages of Anthropic's list of models."""

import pytest

from services.edge.api.models import anthropic_page
from services.edge.catalog import SellableModel, TokenizerFamily
from services.edge.http.problems import Problem


def models(*names: str) -> list[SellableModel]:
    """Models by rising age: the first is the newest."""
    family = TokenizerFamily(0, 0)
    return [SellableModel(name, name, "acme", 1_000 - age, 10, 10, False, family, {}) for age, name in enumerate(names)]


FIVE = models("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, "abcde", False),
        ({"limit": "5"}, "abcde", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after_id": "b"}, "cd", True),
        ({"limit": "2", "after_id": "c"}, "de", False),
        ({"after_id": "e"}, "", False),
        ({"limit": "2", "before_id": "e"}, "cd", True),
        ({"limit": "2", "before_id": "c"}, "ab", False),
        ({"before_id": "a"}, "", False),
    ],
)
def test_pages_of_anthropics_list(query: dict[str, str], ids: str, has_more: bool) -> None:
    page = anthropic_page(FIVE[::-1], query)
    assert "".join(each["id"] for each in page["data"]) == ids
    assert (page["has_more"], page["first_id"], page["last_id"]) == (has_more, ids[:1] or None, ids[-1:] or None)


def test_a_page_has_twenty_models_unless_it_is_asked_for_more() -> None:
    many = models(*(f"m{number}" for number in range(30)))
    assert [len(anthropic_page(many, query)["data"]) for query in ({}, {"limit": "1000"})] == [20, 30]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "10000"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"after_id": "z"}, "after_id"),
        ({"before_id": "z"}, "before_id"),
        ({"after_id": "a", "before_id": "b"}, "before_id"),
    ],
)
def test_a_page_that_is_none_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(Problem) as caught:
        anthropic_page(FIVE, query)
    assert (caught.value.status, caught.value.param) == (400, param)
