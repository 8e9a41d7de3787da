"""A migrated database and the platform's topics, with the ledger at their ends."""

from collections.abc import Iterator

import pytest

from hps_platform.stream import Producer, ensure_topics
from hps_platform_tests.integration.landing.ground import begin_at_end


@pytest.fixture(scope="session")
def bootstrap(kafka: str) -> str:
    ensure_topics(kafka, partitions=3, replication=1, retention_hours=168)
    return kafka


@pytest.fixture
def dsn(migrated_dsn: str, bootstrap: str) -> str:
    begin_at_end(migrated_dsn, bootstrap)
    return migrated_dsn


@pytest.fixture
def producer(bootstrap: str) -> Iterator[Producer]:
    producer = Producer(bootstrap, "test")
    yield producer
    producer.close()
