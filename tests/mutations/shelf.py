"""Faults with the shelf: what a catalog sells, at which prices, and from when."""

from typing import Final

from tests.mutations.planting import one

_ADJUSTMENTS: Final = "services/registry/adjustments.py"
_ADJUSTED: Final = "tests/registry/test_adjustments.py"
_PRICE_LIST: Final = "tests/edge/test_price_list.py"

_MOMENTS: Final = (
    one(
        "the price list stays as it was when the catalog came",
        "services/edge/catalog.py",
        "if snapshot is not None and snapshot.until_us <= self._clock.now_us():",
        "if snapshot is not None and not snapshot:",
        _PRICE_LIST,
    ),
    one(
        "the price list shows a version a moment too late",
        "services/edge/tariffs.py",
        "            if begins_us > now_us:\n",
        "            if begins_us >= now_us:\n",
        _PRICE_LIST,
    ),
)

_LISTED: Final = (
    one(
        "DeepSeek's peak goes on through public holidays",
        "services/registry/base_catalog/tariffs/list-price-usd.yaml",
        "{days: [saturday, sunday, holiday]}",
        "{days: [saturday, sunday]}",
        "tests/registry/test_base_catalog.py",
    ),
)

_SIMULATED: Final = (
    one(
        "the simulator answers where a vendor that is called does not",
        "services/edge/catalog.py",
        " if each.vendor_id not in unconfigured or tuple(each.offering_ids) not in taken]",
        "]",
        "tests/edge/test_catalog.py",
    ),
)

_ADJUSTING: Final = (
    one(
        "a row of an adjustment leaves the tariff's other rows out",
        _ADJUSTMENTS,
        "for row in point.rates} | own",
        "for row in point.rates if False} | own",
        _ADJUSTED,
    ),
    one("a factor rounds down", _ADJUSTMENTS, "quantize(_STEP, ROUND_UP)", 'quantize(_STEP, "ROUND_DOWN")', _ADJUSTED),
    one("a factor is multiplied by a rate that is none", _ADJUSTMENTS, " if _in_range(rate) else rate", "", _ADJUSTED),
    one("rates are multiplied by a factor that is none", _ADJUSTMENTS, " or any(_factor_flaws(factor))", "", _ADJUSTED),
    one(
        "an adjustment keeps the tariff's version",
        _ADJUSTMENTS,
        "point.version + adjustment.version",
        "point.version",
        _ADJUSTED,
    ),
    one(
        "an adjustment holds before its time",
        _ADJUSTMENTS,
        "    if begins is not None and (point.time is None or point.time < begins):\n",
        "    if False:\n",
        _ADJUSTED,
    ),
    one(
        "adjustments may lead in a circle",
        _ADJUSTMENTS,
        "    elif message := _circle(adjustment, tariffs, making):\n",
        "    elif message := '':\n",
        _ADJUSTED,
    ),
)

_CLI: Final = "services/cli/catalog.py"
_COMMANDS: Final = "tests/cli/test_catalog.py"
_SHELF: Final = "services/registry/shelf.py"
_DIFFERENCES: Final = "tests/registry/test_shelf.py"
_STORES: Final = "tests/registry/test_layer_stores.py"

_CHANGING: Final = (
    one("a large change passes", _CLI, "        if share > _SHARE_MAX:\n", "        if False:\n", _COMMANDS),
    one("nobody is asked", _CLI, "        if not sys.stdin.isatty():\n", "        if False:\n", _COMMANDS),
    one(
        "models that a later version forgets are not told",
        _SHELF,
        "    for moment in (now, *_later_moments(before, after, now)):\n",
        "    for moment in (now,):\n",
        _DIFFERENCES,
    ),
    one(
        "a change is told twice", _SHELF, "                if move not in told.moves:\n", "                if True:\n", _DIFFERENCES
    ),
    one(
        "a class that follows its parent is told as moved",
        _SHELF,
        "        for name in {**(one.given() if one else {}), **(other.given() if other else {})}:\n",
        "        for name in {**rates[0], **rates[1]}:\n",
        _DIFFERENCES,
    ),
    one(
        "the second of two changes at once passes in etcd",
        "services/registry/catalog_store.py",
        "        as_read = {key: now.mark.get(change.layer, 0), kept: 0}\n",
        "        as_read = dict[str, int]()\n",
        _STORES,
    ),
    one(
        "the second of two changes at once passes in a folder",
        "services/registry/layer_folder.py",
        "if (current.mark, current.last_number) != (now.mark, now.last_number):",
        "if False:",
        _STORES,
    ),
    one(
        "a change killed halfway leaves no catalog",
        "services/registry/layer_folder.py",
        "    if old.is_dir() and not folder.exists():\n",
        "    if False:\n",
        _STORES,
    ),
    one(
        "models leave the shelf without a line in the log",
        "services/registry/catalog_folder.py",
        "        if moment.leaves:\n",
        "        if False:\n",
        "tests/registry/test_catalog_folder.py",
    ),
    one(
        "files of two states are taken for one",
        "services/registry/catalog_folder.py",
        "        if _fingerprint(self._folders) != fingerprint[0]:\n",
        "        if False:\n",
        "tests/registry/test_catalog_folder.py",
    ),
)

_MISTAKES: Final = (
    one(
        "a missing translation passes",
        "services/registry/offerings.py",
        "        if language not in name:\n",
        "        if False:\n",
        "tests/registry/test_catalog_of_sales.py",
    ),
    one(
        "a list that holds itself is read for ever",
        "services/runtime/config.py",
        "        if made is ...:\n",
        "        if made is None:\n",
        "tests/runtime/test_yaml.py",
    ),
    one(
        "numbers are not exact",
        "services/runtime/config.py",
        "return int(text) if found[1] is None else Decimal(text)",
        "return int(text) if found[1] is None else float(text)",
        "tests/runtime/test_yaml.py",
    ),
    one(
        "a number of any length is read the quick way",
        "services/runtime/config.py",
        "[0-9]{0,99}",
        "[0-9]*",
        "tests/runtime/test_yaml.py",
    ),
    one(
        "a scalar that is none of its kind ends who reads it",
        "services/runtime/config.py",
        "        except (ValueError, AttributeError, LookupError) as error:\n",
        "        except ValueError as error:\n",
        "tests/runtime/test_yaml.py",
    ),
    one(
        "brackets without an end end who reads them",
        "services/runtime/config.py",
        "    except RecursionError as error:\n",
        "    except RecursionWarning as error:\n",
        "tests/runtime/test_yaml.py",
    ),
    one(
        "a time is taken that no calendar holds",
        "services/registry/rules.py",
        "    elif not _YEARS[0] <= time.year <= _YEARS[1]:\n",
        "    elif False:\n",
        _ADJUSTED,
    ),
    one(
        "what is not a number is compared",
        "services/registry/catalog.py",
        "    if comparable and energy",
        "    if energy",
        "tests/registry/test_facts.py",
    ),
    one(
        "equivalents may lead in a circle",
        "services/registry/catalog.py",
        "            elif circle := _circle(model.model_id, model_id, models):\n",
        "            elif circle := list[str]():\n",
        "tests/registry/test_routes.py",
    ),
    one(
        "an absurd price passes",
        "services/registry/tariffs.py",
        "if rate > (most := _RATE_MAX[measure]):",
        "if (most := _RATE_MAX[measure]) < 0:",
        "tests/registry/test_catalog_folder.py",
    ),
    one(
        "known fields stand in any order",
        "services/runtime/mistakes.py",
        "sorted(names, key=lambda each: -likeness[each])",
        "list(names)",
        "tests/runtime/test_mistakes.py",
    ),
)

_WINDOWS: Final = "services/tariff_windows.py"
_HOURS: Final = "tests/test_tariff_windows.py"

_BY_HOUR: Final = (
    one("a window holds a minute too long", _WINDOWS, "<= minute < hours.end_minute:", "<= minute <= hours.end_minute:", _HOURS),
    one(
        "a holiday is a weekday",
        _WINDOWS,
        "return _HOLIDAY if date in self.holidays else date.weekday()",
        "return date.weekday()",
        _HOURS,
    ),
    one(
        "hours are those of UTC",
        _WINDOWS,
        "    zone = ZoneInfo(calendar.time_zone)\n    local",
        "    zone = ZoneInfo('UTC')\n    local",
        _HOURS,
    ),
    one(
        "a clock that is changed is not looked at again",
        _WINDOWS,
        "    if midnight.utcoffset() != ",
        "    if False and midnight.utcoffset() != ",
        _HOURS,
    ),
    one(
        "a window's price is kept after its end",
        "services/accounting/core/offerings.py",
        "min(until_us, window_until_us)",
        "until_us",
        "tests/registry/test_tariff_windows.py",
    ),
    one(
        "windows may overlap",
        "services/registry/tariffs.py",
        "    if readable:\n",
        "    if not readable:\n",
        "tests/registry/test_tariff_windows.py",
    ),
    one(
        "a vendor that charges by the end is owed by the start",
        "services/accounting/core/offerings.py",
        "        if not any(each.vendor_id in at_end for each in pinned):\n",
        "        if at_end or not at_end:\n",
        "tests/accounting/core/test_vendors_owed.py",
    ),
)

SHELF: Final = (*_BY_HOUR, *_LISTED, *_SIMULATED, *_MOMENTS, *_ADJUSTING, *_CHANGING, *_MISTAKES)
