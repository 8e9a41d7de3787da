"""The embedded servers by themselves, without the rest of the stack."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from hps_platform.dagster_storage import KeptConnectionsStorage
from hps_platform.errors import DatabaseUnavailable, StackError
from hps_platform.stack import jars
from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres, packaged_programs
from hps_platform.stack.unprivileged import confine


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
    with pytest.raises(DatabaseUnavailable, match="password authentication failed"):
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


def shared_classes(broker: Kafka) -> list[Path]:
    """The archives of classes that a broker's command names."""
    option = "-XX:SharedArchiveFile="
    return [Path(word.removeprefix(option)) for word in broker.command() if word.startswith(option)]


def test_kafkas_classes_are_prepared_by_its_first_start_and_damage_is_passed_over(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "maven").symlink_to(jars.cache_folder() / "maven")
    brokers = [
        Kafka(tmp_path / name, port=free_port(), controller_port=free_port(), cache=cache) for name in ("one", "two")
    ]
    for broker in brokers:
        broker.prepare()
    [archive] = shared_classes(brokers[0])
    assert shared_classes(brokers[1]) == [archive]
    assert sorted(cache.glob("classes-*")) == [archive]
    assert archive.stat().st_size > 1_000_000
    archive.chmod(0o600)
    archive.write_bytes(b"no classes")
    brokers[1].start()
    try:
        assert brokers[1].ready()
    finally:
        brokers[1].stop()


def test_dagster_asks_over_connections_that_it_keeps_also_when_postgresql_was_away(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "data", port=free_port(), password="p")
    server.initialise()
    server.start()
    try:
        server.create_databases("dagster")
        storage = KeptConnectionsStorage(server.dsn("dagster").replace("postgresql:", "postgresql+psycopg2:"))
        storage.run_storage.get_runs()
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as looking:
            before = sessions(looking)
            for _ in range(50):
                storage.run_storage.get_runs()
                storage.event_log_storage.get_maximum_record_id()
                storage.schedule_storage.all_instigator_state()
            assert sessions(looking) - before <= 3
        server.stop()
        server.start()
        assert storage.run_storage.get_runs() == []
    finally:
        server.stop()


def sessions(looking: psycopg.Connection[Any]) -> int:
    """How often somebody has logged in to Dagster's database."""
    looking.execute("select pg_stat_force_next_flush()")
    row = looking.execute("select sessions from pg_stat_database where datname = 'dagster'").fetchone()
    assert row is not None
    return int(row[0])


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


def test_postgres_runs_under_the_account_where_namespaces_are_refused(tmp_path: Path) -> None:
    """The kernel's refusal is played by `false`; without root there is nothing to fall back from."""
    parent = Path(tempfile.mkdtemp(prefix="hps-test-"))
    parent.chmod(0o755)
    try:
        how = confine(tmp_path / "data", namespace=("false",), parent=parent)
        server = Postgres(tmp_path / "data", port=free_port(), password="p", confinement=how)
        server.initialise()
        server.start()
        try:
            server.create_databases("hps")
            assert server.ready()
        finally:
            server.stop()
        if os.geteuid() == 0:
            assert server.data_dir.owner() == "postgres"
            assert parent in server.data_dir.parents
    finally:
        shutil.rmtree(parent)


def copy_of_the_wheel(target: Path) -> Path:
    """Its programs, with the folder of libraries that lies beside the package."""
    package = packaged_programs().parents[1]
    shutil.copytree(package, target / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / packaged_programs().relative_to(package.parent)


def test_packaged_programs_that_cannot_be_reached_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As below somebody else's closed home directory: root may read it, root in a user namespace may not."""
    home = tmp_path / "home"
    programs = copy_of_the_wheel(home)
    if os.geteuid() == 0:
        os.chown(home, 12_345, 12_345)
    home.chmod(0o700)
    monkeypatch.setattr("hps_platform.stack.postgres.packaged_programs", lambda: programs)
    server = Postgres(tmp_path / "data", port=free_port(), password="p")
    assert (server.bin_dir == programs) == (os.geteuid() != 0)
    server.initialise()
    server.start()
    server.stop()


def test_a_start_that_was_cut_off_leaves_nothing_that_looks_like_data(tmp_path: Path) -> None:
    server = Postgres(tmp_path, port=free_port(), password="p")
    (tmp_path / "postgres.unfinished").mkdir()
    (tmp_path / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    server.initialise()
    server.start()
    server.stop()


def test_programs_that_are_no_postgres_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"has no initdb: set HPS_POSTGRES_BIN_DIR"):
        Postgres(tmp_path, port=1, password="p", bin_dir=tmp_path).initialise()


def test_an_installed_postgres_can_be_chosen(tmp_path: Path) -> None:
    """Stands for one: the same programs in another place."""
    programs = copy_of_the_wheel(tmp_path / "pg")
    server = Postgres(tmp_path / "data", port=free_port(), password="p", bin_dir=programs)
    server.initialise()
    assert server.command()[-3] == str(programs / "postgres")
