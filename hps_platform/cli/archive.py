"""`hps archive`: the days that are kept as files, and bringing one back."""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hps_platform.cli.database import database
from hps_platform.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from hps_platform.store.archive.records import ArchivedDay

app = typer.Typer(no_args_is_help=True)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no day: write it like 2025-01-31") from None


def _where(one: "ArchivedDay") -> str:
    if one.damage:
        return f"DAMAGED: {one.damage}"
    if one.dropped_at:
        return "archive"
    return f"archive and tables until {one.keep_until}" if one.keep_until else "archive and tables"


@app.command("list")
def list_days(
    family: Annotated[str, typer.Option(help="Only this family.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the files' addresses.")] = False,
) -> None:
    """Archived days: rows, size, messages whose text is kept, and where the rows are."""
    from dataclasses import asdict

    import orjson

    from hps_platform import metrics
    from hps_platform.store.archive import records

    if family:
        metrics.family(family)
    with database("hps archive") as db, db.connection() as conn:
        found = records.listing(conn, family or None)
    if as_json:
        for one in found:
            typer.echo(orjson.dumps(asdict(one)).decode())
        return
    table = Table("family", "day", "rows", "MB", "texts", "rows are in")
    for one in found:
        size = f"{(one.bytes + one.raw_bytes) / 1e6:.1f}"
        table.add_row(
            one.family, str(one.day), f"{one.rows:,}", size, f"{one.raw_messages:,} of {one.messages:,}", _where(one)
        )
    Console(soft_wrap=True).print(table if found else "nothing is archived yet")


@app.command()
def restore(
    day: Annotated[str, typer.Option(help="The day (UTC), like 2025-01-31.")],
    family: Annotated[str, typer.Option(help="Only this family; else all that are archived.")] = "",
    keep_days: Annotated[int, typer.Option(min=1, help="Days that it stays in the tables.")] = 7,
) -> None:
    """Bring an archived day back into the tables. Rows that are there stay as they are."""
    from hps_platform import metrics, retention, settings
    from hps_platform.store.archive import records
    from hps_platform.store.database import session

    chosen = _day(day)
    until = datetime.now(UTC).date() + timedelta(days=keep_days)
    with database("hps archive"):  # says what to do where none answers
        pass
    with session(settings.load().dsn(), application_name="hps archive") as conn:
        wanted = [metrics.family(family)] if family else list(metrics.FAMILIES.values())
        found = [one for one in wanted if family or records.find(conn, one.name, chosen)]
        if not found:
            raise NotFound(f"no family's {chosen} is archived: `hps archive list` shows what is")
        for one in found:
            rows = retention.restore(conn, one, chosen, until)
            typer.echo(f"{one.name} {chosen}: {rows} rows restored, kept until {until}")
