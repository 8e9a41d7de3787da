"""`hps parse`: a captured output in, rows out."""

import sys
from pathlib import Path

import orjson
import typer

from hps_platform.dialects import SYSTEMS, Outcome, Parsed, parse

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_CODES = {Outcome.ROWS: 0, Outcome.NO_DATA: 3, Outcome.FAILED: 4, Outcome.UNKNOWN: 5}


@app.command("parse", help="Parse captured output of a command into rows.")
def parse_command(
    os: str = typer.Option(..., "--os", help=f"Operating system that printed it: {', '.join(SYSTEMS)}."),
    command: str = typer.Option(..., "--command", help="Command line that printed it."),
    file: Path | None = typer.Argument(None, help="The output; standard input when left out."),
) -> None:
    """Prints rows as NDJSON. Exit 0: rows; 3: no data; 4: a failed command's message; 5: unknown dialect."""
    try:
        raw = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error
    # A banner may be in any encoding; the tables are ASCII.
    text = raw.decode("utf-8", errors="replace")
    if os in SYSTEMS:
        parsed = parse(os, command, text)
    else:
        parsed = Parsed(Outcome.UNKNOWN, None, [], f"no dialect for {os!r}: there are {', '.join(SYSTEMS)}")
    for row in parsed.rows:
        sys.stdout.buffer.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()
    if parsed.message:
        typer.echo(f"{parsed.outcome.value.replace('_', ' ')}: {parsed.message}", err=True)
    if parsed.duplicates:
        typer.echo(f"{parsed.duplicates} rows came twice in one sample; the last ones were kept", err=True)
    raise typer.Exit(_EXIT_CODES[parsed.outcome])
