"""The command line: `hps`.

One module a topic; each is imported only when its command is used, so that `hps --help` stays quick. Errors of ours
leave here as one line and an exit code; a traceback is shown only with `--debug`.
"""

import importlib
import logging
import sys

import click
import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command

from hps_platform.errors import HpsError

# command -> (module below hps_platform.cli, what `hps --help` says of it)
_COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("stack", "Start the whole stack on this machine."),
    "down": ("stack", "End every process of the stack."),
    "status": ("stack", "State, port, memory and health of every service."),
    "logs": ("stack", "Show a service's log."),
    "doctor": ("stack", "Check what the platform needs, and say what to do."),
    "env": ("stack", "Addresses and credentials of the stack as shell exports."),
    "migrate": ("migrate", "Bring the database schema up to date."),
    "demo": ("demo", "The stack with a simulated fleet and two weeks of history."),
    "server": ("server", "The registry of servers."),
    "collect": ("collect", "Run the collector in the foreground."),
    "parse": ("parse", "Parse captured output of a command into rows."),
    "replay": ("replay", "Land a range again from Kafka."),
    "detect": ("detect", "Run or evaluate anomaly detection."),
    "models": ("models", "The registered models."),
    "user": ("accounts", "Accounts of the web app."),
    "token": ("accounts", "API tokens."),
    "bench": ("bench", "Measure, beside the machine's own ceiling."),
}


class _LazyGroup(TyperGroup):
    """Loads a topic's module when one of its commands is asked for.

    A module offers `app`, a `typer.Typer`: a topic of several words (`hps server add`) names its commands there; a
    module that serves several top-level commands has one command of that name each.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module_name, summary = _COMMANDS[cmd_name]
        if ctx.resilient_parsing:
            return click.Command(cmd_name, help=summary)
        command = get_command(importlib.import_module(f"hps_platform.cli.{module_name}").app)
        if isinstance(command, click.Group) and cmd_name in command.commands:
            return command.commands[cmd_name]
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _root(
    ctx: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks and debug logs."),
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """HPS Platform: agentless monitoring of Unix servers."""
    if version:
        from hps_platform import __version__

        typer.echo(__version__)
        raise typer.Exit
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    ctx.obj = {"debug": debug}


def main() -> None:
    """Entry point of the console script; exits 1 on an error of ours, 2 on wrong usage."""
    try:
        app(prog_name="hps")
    except HpsError as error:
        if "--debug" in sys.argv:
            raise
        Console(stderr=True, highlight=False).print(f"hps: {error}", markup=False, soft_wrap=True)
        sys.exit(1)
