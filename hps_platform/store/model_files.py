"""What is known of models beside MLflow: the SHA-256 of each version's file, so that no other is ever loaded; which
versions became champion or did not, and why; and how far each server has drifted from what its champion learnt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from hps_platform.errors import ModelNotFound

PROMOTED, REJECTED, ROLLED_BACK, BORROWED = "promoted", "rejected", "rolled_back", "borrowed"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """`reference`: see `hps_platform.analysis.drift`; `borrowed_from`: the server whose model this is a copy of;
    `made_by`: the program that wrote the file, see `hps_platform.model_registry.maker`."""

    name: str
    version: int
    sha256: str
    created_at: datetime
    reference: dict[str, Any] | None = None
    borrowed_from: int | None = None
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A version became champion (`promoted`, `rolled_back`, `borrowed`) or was `rejected`, with the reason."""

    model: str
    version: int
    event: str
    reason: str
    metrics: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """Population stability indexes of a server's last days against the minutes that `version` learnt from."""

    model: str
    version: int
    features: dict[str, float]
    score: float | None
    drifted: bool
    measured_at: datetime


def register_model_file(
    conn: Connection[Any],
    name: str,
    version: int,
    sha256: str,
    *,
    made_by: str | None = None,
    reference: Mapping[str, Any] | None = None,
    borrowed_from: int | None = None,
) -> None:
    """Notes a file once; a version's hash never changes afterwards."""
    known = Jsonb(dict(reference)) if reference is not None else None
    conn.execute(
        "INSERT INTO model_files (name, version, sha256, made_by, reference, borrowed_from)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (name, version, sha256, made_by, known, borrowed_from),
    )


def model_file(conn: Connection[Any], name: str, version: int) -> ModelFile:
    with conn.cursor(row_factory=class_row(ModelFile)) as cursor:
        found = cursor.execute("SELECT * FROM model_files WHERE name = %s AND version = %s", (name, version)).fetchone()
    if found is None:
        raise ModelNotFound(f"version {version} of {name} was not registered by this platform")
    return found


def newest(conn: Connection[Any]) -> dict[str, ModelFile]:
    """The newest file of each model, by model name, without its `reference`."""
    with conn.cursor(row_factory=class_row(ModelFile)) as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT ON (name) name, version, sha256, created_at, borrowed_from FROM model_files"
            " ORDER BY name, version DESC"
        ).fetchall()
    return {row.name: row for row in rows}


def note_event(
    conn: Connection[Any], model: str, version: int, event: str, reason: str, metrics: Mapping[str, Any] | None = None
) -> ModelEvent:
    with conn.cursor(row_factory=class_row(ModelEvent)) as cursor:
        cursor.execute(
            """
            INSERT INTO model_events (model, version, event, reason, metrics) VALUES (%s, %s, %s, %s, %s)
            RETURNING model, version, event, reason, metrics, at
            """,
            (model, version, event, reason, Jsonb(dict(metrics or {}))),
        )
        return cursor.fetchall()[0]


def events(conn: Connection[Any], model: str | None = None, limit: int = 1_000) -> list[ModelEvent]:
    """Events of one model, or of all, newest first."""
    with conn.cursor(row_factory=class_row(ModelEvent)) as cursor:
        return cursor.execute(
            """
            SELECT model, version, event, reason, metrics, at FROM model_events
            WHERE %(model)s::text IS NULL OR model = %(model)s ORDER BY id DESC LIMIT %(limit)s
            """,
            {"model": model, "limit": limit},
        ).fetchall()


def last_events(conn: Connection[Any]) -> dict[str, ModelEvent]:
    """The newest event of each model, by model name."""
    with conn.cursor(row_factory=class_row(ModelEvent)) as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT ON (model) model, version, event, reason, metrics, at FROM model_events"
            " ORDER BY model, id DESC"
        ).fetchall()
    return {row.model: row for row in rows}


def champion_before(conn: Connection[Any], model: str, version: int) -> int | None:
    """The newest version below this one that was champion once; None without one.

    Of versions from before events were kept, every one was.
    """
    row = conn.execute(
        """
        SELECT max(f.version) FROM model_files f
        WHERE f.name = %(model)s AND f.version < %(version)s AND (
            EXISTS (SELECT FROM model_events e
                    WHERE e.model = f.name AND e.version = f.version AND e.event <> 'rejected')
            OR NOT EXISTS (SELECT FROM model_events e WHERE e.model = f.name AND e.version = f.version))
        """,
        {"model": model, "version": version},
    ).fetchone()
    return row[0] if row else None


def keep_drift(conn: Connection[Any], found: ModelDrift) -> None:
    """Notes a model's drift in place of what was measured before."""
    conn.execute(
        """
        INSERT INTO model_drift (model, version, features, score, drifted, measured_at) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (model) DO UPDATE SET version = excluded.version, features = excluded.features,
            score = excluded.score, drifted = excluded.drifted, measured_at = excluded.measured_at
        """,
        (found.model, found.version, Jsonb(found.features), found.score, found.drifted, found.measured_at),
    )


def drifts(conn: Connection[Any]) -> dict[str, ModelDrift]:
    """What was last measured, by model name."""
    with conn.cursor(row_factory=class_row(ModelDrift)) as cursor:
        rows = cursor.execute(
            "SELECT model, version, features, score, drifted, measured_at FROM model_drift ORDER BY model"
        ).fetchall()
    return {row.model: row for row in rows}
