"""`hps replay`: lands a range of time again from Kafka."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from hps_platform.errors import InvalidInput

app = typer.Typer()


def _moment(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time: write it like 2025-01-31T12:00:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


@app.command()
def replay(
    family: Annotated[str, typer.Option(help="Family to land again: vmstat, iostat, …")],
    start: Annotated[str, typer.Option("--from", help="First moment, UTC unless it says otherwise")],
    end: Annotated[str, typer.Option("--to", help="First moment after the range")],
    reparse: Annotated[
        bool, typer.Option(help="Make the rows anew from the kept raw text; those that come out differently change.")
    ] = False,
) -> None:
    """Land a range again from Kafka. Rows that are there stay as they are; missing ones come back."""
    from hps_platform import landing, settings

    chosen = settings.load()
    report = landing.replay(chosen.dsn(), chosen.bootstrap, family, _moment(start), _moment(end), reparse=reparse)
    typer.echo(
        f"{report.family}: {report.messages} messages read, {report.rows} rows landed,"
        f" {report.duplicates} there already, {report.rejected} new dead letters"
    )
    if reparse:
        typer.echo(f"{report.changed} messages came out differently, {report.unreadable} could not be read and stay")
        typer.echo(f"{report.letters} dead letters were understood and sent again")
    if report.kept_since is not None:
        typer.echo(
            f"Kafka keeps messages since {report.kept_since:%Y-%m-%dT%H:%M:%SZ}: of earlier ones nothing was read"
        )
