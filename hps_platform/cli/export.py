"""`hps export`: a range of samples into a file or onto stdout."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from hps_platform.cli.database import database
from hps_platform.errors import InvalidInput

app = typer.Typer()


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--{name} {text!r} is no moment: write it like 2025-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@app.command()
def export(
    family: Annotated[str, typer.Option("--family", "--metric", help="vmstat, iostat, netstat, process, …")],
    server: Annotated[list[str] | None, typer.Option(help="Host name or id; repeat it; all if left out.")] = None,
    start: Annotated[str, typer.Option("--from", help="Beginning; an hour before the end if left out.")] = "",
    end: Annotated[str, typer.Option("--to", help="End; now if left out.")] = "",
    interval: Annotated[str, typer.Option(help="10s, 5m, 1h, 1d; else samples as taken.")] = "",
    columns: Annotated[str, typer.Option(help="Comma list; all if left out.")] = "",
    agg: Annotated[str, typer.Option(help="mean, min, max, p95, sum, rate.")] = "mean",
    timezone: Annotated[str, typer.Option(help="Where days begin.")] = "UTC",
    form: Annotated[str, typer.Option("--format", help="csv, json, ndjson, parquet.")] = "csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else stdout.")] = None,
) -> None:
    """Writes a range of any length, with what was asked, units and completeness before the rows."""
    from hps_platform import history
    from hps_platform.store import servers

    until = _moment(end, "to") if end else datetime.now(UTC)
    since = _moment(start, "from") if start else until - timedelta(hours=1)
    with database("hps export") as db:
        with db.connection() as conn:
            known = servers.list_servers(conn)
        ids = [_server_id(word, {one.hostname: one.id for one in known}) for word in server or ()]
        chosen = [word for word in columns.split(",") if word] or None
        question = history.asked(
            family,
            ids or [one.id for one in known],
            since,
            until,
            columns=chosen,
            interval=interval or None,
            agg=agg,
            zone=timezone,
        )
        pieces = history.export(db, question, form)
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            return
        with output.open("wb") as file:
            file.writelines(pieces)


def _server_id(word: str, known: dict[str, int]) -> int:
    if word in known:
        return known[word]
    if word.isdecimal() and int(word) in known.values():
        return int(word)
    raise InvalidInput(f"there is no server {word!r}: `hps server list` shows them")
