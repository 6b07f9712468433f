"""Faults of facts and their sources, of the public price list, and of what a call costs by it."""

from typing import Final

from tests.mutations.planting import one

_FACTS: Final = "tests/registry/test_facts.py"
_PRICES: Final = "tests/edge/test_prices.py"
_PRICE: Final = "tests/cli/test_price.py"

PRICE_LISTS: Final = (
    one(
        "a contract made of a public tariff is public",
        "services/registry/adjustments.py",
        "tariff_id=making.tariff_id, public=making.public)",
        "tariff_id=making.tariff_id)",
        _FACTS,
    ),
    one(
        "an alias may be another model's name",
        "services/registry/catalog.py",
        "            elif alias in owners:\n",
        "            elif False:\n",
        _FACTS,
    ),
    one(
        "a row may name a source that is nowhere described",
        "services/registry/catalog.py",
        "            if source_id not in known:\n",
        "            if not source_id:\n",
        _FACTS,
    ),
    one(
        "the price list shows tariffs that are not public",
        "services/edge/catalog.py",
        "for tariff in self._tariffs.values() if tariff.is_public]",
        "for tariff in self._tariffs.values()]",
        _PRICES,
    ),
    one(
        "the price list is made once for all versions of the catalog",
        "services/edge/api/prices.py",
        "            if self._made is None or self._made[0] is not snapshot:\n",
        "            if self._made is None:\n",
        _PRICES,
    ),
    one(
        "an alias finds no model",
        "services/edge/catalog.py",
        "return self._models.get(self._aliases.get(model_id, model_id))",
        "return self._models.get(model_id)",
        _PRICES,
    ),
    one(
        "cached input costs what other input does",
        "services/cli/price.py",
        "(wanted.input_tokens - wanted.cached_tokens, wanted.cached_tokens, 0, wanted.output_tokens, 0)",
        "(wanted.input_tokens, 0, 0, wanted.output_tokens, 0)",
        _PRICE,
    ),
    one(
        "a call is priced on a model that cannot take it",
        "services/cli/price.py",
        "            unfit.append(model.id)\n",
        "            pass\n",
        _PRICE,
    ),
)
