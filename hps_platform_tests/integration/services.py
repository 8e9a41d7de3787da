"""Real servers for tests: a throw-away PostgreSQL and Kafka for the session, an empty database for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres
from hps_platform.store.database import migrate


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
def migrated_template(postgres_server: Postgres) -> str:
    """A database with the newest schema that nobody is connected to; migrating takes longer than copying it."""
    name = "template_migrated"
    postgres_server.create_databases(name)
    migrate(postgres_server.dsn(name))
    return name


@pytest.fixture
def migrated_dsn(postgres_server: Postgres, migrated_template: str) -> str:
    """The URL of a new database with the newest schema and no rows."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
        )
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
