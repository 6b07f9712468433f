"""The page of the base catalog's models, made from it. `python -m services.registry.models_page` writes docs/models.md."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from services.registry.catalog import Catalog, Model
from services.registry.catalog_folder import base_catalog_folder, catalog_of, read_folders
from services.registry.tariffs import ModelRates, Rates, Tariff, hours_text

PAGE: Final = Path(__file__).parents[2] / "docs" / "models.md"

_CURRENCIES: Final = ("CNY", "USD")
# Milliseconds of a minute, in millions.
_MINUTE: Final = Decimal("0.06")
_HEAD: Final = """\
# Models of the base catalog

Generated from `services/registry/base_catalog` (`make generate`): {models} models of {vendors} vendors, {cny} with a list price
in CNY, {usd} in USD. They are the vendors' own list prices. A model is sold by `list-price-cny` or `list-price-usd` only where that
price is known; prices that their source gives doubtfully are left out. `GET /v1/prices` shows the same of a running cell, with its
own layers, and `tokenline price --input N --output N` what a call would cost on each model.

Prices are per 1,000,000 tokens: input / input from the vendor's cache / output. Other classes (cache writes, sound, images) stand
in the files. A price after the name of a window holds in the window's hours. A model marked * has sources that differ; its entry
in the files says what the others have. The numbers in brackets are the sources.

{windows}

{two} models have two routes: to their vendor's site of mainland China, which is owed by the price in CNY, and after it to the site
abroad that is named after "then", which is owed by the price in USD. Each site is a vendor with a secret of its own.

| | source | of |
|---|---|---|
{sources}
"""


def page(catalog: Catalog) -> str:
    """The page of a valid catalog, as Markdown."""
    tariffs = {tariff.currency: tariff for tariff in catalog.tariffs if tariff.public}
    rates = {currency: _priced(tariff) for currency, tariff in tariffs.items()}
    numbers = {source.source_id: number for number, source in enumerate(catalog.sources, 1)}
    head = _HEAD.format(
        models=len(catalog.models),
        vendors=len(_by_vendor(catalog)),
        cny=len(rates["CNY"]),
        usd=len(rates["USD"]),
        two=sum(len(model.routes) > 1 for model in catalog.models),
        windows="\n".join(_hours(tariffs.values())),
        sources="\n".join(f"| {numbers[each.source_id]} | {each.title} | {each.date} |" for each in catalog.sources),
    )
    return head + "".join(_section(catalog, vendor_id, models, rates, numbers) for vendor_id, models in _by_vendor(catalog).items())


def _hours(tariffs: Iterable[Tariff]) -> Iterator[str]:
    """A line for each window that the page names."""
    for tariff in tariffs:
        for window in tariff.windows:
            yield f"- `{window.window_id}`: {hours_text(window)}, by the clock of {tariff.time_zone}"
        if any("holiday" in hours.days for window in tariff.windows for hours in window.hours):
            yield f"- A holiday is a date in `holidays` of `{tariff.tariff_id}`, and no weekday"


def _by_vendor(catalog: Catalog) -> dict[str, list[Model]]:
    """Models by the vendor of their first route, in the order of the catalog."""
    found: dict[str, list[Model]] = {}
    for model in catalog.models:
        found.setdefault(model.routes[0].vendor_id, []).append(model)
    return found


def _priced(tariff: Tariff) -> dict[str, list[tuple[str, ModelRates]]]:
    """The rows of each model: at all hours, and then by window, each with words for its hours."""
    found = {row.model_id: [("", row)] for row in tariff.rates}
    for window in tariff.windows:
        for row in window.rates:
            found[row.model_id].append((f"`{window.window_id}`: ", row))
    return found


def _section(
    catalog: Catalog,
    vendor_id: str,
    models: Sequence[Model],
    rates: Mapping[str, Mapping[str, Sequence[tuple[str, ModelRates]]]],
    numbers: Mapping[str, int],
) -> str:
    name = next(each.display_name for each in catalog.vendors if each.vendor_id == vendor_id)
    lines = [f"\n## {name}\n", "| model | window | output | CNY | USD | sources |", "|---|---|---|---|---|---|"]
    for model in models:
        prices = [rates[currency].get(model.model_id, ()) for currency in _CURRENCIES]
        rows = [row for price in prices for _, row in price]
        named = sorted({numbers[each] for each in (*model.sources, *(source for row in rows for source in row.sources))})
        is_disputed = bool(model.conflict) or any(row.conflict for row in rows)
        cells = [
            "; ".join(_names(model)) + ("*" if is_disputed else ""),
            _bound(model.context_window_tokens, model.input_measure),
            _bound(model.max_output_tokens, model.output_measure) if model.max_output_tokens else "-",
            *("; ".join(f"{hours}{_price(row)}" for hours, row in price) or "-" for price in prices),
            ", ".join(f"[{number}]" for number in named),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _names(model: Model) -> Iterator[str]:
    yield f"`{model.model_id}`"
    if others := [route.vendor_id for route in model.routes[1:]]:
        yield f"then {', '.join(f'`{vendor_id}`' for vendor_id in others)}"
    if model.aliases:
        yield f"also {', '.join(f'`{alias}`' for alias in model.aliases)}"
    if model.sunset_date is not None:
        yield f"ends on {model.sunset_date}"


def _bound(amount: int, measure: str) -> str:
    return f"{amount:,}" + ("" if measure == "token" else f" {measure}" + ("" if amount == 1 else "s"))


def _price(row: ModelRates) -> str:
    """The rates of a row, and those of each tier that are others than those below it."""
    words, last = [_rates(row)], _rates(row)
    for tier in row.tiers:
        if (rates := _rates(tier)) != last:
            words.append(f"above {tier.above_input_tokens:,}: {rates}")
            last = rates
    return "; ".join(words)


def _rates(rates: Rates) -> str:
    if rates.generated_images is not None:
        return f"{_text(rates.generated_images / 1_000_000)} an image"
    if rates.audio_milliseconds is not None:
        return f"{_text(rates.audio_milliseconds * _MINUTE)} a minute"
    if rates.spoken_characters is not None:
        return f"{_text(rates.spoken_characters)} per 1,000,000 characters"
    filled = rates.by_class()
    return " / ".join(_text(filled[name]) for name in ("input", "cached_input", "output"))


def _text(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


if __name__ == "__main__":
    PAGE.write_text(page(catalog_of(read_folders([base_catalog_folder()]))), encoding="utf-8")
