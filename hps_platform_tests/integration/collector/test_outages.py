"""What happens when something else goes away: Kafka, PostgreSQL, or the collector itself."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres
from hps_platform.store import events
from hps_platform.store.database import Database, migrate
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.collector.running import Platform, collector_process, eventually, running
from hps_platform_tests.integration.ssh.hosts import OpenSsh, open_ssh, scripted_host

PASSWORD = "planted-password-4711"
PASSPHRASE = "planted-passphrase-4712"


@pytest.fixture
def platform(migrated_dsn: str, kafka: str) -> Iterator[Platform]:
    with Database(migrated_dsn) as db:
        made = Platform(db, kafka)
        yield made
        made.close()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[OpenSsh]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with open_ssh(folder) as server:
        yield server


def _commands_on(sshd: OpenSsh) -> list[str]:
    """What runs on the host on behalf of those logged in."""
    found = []
    for child in psutil.Process(sshd.process.pid).children(recursive=True):
        try:
            found.append(" ".join(child.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return [line for line in found if "vmstat" in line or "iostat" in line]


def test_no_command_outlives_a_collector_that_was_killed(platform: Platform, sshd: OpenSsh, tmp_path: Path) -> None:
    target = sshd.target()
    assert target.private_key
    server = platform.add_fields(
        hostname="here",
        ip_address="127.0.0.1",
        ssh_port=sshd.port,
        ssh_username=target.username,
        ssh_private_key=target.private_key,
        host_key=target.host_key,
    )
    with collector_process(platform, tmp_path / "log") as process:
        platform.wait_for_samples(server, "vmstat", 2)
        platform.wait_for_samples(server, "iostat", 1)
        assert len(_commands_on(sshd)) >= 2
        process.send_signal(signal.SIGKILL)
        eventually(lambda: not _commands_on(sshd), within_s=5)


def test_no_secret_is_ever_written_and_a_signal_ends_it_at_once(platform: Platform, tmp_path: Path) -> None:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    locked = key.export_private_key("openssh", PASSPHRASE).decode()
    secrets = [PASSWORD, PASSPHRASE, platform.key, *locked.splitlines()[1:-1]]
    log = tmp_path / "log"
    with scripted_host(linux(), client_key=key) as host, scripted_host(linux()) as stern:
        good = platform.add("good", host, ssh_password=PASSWORD, ssh_private_key=locked, ssh_key_passphrase=PASSPHRASE)
        wrong = platform.add("wrong", stern, ssh_password=PASSWORD)
        changed = platform.add("changed", stern, ssh_password=PASSWORD, host_key="SHA256:" + "a" * 43)
        with collector_process(platform, log) as process:
            platform.wait_for_samples(good, "vmstat", 2)
            platform.wait_for_state(wrong, "auth_failed")
            platform.wait_for_state(changed, "key_changed")
            started = time.monotonic()
            process.terminate()
            assert process.wait(10) == 0
            assert time.monotonic() - started < 3
    written = log.read_text()
    assert "good: up" in written or "good: degraded" in written
    with platform.db.connection() as conn:
        told = repr(events.list_events(conn)) + repr([platform.server(server) for server in (good, wrong, changed)])
    records = b"".join(
        record.value for record in (*platform.records("hps.health"), *platform.records("hps.dead_letter"))
    )
    for secret in secrets:
        assert secret not in written
        assert secret not in told
        assert secret.encode() not in records


def test_samples_wait_for_kafka_and_arrive_in_order(migrated_dsn: str, broker: Kafka) -> None:
    with Database(migrated_dsn) as db, scripted_host(linux()) as host:
        platform = Platform(db, broker.bootstrap)
        server = platform.add("lin1", host)
        with running(platform) as collector:
            platform.wait_for_samples(server, "vmstat", 3)
            broker.stop()
            eventually(lambda: len(collector.delivery.outbox) > 20)
            broker.start()
            eventually(lambda: len(collector.delivery.outbox) < 5, within_s=40)
            samples = platform.wait_for_samples(server, "vmstat", 20)
        assert collector.delivery.outbox.dropped == 0
        numbers = [int(record.headers["seq"]) for record in samples]
        assert numbers == list(range(1, len(numbers) + 1))
        with db.connection() as conn:
            assert {"kafka_away", "kafka_back"} <= {event.kind for event in events.list_events(conn)}
        platform.close()


def test_collecting_goes_on_without_a_database(kafka: str, tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", port=free_port(), password="x")
    postgres.initialise()
    postgres.start()
    postgres.create_databases("hps")
    dsn = postgres.dsn("hps")
    migrate(dsn)
    try:
        with Database(dsn, timeout_s=2.0) as db, scripted_host(linux()) as host:
            platform = Platform(db, kafka)
            server = platform.add("lin1", host)
            with running(platform):
                platform.wait_for_samples(server, "vmstat", 3)
                postgres.stop()
                before = len(platform.samples(server, "vmstat"))
                platform.wait_for_samples(server, "vmstat", before + 10)
                host.drop_connections()
                platform.wait_for_samples(server, "vmstat", before + 20)
                postgres.start()

                def told() -> bool:
                    with db.connection() as conn:
                        return any("unreachable" in event.message for event in events.list_events(conn))

                eventually(told)
                platform.update(server, is_active=False)
                platform.wait_for_state(server, "paused")
            platform.close()
    finally:
        postgres.stop()
