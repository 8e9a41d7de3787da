"""`hps models`: the registry's view of every server's models."""

import json
from typing import TYPE_CHECKING, Any

import typer

from hps_platform.cli.database import database
from hps_platform.errors import NotFound

if TYPE_CHECKING:
    from hps_platform.detection import ModelEvent
    from hps_platform.model_registry import ModelRegistry, Version

_MODEL = typer.Argument(..., help="Hostname, server id or model name.")
app = typer.Typer(no_args_is_help=True, help="The registered models.")


@app.command("list")
def list_models(as_json: bool = typer.Option(False, "--json", help="One JSON object a model, as a list.")) -> None:
    """The champion of every server, and what last happened to its models."""
    from hps_platform import detection

    registry = _registry()
    with database() as db:
        happened = detection.last_events(db)
    rows = []
    for name, version in sorted(registry.champions().items(), key=lambda item: _server_id(item[0])):
        last = happened.get(name)
        rows.append({**_row(registry.version(name, version)), "last_event": _event(last) if last else None})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("no models yet: a server gets one after 24 hours of samples")
        return
    typer.echo(f"{'MODEL':<10} {'HOST':<20} {'VERSION':>7}  {'TRAINED':<20} {'FROM':<20} {'ROWS':>7}  LAST EVENT")
    for row in rows:
        typer.echo(
            f"{row['name']:<10} {row['hostname']:<20} {row['version']:>7}  {row['trained_at']:<20} "
            f"{row['training_start']:<20} {row['training_rows']:>7}  {_told(row['last_event'])}"
        )


@app.command("show")
def show_model(
    model: str = _MODEL,
    as_json: bool = typer.Option(False, "--json", help="As one JSON object."),
) -> None:
    """Every version of a server's model, what happened to them, and what its champion was made of."""
    from hps_platform import detection

    registry = _registry()
    name = _name(model)
    with database() as db:
        happened = [_event(one) for one in detection.model_events(db, name)]
    versions = registry.versions(name)
    champion = next((one for one in versions if "champion" in one.aliases), None)
    parameters, metrics = registry.run(champion.run_id) if champion else ({}, {})
    if as_json:
        content = {
            "name": name,
            "versions": [_row(one) for one in versions],
            "events": happened,
            "parameters": parameters,
            "metrics": metrics,
        }
        typer.echo(json.dumps(content))
        return
    for one in versions:
        row = _row(one)
        mark = " ".join(one.aliases)
        typer.echo(f"{name} version {one.version:<4} {row['trained_at']}  {row['training_rows']:>7} rows  {mark}")
    for event in happened:
        typer.echo(f"  {event['at']}  {_told(event)}")
    for key, value in sorted({**parameters, **metrics}.items()):
        typer.echo(f"  {key:<22} {value:.4g}" if isinstance(value, float) else f"  {key:<22} {value}")


@app.command("promote")
def promote_model(
    model: str = _MODEL,
    version: int = typer.Argument(..., min=1, help="The version that becomes the champion."),
    reason: str = typer.Option("by hand", "--reason", help="Why; it is kept with the event."),
    as_json: bool = typer.Option(False, "--json", help="The event as a JSON object."),
) -> None:
    """Makes a version the champion, whatever the gate said of it."""
    from hps_platform import detection

    name = _name(model)
    with database() as db:
        event = _event(detection.promote(db, _registry(), name, version, reason))
    typer.echo(json.dumps(event) if as_json else f"{name}: version {version} is the champion now")


@app.command("rollback")
def roll_back_model(
    model: str = _MODEL,
    version: int | None = typer.Option(None, "--version", min=1, help="An earlier version; default: the one before."),
    reason: str = typer.Option("", "--reason", help="Why; it is kept with the event."),
    as_json: bool = typer.Option(False, "--json", help="The event as a JSON object."),
) -> None:
    """Brings the champion before the present one back; the next minutes are scored with it."""
    from hps_platform import detection

    name = _name(model)
    with database() as db:
        event = _event(detection.rollback(db, _registry(), name, version, reason))
    typer.echo(json.dumps(event) if as_json else f"{name}: version {event['version']} is the champion again")


def _registry() -> "ModelRegistry":
    from hps_platform import settings
    from hps_platform.model_registry import ModelRegistry

    chosen = settings.load()
    return ModelRegistry(chosen.tracking_uri, cache_dir=chosen.data_dir / "models")


def _name(model: str) -> str:
    """The model's name, from the hostname where it is none and no number."""
    if model.startswith("hps.") and model[4:].isdigit():
        return model
    if model.isdigit():
        return f"hps.{model}"
    from hps_platform.store import servers

    with database() as db, db.connection() as conn:
        found = servers.find_server(conn, model)
    if found is None:
        raise NotFound(f"no server {model!r}: `hps server list` shows them")
    return f"hps.{found.id}"


def _row(version: "Version") -> dict[str, Any]:
    return {
        "name": version.name,
        "server_id": _server_id(version.name),
        "hostname": version.tags.get("hostname", ""),
        "version": version.version,
        "aliases": list(version.aliases),
        "trained_at": f"{version.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "training_start": version.tags.get("training_start", ""),
        "training_end": version.tags.get("training_end", ""),
        "training_rows": int(version.tags.get("training_rows", "0")),
        "sha256": version.tags.get("sha256", ""),
        "gate": version.tags.get("gate", ""),
        "borrowed_from": version.tags.get("borrowed_from"),
    }


def _event(event: "ModelEvent") -> dict[str, Any]:
    return {
        "version": event.version,
        "event": event.event,
        "reason": event.reason,
        "metrics": event.metrics,
        "at": f"{event.at:%Y-%m-%dT%H:%M:%SZ}",
    }


def _told(event: dict[str, Any] | None) -> str:
    return f"version {event['version']} {event['event'].replace('_', ' ')}: {event['reason']}" if event else ""


def _server_id(name: str) -> int:
    text = name.removeprefix("hps.")
    return int(text) if text.isdigit() else 0
