"""Sessions that are measured in images, milliseconds or characters: what is held for them, and what they are charged."""

from typing import Any

import msgspec
import pytest

from services.accounting.core.commands import Granted, Refused, ResultCode
from services.accounting.core.terms import LimitKind, Scope
from services.token_classes import TOKEN_CLASSES, Measure, Vector
from tests.accounting.ledger import EACH, UNIT, Ledger, catalog_of, offering, tariff, usage
from tests.accounting.shop import limit


def rates(**given: int) -> Vector:
    """A row of rates; later classes have none of their own unless they are given."""
    row = [given.get(name, 0 if index < 5 else -1) for index, name in enumerate(TOKEN_CLASSES)]
    return tuple(row)


TARIFFS = {
    "painter": tariff("TOKEN", (-1, *rates(input=EACH, output=0, generated_images=50 * EACH))),
    "sketcher": tariff("TOKEN", (-1, *rates(generated_images=50 * EACH))),
    "listener": tariff("TOKEN", (-1, *rates(audio_milliseconds=EACH // 10)), (1_000, *rates(audio_milliseconds=EACH // 5))),
    "speaker": tariff("TOKEN", (-1, *rates(spoken_characters=2 * EACH))),
    "nothing": tariff("TOKEN", (-1, *rates(input=EACH, output=3 * EACH))),
}
CATALOG = catalog_of(offering(TARIFFS), offering(TARIFFS, offering_id="hopeful", expected=True))


def held(ledger: Ledger, model: str, input_bound: int, output_limit: int, **fields: Any) -> int:
    """What is held for a session of this size, in whole units; it is opened."""
    command = ledger.create_command(input_bound, output_limit, model=model)
    answer = ledger.ask(msgspec.structs.replace(command, **fields))
    assert isinstance(answer, Granted), answer
    amount = sum(ledger.state.sessions[command.charging_id].hold.values())
    assert amount % UNIT == 0
    return amount // UNIT


@pytest.mark.parametrize(
    ("model", "input_bound", "output_limit", "fields", "amount"),
    [
        ("painter", 20, 3, {"output_measure": Measure.IMAGE}, 20 + 3 * 50),
        # In tokens nothing bounds its images.
        ("painter", 20, 3, {}, 20),
        ("listener", 900, 0, {"input_measure": Measure.MILLISECOND}, 90),
        # The dearer tier may be the one that applies.
        ("listener", 2_000, 0, {"input_measure": Measure.MILLISECOND}, 400),
        ("speaker", 7, 0, {"input_measure": Measure.CHARACTER}, 14),
        # Without a rate of its own a class costs what its parent does.
        ("nothing", 7, 2, {"input_measure": Measure.CHARACTER, "output_measure": Measure.IMAGE}, 7 + 6),
    ],
)
def test_quota_is_held_in_the_measure_of_each_side(
    model: str, input_bound: int, output_limit: int, fields: dict[str, Any], amount: int
) -> None:
    ledger = Ledger(CATALOG)
    ledger.grant(10_000 * UNIT)
    assert held(ledger, model, input_bound, output_limit, **fields) == amount


@pytest.mark.parametrize("offering_id", ["", "hopeful"])
@pytest.mark.parametrize(("balance", "is_granted"), [(170, True), (169, False)])
def test_images_are_granted_whole_or_not_at_all(offering_id: str, balance: int, is_granted: bool) -> None:
    ledger = Ledger(CATALOG, offering_id)
    ledger.grant(balance * UNIT)
    command = msgspec.structs.replace(ledger.create_command(20, 3, model="painter"), output_measure=Measure.IMAGE)
    answer = ledger.ask(command)
    if is_granted:
        assert isinstance(answer, Granted)
        assert (answer.output_granted, answer.output_payable, answer.final) == (3, 3, False)
    else:
        assert isinstance(answer, Refused)
        assert (answer.code, answer.needed // UNIT) == (ResultCode.QUOTA_LIMIT_REACHED, 170)


def test_what_was_made_is_charged_and_the_rest_is_free_again() -> None:
    ledger = Ledger(CATALOG)
    added = ledger.grant(200 * UNIT)
    command = msgspec.structs.replace(ledger.create_command(20, 3, model="painter"), output_measure=Measure.IMAGE)
    ledger.ask(command)
    settled = ledger.release(command.charging_id, 2, usage(15, generated_images=2))
    assert (settled.charged, settled.debt) == (115 * UNIT, 0)
    assert ledger.amounts(added) == (85 * UNIT, 0, 115 * UNIT, 0)


def test_the_likely_length_is_reserved_where_the_offering_says_so() -> None:
    for offering_id, amount in (("", 90), ("hopeful", 30)):
        ledger = Ledger(CATALOG, offering_id)
        ledger.grant(10_000 * UNIT)
        fields = {"input_measure": Measure.MILLISECOND, "input_expected": 300}
        assert held(ledger, "listener", 900, 0, **fields) == amount


def test_rates_of_tokens_count_no_characters() -> None:
    rate = limit("tpm", Scope.ACCOUNT, LimitKind.TOKEN_RATE, 60)
    ledger = Ledger(catalog_of(offering(TARIFFS, limits=(rate,))))
    ledger.grant(10_000 * UNIT)
    for _ in range(3):
        assert held(ledger, "speaker", 60, 0, input_measure=Measure.CHARACTER) == 120


@pytest.mark.parametrize(
    ("model", "used", "debt"),
    [
        # An image, a minute, as many characters as other models may owe tokens.
        ("sketcher", usage(generated_images=3), 50),
        ("listener", usage(audio_milliseconds=100_000), 12_000),
        ("speaker", usage(spoken_characters=9_000), 8_192),
    ],
)
def test_an_account_may_owe_little_of_what_costs_much(model: str, used: Vector, debt: int) -> None:
    ledger = Ledger(CATALOG)
    charging_id, _ = ledger.create(0, 0, model=model)
    settled = ledger.release(charging_id, 2, used)
    assert settled.debt == debt * UNIT
    assert settled.absorbed > 0
