"""The chart as it is rendered, case by case: each region, the defaults, and what they can be told."""

import pytest

from tests.charts.rendering import CASES, Object, objects_of


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(case: str) -> list[Object]:
    return objects_of(case)
