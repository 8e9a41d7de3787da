"""A migrated database behind a pool, and a connection to fill it."""

from collections.abc import Iterator

import pytest

from hps_platform.store.database import Connection, Database, migrate, session


@pytest.fixture
def db(postgres_dsn: str) -> Iterator[Database]:
    migrate(postgres_dsn)
    with Database(postgres_dsn) as database:
        yield database


@pytest.fixture
def conn(db: Database) -> Iterator[Connection]:
    with session(db.dsn, application_name="test") as connection:
        yield connection
