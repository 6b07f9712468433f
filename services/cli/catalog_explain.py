"""`tokenline catalog explain`: where an entry stands, by what it is sold, and what makes its prices."""

import datetime
from typing import TYPE_CHECKING, Any, Final

from services.cli.catalog_report import names_text, time_text
from services.cli.failures import CommandError
from services.cli.printing import table

if TYPE_CHECKING:
    from services.registry.catalog import Catalog
    from services.registry.origins import Origin, Origins
    from services.registry.tariffs import Tariff

_CLASSES: Final = ("input", "cached_input", "output")


def explanation(
    catalog: "Catalog", origins: "Origins", entry_id: str, model_id: str | None, moment: datetime.datetime
) -> dict[str, Any]:
    """All that the catalog says of an ID at a moment, as JSON. Errors: `CommandError` when nothing has it."""
    from services.registry.shelf import Shelf

    tariffs = {tariff.tariff_id: tariff for tariff in catalog.priced_tariffs()}
    offerings = {offering.offering_id: offering for offering in catalog.offerings}
    models = {model.model_id for model in catalog.models}
    places = list(origins.of(entry_id))
    if not places and entry_id not in tariffs:
        raise CommandError(f"nothing in the catalog has the ID {entry_id!r}; `tokenline offering list` and `model list` show IDs")
    if model_id is not None and model_id not in models:
        raise CommandError(f"no model has the ID {model_id!r}; `tokenline model list` shows them")
    shelf = Shelf(catalog, moment)
    wanted = entry_id if entry_id in models else model_id
    answer: dict[str, Any] = {"id": entry_id, "at": moment, "stands": [_place_json(place) for place in places]}
    if entry_id in tariffs:
        answer["versions"] = _versions(tariffs[entry_id])
        answer["sold_by"] = sorted(each for each, tariff_ids in shelf.sold_by.items() if entry_id in tariff_ids)
    if entry_id in offerings:
        answer["models"] = sorted(shelf.sold[entry_id])
    if wanted is not None:
        answer["prices"] = [
            {**_price(tariffs[tariff_id], wanted, each, origins, moment), "beyond_allowances": beyond}
            for each, offering in offerings.items()
            for tariff_id, beyond in ((offering.tariff_id, False), (offering.overage_tariff_id, True))
            if entry_id in (wanted, each, tariff_id) and wanted in shelf.sold[each] and wanted in shelf.rated.get(tariff_id, ())
        ]
    return answer


def _place_json(place: "Origin") -> dict[str, Any]:
    return {"list": place.section, "file": str(place.path), "line": place.line, "part": place.part}


def _versions(tariff: "Tariff") -> list[dict[str, Any]]:
    """All versions that records may name: of the tariff and its later ones, each followed by those of its windows."""
    from services.registry.tariffs import hours_text

    told: list[dict[str, Any]] = []
    later = [(each.version, each.effective_time, each.rates, each.windows) for each in tariff.upcoming]
    for version, time, rows, windows in [(tariff.version, None, tariff.rates, tariff.windows), *later]:
        told.append({"version": version, "from": time, "hours": None, "rows": len(rows)})
        told += [
            {"version": window.version, "from": time, "hours": hours_text(window), "rows": len(window.rates)} for window in windows
        ]
    return told


def _price(tariff: "Tariff", model_id: str, offering_id: str, origins: "Origins", moment: datetime.datetime) -> dict[str, Any]:
    from services.registry.shelf import rows_at
    from services.registry.tariffs import EVERY_MODEL

    version, rows = rows_at(tariff, moment)
    row = rows.get(model_id) or rows[EVERY_MODEL]
    made_of = origins.of_price(tariff.tariff_id, model_id, moment)
    return {
        "offering_id": offering_id,
        "model_id": model_id,
        "tariff_id": tariff.tariff_id,
        "version": version,
        "unit": tariff.currency or tariff.unit,
        "rates": {name: f"{rate:f}" for name, rate in row.by_class().items() if name in (*row.given(), *_CLASSES)},
        "made_of": [{"entry": place.entry_id, **_place_json(place)} for place in made_of],
    }


def explanation_tables(answer: dict[str, Any]) -> list[Any]:
    """The explanation for people."""
    stands = [[each["list"], f"{each['file']}:{each['line']}", each["part"]] for each in answer["stands"]]
    tables = [table(f"{answer['id']} stands in", ("list", "place", "part"), stands)]
    if "versions" in answer:
        windowed = {each["from"] for each in answer["versions"] if each["hours"]}
        rows = [
            [
                str(each["version"]),
                "the beginning" if each["from"] is None else time_text(each["from"]),
                each["hours"] or ("all others" if each["from"] in windowed else "all"),
                str(each["rows"]),
            ]
            for each in answer["versions"]
        ]
        tables.append(table("Versions", ("version", "from", "hours", "rows"), rows))
        tables.append(table("Sold by", ("offering",), [[each] for each in answer["sold_by"]]))
    if "models" in answer:
        tables.append(table("Sells", ("models", "which"), [[str(len(answer["models"])), names_text(answer["models"])]]))
    for price in answer.get("prices", ()):
        when = ", beyond its allowances" if price["beyond_allowances"] else ""
        title = f"{price['model_id']} in {price['offering_id']}{when}: {price['tariff_id']} v{price['version']}, per 1,000,000"
        rates = ", ".join(f"{name} {rate}" for name, rate in price["rates"].items())
        rows = [[f"{rates} {price['unit']}", ""]]
        rows += [[f"{each['file']}:{each['line']}", f"{each['entry']}: {each['part']}"] for each in price["made_of"]]
        tables.append(table(title, ("price and places", "part"), rows))
    return tables
