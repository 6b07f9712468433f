"""What is worked out of an account and kept beside it: named, bounded, and in no checkpoint."""

import msgspec

from services.accounting.core.commands import Granted, Refused, ResultCode
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint
from tests.accounting.ledger import UNIT, Ledger, catalog_of, flat, offering


def test_a_model_named_like_a_key_does_no_harm_to_the_key() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    command = ledger.create_command(5, 5)
    for name in (f"{command.member_id}\n{command.key_id}", "base_limits", "derived"):
        refused = ledger.ask(msgspec.structs.replace(ledger.create_command(5, 5), model_id=name))
        assert isinstance(refused, Refused)
        assert refused.code == ResultCode.RATING_FAILED
        assert isinstance(ledger.ask(ledger.create_command(5, 5)), Granted)


def test_unknown_models_are_not_kept() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    ledger.create(5, 5)
    lines = len(ledger.catalog._lines)
    for number in range(2_000):
        assert isinstance(ledger.ask(ledger.create_command(5, 5, model=f"nothing-{number}")), Refused)
    assert list(ledger.state.derived.plans) == ["flat"]
    assert len(ledger.state.derived.rules) == 1
    assert len(ledger.catalog._lines) == lines


def test_models_that_have_left_the_catalog_are_forgotten() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    for generation in range(50):
        models = {f"model-{generation}-{number}": flat(0) for number in range(3)}
        ledger.catalog = catalog_of(offering(models))
        for model in models:
            ledger.create(1, 1, model=model)
    assert len(ledger.state.derived.plans) <= 4


def test_what_was_kept_is_in_no_checkpoint() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    ledger.create(5, 5)
    derived = ledger.state.derived
    assert (list(derived.plans), len(derived.rules)) == (["flat"], 1)
    kept = encode_checkpoint(ledger.state)
    ledger.state.forget_derived()
    assert encode_checkpoint(ledger.state) == kept
    assert decode_checkpoint(kept, "it").derived.plans == {}
