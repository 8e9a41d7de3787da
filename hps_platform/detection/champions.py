"""Champions set by hand: a version promoted past the gate, the one before brought back, and the events that tell.

Each change is an event with its reason, in PostgreSQL and as tags of the version in MLflow.
"""

from hps_platform.errors import Conflict, InvalidInput
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import model_files
from hps_platform.store.database import Database
from hps_platform.store.model_files import ModelEvent


def promote(db: Database, registry: ModelRegistry, name: str, version: int, reason: str) -> ModelEvent:
    """Makes a version the champion whatever the gate said. `ModelNotFound` unless this platform registered it,
    `Conflict` when it is champion already."""
    return _make_champion(db, registry, name, version, model_files.PROMOTED, reason)


def rollback(
    db: Database, registry: ModelRegistry, name: str, version: int | None = None, reason: str = ""
) -> ModelEvent:
    """Brings the champion before the present one back, or `version`, which must be an earlier one.

    `Conflict` when there is none. Rolling back again goes farther back; training goes on as before, and its next
    version faces the restored champion.
    """
    current = registry.champions().get(name)
    if current is None:
        raise Conflict(f"{name} has no champion to roll back")
    if version is None:
        with db.connection() as conn:
            version = model_files.champion_before(conn, name, current)
        if version is None:
            raise Conflict(f"{name} version {current} is the first champion: there is none to go back to")
    elif version >= current:
        raise InvalidInput(f"version {version} is no earlier one than the champion, version {current}: use promote")
    told = f"rolled back from version {current}" + (f": {reason}" if reason else "")
    return _make_champion(db, registry, name, version, model_files.ROLLED_BACK, told)


def events(db: Database, name: str | None = None) -> list[ModelEvent]:
    """What happened to one model, or to all, newest first."""
    with db.connection() as conn:
        return model_files.events(conn, name)


def rejected(db: Database) -> list[ModelEvent]:
    """The last event of each model whose newest word is that a challenger was rejected."""
    with db.connection() as conn:
        newest = model_files.last_events(conn).values()
    return [event for event in newest if event.event == model_files.REJECTED]


def last_events(db: Database) -> dict[str, ModelEvent]:
    """The newest event of each model, by model name."""
    with db.connection() as conn:
        return model_files.last_events(conn)


def _make_champion(
    db: Database, registry: ModelRegistry, name: str, version: int, event: str, reason: str
) -> ModelEvent:
    with db.connection() as conn:
        file = model_files.model_file(conn, name, version)
    if registry.champions().get(name) == version:
        raise Conflict(f"{name} version {version} is the champion already")
    # A champion that can't be opened would end the scoring of its server.
    registry.load(name, version, file.sha256)
    registry.promote(name, version)
    registry.tag(name, version, {"gate": event, "gate_reason": reason})
    with db.connection() as conn:
        return model_files.note_event(conn, name, version, event, reason)
