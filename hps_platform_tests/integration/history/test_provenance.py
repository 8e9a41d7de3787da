"""Every point leads back to its text: of random points of all families, parsing the text again gives the row."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hps_platform import history, landing, retention, stream
from hps_platform.errors import NotFound
from hps_platform.history import Sources
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Sample
from hps_platform.stack.seeding import MINUTELY, TEN_MINUTELY, HostDay, samples
from hps_platform.stack.simulator.world import World
from hps_platform.store.database import Database, session
from hps_platform_tests.integration.landing.ground import begin_at_end, behind

END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
START = END - timedelta(hours=2)
POINTS = 1000


def send(producer: stream.Producer, sample: Sample) -> None:
    value, headers = wire.encode(FAMILIES[sample.family], sample)
    producer.send(FAMILIES[sample.family].topic, wire.key(sample.server_id), value, headers)


def land(dsn: str, bootstrap: str, run_id: str) -> None:
    landing.run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id=run_id,
        window_s=60,
        batch_interval_s=0.2,
        stop=lambda: behind(dsn, bootstrap) == 0,
    )


@pytest.fixture
def sources(kafka: str) -> Sources:
    stream.ensure_topics(kafka, partitions=3, replication=1, retention_hours=168)
    return Sources(kafka, "http://dagster", "http://mlflow")


@pytest.fixture
def dsn(migrated_dsn: str, sources: Sources) -> str:
    begin_at_end(migrated_dsn, sources.bootstrap)
    return migrated_dsn


def points(dsn: str) -> list[tuple[str, int, datetime]]:
    """Every sample that was landed, but for those whose rates come from one before the first."""
    found: list[tuple[str, int, datetime]] = []
    with psycopg.connect(dsn) as conn:
        for family in FAMILIES.values():
            query = f"SELECT DISTINCT server_id, timestamp FROM {family.table} WHERE timestamp > %s"  # noqa: S608
            found += [(family.name, *row) for row in conn.execute(query.encode(), (START,))]
    return sorted(found)


def test_random_points_are_parsed_again(dsn: str, sources: Sources) -> None:
    world = World(5, END)
    systems = {host.os: host.hostname for host in world.hosts}
    producer = stream.Producer(sources.bootstrap, "test")
    for number, host in enumerate(systems.values(), start=1):
        for sample in samples(HostDay(host, number, START, END, 5, END)):
            send(producer, sample)
    assert producer.flush(30) == 0
    producer.close()
    land(dsn, sources.bootstrap, "run-1")
    known = points(dsn)
    assert {family for family, _, _ in known} == {*MINUTELY, *TEN_MINUTELY}
    with Database(dsn) as db:
        for family, server_id, timestamp in random.Random(3).sample(known, min(POINTS, len(known))):
            found = history.trace(db, sources, family, server_id, timestamp)
            assert found["raw"], found["note"]
            assert found["reparsed"]["equal"], (family, server_id, timestamp, found)
            assert found["run_id"] == "run-1"
            assert (found["predecessor"] is not None) == (family == "netstat")


def one(seq: int, timestamp: datetime, us: int) -> Sample:
    raw = "procs memory page faults cpu\n"
    rows = [{"us": us, "r": 1}]
    stamp = round(timestamp.timestamp() * 1000)
    return Sample("vmstat", 77, stamp, rows, "vmstat 2", raw, "linux/1", "c1", "s1", seq, 0)


def traced(db: Database, sources: Sources, at: datetime, **more: Any) -> dict[str, Any]:
    return history.trace(db, sources, "vmstat", 77, at, **more)


def test_what_is_told_of_a_point(dsn: str, sources: Sources) -> None:
    producer = stream.Producer(sources.bootstrap, "test")
    send(producer, one(1, START, 10))
    assert producer.flush(30) == 0
    land(dsn, sources.bootstrap, "run-a")
    second = START + timedelta(seconds=2)
    send(producer, one(2, second, 20))
    assert producer.flush(30) == 0
    producer.close()
    land(dsn, sources.bootstrap, "run-b")
    with Database(dsn) as db:
        found = traced(db, sources, second)
        expected = {"command": "vmstat 2", "exit_code": 0, "parser": "linux/1", "collector": "c1", "session": "s1"}
        expected |= {"seq": 2, "run_id": "run-b", "run_url": "http://dagster/runs/run-b", "topic": "hps.vmstat"}
        expected |= {"partition": f"vmstat_metrics_p{second:%Y%m%d}", "anomaly": None, "predecessor": None}
        assert {name: found[name] for name in expected} == expected
        assert found["rows"][0]["us"] == 20
        assert found["reparsed"]["equal"] is False  # its text is no output of vmstat
        assert traced(db, sources, START)["run_id"] == "run-a"
        near = traced(db, sources, START - timedelta(seconds=30), within=timedelta(minutes=1))
        assert near["timestamp"] == START
        with pytest.raises(NotFound, match="samples are kept since"):
            traced(db, sources, START - timedelta(seconds=30))


def test_what_kafka_has_not_kept_is_said(dsn: str, sources: Sources) -> None:
    producer = stream.Producer(sources.bootstrap, "test")
    send(producer, one(1, START, 10))
    assert producer.flush(30) == 0
    producer.close()
    land(dsn, sources.bootstrap, "run-1")
    with Database(dsn) as db:
        place = traced(db, sources, START)
        with psycopg.connect(dsn) as conn:
            conn.execute("UPDATE vmstat_metrics SET kafka_offset = kafka_offset + 1000000")
        gone = traced(db, sources, START)
        assert (gone["raw"], gone["reparsed"]) == (None, None)
        assert gone["available_from"] <= place["produced_at"]
        assert "Kafka keeps messages of this partition since" in gone["note"]
        assert gone["rows"] == place["rows"]


def test_a_point_that_is_only_in_the_archive_leads_to_its_text_too(
    dsn: str, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = stream.Producer(sources.bootstrap, "test")
    begin = START - timedelta(days=60)
    for number in range(3):
        send(producer, one(number + 1, begin + timedelta(seconds=2 * number), 10 + number))
    assert producer.flush(30) == 0
    producer.close()
    land(dsn, sources.bootstrap, "run-1")
    middle = begin + timedelta(seconds=2)
    with Database(dsn) as db:
        before = traced(db, sources, middle)
        with session(dsn, application_name="test") as conn:
            place = retention.Place(str(tmp_path), sources.bootstrap)
            policy = dict.fromkeys(FAMILIES, retention.Policy(30, 90, 1826))
            assert retention.drop_expired(conn, place, policy, END.date()).held == {}
        dropped = traced(db, sources, middle)
        assert dropped.pop("partition").startswith(str(tmp_path))
        assert dropped == {name: value for name, value in before.items() if name != "partition"}

        def expired(*_: object) -> stream.Record:
            raise stream.OffsetsExpired("hps.vmstat", 0)

        monkeypatch.setattr(stream, "read_at", expired)
        monkeypatch.setattr(stream, "oldest_ms", lambda *_: None)
        gone = traced(db, sources, middle)
        assert "archive" in gone["note"]
        for name in ("rows", "raw", "command", "exit_code", "seq", "parser", "produced_at", "reparsed"):
            assert gone[name] == before[name], name
