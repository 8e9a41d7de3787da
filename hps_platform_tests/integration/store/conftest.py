"""A migrated database, and one connection to it."""

from collections.abc import Iterator

import pytest

from hps_platform.store.database import Connection, session


@pytest.fixture
def conn(migrated_dsn: str) -> Iterator[Connection]:
    with session(migrated_dsn, application_name="test") as connection:
        yield connection
