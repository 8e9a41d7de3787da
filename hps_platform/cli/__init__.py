"""The command line: `hps`.

One module a topic; each is imported only when its command is used, so that `hps --help` stays quick. Errors of ours
leave here as one line and an exit code; a traceback is shown only with `--debug`.
"""

import importlib
import logging
import sys

import typer
from rich.console import Console
from typer.models import CommandInfo

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
    "keys": ("keys", "Keys that secrets are encrypted under."),
    "collect": ("collect", "Run the collector in the foreground."),
    "parse": ("parse", "Parse captured output of a command into rows."),
    "replay": ("replay", "Land a range again from Kafka."),
    "archive": ("archive", "Archived days, and bringing one back."),
    "export": ("export", "Samples of a range as CSV, JSON, NDJSON or Parquet."),
    "detect": ("detect", "Run or evaluate anomaly detection."),
    "forecast": ("forecast", "The days ahead of servers, and when they reach their limits."),
    "models": ("models", "The registered models."),
    "bench": ("bench", "Measure parts of the platform on this machine."),
    "user": ("accounts", "Accounts of the web app."),
    "token": ("accounts", "API tokens."),
}


def commands() -> frozenset[str]:
    """The names of all commands."""
    return frozenset(_COMMANDS)


def application(chosen: str | None) -> typer.Typer:
    """The command line with the chosen command loaded; of the others it only knows what `--help` says."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, (_, summary) in _COMMANDS.items():
        if name != chosen:
            app.command(name, help=summary)(lambda: None)
            continue
        topic = _load(name)
        own = [entry for entry in topic.registered_commands if _name_of(entry) == name]
        if own:
            app.registered_commands.append(own[0])
        else:
            app.add_typer(topic, name=name, help=summary, no_args_is_help=True)
    return app


def _load(name: str) -> typer.Typer:
    """The command's own Typer.

    A topic's module offers `app`: with the topic's commands (`hps server add`), or with one command of each name
    that `_COMMANDS` gives to the module. Where a module serves two topics, `app` holds one Typer for each.
    """
    topic: typer.Typer = importlib.import_module(f"hps_platform.cli.{_COMMANDS[name][0]}").app
    for group in topic.registered_groups:
        if group.name == name and group.typer_instance is not None:
            return group.typer_instance
    return topic


def _name_of(entry: CommandInfo) -> str | None:
    if entry.name:
        return entry.name
    return entry.callback.__name__.replace("_", "-") if entry.callback else None


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
    if not debug:
        logging.getLogger("httpx").setLevel(logging.WARNING)
    ctx.obj = {"debug": debug}


def main() -> None:
    """Entry point of the console script; exits 1 on an error of ours, 2 on wrong usage."""
    try:
        application(next((word for word in sys.argv[1:] if not word.startswith("-")), None))(prog_name="hps")
    except HpsError as error:
        if "--debug" in sys.argv:
            raise
        Console(stderr=True, highlight=False).print(f"hps: {error}", markup=False, soft_wrap=True)
        sys.exit(1)
