"""Real servers for tests: a throw-away PostgreSQL and Kafka for the session, an empty database for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL server of this test session."""
    root: Path = tmp_path_factory.mktemp("postgres")
    server = Postgres(root, port=free_port(), password="for tests only")
    server.initialise()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres_dsn(postgres_server: Postgres) -> str:
    """The URL of a new and empty database."""
    name = f"t_{uuid.uuid4().hex}"
    postgres_server.create_databases(name)
    return postgres_server.dsn(name)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A running Kafka broker of this test session."""
    broker = Kafka(tmp_path_factory.mktemp("kafka"), port=free_port(), controller_port=free_port())
    broker.prepare()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kafka(kafka_server: Kafka) -> str:
    """The bootstrap address of the session's broker; topics outlive a test, so name them uniquely."""
    return kafka_server.bootstrap
