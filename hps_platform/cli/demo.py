"""`hps demo`: the platform with a simulated fleet, days of history, models and anomalies; and how well it did."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from hps_platform import settings as platform_settings
from hps_platform.errors import InvalidInput

app = typer.Typer()


@app.command()
def demo(
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same fleet and incidents.")] = 1,
    days: Annotated[float, typer.Option(min=2, max=60, help="Days of history to prepare.")] = 14,
    score: Annotated[bool, typer.Option("--score", help="Score the detector on the simulator's timetable.")] = False,
    seeds: Annotated[str, typer.Option(help="With --score: other seeds, comma-separated, without a stack.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="With --score: print JSON.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
) -> None:
    """The whole stack with a simulated fleet over real SSH, days of history, and models; leaves it running."""
    loaded = platform_settings.load(**({"data_dir": data_dir} if data_dir else {}))
    if score:
        _score(loaded, seeds, days, as_json)
        return
    if seeds or as_json:
        raise InvalidInput("--seeds and --json go with --score")
    _demo(loaded, seed, days)


def _demo(loaded: platform_settings.Settings, seed: int, days: float) -> None:
    from hps_platform.stack import demo as steps

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as bar:
        task = bar.add_task("starting", total=1.0)
        shown = ""

        def echo(message: str, done: float) -> None:
            nonlocal shown
            bar.update(task, description=message, completed=done)
            what = message.partition(":")[0]
            if not console.is_terminal and what != shown:
                shown = what
                console.print(what)

        def ready(summary: steps.Ready) -> None:
            console.print(_table(summary))

        steps.run(loaded, seed=seed, days=days, echo=echo, ready=ready)
    console.print("History and models are complete. Look at:")
    console.print("  Overview    the fleet, worst first; open a server with trouble")
    console.print("  Live        choose three servers: a point every two seconds")
    console.print("  Anomalies   what was found in the history, and why")
    console.print("Forecasts are being made and follow within minutes: hps forecast shows them.")
    console.print("The stack goes on running: hps status shows it, hps down ends it.")
    console.print("hps demo --score rates the detector against the simulator's timetable.")


def _table(summary: Any) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in summary.rows():
        table.add_row(name, value)
    return table


def _score(loaded: platform_settings.Settings, seeds: str, days: float, as_json: bool) -> None:
    from hps_platform.stack import scoring

    if seeds:
        try:
            numbers = [int(part) for part in seeds.split(",")]
        except ValueError:
            raise InvalidInput(f"--seeds={seeds!r}: give whole numbers, comma-separated") from None
        cards = {
            str(number): scoring.offline(
                number,
                days=days,
                budget=loaded.alert_budget,
                tell=lambda text: print(text, file=sys.stderr),  # noqa: T201 - progress of a long command
            )
            for number in numbers
        }
    else:
        cards = {"demo": scoring.of_stack(loaded)}
    if as_json:
        typer.echo(json.dumps({name: card.summary() for name, card in cards.items()}, indent=1))
        return
    for name, card in cards.items():
        typer.echo(f"{name}:")
        for measure, value in card.summary().items():
            typer.echo(f"  {measure.replace('_', ' '):28} {value}")
