"""The entry point `tokenline` and the list of its commands."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from itertools import pairwise
from typing import Any, Final, NoReturn

import click

# Command name -> module, name of the click command there, and what it does.
_COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "up": ("services.cli.up", "up_command", "Run everything in one process on embedded defaults."),
    "serve": ("services.cli.serve", "serve_command", "Run one service."),
    "account": ("services.cli.admin", "account_group", "Open, list, show and top up accounts."),
    "member": ("services.cli.members", "member_group", "Add, invite, list and cap members."),
    "key": ("services.cli.admin", "key_group", "Issue, list and revoke API keys."),
    "offering": ("services.cli.admin", "offering_group", "List and order offerings, and free identities."),
    "model": ("services.cli.admin", "model_group", "List models."),
    "price": ("services.cli.price", "price_command", "Say what a call would cost on each model."),
    "catalog": ("services.cli.catalog", "catalog_group", "Check, compare, apply and take back what is for sale."),
    "vendor": ("services.cli.statements", "vendor_group", "Say what a vendor is owed."),
    "carrier": ("services.cli.carrier", "carrier_group", "Show what the phone bill is asked to say, and tell lines."),
    "doctor": ("services.cli.doctor.command", "doctor_command", "Say what is wrong, and what to do about it."),
    "top": ("services.cli.top", "top_command", "Show what the system does at this moment."),
    "audit": ("services.cli.admin", "audit_command", "Check conservation over the whole store."),
    "reconcile": ("services.cli.admin", "reconcile_command", "Check that journal, CDRs and bills tell the same."),
    "replay": ("services.cli.replay.command", "replay_command", "Make real calls after a trace and check the bill."),
    "grant": ("services.cli.grants", "grant_group", "Grant and end the allowances of a bundle."),
    "order": ("services.cli.sales", "order_group", "List, pay and cancel orders, show receipts."),
    "subscription": ("services.cli.sales", "subscription_group", "Change and end subscriptions."),
    "refusal": ("services.cli.sales", "refusal_command", "Say why a call was refused, and what would help."),
    "explain": ("services.cli.explain", "explain_command", "Tell one call from its request to its bill."),
    "journal": ("services.cli.journal", "journal_command", "Read the journal."),
    "acts": ("services.cli.acts", "acts_command", "Say who gave which administrative command."),
    "owners": ("services.cli.cell", "owners_command", "Show the owner of each partition."),
    "move": ("services.cli.cell", "move_command", "Have another replica own a partition."),
    "migrate": ("services.cli.migrate", "migrate_command", "Bring a service's database up to date."),
    "recover": ("services.cli.cell", "recover_command", "Begin a new era, after a restore."),
    "backup": ("services.cli.backup", "backup_command", "Copy a data folder while its system runs."),
    "restore": ("services.cli.backup", "restore_command", "Make a data folder of a backup, and check it."),
    "certs": ("services.cli.certs", "certs_command", "Make certificates of the services, for tests and development."),
    "capacity": ("services.cli.capacity", "capacity_command", "Say how large a cell must be."),
    "bench": ("services.cli.bench", "bench_group", "Measure throughput and latency."),
}


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a program reads what comes out: then it reads errors, too."""
    return "--json" in arguments or "--output=json" in arguments or ("--output", "json") in pairwise(arguments)


def _tell(message: str, status: int, code: str | None) -> NoReturn:
    """Says on standard error, as JSON, why a command ends, and ends it."""
    import msgspec

    error = {"message": message, "code": code, "exit_status": status}
    click.echo(msgspec.json.format(msgspec.json.encode({"error": error})), err=True)
    sys.exit(status)


class _LazyGroup(click.Group):
    """Imports a command's module when it is run; the list of commands imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if not _wants_json(given):
            return super().main(given, *arguments, **options)
        try:
            status = super().main(given, *arguments, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            _tell(error.format_message(), error.exit_code, getattr(error, "code", None))
        except click.Abort:
            _tell("Aborted.", 1, None)
        sys.exit(status if isinstance(status, int) else 0)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: Any = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from services.cli.failures import CommandError, os_error_text

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Its reader has enough, as `head` has. Nothing is left to be told, also not at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except OSError as error:
            # Commands expect those of files and sockets; what is left is an output that cannot be written.
            raise CommandError(os_error_text(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokenline", message="%(prog)s %(version)s")
def command_line() -> None:
    """Online charging for LLM tokens.

    Commands that talk to a running system find it by --data-dir, else by TOKENLINE_URL, its address for operators, and
    TOKENLINE_TOKEN (or TOKENLINE_TOKEN_FILE), else in ~/.tokenline.
    """


def main() -> None:
    """Runs the command that the arguments name and ends the process with its exit status."""
    # Until the command says otherwise, which takes it a second of imports. The first process of a container gets no signal that
    # it has not asked for, and would start and go on until it is killed.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    # gRPC's own log has a line for each handshake that fails and, as an error, for each header that is too long: as many as anybody
    # likes to begin.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal of another encoding gets a question mark for each letter that it has not got.
        sys.stdout.reconfigure(errors="replace")
    command_line(prog_name="tokenline")
