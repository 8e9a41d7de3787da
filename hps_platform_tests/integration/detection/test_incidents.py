"""From scored minutes in a real PostgreSQL to incidents: put together, kept through rescoring, handled by people."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from hps_platform import detection
from hps_platform.detection import scoring
from hps_platform.errors import Conflict, NotFound
from hps_platform.metrics import FAMILIES
from hps_platform.store import rollups, suppressions, thresholds
from hps_platform.store.database import Database
from hps_platform_tests.integration.detection.samples import land
from hps_platform_tests.integration.detection.scored import START, at, score

TOLD = "Disk hdisk3 busy 98.0 %, usually 12.0 to 30.0 % at this hour."


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        with database.connection() as conn:
            for name in ("aix01", "aix02", "aix03"):
                conn.execute(
                    "INSERT INTO servers (hostname, ssh_username, operating_system, tags)"
                    " VALUES (%s, 'hps', 'aix', '{prod}')",
                    (name,),
                )
        yield database


def land_disks(db: Database, server: int) -> None:
    schema = FAMILIES["iostat"].frame_schema
    rows = [
        {"server_id": server, "timestamp": at(2), "disk": disk, "busy_pct": busy}
        for disk, busy in (("hdisk0", 4.0), ("hdisk3", 98.0))
    ]
    with db.connection() as conn:
        land(conn, {"iostat": pl.DataFrame(rows, schema=schema)})


def refreshed(db: Database) -> tuple[int, int, int, int, int]:
    report = detection.refresh_incidents(db, now=at(120))
    return report.opened, report.changed, report.merged, report.removed, report.resolved


def test_minutes_become_one_incident_that_grows_and_ends(db: Database) -> None:
    land_disks(db, 1)
    score(db, 1, {1: -0.3, 2: -0.6, 14: -0.4}, until=20)
    assert refreshed(db) == (1, 0, 0, 0, 0)
    assert refreshed(db) == (0, 0, 0, 0, 0)
    (one,), count = detection.list_incidents(db)
    assert count == 1
    assert (one["state"], one["severity"], one["minutes"], one["sentence"]) == ("open", "high", 3, TOLD)
    assert (one["started_at"], one["ended_at"], one["peak_at"]) == (at(1), at(15), at(2))
    assert [part["hostname"] for part in one["servers"]] == ["aix01"]

    with db.connection() as conn:
        thresholds.add_threshold(conn, {"server_id": 1, "metric_name": "*", "severity_level": "low"})
    score(db, 1, [25], since=20, until=30)
    assert refreshed(db) == (0, 1, 0, 0, 0)
    (grown,), _ = detection.list_incidents(db, server_id=1, states=["open"], start=at(20), end=at(40))
    assert (grown["id"], grown["ended_at"], grown["severity"]) == (one["id"], at(26), "low")
    assert detection.list_incidents(db, start=at(26))[1] == 0

    score(db, 1, [], since=30, until=100)
    assert refreshed(db) == (0, 0, 0, 0, 1)
    found = detection.incident(db, one["id"])
    assert (found["state"], found["closed_at"]) == ("resolved", at(86))
    assert [(event["kind"], event["actor"]) for event in found["events"]] == [("opened", None), ("resolved", None)]


def test_an_acknowledged_one_is_over_when_it_is_known_to_be(db: Database) -> None:
    score(db, 1, [1], until=50)
    refreshed(db)
    detection.acknowledge(db, 1, "ada", "looking")
    assert detection.refresh_incidents(db, now=at(3 * 1440)).resolved == 0  # not scored since: nobody knows
    score(db, 1, [], since=50, until=70)
    assert refreshed(db) == (0, 0, 0, 0, 1)
    found = detection.incident(db, 1)
    assert (found["state"], found["closed_at"]) == ("resolved", at(62))
    assert [(event["kind"], event["actor"]) for event in found["events"]] == [
        ("opened", None),
        ("acknowledged", "ada"),
        ("resolved", None),
    ]


def test_rescoring_keeps_numbers_and_takes_back_what_nobody_touched(db: Database) -> None:
    score(db, 1, [1, 2], until=20)
    score(db, 2, [1, 2], until=20, since=-60)
    score(db, 3, [9], until=20)
    assert refreshed(db) == (2, 0, 0, 0, 0)
    fleet, alone = detection.list_incidents(db)[0][::-1]
    detection.acknowledge(db, alone["id"], "ada", "looking")
    assert len(fleet["servers"]) == 2
    assert fleet["sentence"].startswith("2 servers at the same time, aix01 the strangest: Busiest disk")
    assert fleet["severity"] == "high"
    assert [one["hostname"] for one in detection.incident(db, alone["id"])["explanation"]["similar"]] == ["aix01"]

    score(db, 1, [2, 3, 4], until=20)
    score(db, 2, [], until=20, since=-60)
    score(db, 3, [], until=20)
    assert refreshed(db) == (0, 1, 0, 0, 0)
    kept, touched = detection.list_incidents(db)[0][::-1]
    assert (kept["id"], kept["started_at"], len(kept["servers"])) == (fleet["id"], at(2), 1)
    assert (touched["id"], touched["state"]) == (alone["id"], "acknowledged")
    score(db, 1, [], until=20)
    assert refreshed(db) == (0, 0, 0, 1, 0)
    with pytest.raises(NotFound):
        detection.incident(db, fleet["id"])


def test_one_that_turns_out_to_be_of_the_fleet_leads_to_it(db: Database) -> None:
    score(db, 1, [6], until=10)
    score(db, 2, [9], until=10)
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO servers (hostname, ssh_username) SELECT 'host' || n, 'hps' FROM generate_series(1, 100) n"
        )
    assert refreshed(db) == (2, 0, 0, 0, 0)
    detection.acknowledge(db, 2, "ada")
    score(db, 3, [10], until=12)
    assert refreshed(db) == (0, 1, 1, 0, 0)
    (one,), _ = detection.list_incidents(db)
    assert (one["id"], one["state"], len(one["servers"])) == (1, "acknowledged", 3)
    assert detection.incident(db, 2)["id"] == 1
    assert detection.reopen(db, 2, "ada")["id"] == 1


def test_people_handle_it_and_a_false_alarm_teaches(db: Database) -> None:
    score(db, 1, {0: -0.5, 1: -0.6}, until=120)
    refreshed(db)
    with pytest.raises(Conflict, match="incident 1 is resolved"):
        detection.acknowledge(db, 1, "ada")
    said = detection.false_alarm(db, 1, "ada", "the backup")
    assert said["state"] == "false_alarm"
    (learnt,) = detection.learnt(db, 1)
    assert (learnt["metrics"], learnt["from_minute"], learnt["minutes"]) == (["disk_busy_pct"], 9 * 60 + 30, 62)
    assert learnt["demanded_score"] == -0.65
    with pytest.raises(Conflict):
        detection.resolve(db, 1, "ada")

    with db.connection() as conn:
        rules = suppressions.listing(conn, server_id=1)
    tomorrow = START + timedelta(days=1)
    heads = [[{"column": name}] for name in ("disk_busy_pct", "disk_busy_pct", "cpu_busy_pct", "disk_busy_pct")]
    results = pl.DataFrame(
        {
            "timestamp": [tomorrow, tomorrow, tomorrow, tomorrow + timedelta(hours=2)],
            "is_anomaly": [True] * 4,
            "anomaly_score": [-0.6, -0.66, -0.6, -0.6],
            "contributions": heads,
        }
    )
    assert scoring._quieted(results, rules)["is_anomaly"].to_list() == [False, True, True, True]

    assert detection.reopen(db, 1, "bob", "it was none")["state"] == "open"
    assert detection.learnt(db) == []
    assert refreshed(db) == (0, 0, 0, 0, 0)  # it waits for a person
    detection.false_alarm(db, 1, "bob")
    detection.unlearn(db, detection.learnt(db)[0]["id"], "bob")
    found = detection.incident(db, 1)
    assert [(one["kind"], one["actor"]) for one in found["events"]][2:] == [
        ("false_alarm", "ada"),
        ("reopened", "bob"),
        ("false_alarm", "bob"),
        ("unlearnt", "bob"),
    ]
    (day,) = detection.daily_incidents(db, START.date(), START.date())
    assert day == {
        "day": START.date(),
        "servers": 1,
        "minutes": 2,
        "incidents": 1,
        "acknowledged": 0,
        "false_alarms": 1,
    }


def test_minutes_in_a_maintenance_window_make_no_incident(db: Database) -> None:
    with db.connection() as conn:
        conn.execute(
            "UPDATE servers SET settings = %s WHERE id = 1",
            (json.dumps({"maintenance": [{"from": "2026-03-02T10:00Z", "until": "2026-03-02T10:30Z"}]}),),
        )
    score(db, 1, [5, 45], until=50)
    assert refreshed(db) == (1, 0, 0, 0, 0)
    (one,), _ = detection.list_incidents(db)
    assert one["started_at"] == at(45)
    assert [span["end"] for span in detection.incident(db, one["id"])["explanation"]["maintenance"]] == [at(30)]


def land_processes(db: Database, days: range, command: str, *, pid: int = 100) -> None:
    """It and a daemon, each minute round the beginning, on days so far back."""
    schema = FAMILIES["process"].frame_schema
    rows = [
        {"server_id": 1, "timestamp": at(minute) - timedelta(days=back), "pid": pid + number, "command": name}
        | {"cpu_pct": 20.0}
        for back in days
        for minute in (-2, -1, 0, 1)
        for number, name in enumerate(("/usr/sbin/syslogd", command.format(back)))
    ]
    with db.connection() as conn:
        land(conn, {"process": pl.DataFrame(rows, schema=schema)})
    with db.connection() as conn:
        rollups.refresh(conn)


def test_a_backup_that_does_not_run_is_told(db: Database) -> None:
    land_processes(db, range(1, 8), "/bin/ksh /opt/bin/backup.sh --day {}")
    land_processes(db, range(1), "/usr/bin/find /data")
    score(db, 1, {0: -0.6, 1: -0.5}, until=20)
    assert refreshed(db) == (1, 0, 0, 0, 0)
    assert refreshed(db) == (0, 0, 0, 0, 0)
    found = detection.incident(db, 1)
    assert found["sentence"].endswith("at this hour; backup.sh does not run, as it usually does at this hour.")
    assert found["explanation"]["absent"] == ["backup.sh"]

    score(db, 1, {0: -0.6, 1: -0.7}, until=20)
    land_processes(db, range(1), "/bin/sh -c backup.sh", pid=200)
    assert refreshed(db) == (0, 1, 0, 0, 0)
    assert "backup.sh" not in detection.incident(db, 1)["sentence"]


def test_a_restart_is_told_nearby(db: Database) -> None:
    """Counters of all interfaces begin anew; one that flows over says nothing, nor does an idle interface."""
    schema = FAMILIES["netstat"].frame_schema
    counts = {"en0": [9_000, 9_100, 40, 90], "en1": [5_000, 20, 10, 15], "en2": [0, 0, 0, 0]}
    rows = [
        {"server_id": 1, "timestamp": at(minute), "interface": name, "ipkts": count, "opkts": count}
        for name, counted in counts.items()
        for minute, count in enumerate(counted)
    ]
    with db.connection() as conn:
        land(conn, {"netstat": pl.DataFrame(rows, schema=schema)})
    score(db, 1, [3, 4], until=20)
    refreshed(db)
    (told,) = detection.incident(db, 1)["explanation"]["nearby"]
    assert (told["at"], told["kind"]) == (at(2), "restarted")
    assert told["message"] == "restarted after 10:01:00 UTC: the packet counters of all its interfaces began anew"


def test_what_is_watched_and_why_not(db: Database) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with db.connection() as conn:
        conn.execute("UPDATE servers SET is_active = id <> 3")
        keys = {"netstat": {"interface": "en0"}, "filesystem": {"mount": "/"}}
        seen = [(family, 1, 2) for family in ("vmstat", "memory", "netstat", "filesystem")]
        for family, server, ago in (*seen, ("vmstat", 2, 7 * 1440)):
            schema = FAMILIES[family].frame_schema
            filled = keys.get(family, {})
            row = {"server_id": server, "timestamp": now - timedelta(minutes=ago), **filled}
            land(conn, {family: pl.DataFrame([row], schema=schema)})
    first, second, third = detection.coverage(db, now)
    assert (first["state"], first["text"]) == (
        "learning",
        "It needs 24 hours of samples before anything is judged; it has 0.",
    )
    assert second["state"] == "silent"
    assert "No samples came since" in second["text"]
    assert third["state"] == "off"
    score(db, 1, [], until=5)
    behind = detection.coverage(db, now)[0]
    assert behind["state"] == "learning"
    assert behind["text"] == (
        "What happened after 2026-03-02 10:05 UTC is not judged yet: scoring is behind, or a new model is due."
    )
    today = int((now - START) / timedelta(minutes=1))
    score(db, 1, [], since=today - 5, until=today)
    watched = detection.coverage(db, now)[0]
    assert watched["state"] == "partly"
    assert watched["text"] == "No samples of iostat came for a day. Not judged: Busiest disk, Disk throughput."
