"""Token classes in the core: one vector, the first five as they always were, later ones rated and recorded beside them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.core.account.evolve import evolve
from services.accounting.core.amounts import ContextTier, PinnedTariff, charges_of, dearest_rate, exchanged, tokens_of, worst_case
from services.accounting.core.commands import CloseCause, Provenance, ReleaseSession, digest_of
from services.accounting.core.entries import SessionSettled, SessionUpdated, VendorAttempt
from services.accounting.journal.codec import decode_checkpoint, decode_row, encode_checkpoint, encode_row
from services.accounting.rpc.catalog import charging_catalog
from services.accounting.rpc.journal import journal_entry_message
from services.token_classes import CLASSES, INDEX, TOKEN_CLASSES, Measure, folded, trimmed
from tests.accounting.ledger import (
    ACCOUNT_ID,
    EACH,
    TARIFFS,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    fault_of,
    flat,
    offering,
    release_command,
    replayed,
    state_of,
    tariff,
    usage,
)
from tests.accounting.shop import CNY
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

# Rows and a checkpoint as the release before vectors wrote them: sessions of two tariffs with a vendor's wholesale tariff, a
# sweep, an open session, an Event.
FIRST_CLASSES = Path(__file__).parents[1] / "data" / "first_classes.msgpack"
# Five rates, then an hour's cache write and, after a gap, images in the output; sound in the output has the parent's.
LATER = tariff("TOKEN", (-1, EACH, EACH // 10, 2 * EACH, 4 * EACH, 5 * EACH, 3 * EACH, -1, -1, -1, 40 * EACH))


def test_the_first_classes_are_encoded_as_they_always_were() -> None:
    rows, checkpoint = msgspec.msgpack.decode(FIRST_CLASSES.read_bytes())
    entries = []
    for body in rows:
        decoded = decode_row(body, "a row")
        assert_leads(msgspec.msgpack.decode(body), msgspec.msgpack.decode(encode_row(decoded)))
        entries += decoded
    account = decode_checkpoint(checkpoint, "the checkpoint")
    assert_leads(msgspec.msgpack.decode(checkpoint), msgspec.msgpack.decode(encode_checkpoint(account)))
    updated = next(entry for entry in entries if isinstance(entry, SessionUpdated))
    settled = [entry for entry in entries if isinstance(entry, SessionSettled)]
    assert updated.used == (7, 5, 3, 2, 1)
    assert [entry.usage for entry in settled] == [(8, 6, 4, 9, 0), (0, 0, 0, 11, 10), (1, 1, 1, 1, 1), (1, 2, 3, 4, 5)]
    assert settled[0].class_amounts == (24 * UNIT, 6 * UNIT, 16 * UNIT, 45 * UNIT, 0)
    assert (settled[0].wholesale_usage, settled[0].wholesale_amounts) == ((8, 6, 4, 20, 10), (24, 6, 16, 100, 70))
    assert [session.used for session in account.sessions.values()] == [(0, 0, 0, 2, 0)]
    # A repeat of what was settled then is known by the digest of its content.
    attempt = VendorAttempt("vendor-a", "tiered-1", "answered", 200, 12)
    content = (3, (8, 6, 4, 20, 10), Provenance.VENDOR, CloseCause.NORMAL, (attempt,))
    assert digest_of(ReleaseSession(ACCOUNT_ID, settled[0].charging_id, *content)) == settled[0].digest


def assert_leads(old: Any, new: Any) -> None:
    """All that stood in the old structure stands at the same place of the new one; records may only have grown at their end."""
    if isinstance(old, list):
        # Vectors, and rows of them, have not grown: they are what old readers would misread.
        is_vector = all(isinstance(each, int) for each in old)
        assert len(new) == len(old) if is_vector else len(new) >= len(old), (old, new)
        for before, after in zip(old, new, strict=False):
            assert_leads(before, after)
    elif isinstance(old, dict):
        assert list(old) == list(new)
        for key, before in old.items():
            assert_leads(before, new[key])
    else:
        assert (type(old), old) == (type(new), new)


def test_a_vector_of_the_first_classes_has_five_numbers_in_the_journal() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    ledger.update(charging_id, 2, usage(1, 2), 10)
    (body,) = [msgspec.msgpack.decode(encode_row(ledger.last_entries))]
    assert body[1][0][6] == [1, 0, 0, 2, 0]
    tiers = [tier.rates for tier in ledger.state.sessions[charging_id].tariff.tiers]
    assert [len(rates) for rates in tiers] == [5]


def test_each_class_costs_its_own_rate_or_its_parents() -> None:
    # cache_write_1h has a rate, audio_output none, image_output one behind a gap.
    used = usage(1, 1, cached_input=10, cache_write=1, reasoning=1, cache_write_1h=1, audio_input=1, audio_output=1, image_output=1)
    amounts = {name: amount // UNIT for name, amount in zip(TOKEN_CLASSES, charges_of(LATER, used), strict=False) if amount}
    assert amounts == {
        **{"input": 1, "cached_input": 1, "cache_write": 2, "output": 4, "reasoning": 5},
        **{"cache_write_1h": 3, "audio_input": 1, "audio_output": 4, "image_output": 40},
    }
    assert charges_of(flat(EACH), usage(cache_write_1h=7))[INDEX["cache_write_1h"]] == 7 * UNIT


def test_all_input_chooses_the_tier_whatever_its_class() -> None:
    tiered = tariff("TOKEN", (-1, *(EACH,) * 5), (10, *(3 * EACH,) * 5))
    assert sum(charges_of(tiered, usage(5, image_input=5))) == 10 * UNIT
    assert sum(charges_of(tiered, usage(5, image_input=6))) == 33 * UNIT


def test_an_estimate_takes_the_dearest_class_that_is_counted_in_tokens() -> None:
    worst = worst_case(LATER, 10)
    assert (worst.input_rate, worst.output_rate) == (3 * EACH, 40 * EACH)
    # A piece, a millisecond, a character: no bound of tokens says how many come.
    for each in (each for each in CLASSES if each.measure is not Measure.TOKEN):
        rates = [*(EACH,) * 5, *(-1,) * 8]
        rates[INDEX[each.name]] = 100 * EACH
        worst = worst_case(tariff("TOKEN", (-1, *rates)), 10)
        assert (worst.input_rate, worst.output_rate) == (EACH, EACH), each.name


own_rates = st.one_of(st.integers(0, 5_000_000), st.integers(0, 5).map(lambda rate: rate * 1_000_000))


@given(st.data(), st.lists(own_rates, min_size=10, max_size=10))
def test_no_usage_of_any_token_class_costs_more_than_its_hold(data: st.DataObject, rates: list[int]) -> None:
    pinned = tariff("TOKEN", (-1, *rates))
    counts = [0] * 10
    for is_input, bound in ((True, 60), (False, 40)):
        left = bound
        for index, each in enumerate(CLASSES[:10]):
            if each.is_input == is_input:
                counts[index] = data.draw(st.integers(0, left))
                left -= counts[index]
    assert sum(charges_of(pinned, trimmed(counts))) <= worst_case(pinned, 60).amount(60, 40)


def test_an_exchange_leaves_no_rate_no_rate() -> None:
    yuan = exchanged(tariff("CURRENCY:USD", (-1, *(UNIT,) * 5, -1, 2 * UNIT)), "CNY", 7 * UNIT, "USD/CNY@1")
    assert yuan.tiers[0].rates == (*(7 * UNIT,) * 5, -1, 14 * UNIT)


def test_the_catalogs_rates_are_as_short_as_they_can_be() -> None:
    first = registry_pb2.TokenRates(input=1, cached_input=2, cache_write=3, output=4, reasoning=5)
    later = registry_pb2.TokenRates(input=1, cached_input=2, cache_write=3, output=4, reasoning=5, image_input=0, image_output=9)
    message = registry_pb2.Catalog(
        tariffs=[
            registry_pb2.Tariff(
                tariff_id="t",
                unit=registry_pb2.UNIT_TOKEN,
                model_rates=[
                    registry_pb2.ModelRates(model_id=model, tiers=[registry_pb2.ContextTier(above_input_tokens=-1, rates=rates)])
                    for model, rates in (("first", first), ("later", later))
                ],
            )
        ],
        offerings=[registry_pb2.Offering(offering_id="o", tariff_id="t")],
        models=[registry_pb2.Model(model_id="first"), registry_pb2.Model(model_id="later")],
    )
    catalog = charging_catalog(message, 1)
    rates = {}
    for model in ("first", "later"):
        pinned = catalog.price("o", "", "TOKEN", model, 0)
        assert pinned is not None
        rates[model] = pinned.tiers[0].rates
    # A rate of 0 is a rate: images are free, and do not cost what text does.
    assert rates == {"first": (1, 2, 3, 4, 5), "later": (1, 2, 3, 4, 5, -1, -1, 0, -1, 9)}


def test_a_call_with_later_classes_is_charged_recorded_and_replayed() -> None:
    ledger = Ledger(catalog_of(offering({"flat": LATER})))
    bucket = ledger.grant(10_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    used = usage(2, 1, cache_write_1h=10, image_output=3)
    ledger.update(charging_id, 2, usage(2, cache_write_1h=10), 20)
    assert ledger.release(charging_id, 3, used).charged == (2 + 4 + 30 + 120) * UNIT
    assert ledger.amounts(bucket)[2] == 156 * UNIT
    (entry,) = ledger.last_entries
    message = journal_entry_message(0, 1, 0, entry).session_settled
    assert message.usage == pb.TokenUsage(input=2, output=1, cache_write_1h=10, image_output=3)
    assert {each.token_class: (each.tokens, each.rate, each.amount) for each in message.class_charges} == {
        "input": (2, EACH, 2 * UNIT),
        "output": (1, 4 * EACH, 4 * UNIT),
        "cache_write_1h": (10, 3 * EACH, 30 * UNIT),
        "image_output": (3, 40 * EACH, 120 * UNIT),
    }
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)
    again = decode_row(encode_row(ledger.last_entries), "the row")
    assert again == ledger.last_entries


def test_later_classes_are_spread_over_tariffs_like_the_first() -> None:
    money = tariff(CNY, (-1, *(EACH,) * 5, -1, -1, -1, 7 * EACH))
    ledger = Ledger(catalog_of(offering({"flat": LATER})._replace(schedules=both_units(LATER, money))))
    ledger.grant(10 * UNIT)
    ledger.grant(1_000 * UNIT, unit=CNY)
    settled = ledger.event(usage(2, cache_write_1h=4, audio_output=3))
    # Two of input and two of cache_write_1h (of 3 each) fit the tokens; the rest is paid in money, whose rates are its own.
    assert (settled.unit, settled.charged, settled.others) == ("TOKEN", 8 * UNIT, ((CNY, (2 + 21) * UNIT, 0),))
    records = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert [entry.usage for entry in records] == [usage(2, cache_write_1h=2), usage(cache_write_1h=2, audio_output=3)]


def both_units(tokens: PinnedTariff, money: PinnedTariff) -> Any:
    return tuple(schedule for each in (tokens, money) for schedule in offering({"flat": each}).schedules)


def test_a_late_release_charges_later_classes_that_the_sweep_did_not() -> None:
    ledger = Ledger(catalog_of(offering({"flat": LATER})))
    ledger.grant(10_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    ledger.update(charging_id, 2, usage(2), 20)
    ledger.pass_time(TCC_US + 1)
    settled = ledger.release(charging_id, 3, usage(2, cache_write_1h=5, image_output=1))
    assert settled.charged == (15 + 40) * UNIT


def test_what_is_no_token_counts_against_no_token_rate() -> None:
    assert tokens_of(usage(1, 2, audio_input=3, generated_images=100, audio_milliseconds=100, spoken_characters=100)) == 6


@pytest.mark.parametrize("name", TOKEN_CLASSES[5:])
def test_an_absurd_count_of_a_later_class_is_named(name: str) -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(1, 1)
    answer = ledger.unchanged_by(release_command(charging_id, 2, usage(**{name: 10**11})))
    assert fault_of(answer) == "AMOUNT_OVERFLOW"
    assert f"used.{name}" in str(answer)


def test_the_dearest_rate_is_of_any_class_and_what_is_folded_costs_the_parents_rate() -> None:
    assert dearest_rate(LATER.tiers) == 40 * EACH
    used = usage(2, 1, cache_write_1h=10, image_output=3)
    first = PinnedTariff("test", 1, "TOKEN", (ContextTier(-1, LATER.tiers[0].rates[:5]),))
    assert sum(charges_of(first, used)) == sum(charges_of(first, folded(used)))


def test_the_old_checkpoint_goes_on() -> None:
    rows, checkpoint = msgspec.msgpack.decode(FIRST_CLASSES.read_bytes())
    account = None
    for seq, body in enumerate(rows, start=1):
        for index, entry in enumerate(decode_row(body, "a row")):
            account = evolve(account, entry, seq, index)
    assert account is not None
    before = decode_checkpoint(checkpoint, "the checkpoint")
    ignored = {"seq": 0, "closed": {}}
    assert state_of(account) | ignored == state_of(before) | ignored
    assert TARIFFS["thirds"].tiers[0].rates == next(iter(before.sessions.values())).tariff.tiers[0].rates
