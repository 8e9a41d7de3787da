"""`hps detect`: detection over a range of a registered server, and evaluation on files."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hps_platform.cli.database import database
from hps_platform.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(no_args_is_help=True, help="Run or evaluate anomaly detection.")

_SHOWN = 20


@app.command("run")
def run(
    server: str = typer.Option(..., "--server", help="Hostname as registered."),
    start: str = typer.Option(..., "--from", help="First minute, ISO 8601; UTC unless it names a zone."),
    end: str = typer.Option(..., "--to", help="End of the range, not included."),
    budget: float | None = typer.Option(None, "--budget", min=0.001, help="Alarms allowed per day."),
    as_json: bool = typer.Option(False, "--json", help="The answer as the REST API gives it."),
) -> None:
    """Score a range with the server's champion model and keep the run."""
    from hps_platform import detection, settings
    from hps_platform.model_registry import ModelRegistry
    from hps_platform.store import servers

    span = _moment(start), _moment(end)
    chosen = settings.load()
    registry = ModelRegistry(chosen.tracking_uri, cache_dir=chosen.data_dir / "models")
    with database() as db:
        with db.connection() as conn:
            found = servers.find_server(conn, server)
        if found is None:
            raise NotFound(f"no server {server!r}: `hps server list` shows them")
        done = detection.run_on_demand(db, registry, found.id, *span, budget=budget or chosen.alert_budget)
    if as_json:
        typer.echo(json.dumps(_answer(done)))
        return
    total, found_count = done.summary["total_points"], done.summary["anomalies_detected"]
    typer.echo(
        f"{server}: {found_count} of {total} minutes are anomalous ({done.summary['anomaly_rate']} %), "
        f"model version {done.model_version}, run {done.run_id}"
    )
    _list_anomalies(done.results)


@app.command("evaluate")
def evaluate(
    train: Path = typer.Option(..., "--train", help="Parquet: `timestamp` and numeric columns."),
    test: Path = typer.Option(..., "--test", help="Parquet to score, of the same columns."),
    labels: Path | None = typer.Option(None, "--labels", help="Parquet: `timestamp` and `label` (0 or 1)."),
    causes: Path | None = typer.Option(None, "--causes", help="JSON: rows of events and the columns they show in."),
    budget: float = typer.Option(0.25, "--budget", min=0.001, help="Alarms allowed per day."),
    scores_out: Path | None = typer.Option(None, "--scores-out", help="Where to write a row per test row."),
    as_json: bool = typer.Option(False, "--json", help="The report as one JSON object."),
) -> None:
    """Fit the shipped detector on one file and score another, row by row, without looking ahead."""
    from hps_platform.analysis.evaluation import evaluate as evaluated
    from hps_platform.detection import labelled

    if causes is not None and labels is None:
        raise InvalidInput("causes are judged beside labels: give --labels as well")
    known, new = labelled.parquet(train), labelled.parquet(test)
    given = labelled.parquet(labels) if labels else None
    named = labelled.causes(causes, known) if causes else []
    done = evaluated(known, new, given, alarms_per_day=budget, causes=named)
    if scores_out is not None:
        try:
            done.scores.write_parquet(scores_out)
        except OSError as error:
            raise InvalidInput(f"{scores_out} can't be written: {error}") from error
    if as_json:
        typer.echo(json.dumps(done.report))
        return
    for name, value in {**done.report, **done.report.get("labels", {})}.items():
        if name not in ("labels", "columns"):
            typer.echo(f"{name:>22}  {value}")


@app.command("scorecard")
def scorecard(
    folder: Path = typer.Argument(help="A folder a server: train, test and labels as .parquet, perhaps causes.json."),
    budget: float = typer.Option(0.5, "--budget", min=0.001, help="Alarms allowed per day."),
    columns: str = typer.Option("", "--columns", help="Comma list of metrics; all without it."),
    as_json: bool = typer.Option(False, "--json", help="The table as one JSON object."),
) -> None:
    """Rate the seed's design, each member alone, an autoencoder and the shipped detector; means over servers."""
    from hps_platform.detection import labelled

    rated = labelled.rate(
        folder,
        budget=budget,
        columns=columns.split(",") if columns else (),
        tell=lambda server: typer.echo(server, err=True),
    )
    typer.echo(json.dumps(asdict(rated)) if as_json else rated.markdown(), nl=as_json)


def _answer(done: Any) -> dict[str, Any]:
    """What `POST /api/anomaly-detection/` answers."""
    results = []
    for row in done.results.iter_rows(named=True):
        values = {name: value for name, value in row["metric_values"].items() if value is not None}
        stamp = row["timestamp"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        results.append(
            {
                "timestamp": stamp,
                "is_anomaly": row["is_anomaly"],
                "anomaly_score": row["anomaly_score"],
                "metric_values": values,
            }
        )
    return {"results": results, "summary": done.summary, "run_id": done.run_id}


def _list_anomalies(results: "pl.DataFrame") -> None:
    from hps_platform.analysis.explain import Contribution
    from hps_platform.analysis.words import sentence

    anomalous = results.filter("is_anomaly").sort("anomaly_score")
    for row in anomalous.head(_SHOWN).iter_rows(named=True):
        parts = [Contribution(**part) for part in row["contributions"]]
        typer.echo(f"  {row['timestamp']:%Y-%m-%d %H:%M}  {row['anomaly_score']:.3f}  {sentence(parts)}")
    if len(anomalous) > _SHOWN:
        typer.echo(f"  and {len(anomalous) - _SHOWN} more; --json gives all of them")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time: write 2026-03-04T15:00 or 2026-03-04T15:00+01:00") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
