"""One landing run against a real broker and a real server: what lands, what doesn't, and how runs follow each other."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from hps_platform.errors import FencedOut
from hps_platform.landing import CommitReport, Outcome, WindowReport, groups, run_window, should_start
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import DeadLetter
from hps_platform.stack.postgres import Postgres
from hps_platform.store import landing, leases
from hps_platform.store.database import session
from hps_platform.stream import Producer
from hps_platform_tests.integration.landing.ground import (
    LOOK_S,
    behind,
    count,
    differences,
    expire,
    fetch,
    ledger_sums,
    now_ms,
    send_sample,
)
from hps_platform_tests.waiting import until


class Running:
    """A run in a thread of the test."""

    def __init__(self, dsn: str, bootstrap: str, run_id: str = "run", window_s: float = 60.0, **more: Any) -> None:
        self.commits: list[CommitReport] = []
        self.report: WindowReport | None = None
        self.stopping = threading.Event()
        self._arguments = {
            "batch_interval_s": 0.1,
            "overtime_s": 30.0,
            "stop": self.stopping.is_set,
            "on_commit": self.commits.append,
            **more,
        }
        self._thread = threading.Thread(
            target=lambda: setattr(self, "report", self._run(dsn, bootstrap, run_id, window_s)), daemon=True
        )
        self._thread.start()

    def _run(self, dsn: str, bootstrap: str, run_id: str, window_s: float) -> WindowReport:
        arguments: dict[str, Any] = self._arguments
        return run_window(dsn=dsn, bootstrap=bootstrap, run_id=run_id, window_s=window_s, **arguments)

    def stop(self) -> WindowReport:
        self.stopping.set()
        return self.result()

    def result(self, within_s: float = 30.0) -> WindowReport:
        self._thread.join(within_s)
        assert self.report is not None, "the run did not end"
        return self.report


def land_all(dsn: str, bootstrap: str) -> WindowReport:
    run = Running(dsn, bootstrap)
    until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
    return run.stop()


def test_lands_every_family_with_its_origin(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    rows: dict[str, list[dict[str, Any]]] = {
        "vmstat": [{"us": 12.5, "sy": 3.0, "r": 2}],
        "iostat": [{"disk": "hdisk0", "busy_pct": 7.0}, {"disk": "hdisk1", "kb_s": 1.5}],
        "netstat": [{"interface": "en0", "ipkts": 2**40}],
        "process": [{"pid": 1, "user": "root", "command": "/sbin/init ü €"}],
        "filesystem": [{"mount": "/", "used_pct": 101.0}],
        "memory": [{"used_pct": 50.0, "total_kb": 8_000_000}],
        "lpar": [{"entc_pct": 274.2, "vcsw": 5_410_337_219}],
    }
    for family, own in rows.items():
        send_sample(producer, 7, at, own, family=family)
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert (report.messages, report.rows, report.rejected) == (7, 8, 0)
    assert fetch(dsn, "SELECT us, sy, r, wa, server_id FROM vmstat_metrics") == [(12.5, 3.0, 2, None, 7)]
    assert fetch(dsn, "SELECT disk, busy_pct, kb_s FROM iostat_metrics ORDER BY 1") == [
        ("hdisk0", 7.0, None),
        ("hdisk1", None, 1.5),
    ]
    assert fetch(dsn, "SELECT entc_pct, physc, vcsw FROM lpar_metrics") == [(274.2, None, 5_410_337_219.0)]
    assert fetch(dsn, 'SELECT pid, "user", command FROM process_metrics') == [(1, "root", "/sbin/init ü €")]
    stamp = datetime.fromtimestamp(at / 1000, UTC)
    hour = stamp.replace(minute=0, second=0, microsecond=0)
    for family in FAMILIES:
        assert fetch(dsn, f"SELECT DISTINCT timestamp FROM {family}_metrics") == [(stamp,)]  # noqa: S608
        assert fetch(dsn, "SELECT hour, server_id FROM dirty_hours WHERE family = %s", family) == [(hour, 7)]
        [(partition, offset)] = fetch(
            dsn,
            f"SELECT DISTINCT kafka_partition, kafka_offset FROM {family}_metrics",  # noqa: S608
        )
        assert (offset + 1,) in fetch(
            dsn,
            "SELECT next_offset FROM landing_offsets WHERE topic = %s AND partition = %s",
            f"hps.{family}",
            partition,
        )


def test_reports_what_a_commit_held(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for seq in range(5):
        send_sample(producer, 1, at - seq * 86_400_000, [{"us": 1.0}], seq=seq)
    producer.flush(10)
    run = Running(dsn, bootstrap)
    until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
    run.stop()
    days = {day for commit in run.commits for _, day in commit.rows}
    assert days == {datetime.fromtimestamp(at / 1000 - n * 86_400, UTC).date() for n in range(5)}
    spans = [span for commit in run.commits for span in commit.offsets["hps.vmstat"].values()]
    assert sum(following - first for first, following in spans) == 5
    assert all(0 <= commit.lag_ms < 60_000 for commit in run.commits)


def test_a_bad_message_in_the_middle_becomes_a_dead_letter(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for number in range(50):
        send_sample(producer, number, at, [{"us": 1.0}], seq=number)
        if number == 25:
            headers = [("schema", b"vmstat.v1"), ("raw", b"raw \x00 text"), ("session", b"s1"), ("seq", b"99")]
            producer.send("hps.vmstat", b"25", b'{"server_id": 25, "timestamp": "soon"}', headers)
            producer.send("hps.vmstat", b"25", b"", [])
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert (report.messages, report.rows, report.rejected) == (52, 50, 2)
    letters = fetch(dsn, "SELECT server_id, reason, raw, value, rejected_rows, seq FROM dead_letters ORDER BY raw")
    assert [(letter[0], letter[2], letter[4], letter[5]) for letter in letters] == [
        (25, "raw  text", 1, 99),
        (25, None, 1, None),
    ]
    assert "vmstat.v1" in letters[0][1]
    assert letters[0][3] == b'{"server_id": 25, "timestamp": "soon"}'
    assert ledger_sums(dsn, "vmstat")[1:3] == (50, 1)
    assert differences(dsn, "vmstat") == []


def test_a_wrong_clock_makes_no_partition(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for offset_h in (0, 2, -401 * 24, 24 * 365 * 70):
        send_sample(producer, 1, at + offset_h * 3_600_000, [{"us": 1.0}])
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert (report.rows, report.rejected) == (1, 3)
    reasons = [reason for (reason,) in fetch(dsn, "SELECT reason FROM dead_letters")]
    assert sum("ahead" in reason for reason in reasons) == 2
    assert sum("past" in reason for reason in reasons) == 1
    partitions = fetch(dsn, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ 'vmstat_metrics_p'")
    assert partitions == [(1,)]


def test_the_collectors_dead_letters_land_in_the_same_table(dsn: str, bootstrap: str, producer: Producer) -> None:
    letter = DeadLetter(
        "iostat", 3, now_ms(), "iostat -xn 2", "garbage \x00", "solaris/1", "unknown layout", "c1", "s1", 8, 127
    )
    producer.send(wire.DEAD_LETTER_TOPIC, b"3", wire.encode_dead_letter(letter))
    producer.send(wire.DEAD_LETTER_TOPIC, b"3", b"not JSON")
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert report.rejected == 2
    rows = fetch(
        dsn, "SELECT family, server_id, command, exit_code, raw, reason, seq FROM dead_letters ORDER BY kafka_offset"
    )
    assert rows[0] == ("iostat", 3, "iostat -xn 2", 127, "garbage ", "unknown layout", 8)
    assert "not JSON" in rows[1][5]
    assert ledger_sums(dsn, "iostat") == (8, 0, 1, 7)  # numbers 1 to 7 were never seen


def test_duplicates_are_absorbed(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for repeat in range(3):
        for number in range(20):
            send_sample(producer, number, at, [{"us": float(repeat)}], seq=1)
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert report.messages == 60
    assert (report.rows, report.duplicates) == (20, 40)
    assert fetch(dsn, "SELECT count(*), max(us) FROM vmstat_metrics") == [(20, 0.0)]  # the first to come stays
    assert ledger_sums(dsn, "vmstat") == (20, 20, 0, 0)
    assert differences(dsn, "vmstat") == []


def test_what_full_batches_let_go_is_read_again(
    dsn: str, bootstrap: str, producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad message, and rows that come again, behind many good ones."""
    at = now_ms() - 600_000
    for seq in range(1, 81):
        for server in range(1, 4):
            send_sample(producer, server, at + seq * 2000, [{"us": 1.0}], seq=seq)
        if seq == 50:
            headers = [("schema", b"vmstat.v1"), ("raw", b"odd text"), ("session", b"s1"), ("seq", b"81")]
            producer.send("hps.vmstat", b"2", b"{", headers)
    for server in range(1, 4):
        send_sample(producer, server, at + 3 * 2000, [{"us": 9.0}], seq=3)
    producer.flush(10)
    with caplog.at_level(logging.INFO, "hps_platform.landing"):
        run = Running(dsn, bootstrap, max_messages=25, batch_interval_s=10.0)
        until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
        report = run.stop()
    assert (report.messages, report.rows, report.rejected, report.duplicates) == (244, 240, 1, 3)
    assert report.commits == 10
    assert fetch(dsn, "SELECT server_id, raw, seq FROM dead_letters") == [(2, "odd text", 81)]
    assert any("reading a batch again" in record.message for record in caplog.records)
    assert ledger_sums(dsn, "vmstat") == (241, 240, 1, 0)
    assert differences(dsn, "vmstat") == []


def test_expired_offsets_are_an_explained_gap(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for number in range(30):
        send_sample(producer, number, at, [{"used_pct": 1.0}], family="memory")
    producer.flush(10)
    expire(bootstrap, "hps.memory")
    send_sample(producer, 1, at + 1, [{"used_pct": 2.0}], family="memory")
    producer.flush(10)
    report = land_all(dsn, bootstrap)
    assert sum(following - first for first, following in report.gaps.values()) == 30
    [(lost,)] = fetch(dsn, "SELECT sum(next_offset - first_offset) FROM landing_gaps WHERE topic = 'hps.memory'")
    assert lost == 30
    assert count(dsn, "memory_metrics") == 1


def test_groups_share_the_partitions(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    for number in range(30):
        send_sample(producer, number, at, [{"us": 1.0}], seq=1)
    producer.flush(10)
    parts = groups(2)
    runs = [Running(dsn, bootstrap, f"run{part.number}", group=part) for part in parts]
    until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
    reports = [run.stop() for run in runs]
    assert sum(report.rows for report in reports) == 30
    assert all(report.fence == 1 and report.restarts == 0 for report in reports)
    landed = [{number for commit in run.commits for number in commit.offsets.get("hps.vmstat", {})} for run in runs]
    assert landed[0] <= {0, 2}
    assert landed[1] <= {1}
    with session(dsn, application_name="test") as conn:
        assert all(should_start(conn, part) for part in parts)
        assert {part.name for part in parts} == {"1of2", "2of2"}


def test_a_second_run_is_not_needed(dsn: str, bootstrap: str) -> None:
    first = Running(dsn, bootstrap, "first")
    until(lambda: count(dsn, "landing_leases WHERE run_id = 'first'") == 1, 20, "the first run has the lease")
    assert Running(dsn, bootstrap, "second").result().outcome is Outcome.NOT_NEEDED
    assert first.stop().outcome is Outcome.STOPPED
    with session(dsn, application_name="test") as conn:
        assert should_start(conn)


def test_warm_hand_over_leaves_no_gap(dsn: str, bootstrap: str, producer: Producer) -> None:
    ending = threading.Event()

    def load() -> None:
        seq = 0
        while not ending.wait(0.01):
            seq += 1
            send_sample(producer, 1, now_ms(), [{"us": 1.0}], seq=seq)
            producer.poll()

    loader = threading.Thread(target=load)
    loader.start()
    first = Running(dsn, bootstrap, "first", window_s=leases.HANDOVER_S + 6)
    until(lambda: len(first.commits) > 3, 20, "the first run commits")
    with session(dsn, application_name="test") as conn:
        assert not should_start(conn)
        until(lambda: should_start(conn), 10, "the first run's window is about to end")
        second = Running(dsn, bootstrap, "second")
        assert first.result().outcome is Outcome.HANDED_OVER
        assert not should_start(conn)
    until(lambda: len(second.commits) > 3, 20, "the second run commits")
    gap = second.commits[0].at - first.commits[-1].at
    assert gap < timedelta(seconds=3)
    ending.set()
    loader.join()
    producer.flush(10)
    until(lambda: behind(dsn, bootstrap) == 0, 20, "all landed", every_s=LOOK_S)
    report = second.stop()
    assert report.fence == 2
    collected, landed, _, missing = ledger_sums(dsn, "vmstat")
    assert (collected, missing) == (landed, 0)
    assert landed == count(dsn, "vmstat_metrics")
    assert differences(dsn, "vmstat") == []


def test_the_window_ends_by_itself_when_nobody_comes(dsn: str, bootstrap: str) -> None:
    run = Running(dsn, bootstrap, window_s=0.5, overtime_s=0.5)
    assert run.result().outcome is Outcome.ENDED
    with session(dsn, application_name="test") as conn:
        lease = leases.state(conn, "all")
        assert lease is not None
        assert lease.stale


def test_a_stale_run_can_not_write(dsn: str, bootstrap: str, producer: Producer) -> None:
    """A run that hung while another took over wakes up in the middle of a commit."""
    blocked, woken = threading.Event(), threading.Event()

    def hang(_: CommitReport) -> None:
        blocked.set()
        woken.wait(30)

    send_sample(producer, 1, now_ms(), [{"us": 1.0}])
    producer.flush(10)
    first = Running(dsn, bootstrap, "first", on_commit=hang)
    until(blocked.is_set, 20, "the first run hangs after its first commit")
    send_sample(producer, 2, now_ms(), [{"us": 2.0}])
    producer.flush(10)
    with session(dsn, application_name="test") as conn:
        conn.execute("UPDATE landing_leases SET ends_at = now()")
    second = Running(dsn, bootstrap, "second")
    until(lambda: behind(dsn, bootstrap) == 0, 20, "the second run has landed the rest", every_s=LOOK_S)
    send_sample(producer, 3, now_ms(), [{"us": 3.0}])
    woken.set()
    report = first.result()
    assert report.outcome is Outcome.HANDED_OVER
    assert report.messages == 1
    producer.flush(10)
    until(lambda: behind(dsn, bootstrap) == 0, 20, "all landed", every_s=LOOK_S)
    second.stop()
    assert fetch(dsn, "SELECT server_id, us FROM vmstat_metrics ORDER BY 1") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_the_fence_rolls_back_rows_and_ledger(dsn: str) -> None:
    with session(dsn, application_name="test") as conn:
        fence = leases.take(conn, "all", "old", 60)
        assert fence is not None
        conn.execute("UPDATE landing_leases SET ends_at = now()")
        assert leases.take(conn, "all", "new", 60) == fence + 1
        place = ("hps.vmstat", 0)
        [(at,)] = fetch(dsn, "SELECT next_offset FROM landing_offsets WHERE topic = 'hps.vmstat' AND partition = 0")

        def commit() -> None:
            with conn.transaction():
                landing.advance(conn, {place: (at, at + 1)})
                leases.hold(conn, "all", "old", fence)

        with pytest.raises(FencedOut):
            commit()
    assert (at,) in fetch(dsn, "SELECT next_offset FROM landing_offsets WHERE topic = 'hps.vmstat' AND partition = 0")


def _loading(producer: Producer, rate_pause_s: float) -> tuple[Callable[[], int], threading.Event]:
    """Sends samples until told to stop; the function returned then says how many."""
    ending, sent = threading.Event(), [0]

    def load() -> None:
        base = now_ms() - 3_600_000
        while not ending.wait(rate_pause_s):
            for _ in range(5):
                sent[0] += 1
                send_sample(producer, sent[0] % 7, base + sent[0], [{"us": 1.0}], seq=sent[0])
            producer.poll()

    thread = threading.Thread(target=load)
    thread.start()

    def finish() -> int:
        ending.set()
        thread.join()
        assert producer.flush(30) == 0
        return sent[0]

    return finish, ending


def test_postgresql_may_restart_within_a_window(
    dsn: str, bootstrap: str, producer: Producer, postgres_server: Postgres
) -> None:
    finish, _ = _loading(producer, 0.005)
    run = Running(dsn, bootstrap)
    until(lambda: len(run.commits) > 3, 20, "commits")
    postgres_server.stop()
    time.sleep(0.5)  # it is away for a while: nothing to wait for
    postgres_server.start()
    seen = len(run.commits)
    until(lambda: len(run.commits) > seen + 3, 30, "commits after the restart")
    sent = finish()
    until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
    report = run.stop()
    assert report.restarts >= 1
    assert (report.messages, report.rows, report.duplicates) == (sent, sent, 0)
    assert count(dsn, "vmstat_metrics") == sent


def test_a_session_ended_in_the_middle_changes_nothing(dsn: str, bootstrap: str, producer: Producer) -> None:
    finish, _ = _loading(producer, 0.002)
    run = Running(dsn, bootstrap)
    until(lambda: len(run.commits) > 1, 20, "commits")
    for _ in range(5):
        seen = len(run.commits)
        with psycopg.connect(dsn) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name ~ '^hps landing' AND datname = current_database()"
            )
        until(lambda seen=seen: len(run.commits) > seen + 1, 20, "commits again")  # type: ignore[misc]
    sent = finish()
    until(lambda: behind(dsn, bootstrap) == 0, 30, "all landed", every_s=LOOK_S)
    report = run.stop()
    assert report.messages == sent
    assert count(dsn, "vmstat_metrics") == sent


def test_an_interrupted_run_gives_its_lease_back(dsn: str, bootstrap: str, producer: Producer) -> None:
    def interrupt(_: CommitReport) -> None:
        raise KeyboardInterrupt

    send_sample(producer, 1, now_ms(), [{"us": 1.0}])
    producer.flush(10)
    with pytest.raises(KeyboardInterrupt):
        run_window(dsn=dsn, bootstrap=bootstrap, run_id="run", window_s=60, batch_interval_s=0.1, on_commit=interrupt)
    with session(dsn, application_name="test") as conn:
        assert should_start(conn)
    assert behind(dsn, bootstrap) == 0  # what it had committed stays
