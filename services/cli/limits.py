"""Limits as people write them: in the form of an offering's limits in the catalog, amounts in whole units."""

from collections.abc import Iterable
from typing import Any

import click
import msgspec
from google.protobuf.json_format import MessageToDict

from services.cli.amounts import format_amount
from services.cli.printing import table
from services.registry.catalog_message import limit_message
from services.registry.offerings import Limit, limit_flaws
from services.runtime.mistakes import mistake_of


def read_limits(text: str, subject: str) -> list[dict[str, Any]]:
    """The limits of a list in JSON or YAML, as the administrative API takes them; `per` is left out where the subject says it.

    Errors: `click.UsageError` that names the limit, its field and what would be right.
    """
    try:
        listed = msgspec.yaml.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--limits is no JSON or YAML: {error}") from None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise click.UsageError('--limits must be a list of limits, like \'[{"limit_id": "day", "usage": 5, "unit": "TOKEN"}]\'')
    return [limit_of(each, subject, f"limits[{index}]") for index, each in enumerate(listed)]


def limit_words(limit: dict[str, Any]) -> str:
    """A limit as the administrative API tells it, in whole units, for people."""
    for kind, what in (("request_rate", "requests"), ("token_rate", "tokens")):
        if rate := limit.get(kind):
            a_minute = int(rate[f"{what}_per_minute"])
            return f"{a_minute:,} {what} a minute, {int(rate.get('burst', a_minute)):,} at once"
    if calls := limit.get("concurrent_sessions"):
        return f"{calls:,} calls open at once"
    usage = limit["usage"]
    amount = f"{format_amount(int(usage['amount']))} {usage.get('currency') or usage['unit'].removeprefix('UNIT_')}"
    if seconds := int(usage.get("window_seconds", 0)):
        return f"{amount} in {seconds:,} s from the first call on"
    period = usage.get("calendar_window", "").removeprefix("PERIOD_").lower()
    return f"{amount} a {period}" if period else f"{amount} in all"


def limits_table(limits: Iterable[dict[str, Any]]) -> Any:
    """The limits of subjects, for people."""
    rows = []
    for of_subject in limits:
        rows += [[of_subject["subject"], each["limit_id"], limit_words(each)] for each in of_subject["limits"]]
        if end := of_subject["valid_until"]:
            rows.append([of_subject["subject"], "", f"no call from {end} on"])
    return table("Limits", ("subject", "limit", "at most"), rows)


def limit_of(written: dict[str, Any], subject: str, place: str) -> dict[str, Any]:
    """One limit of a subject as the administrative API takes it. Errors: `click.UsageError`."""
    if isinstance(written.get("usage"), dict):
        raise click.UsageError(
            f"{place}: usage is an amount in whole units, with its unit beside it and not below it, like"
            ' {"limit_id": "day", "usage": 5, "unit": "TOKEN", "window": {"calendar": "day"}}'
        )
    try:
        limit = msgspec.convert({"per": subject.partition(":")[0], **written}, Limit)
    except msgspec.ValidationError as error:
        mistake = mistake_of(error, Limit, {"per": subject.partition(":")[0], **written})
        field = f"{place}.{mistake.field}" if mistake.field else place
        raise click.UsageError(f"{field} {mistake.message}") from None
    for field, message in limit_flaws(limit):
        raise click.UsageError(f"{place}{'.' if field else ''}{field} {message}")
    told: dict[str, Any] = MessageToDict(limit_message(limit), preserving_proto_field_name=True)
    return told
