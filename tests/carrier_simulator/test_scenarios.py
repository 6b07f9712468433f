"""The simulator against the scenarios of the documents that it is made from."""

import re

import pytest

from tests.carrier_simulator.scenarios import OTHERWISE, SCENARIOS
from tests.carrier_simulator.world import carrier
from tests.traces import CAMARA, needs_camara


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str) -> None:
    async with carrier() as world:
        await SCENARIOS[name](world)


@needs_camara
def test_every_scenario_of_the_features_is_here() -> None:
    named = {name for feature in CAMARA.glob("*.feature") for name in re.findall(r"@(\S+)", feature.read_text(encoding="utf-8"))}
    assert named == SCENARIOS.keys()
    assert all(any(part in name for name in named) for part in OTHERWISE)
