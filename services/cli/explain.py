"""`tokenline explain`: one call from its request to its bill, on one page."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from services.cli.amounts import format_amount, format_in_unit, unit_name
from services.cli.client import find_system, given
from services.cli.failures import CommandFailed
from services.cli.printing import common_options, fields_of, print_answer, table, text_of
from services.cli.stores_down import StoresDown, ask_system_down
from services.runtime.identifiers import uuid7_time_us

# All partitions may have to be searched.
_TIMEOUT_S: Final = 120.0
_COUNTED_BY: Final = {
    "vendor": "the vendor's own count",
    "partial": "counted here, of an answer that did not come to its end",
    "tokenizer": "counted here with the model's own tokenizer",
    "estimated": "estimated here, because the vendor gave no usable count",
}
_ENDED: Final = {
    "normal": "the vendor finished",
    "quota_exhausted": "the quota ended in mid-stream",
    "client_gone": "the client went away",
    "vendor_error": "the vendor failed",
    "swept": "nothing more was heard of it; charged what was last reported",
    "rejected": "given up before a vendor answered",
    "revoked": "the key was revoked or ended, or the account suspended",
}
_NOT_RECORDED: Final = "Not recorded: prompt and answer, the dialect, and what the vendor counted where our own count was charged."


@click.command("explain")
@click.argument("charging_id", metavar="CHARGING_ID")
@click.option(
    "--account", "account_id", metavar="ID", help="The call's account, where it is known: then one partition is searched."
)
@common_options
def explain_command(charging_id: str, account_id: str | None, data_dir: Path | None, output: str) -> None:
    """Tell one call from its request to its bill, by its x-request-id.

    Its bound, what was reserved and extended, each vendor call, the usage, the rates, the buckets that paid, the record. Of a
    call that was refused: why, and what would help. Ends with 1 where nothing is known of it.

    Works on the data folder of a system that is down, too; refusals are forgotten then.
    """

    if uuid7_time_us(charging_id) is None:
        raise click.UsageError(f"{charging_id!r} is no charging_id: it is the x-request-id of a call")

    async def ask(stores: StoresDown) -> dict[str, Any]:
        from services.edge.api.admin.explain import explained_call, nothing_known

        explained = await explained_call(stores.accounting, await stores.billing(), charging_id, account_id or "")
        if explained is None:
            raise CommandFailed(nothing_known(charging_id, account_id or ""))
        return explained

    explained = ask_system_down(data_dir, ask)
    if explained is None:
        query = urlencode(given(account_id=account_id))
        path = f"/calls/{quote(charging_id, safe='')}?{query}"
        explained = find_system(data_dir).ask("GET", path, timeout_s=_TIMEOUT_S)
    found = explained
    print_answer(found, output, lambda: explained_tables(found))


def explained_tables(call: Mapping[str, Any]) -> list[Any]:
    """A call for people, on one page: amounts in whole units, times since the request."""
    receipt = call["receipt"]
    head = {"charging_id": call["charging_id"], "state": _state(call), "requested_at": call["requested_at"]}
    tables = fields_of({**head, **_request(call), "account_id": call["account_id"]})
    if call["refusal"]:
        return [*tables, *refusal_tables(call["refusal"])]
    if call["grants"]:
        tables.append(_grants_table(call))
    if receipt is None:
        return [*tables, text_of("The call is open: it is charged when it ends, or when nothing is heard of it any more.")]
    tables.append(_attempts_table(receipt["attempts"]))
    if any(receipt["usage"].values()):
        tables += fields_of({"usage_is": _COUNTED_BY.get(receipt["provenance"], receipt["provenance"])})
    for record in receipt["records"]:
        tables.append(_rated_table(record))
        if unpaid := record["unpaid"]:
            tables.append(text_of(f"  made by the vendor and paid by nobody: {_counts(unpaid)}"))
    tables.append(_bill_table(call))
    if owed := call["vendor_charge"]:
        tariff = f"{owed['tariff_id']} v{owed['tariff_version']}"
        told = f"{format_in_unit(owed['amount'], owed)} for {owed['vendor_model_id']}, by {tariff}"
        tables += fields_of({f"owed to {owed['vendor_id']}": told})
    tables += fields_of(
        {"refunded": [f"{format_in_unit(each['amount'], each)} as {each['bucket_id']}" for each in call["refunds"]]}
    )
    return [*tables, text_of(_NOT_RECORDED)]


def refusal_tables(refusal: Mapping[str, Any]) -> list[Any]:
    """Why a call was refused, and what would help."""
    told: dict[str, Any] = {"refused_at": refusal["refused_at"], "reason": refusal["result_code"], "limit_id": refusal["limit_id"]}
    if refusal["unit"] is not None:
        told |= {field: format_in_unit(refusal[field], refusal) for field in ("needed", "free", "held", "short")}
    if refusal["retry_after_ms"] is not None:
        told["passes_after"] = f"{refusal['retry_after_ms'] / 1_000:g} s"
    return fields_of({**told, "help": refusal["help"]})


def _state(call: Mapping[str, Any]) -> str:
    if call["receipt"] is None:
        return str(call["state"])
    cause = call["receipt"]["close_cause"]
    return f"settled: {_ENDED.get(cause, cause)}"


def _request(call: Mapping[str, Any]) -> dict[str, Any]:
    if (request := call["request"]) is not None:
        names = {name: request[name] for name in ("model_id", "key_id", "member_id", "run_label")}
        held_for = {"worst_case": "the worst case", "likely_cost": "the likely cost"}[request["reserved_for"]]
        measures = _measures(call)
        bound = (
            f"input at most {request['input_tokens_bound']:,}, reserved for {request['input_tokens_reserved']:,} {measures[0]}; "
            f"output at most {request['output_tokens_limit']:,} {measures[1]}; quota for {held_for}"
        )
        tariff = f"{request['tariff_id']} v{request['tariff_version']}, in {unit_name(request)}" if request["tariff_id"] else None
        return {**names, "bound": bound, "offering_id": request["offering_id"], "tariff": tariff, "limits": request["limits"]}
    known = call["refusal"] or {**call["receipt"], "key_id": None}
    return {"model_id": known["model_id"], "key_id": known["key_id"]}


def _measures(call: Mapping[str, Any]) -> tuple[str, str]:
    """The measures of input and output, which only the usage tells of."""
    used = call["receipt"]["usage"] if call["receipt"] else {}
    inputs = {"audio_milliseconds": "ms of sound", "spoken_characters": "characters"}
    counted = next((name for each, name in inputs.items() if used.get(each)), "tokens")
    return counted, "images" if used.get("generated_images") else "tokens"


def _grants_table(call: Mapping[str, Any]) -> Any:
    came = datetime.fromisoformat(call["requested_at"])

    def row(grant: Mapping[str, Any]) -> Sequence[Any]:
        after_ms = (datetime.fromisoformat(grant["granted_at"]) - came).total_seconds() * 1_000
        holds = [f"{format_in_unit(part['amount'], part)} of {part['bucket_id']}" for part in grant["hold"]]
        granted = f"{grant['output_tokens_granted']:,}{' (last)' if grant['final'] else ''}"
        return [f"{after_ms:,.0f} ms", grant["kind"], "\n".join(holds) or "nothing more", granted, _counts(grant["used"] or {})]

    columns = ("after", "grant", "holds", "output granted", "used so far")
    return table("Reserved", columns, map(row, call["grants"]), right=("after", "output granted"))


def _attempts_table(attempts: Sequence[Mapping[str, Any]]) -> Any:
    rows = (
        [
            each["vendor_id"],
            each["vendor_model_id"],
            each["outcome"],
            str(each["http_status"] or "-"),
            f"{each['duration_ms']:,} ms",
        ]
        for each in attempts
    )
    return table("Vendor calls", ("vendor", "model", "outcome", "HTTP", "took"), rows, right=("took",))


def _rated_table(record: Mapping[str, Any]) -> Any:
    unit = unit_name(record)
    rows = [
        [each["token_class"], each["tokens"], f"{format_amount(each['rate'])} {unit}", f"{format_amount(each['amount'])} {unit}"]
        for each in record["class_charges"]
    ]
    title = f"Rated by {record['offering_id']}, {record['tariff_id']} v{record['tariff_version']}"
    return table(title, ("class", "count", "rate for 1,000,000", "amount"), rows, right=("count", "rate for 1,000,000", "amount"))


def _bill_table(call: Mapping[str, Any]) -> Any:
    origins = {bucket["bucket_id"]: bucket for bucket in call["buckets"]}

    def lines(record: Mapping[str, Any]) -> list[Sequence[Any]]:
        number = f"CDR {record['record_number']:,}" if record["record_number"] else "not exported yet"
        paid = [
            (debit["amount"], f"bucket {debit['bucket_id']}{_origin(origins.get(debit['bucket_id']))}")
            for debit in record["debits"]
        ]
        paid += [(record["debt_amount"], "owed: no bucket covers it")] if record["debt_amount"] else []
        paid += [(record["absorbed_amount"], "absorbed by the operator")] if record["absorbed_amount"] else []
        first = [record["settled_at"], number]
        return [
            [*(first if index == 0 else ("", "")), format_in_unit(amount, record), by] for index, (amount, by) in enumerate(paid)
        ] or [[*first, format_in_unit(0, record), "nothing to pay"]]

    rows = [line for record in call["receipt"]["records"] for line in lines(record)]
    return table("Bill", ("settled", "record", "amount", "paid by"), rows, right=("amount",))


def _origin(bucket: Mapping[str, Any] | None) -> str:
    if bucket is None:
        return " (gone)"
    line = "credit line" if bucket["postpaid"] else bucket["source"]
    return f" ({line}{f' of {each}' if (each := bucket['offering_id']) else ''})"


def _counts(usage: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in usage.items())
