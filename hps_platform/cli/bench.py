"""`hps bench`: measures, tells its progress on stderr, prints one JSON object on stdout."""

import json
import logging
import sys
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _progress_only() -> None:
    """How fast the platform's parts are on this machine."""
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  progress of a long command


def _print(report: dict[str, Any]) -> None:
    typer.echo(json.dumps(report, indent=1))


@app.command()
def collect(
    hosts: Annotated[int, typer.Option(min=1, max=5000, help="How many simulated hosts.")] = 1000,
    seconds: Annotated[float, typer.Option(min=5, help="How long to measure, after all hosts are up.")] = 420,
    floor: Annotated[bool, typer.Option(help="Measure bare channels too.")] = True,
) -> None:
    """CPU, memory, slip and losses of a collector that holds many hosts at 2 s."""
    from hps_platform.stack.bench import collect as bench

    _print(bench.run(hosts=hosts, seconds=seconds, measure_floor=floor, tell=_tell))


@app.command()
def ingest(
    rows: Annotated[int, typer.Option(min=10_000, help="How many rows to land in each shape.")] = 6_000_000,
    servers: Annotated[int, typer.Option(min=1, max=100_000, help="Of how many servers they are.")] = 2000,
    preload: Annotated[int, typer.Option(min=0, help="Rows of other servers already in the day's partition.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of ceiling and landing; the median counts.")] = 3,
    groups: Annotated[int, typer.Option(min=1, max=12, help="Landing runs that share the partitions.")] = 2,
    steady_seconds: Annotated[float, typer.Option(min=0, help="How long the steady load lasts; 0: none.")] = 300,
) -> None:
    """Rows a second that landing takes, beside what PostgreSQL takes by itself; age of rows under a steady load."""
    from hps_platform.stack.bench import ingest as bench

    _print(
        bench.run(
            rows=rows,
            servers=servers,
            preload=preload,
            rounds=rounds,
            groups=groups,
            steady_s=steady_seconds,
            tell=_tell,
        )
    )


@app.command()
def parse(
    seconds: Annotated[float, typer.Option(min=0.05, help="CPU time for each command.")] = 1,
) -> None:
    """Rows and megabytes a second that one core parses, by command."""
    from hps_platform.stack.bench import parse as bench

    _print(bench.run(seconds=seconds, tell=_tell))


@app.command()
def score(
    rows: Annotated[int, typer.Option(min=2000, help="How many rows to train on, and to judge.")] = 20_000,
    columns: Annotated[int, typer.Option(min=1, max=200, help="How many metrics.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of training and judging; the best counts.")] = 3,
) -> None:
    """Rows a second that one core judges, milliseconds for a single row, seconds of training."""
    from hps_platform.stack.bench import score as bench

    _print(bench.run(rows=rows, columns=columns, rounds=rounds, tell=_tell))


@app.command()
def target(
    seconds: Annotated[float, typer.Option(min=5, help="How long to measure.")] = 300,
) -> None:
    """Logins and CPU on a host that is collected from at 2 s: this machine, through an SSH server of its own."""
    from hps_platform.stack.bench import target as bench

    _print(bench.run(seconds=seconds, tell=_tell))


@app.command()
def query(
    servers: Annotated[int, typer.Option(min=1, max=5000, help="How many servers.")] = 200,
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two samples.")] = 4,
    days: Annotated[float, typer.Option(min=0.01, help="Days of raw rows at scale 1.")] = 1,
    scales: Annotated[str, typer.Option(help="Comma list of multiples of that.")] = "1,3,10",
    rollup_days: Annotated[int, typer.Option(min=2, help="Days that the rollups cover.")] = 90,
    runs: Annotated[int, typer.Option(min=1, help="Warm runs of each question.")] = 50,
    cold_runs: Annotated[int, typer.Option(min=1, help="Cold runs of each question.")] = 4,
) -> None:
    """Questions of the app over a history that grows: warm, cold, and put to the raw table."""
    from hps_platform.stack.bench import query as bench

    multiples = sorted(int(word) for word in scales.split(","))
    _print(
        bench.run(
            servers=servers,
            interval_s=interval,
            days=days,
            scales=multiples,
            rollup_days=rollup_days,
            runs=runs,
            cold_runs=cold_runs,
            tell=_tell,
        )
    )
