"""What model files are: the SHA-256 of each registered version, so that no other file is ever loaded."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from hps_platform.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class ModelFile:
    name: str
    version: int
    sha256: str
    created_at: datetime


def register_model_file(conn: Connection[Any], name: str, version: int, sha256: str) -> None:
    """Notes a file once; a version's hash never changes afterwards."""
    conn.execute("INSERT INTO model_files (name, version, sha256) VALUES (%s, %s, %s)", (name, version, sha256))


def model_file(conn: Connection[Any], name: str, version: int) -> ModelFile:
    with conn.cursor(row_factory=class_row(ModelFile)) as cursor:
        found = cursor.execute("SELECT * FROM model_files WHERE name = %s AND version = %s", (name, version)).fetchone()
    if found is None:
        raise ModelNotFound(f"version {version} of {name} was not registered by this platform")
    return found


def newest(conn: Connection[Any]) -> dict[str, ModelFile]:
    """The newest file of each model, by model name."""
    with conn.cursor(row_factory=class_row(ModelFile)) as cursor:
        rows = cursor.execute("SELECT DISTINCT ON (name) * FROM model_files ORDER BY name, version DESC").fetchall()
    return {row.name: row for row in rows}
