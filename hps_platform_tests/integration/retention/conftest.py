"""A migrated database, one connection to it, and a directory for the archive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hps_platform.retention import Place
from hps_platform.store.database import Connection, session


@pytest.fixture
def conn(migrated_dsn: str) -> Iterator[Connection]:
    with session(migrated_dsn, application_name="test") as connection:
        yield connection


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "archive"), None)
