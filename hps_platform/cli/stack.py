"""`hps up`, `down`, `status`, `logs`, `doctor`, `env`: the stack on this machine."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hps_platform import settings as settings_module
from hps_platform.errors import InvalidInput, NotFound, StackError
from hps_platform.settings import Settings

app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the stack keeps everything.", show_default="HPS_DATA_DIR")
]
_STYLES = {"running": "green", "external": "green", "starting": "yellow", "backoff": "red", "fatal": "red"}


def _settings(data_dir: Path | None) -> Settings:
    return settings_module.load(data_dir=data_dir) if data_dir is not None else settings_module.load()


@app.command()
def up(
    data_dir: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is well.")] = False,
) -> None:
    """Start the whole stack on this machine; in the foreground until Ctrl-C, which ends it."""
    from hps_platform import stack

    settings = _settings(data_dir)
    console = Console(highlight=False)
    if detach:
        started = stack.start(settings, progress=lambda line: console.print(f"  {line}", markup=False))
        announce(console, started.settings, started.password)
        return
    ended = threading.Event()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            return
        ended.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        started = stack.start(settings, progress=lambda line: console.print(f"  {line}", markup=False))
        announce(console, started.settings, started.password)
        console.print("Ctrl-C ends it.")
        _follow(console, settings)
    except KeyboardInterrupt:
        console.print("ending …")
        stack.stop(settings, progress=lambda line: console.print(f"  {line}", markup=False))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(console: Console, settings: Settings, password: str | None) -> None:
    """The one table of addresses, and the first account's password if it was just made."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("app", settings.app_address)
    table.add_row("API", f"{settings.app_address}/api/docs")
    table.add_row("Dagster", settings.dagster_address)
    table.add_row("MLflow", settings.tracking_uri)
    table.add_row("data", str(settings.data_dir))
    if password:
        table.add_row("sign in", f"{settings.admin_user} / {password}   (shown only now)")
    console.print(table)


def _follow(console: Console, settings: Settings) -> None:
    """Say what changes, until interrupted; starts the stack again when supervisord itself was killed."""
    from hps_platform import stack
    from hps_platform.stack.record import Record
    from hps_platform.stack.supervisor import Supervisor

    record = Record.load(settings.data_dir)
    if record is None:
        raise StackError(f"{settings.data_dir} was removed while the stack ran in it")
    supervisor = Supervisor(record)
    known: dict[str, tuple[str, int]] = {}
    while True:
        if supervisor.pid() is None:
            if not _still_wanted(settings):
                console.print("the stack was ended from elsewhere")
                return
            console.print("supervisord is gone: starting again")
            stack.start(settings, progress=lambda line: console.print(f"  {line}", markup=False))
        try:
            programs = supervisor.programs()
        except StackError:
            continue  # it is just ending: the next round sees why
        seen = {name: (program.state, program.restarts) for name, program in programs.items()}
        for name, (state, restarts) in seen.items():
            if known and known.get(name) != (state, restarts):
                console.print(f"{time.strftime('%H:%M:%S')}  {name}: {state} (restarts: {restarts})", markup=False)
        known = seen
        time.sleep(1)


def _still_wanted(settings: Settings) -> bool:
    """Whether nobody ended the stack in order: that leaves a note."""
    from hps_platform.stack.control import ended_in_order

    return not ended_in_order(settings.data_dir)


@app.command()
def down(
    data_dir: DataDir = None,
    purge: Annotated[bool, typer.Option(help="Remove all data as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    remove_fallback: Annotated[
        bool, typer.Option(hidden=True, help="Remove PostgreSQL's data where it lies outside the data directory.")
    ] = False,
) -> None:
    """End every process of the stack. Data stays unless --purge is given."""
    from hps_platform import stack
    from hps_platform.stack import control, unprivileged

    settings = _settings(data_dir)
    if purge and not yes:
        typer.confirm(f"Remove everything in {settings.data_dir}?", abort=True)
    if not stack.stop(settings, progress=typer.echo):
        typer.echo("nothing was running")
    removed = control.purge(settings) if purge else []
    if remove_fallback:
        removed += unprivileged.remove_fallback(settings.data_dir)
    for folder in removed:
        typer.echo(f"removed {folder}")


@app.command()
def status(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """State, port, memory and health of every service; exit code 1 unless all are well."""
    from hps_platform import stack
    from hps_platform.stack import control

    statuses = stack.status(_settings(data_dir))
    if as_json:
        typer.echo(json.dumps(control.as_json(statuses)))
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("service", "state", "pid", "port", "memory", "restarts", "address", "health"):
            table.add_column(heading, justify="right" if heading in ("pid", "port", "memory", "restarts") else "left")
        for one in statuses:
            style = _STYLES.get(one.state, "") if one.healthy else "red"
            state = f"[{style}]{one.state}[/]" if style else one.state
            memory = f"{one.rss_mb:.0f} MB" if one.pid else ""
            numbers = [str(one.pid or ""), str(one.port or ""), memory, str(one.restarts)]
            table.add_row(one.name, state, *numbers, one.url or "", one.message.replace("[", r"\["))
        Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
    if not all(one.healthy for one in statuses):
        raise typer.Exit(1)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="Name as in hps status, or supervisord.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
    data_dir: DataDir = None,
) -> None:
    """Show the end of a service's log."""
    from hps_platform.stack import logs as reading

    folder = _settings(data_dir).data_dir / "logs"
    path = folder / f"{service}.log"
    if path.parent != folder or not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.log"))) or "none yet"
        raise NotFound(f"there is no log of {service!r}; logs: {known}")
    for line in reading.last_lines(path, lines):
        typer.echo(line)
    if follow:
        try:
            for text in reading.grown(path):
                typer.echo(text, nl=False)
        except KeyboardInterrupt:
            raise typer.Exit from None


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check what the platform needs; names what is missing and the one thing to do about it."""
    from hps_platform.stack.doctor import examine

    findings = examine(_settings(data_dir))
    for finding in findings:
        mark = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}[finding.level]
        typer.echo(f"{mark}  {finding.subject}: {finding.found}")
        if finding.to_do:
            typer.echo(f"         -> {finding.to_do}")
    if any(finding.level == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command()
def env(data_dir: DataDir = None) -> None:
    """Addresses and credentials as shell exports: eval "$(hps env)"."""
    settings = _settings(data_dir)
    if not (settings.data_dir / settings_module.RECORD).exists() and not settings.database_host:
        raise InvalidInput(f"no stack was started in {settings.data_dir} yet: hps up")
    for name, value in exports(settings).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if os.environ.get("HPS_DATA_DIR") or data_dir:
        typer.echo(f"export HPS_DATA_DIR={shlex.quote(str(settings.data_dir))}")


def exports(settings: Settings) -> dict[str, str]:
    """The variables of `hps env`, so that psql, a Kafka client or a notebook connect at once."""
    return {
        "PGHOST": settings.database_host or "127.0.0.1",
        "PGPORT": str(settings.database_port if settings.database_host else settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password.get_secret_value(),
        "PGDATABASE": settings.postgres_db,
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "HPS_URL": settings.app_address,
        "HPS_DAGSTER_URL": settings.dagster_address,
    }
