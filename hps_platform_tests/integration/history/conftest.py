"""A migrated database behind a pool, and a connection to fill it."""

from collections.abc import Iterator

import pytest

from hps_platform.store.database import Connection, Database, session


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        yield database


@pytest.fixture
def conn(db: Database) -> Iterator[Connection]:
    with session(db.dsn, application_name="test") as connection:
        yield connection
