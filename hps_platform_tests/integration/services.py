"""Real servers for tests: a throw-away PostgreSQL and Kafka for the session, an empty database for each test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres
from hps_platform.store.database import migrate

NewDatabase = Callable[[], str]
"""Makes a database and returns its URL."""


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL server of this test session."""
    root: Path = tmp_path_factory.mktemp("postgres")
    server = Postgres(root, port=free_port(), password="for tests only")
    server.initialise()
    with (server.data_dir / "postgresql.auto.conf").open("a") as settings:
        # Nobody keeps these hundreds of databases: they outlive kills, and need not outlive a power cut.
        settings.write("fsync = off\nautovacuum_naptime = '10min'\n")
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
def new_migrated(postgres_server: Postgres) -> NewDatabase:
    """Makes databases with the newest schema and no rows: migrating takes longer than copying one that was."""
    template = "template_migrated"
    postgres_server.create_databases(template)
    migrate(postgres_server.dsn(template))

    def copied() -> str:
        name = f"t_{uuid.uuid4().hex}"
        with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return postgres_server.dsn(name)

    return copied


@pytest.fixture
def migrated_dsn(new_migrated: NewDatabase) -> str:
    """The URL of a new database with the newest schema and no rows."""
    return new_migrated()


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


@pytest.fixture
def broker(kafka_server: Kafka) -> Iterator[Kafka]:
    """The session's broker for a test that may stop it; it runs again for the next one."""
    yield kafka_server
    if not kafka_server.ready():
        kafka_server.stop()
        kafka_server.start()
