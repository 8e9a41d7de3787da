"""Fixtures of the detection tests: a platform with one trained server, shared because training takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from hps_platform import detection
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import rollups, servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform_tests.integration.detection import samples
from hps_platform_tests.integration.services import NewDatabase


@dataclass(frozen=True)
class Platform:
    db: Database
    registry: ModelRegistry
    cache: Path
    busy: int
    young: int
    empty: int


@pytest.fixture(scope="module")
def platform(
    new_migrated: NewDatabase, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """Three servers: three days of samples (the last two hours not yet rolled up), two hours, and none."""
    box = SecretBox(Fernet.generate_key().decode())
    cache = tmp_path_factory.mktemp("models")
    with Database(new_migrated()) as db:
        with db.connection() as conn:
            ids = [
                servers.add_server(conn, box, {"hostname": host, "ssh_username": "monitor"}).id
                for host in ("busy", "young", "empty")
            ]
            rows = samples.frames(ids[0], 3)
            cut = samples.START + timedelta(days=3, hours=-2)
            samples.land(conn, {name: frame.filter(frame["timestamp"] < cut) for name, frame in rows.items()})
        with db.connection() as conn:
            rollups.refresh(conn)
        with db.connection() as conn:
            samples.land(conn, {name: frame.filter(frame["timestamp"] >= cut) for name, frame in rows.items()})
            young = samples.frames(ids[1], 2 / 24, start=samples.START + timedelta(days=2, hours=22))
            samples.land(conn, young)
        registry = ModelRegistry(mlflow_uri, cache_dir=cache)
        detection.train_all(db, registry, now=samples.START + timedelta(days=3), days=14)
        yield Platform(db, registry, cache, *ids)
