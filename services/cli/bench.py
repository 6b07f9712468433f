"""`tokenline bench edge`: what the edge reaches with every service a process of its own, and that the bill is exact."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from services.cli.bench_charging import charging_command
from services.cli.failures import CommandFailed, expected_errors
from services.cli.processes import terminated_as_interrupted

if TYPE_CHECKING:
    from services.cli.bench_report import Report

_CONNECTIONS: Final = 64
_TOKENS_PER_SECOND: Final = 20.0


@click.group("bench")
def bench_group() -> None:
    """Measure throughput and latency."""


bench_group.add_command(charging_command)


@bench_group.command("edge")
@click.option("--seconds", default=10.0, type=click.FloatRange(min=0.5), metavar="S", help="How long to measure. Default: 10.")
@click.option("--connections", type=click.IntRange(1, 10_000), metavar="N", help=f"Plain calls at once. Default: {_CONNECTIONS}.")
@click.option(
    "--streams", type=click.IntRange(1, 8_000), metavar="N", help="Measure N streamed calls at once instead of plain ones."
)
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(0.1, 10_000),
    metavar="R",
    help=f"How fast the vendor makes each stream; up to 50 one token a chunk. Default: {_TOKENS_PER_SECOND:g}.",
)
@click.option(
    "--body-bytes", default=0, type=click.IntRange(0, 4_000_000), metavar="B", help="Length of the prompt. Default: a short one."
)
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Another checkout to measure in turn, for --seconds too.",
)
@click.option(
    "--telemetry-off", is_flag=True, help="No metrics and traces in the services of --against, which may be this checkout."
)
@click.option(
    "--grpc-tls", is_flag=True, help="TLS between the services, but not between those of --against, which may be this checkout."
)
@click.option(
    "--store",
    default="sqlite",
    type=click.Choice(["sqlite", "postgresql"]),
    help="The store of authentication, accounting and billing: a file each, or databases of one PostgreSQL made for it.",
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def edge_command(
    connections: int | None,
    streams: int | None,
    tokens_per_second: float | None,
    body_bytes: int,
    seconds: float,
    output: str,
    **how: Any,
) -> None:
    """Measure chat completions through the edge against a vendor simulator.

    Every service and the load generator are processes of their own in a temporary folder, quota and durable usage are on.
    Ends with 1 when a call failed, or audit or reconciliation finds the bill not exact.
    """
    if streams is None and tokens_per_second is not None:
        raise click.UsageError("--tokens-per-second is for streams; give --streams N too")
    if streams is not None and connections is not None:
        raise click.UsageError("each stream has a connection of its own; give --streams or --connections, not both")
    if how["telemetry_off"] and how["against"] is None:
        raise click.UsageError("--telemetry-off is for the other checkout; give --against FOLDER too")
    from services.cli.bench_cell import checkout_of
    from services.cli.bench_edge import How, measure_calls, measure_streams
    from services.cli.bench_report import print_report

    if how["against"] is not None:
        how["against"] = checkout_of(how["against"])
    with expected_errors(), terminated_as_interrupted():
        report: Report
        if streams is None:
            report = measure_calls(connections or _CONNECTIONS, body_bytes, seconds, How(**how))
        else:
            report = measure_streams(streams, tokens_per_second or _TOKENS_PER_SECOND, body_bytes, seconds, How(**how))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        print_report(report)
    if wrong := list(_wrong(report)):
        raise CommandFailed("; ".join(wrong))


@bench_group.command("attacks")
@click.option(
    "--seconds",
    default=24.0,
    type=click.FloatRange(min=0.5),
    metavar="S",
    help="How long each attack lasts, in two rounds; heads that do not come end a round's tenth second. Default: 24.",
)
@click.option("--attacks", "names", default="", metavar="NAMES", help="Which, with commas. Default: all.")
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def attacks_command(seconds: float, names: str, output: str) -> None:
    """Attack the edge's doors while honest clients call.

    Services have a processor to themselves; honest clients, the vendor simulator and attackers share another, where attackers come
    last. Quiet times, in which a process burns what attackers would take, and attacks take turns. Ends with 1 when an honest call
    failed, or audit or reconciliation finds the bill not exact.
    """
    from services.cli.attackers import WAYS
    from services.cli.bench_attacks import measure_attacks
    from services.cli.bench_report import print_attacks

    chosen = names.split(",") if names else list(WAYS)
    if unknown := [name for name in chosen if name not in WAYS]:
        raise click.UsageError(f"no attack is named {', '.join(unknown)}; there are {', '.join(WAYS)}")
    with expected_errors(), terminated_as_interrupted():
        report = measure_attacks(chosen, seconds)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        print_attacks(report)
    failed = [f"{each.name}: {found}" for each in report.attacks for found in _failed(each.failures)]
    if wrong := [*report.breaches, *report.differences, *failed]:
        raise CommandFailed("; ".join(wrong))


@bench_group.command("endurance")
@click.option("--seconds", default=3_600.0, type=click.FloatRange(min=3), metavar="S", help="How long calls arrive. Default: 3600.")
@click.option(
    "--calls-per-second", default=1_000.0, type=click.FloatRange(1, 100_000), metavar="R", help="How fast. Default: 1000."
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def endurance_command(seconds: float, calls_per_second: float, output: str) -> None:
    """Measure the memory of `tokenline up` minute by minute while calls arrive.

    It runs in a temporary folder, which grows by some KB a call. Ends with 1 when a call failed, or audit or reconciliation finds
    the bill not exact.
    """
    from services.cli.bench_endurance import measure_endurance
    from services.cli.bench_report import print_endurance

    with expected_errors(), terminated_as_interrupted():
        report = measure_endurance(seconds, calls_per_second)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        print_endurance(report)
    if wrong := [*report.breaches, *report.differences, *_failed(report.failures)]:
        raise CommandFailed("; ".join(wrong))


@bench_group.command("affinity")
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Conversations to send, in the format of `tokenline replay`. Default: generated ones.",
)
@click.option("--limit", type=click.IntRange(min=100), metavar="N", help="Only the trace's first N rows. Default: all.")
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw the figures into this file, as SVG."
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def affinity_command(trace: Path | None, limit: int | None, picture: Path | None, output: str) -> None:
    """Measure how warm prompt caches stay with several routes and edges.

    Agents' conversations are sent to a model with one route, then to one with four, through three edges. Each vendor keeps a cache
    of prefixes. One route falls silent, is killed, and comes back with an empty cache. Ends with 1 when a call failed, or audit or
    reconciliation finds the bill not exact.
    """
    from services.cli.affinity_picture import drawn
    from services.cli.bench_affinity import measure_affinity
    from services.cli.bench_report import print_affinity
    from services.cli.replay.trace import ReplayError

    with expected_errors(), terminated_as_interrupted():
        try:
            report = measure_affinity(trace, limit)
        except ReplayError as error:
            raise click.UsageError(str(error)) from error
    if picture is not None:
        picture.write_text(drawn(report), encoding="utf-8")
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        print_affinity(report)
    if wrong := [*report.breaches, *report.differences, *_failed(report.failures)]:
        raise CommandFailed("; ".join(wrong))


@bench_group.command("catalog")
@click.option("--models", default=1_000, type=click.IntRange(1, 10_000), metavar="N", help="Default: 1000.")
@click.option("--offerings", default=500, type=click.IntRange(1, 10_000), metavar="N", help="Default: 500.")
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def catalog_command(models: int, offerings: int, output: str) -> None:
    """Measure a large catalog: how long it is checked, how soon a changed price is in force at two edges, the price list."""
    from services.cli.bench_catalog import measure_catalog
    from services.cli.bench_report import print_catalog

    with expected_errors(), terminated_as_interrupted():
        report = measure_catalog(models, offerings)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        print_catalog(report)


def _wrong(report: "Report") -> Iterator[str]:
    for folder, of in (("", report), *((f"{of.folder}: ", of) for of in (report.against,) if of is not None)):
        for found in (*of.breaches, *of.differences, *_failed(of.failures)):
            yield folder + found


def _failed(failures: Mapping[str, int]) -> Iterator[str]:
    return (f"{count} calls failed: {how}" for how, count in failures.items())
