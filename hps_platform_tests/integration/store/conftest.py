"""A migrated database, and one connection to it."""

from collections.abc import Iterator

import pytest

from hps_platform.store.database import Connection, migrate, session


@pytest.fixture
def migrated(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def conn(migrated: str) -> Iterator[Connection]:
    with session(migrated, application_name="test") as connection:
        yield connection
