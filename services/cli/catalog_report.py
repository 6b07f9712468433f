"""A change of the catalog as `tokenline catalog` prints it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.cli.printing import table, text_of

if TYPE_CHECKING:
    from services.registry.changes import Change, Plan
    from services.registry.shelf import PriceMove, ShelfChange

# Rows of a table; `--output json` has all.
_ROWS_MAX: Final = 40
_NAMES_MAX: Final = 6
_INSTEAD: Final = "To sell an offering no longer, leave it in the catalog with `withdrawn: true`."


def plan_json(plan: "Plan") -> dict[str, Any]:
    """Everything that a plan changes."""
    shelf: dict[str, Any] | None = None
    if plan.shelf is not None:
        shelf = msgspec.to_builtins(plan.shelf)
        for moment, told in zip(plan.shelf.moments, shelf["moments"], strict=True):
            for move, row in zip(moment.moves, told["moves"], strict=True):
                row["percent"] = None if move.percent is None else str(move.percent)
    return {"layer": plan.layer, "summary": plan.summary(), "shelf": shelf}


def plan_tables(plan: "Plan") -> list[Any]:
    """The plan for people."""
    if plan.shelf is None:
        return [text_of("Nothing valid is in force, so there is nothing to compare with.")]
    return [*_shelf_tables(plan.shelf), text_of(f"In all: {plan.summary()}.")]


def _shelf_tables(shelf: "ShelfChange") -> list[Any]:
    tables = []
    added = shelf.added_offerings
    for moment in shelf.moments:
        when = "at once" if moment.moment is None else f"from {time_text(moment.moment)}"
        if moment.off_sale:
            names = ", ".join(moment.off_sale[:_ROWS_MAX]) + (", ..." if len(moment.off_sale) > _ROWS_MAX else "")
            tables.append(text_of(f"OFF SALE {when}, in no offering any more: {names}"))
        new = {offering_id: moment.models_of(offering_id) for offering_id in added}
        if rows := [[offering_id, str(len(models)), names_text(models)] for offering_id, models in new.items() if models]:
            tables.append(table(f"New offerings {when}", ("offering", "models", "which"), rows, right=("models",)))
        for title, told in (("Leaves the shelf", moment.leaves), ("Comes onto the shelf", moment.comes_beside(added))):
            if told:
                rows = [[model_id, names_text(offering_ids)] for model_id, offering_ids in told.items()]
                tables += _cut(f"{title} {when}", ("model", "offerings"), rows)
        if moment.moves:
            columns = ("tariff", "model", "of", "before", "after", "percent", "offerings")
            tables += _cut(f"Prices that move {when}, per 1,000,000", columns, [_move_row(move) for move in moment.moves])
    if shelf.fields:
        rows = [
            [each.kind, each.section, each.entry_id, each.field, _value_text(each.before), _value_text(each.after)]
            for each in shelf.fields
        ]
        tables += _cut("Entries", ("change", "list", "entry", "field", "before", "after"), rows)
        if removed := [each.entry_id for each in shelf.fields if (each.kind, each.section) == ("removed", "offerings")]:
            tables.append(
                text_of(
                    f"What was bought of {names_text(removed)} pays for no call from then on, and renews all the same. {_INSTEAD}"
                )
            )
    return tables


def _move_row(move: "PriceMove") -> list[str]:
    above = f" above {move.above_input_tokens:,} input" if move.above_input_tokens >= 0 else ""
    return [
        move.tariff_id,
        move.model_id,
        move.token_class + above,
        _value_text(move.before),
        _value_text(move.after),
        "" if move.percent is None else f"{move.percent:+} %",
        names_text(move.offering_ids),
    ]


def _cut(title: str, columns: Sequence[str], rows: list[list[str]]) -> list[Any]:
    more = len(rows) - _ROWS_MAX
    shown = [table(title, columns, rows[:_ROWS_MAX], right=("before", "after", "percent"))]
    return shown if more <= 0 else [*shown, text_of(f"and {more:,} more; --output json has all")]


def names_text(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMES_MAX
    return ", ".join(names[:_NAMES_MAX]) + (f" and {more:,} more" if more > 0 else "")


def _value_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_value_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def time_text(time: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def change_json(change: "Change") -> dict[str, Any]:
    """A change of the history, without the files before it."""
    return {name: getattr(change, name) for name in ("number", "time", "by", "layer", "action", "summary")}


def history_table(changes: Sequence["Change"]) -> Any:
    """The history for people, the last change first."""
    rows = [
        [str(each.number), time_text(each.time), each.by, each.layer, each.action, each.summary]
        for each in sorted(changes, key=lambda each: -each.number)
    ]
    return table("Changes of the catalog", ("number", "time", "by", "layer", "action", "change"), rows)
