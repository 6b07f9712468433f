"""The class of an account as an edge knows it."""

from typing import Any

import pytest

from services.edge.call import priority
from services.edge.call.priority import PriorityClasses
from services.edge.catalog import PriorityClass, Snapshot
from tests.edge.call.doubles import FixedCatalog
from tokenline.registry.v1 import registry_pb2


def snapshot(**classes: Any) -> Snapshot:
    """A catalog of offerings by ID and class."""
    offerings = [
        registry_pb2.Offering(offering_id=name, tariff_id="flat", priority_class=f"PRIORITY_CLASS_{each.name}")
        for name, each in classes.items()
    ]
    tariffs = [registry_pb2.Tariff(tariff_id="flat", unit=registry_pb2.UNIT_TOKEN)]
    return Snapshot(registry_pb2.Catalog(tariffs=tariffs, offerings=offerings), {}, "")


CLASSES = {"night": PriorityClass.LOW, "plain": PriorityClass.STANDARD, "gold": PriorityClass.HIGH}


def test_an_account_has_the_class_of_the_offering_that_accounting_named_last() -> None:
    classes = PriorityClasses(FixedCatalog(snapshot(**CLASSES)))
    assert classes.of("acct-a") is PriorityClass.STANDARD
    classes.note("acct-a", "gold")
    assert (classes.of("acct-a"), classes.of("acct-b")) == (PriorityClass.HIGH, PriorityClass.STANDARD)
    classes.note("acct-a", "night")
    assert classes.of("acct-a") is PriorityClass.LOW
    classes.note("acct-a", "plain")
    assert classes.of("acct-a") is PriorityClass.STANDARD


def test_a_new_catalog_changes_the_class_at_once() -> None:
    catalog = FixedCatalog(snapshot(**CLASSES))
    classes = PriorityClasses(catalog)
    classes.note("acct-a", "gold")
    catalog.current = snapshot(gold=PriorityClass.LOW)
    assert classes.of("acct-a") is PriorityClass.LOW
    catalog.current = snapshot()
    assert classes.of("acct-a") is PriorityClass.STANDARD


def test_no_more_accounts_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "_ACCOUNTS_MAX", 2)
    classes = PriorityClasses(FixedCatalog(snapshot(**CLASSES)))
    for account_id in ("acct-a", "acct-b", "acct-a", "acct-c"):
        classes.note(account_id, "gold")
    known = [each for each in ("acct-a", "acct-b", "acct-c") if classes.of(each) is PriorityClass.HIGH]
    assert known == ["acct-a", "acct-c"]
    # Those of the standard class need no place.
    classes.note("acct-d", "plain")
    assert classes.of("acct-a") is PriorityClass.HIGH
