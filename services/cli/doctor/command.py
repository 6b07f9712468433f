"""`tokenline doctor`: its options and its report."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from services.cli.client import find_folder, find_system
from services.cli.doctor.config import config_checks
from services.cli.doctor.finding import Check, Finding, examine, report
from services.cli.doctor.folder import folder_checks
from services.cli.doctor.system import system_checks
from services.cli.failures import CommandError
from services.cli.printing import common_options, print_answer, text_of
from services.cli.serve import SERVICES

_CHECK_WIDTH: Final = 22


@click.command("doctor")
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="SERVICE=FILE",
    help="A service's config, with all that it names: accounting=/etc/tokenline/accounting.yaml; several: give it again.",
)
@common_options
def doctor_command(configs: tuple[str, ...], data_dir: Path | None, output: str) -> None:
    """Say what is wrong, and what to do about it, within three seconds.

    Of a running system: ready, clock, owners, export, vendors (asked by a path that costs nothing), certificates, disks. Of a data
    folder: rights, disk, schema versions, catalog. With --config, of each config: certificates, database and its clock, etcd, the
    services that it calls, disk; the system too, where --data-dir or TOKENLINE_URL names it. Ends with 1 where a line is a fail.
    """
    checks = [check for each in configs for check in config_checks(*_config(each))]
    folder = find_folder(data_dir)
    if folder is None or data_dir is not None or not configs:
        checks += [] if folder is None else folder_checks(folder)
        checks += _of_system(data_dir)
    findings = examine(checks)
    told = report(findings)
    print_answer(told, output, lambda: [text_of(line) for each in findings for line in _lines(each)])
    sys.exit(0 if told["ok"] else 1)


def _config(given: str) -> tuple[str, Path]:
    service, _, file = given.partition("=")
    if service not in SERVICES or not file:
        raise click.UsageError(f"--config {given}: give it as SERVICE=FILE; a SERVICE is one of {', '.join(SERVICES)}")
    return service, Path(file)


def _of_system(data_dir: Path | None) -> list[tuple[str, Check]]:
    try:
        return system_checks(find_system(data_dir))
    except CommandError as error:
        failed = Finding("system", "fail", error.message)
        return [("system", lambda: [failed])]


def _lines(finding: Finding) -> list[Any]:
    lines = [f"{finding.level:4}  {finding.check:{_CHECK_WIDTH}}  {finding.found}"]
    return [*lines, f"      {'':{_CHECK_WIDTH}}  -> {finding.remedy}"] if finding.remedy else lines
