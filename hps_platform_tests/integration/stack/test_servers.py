"""The embedded servers by themselves, without the rest of the stack."""

import uuid
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from hps_platform.errors import StackError
from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres


def test_each_test_gets_an_empty_database_of_its_own(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        row = connection.execute("select count(*) from pg_class where relnamespace = 'public'::regnamespace").fetchone()
    assert row == (0,)


def test_creating_a_database_again_changes_nothing(postgres_server: Postgres) -> None:
    name = f'odd "name" {uuid.uuid4().hex}'
    postgres_server.create_databases(name)
    with psycopg.connect(postgres_server.dsn(name)) as connection:
        connection.execute("create table kept ()")
    postgres_server.create_databases(name)
    with psycopg.connect(postgres_server.dsn(name)) as connection:
        connection.execute("select from kept")


def test_a_wrong_password_is_refused(postgres_server: Postgres) -> None:
    wrong = Postgres(postgres_server.root, port=postgres_server.port, password="wrong")
    with pytest.raises(StackError, match="password authentication failed"):
        wrong.create_databases("never")


def test_data_and_password_outlive_a_restart_below_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    first = Postgres(closed / "data", port=free_port(), password="p'w d")
    first.initialise()
    first.start()
    first.create_databases("hps")
    first.stop()
    assert closed.stat().st_mode & 0o777 == 0o700
    again = Postgres(closed / "data", port=free_port(), password="p'w d")
    again.initialise()
    again.start()
    try:
        with psycopg.connect(again.dsn("hps")) as connection:
            assert connection.execute("show server_encoding").fetchone() == ("UTF8",)
    finally:
        again.stop()
    assert not again.ready()


def test_data_of_another_major_version_is_refused_in_words(tmp_path: Path) -> None:
    server = Postgres(tmp_path, port=free_port(), password="p")
    server.data_dir.mkdir(parents=True)
    (server.data_dir / "PG_VERSION").write_text("12\n")
    with pytest.raises(StackError, match=r"made by PostgreSQL 12.*HPS_POSTGRES_BIN_DIR"):
        server.initialise()


def test_a_message_goes_through_and_topics_are_not_made_by_accident(kafka: str) -> None:
    topic = f"t-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "message.timeout.ms": 20_000})
    producer.produce(topic, b"value")
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "unused", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"value"
    other = admin.list_topics(f"{topic}-other", timeout=10).topics[f"{topic}-other"]
    assert other.error is not None


def test_kafka_comes_back_on_other_ports_with_its_topics(tmp_path: Path) -> None:
    first = Kafka(tmp_path, port=free_port(), controller_port=free_port())
    first.prepare()
    first.start()
    try:
        admin = AdminClient({"bootstrap.servers": first.bootstrap})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(20)
    finally:
        first.stop()
    second = Kafka(tmp_path, port=free_port(), controller_port=free_port())
    second.prepare()
    second.start()
    try:
        found = AdminClient({"bootstrap.servers": second.bootstrap}).list_topics(timeout=20).topics
    finally:
        second.stop()
    assert "kept" in found
    assert not first.ready()
    assert not second.ready()
