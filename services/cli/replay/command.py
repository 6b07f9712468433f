"""The command `tokenline replay`: reads the trace, makes the calls, holds the bill against them."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from services.cli.replay.bill import Bill, balances, pricing_unit
from services.cli.replay.calls import CALL_TIMEOUT, Caller, ask, run_open_loop
from services.cli.replay.plan import Call, SaleModel, plan_calls
from services.cli.replay.report import Charged, ReplayReport, percentiles, report_table
from services.cli.replay.trace import ReplayError, read_trace


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The trace to replay, and how."""

    # A CSV file, plain or gzipped.
    trace: Path
    # Ends in /v1.
    base_url: str
    # Used in turn, by session, or by row where there is no session.
    api_keys: Sequence[str]
    # For rows without a model of the catalog; empty: one with a context of a million tokens.
    model: str = ""
    # Times that the trace's time runs faster.
    speed: float = 1.0
    # At most this many rows, from the first; None: all.
    limit: int | None = None
    stream: bool = True
    # The most calls at once.
    concurrency: int = 256
    # Shows a progress bar on standard error, where that is a terminal.
    progress: bool = False


class _ModelList(msgspec.Struct, frozen=True):
    data: list[SaleModel]


async def replay(options: ReplayOptions) -> ReplayReport:
    """Replays a trace and holds the bill against it.

    Other calls of the same accounts must not run meanwhile, since the charge is read from their balances.
    Errors: `ReplayError` before any call is made.
    """
    if not options.api_keys:
        raise ReplayError("no API key; give one with --api-key")
    base_url = options.base_url.rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise ReplayError(f"--base-url: {options.base_url!r} should begin with http:// or https:// and end in /v1")
    rows = read_trace(options.trace, options.limit)
    connector = aiohttp.TCPConnector(limit=options.concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=CALL_TIMEOUT) as http:
        lists = await asyncio.gather(*(ask(http, f"{base_url}/models", key, _ModelList) for key in options.api_keys))
        models_by_key = [{model.id: model for model in answer.data} for answer in lists]
        unit, currency = pricing_unit(models_by_key)
        calls, skipped = plan_calls(rows, models_by_key, options.model)
        before = await balances(http, base_url, options.api_keys)
        caller = Caller(http, base_url, options.api_keys, stream=options.stream)
        bill = Bill()
        with _progress_bar(options.progress) as bar:
            task = bar.add_task("calls", total=len(calls))

            async def call_and_advance(call: Call) -> None:
                outcome = await caller.call(call)
                if outcome is not None:
                    bill.add(call, outcome)
                bar.advance(task)

            await run_open_loop(calls, options.speed, options.concurrency, call_and_advance)
        after = await balances(http, base_url, options.api_keys)
    charges = [Charged(*each, after[each].charged - before[each].charged) for each in after]
    charged = sum(each.charged for each in charges if (each.unit, each.currency) == (unit, currency))
    others = [each for each in charges if each.charged and (each.unit, each.currency) != (unit, currency)]
    return ReplayReport(
        run_id=caller.run_id,
        calls=len(calls),
        succeeded=bill.succeeded,
        cut=bill.cut,
        refused=dict(caller.refused),
        failed=caller.failures.total(),
        failures=dict(caller.failures),
        skipped=skipped,
        tokens=dict(bill.tokens),
        latency_ms=percentiles(caller.latencies_ms),
        charged=charged,
        expected=bill.expected,
        other_charges=others,
        exact=charged == bill.expected and not others,
        balance_before=before[unit, currency].remaining,
        balance_after=after[unit, currency].remaining,
        unit=unit,
        currency=currency,
    )


def _progress_bar(wanted: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal))


class _CommandError(click.ClickException):
    exit_code = 2


class _Demo(msgspec.Struct, frozen=True):
    base_url: str
    api_key: str


def _demo(data_folder: Path, missing: str, option: str) -> _Demo:
    """The demo account of the system that runs on the folder, since `option` was not given."""
    path = data_folder.expanduser() / "demo.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Demo)
    except FileNotFoundError:
        raise ReplayError(f"no {missing}: give one with {option}; there is no demo key in {path} either") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReplayError(f"no {missing}: give one with {option}; {path} has none: {error}") from error


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--base-url", metavar="URL", help="Where the calls go; ends in /v1. Default: the running system.")
@click.option("--api-key", "api_keys", multiple=True, metavar="K", help="A key; may be repeated. Default: the demo key.")
@click.option("--model", default="", metavar="M", help="For rows without a model of the catalog.")
@click.option("--speed", default=1.0, type=click.FloatRange(min=0, min_open=True), metavar="X", help="Times the trace's speed.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--stream/--no-stream", default=True, help="Streamed answers, the default, or whole ones.")
@click.option("--concurrency", default=256, type=click.IntRange(min=1), metavar="N", help="The most calls at once (256).")
@click.option(
    "--data-dir",
    default=Path("~/.tokenline"),
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the running system and its demo key are.",
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]))
def replay_command(*, base_url: str | None, api_keys: tuple[str, ...], data_dir: Path, output: str, **options: Any) -> None:
    """Make real calls after TRACE and compare the bill with the sum of its rows.

    TRACE is CSV, plain or gzipped, with the columns timestamp_s, session, model, input_tokens, output_tokens and
    perhaps cached_input_tokens. Ends with 0 when the bill is exact and no call failed, with 1 when not.
    """
    try:
        asked = ReplayOptions(
            base_url=base_url or _demo(data_dir, "base URL", "--base-url").base_url,
            api_keys=api_keys or (_demo(data_dir, "API key", "--api-key").api_key,),
            progress=True,
            **options,
        )
        report = uvloop.run(replay(asked))
    except ReplayError as error:
        raise _CommandError(str(error)) from error
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        Console().print(report_table(report))
    sys.exit(0 if report.exact and not report.failed else 1)
