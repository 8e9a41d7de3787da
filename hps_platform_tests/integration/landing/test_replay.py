"""Landing a range again, and the state of each family."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from hps_platform.cli.replay import app
from hps_platform.errors import InvalidInput, NotFound
from hps_platform.landing import conservation, family_states, reparsing, replay, run_window
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Row, Sample
from hps_platform.store import completeness, events
from hps_platform.store.database import session
from hps_platform.stream import Producer
from hps_platform_tests.integration.landing.ground import behind, count, expire, fetch, ledger_sums, now_ms, send_sample

# Topics outlive a test: a range that no other test's samples lie in.
LONG_AGO_MS = 30 * 86_400_000


def land(dsn: str, bootstrap: str) -> None:
    run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id="run",
        window_s=60,
        batch_interval_s=0.1,
        stop=lambda: behind(dsn, bootstrap) == 0,
    )


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def test_missing_rows_of_the_range_come_back(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms() - LONG_AGO_MS
    for number in range(20):
        send_sample(producer, 1, at - number * 60_000, [{"us": float(number)}], seq=number)
    producer.flush(10)
    land(dsn, bootstrap)
    with session(dsn, application_name="test") as conn:
        conn.execute("DELETE FROM vmstat_metrics")
        conn.execute("DELETE FROM dirty_hours")
    start, end = moment(at - 9 * 60_000), moment(at - 4 * 60_000)
    first = replay(dsn, bootstrap, "vmstat", start, end)
    assert (first.rows, first.duplicates) == (5, 0)
    assert [us for (us,) in fetch(dsn, "SELECT us FROM vmstat_metrics ORDER BY us")] == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert count(dsn, "dirty_hours") >= 1
    again = replay(dsn, bootstrap, "vmstat", start, end)
    assert (again.rows, again.duplicates) == (0, 5)


def test_a_range_is_checked(dsn: str, bootstrap: str) -> None:
    now = moment(now_ms())
    with pytest.raises(InvalidInput, match="after start"):
        replay(dsn, bootstrap, "vmstat", now, now)
    with pytest.raises(InvalidInput, match="time zone"):
        replay(dsn, bootstrap, "vmstat", datetime(2026, 1, 1), now)  # noqa: DTZ001  # that is what is wrong
    with pytest.raises(InvalidInput, match="no metric family"):
        replay(dsn, bootstrap, "nosuch", now - timedelta(days=1), now)


def test_the_command(dsn: str, bootstrap: str, producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    at = now_ms() - 2 * LONG_AGO_MS
    send_sample(producer, 4, at, [{"us": 1.0}])
    producer.flush(10)
    land(dsn, bootstrap)
    monkeypatch.setattr("hps_platform.settings.Settings.dsn", lambda _: dsn)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    span = ["--from", moment(at - 1000).isoformat(), "--to", moment(at + 1000).isoformat()]
    said = CliRunner().invoke(app, ["--family", "vmstat", *span])
    assert said.exit_code == 0, said.output
    assert "0 rows landed, 1 there already" in said.output


def test_states_say_what_is_landed_and_what_is_behind(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms()
    send_sample(producer, 4, at, [{"us": 1.0}])
    producer.flush(10)
    land(dsn, bootstrap)
    with session(dsn, application_name="test") as conn:
        conn.execute("INSERT INTO servers (id, hostname, ssh_username) OVERRIDING SYSTEM VALUE VALUES (4, 'a', 'u')")
        state = family_states(conn, bootstrap)["vmstat"]
        assert state.complete
        assert state.newest == moment(at)
        assert state.fresh(moment(at + 10_000))
        assert not state.fresh(moment(at + 3_600_000))
        conn.execute("UPDATE landing_offsets SET next_offset = next_offset - 1 WHERE topic = 'hps.vmstat'")
        # What was produced just now may still be on its way.
        assert family_states(conn, bootstrap)["vmstat"].behind <= 2


def test_what_is_missing_has_to_be_explained(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms() - 20 * 60_000
    for seq in (1, 2, 5, 6):  # two never came
        send_sample(producer, 4, at + seq * 1000, [{"us": 1.0}], seq=seq)
    producer.flush(10)
    land(dsn, bootstrap)
    assert ledger_sums(dsn, "vmstat") == (6, 4, 0, 2)
    with session(dsn, application_name="test") as conn:
        now = datetime.now(UTC)
        books = conservation(conn, now)
        assert {name for name, book in books.items() if not book.holds} == {"vmstat"}
        assert (books["vmstat"].missing, books["vmstat"].unexplained, books["vmstat"].differences) == (2, 2, [])
        events.record(conn, [events.Event(None, now, "dropped", "2 messages were dropped", {"messages": 2})])
        assert conservation(conn, now)["vmstat"].holds
        conn.execute("DELETE FROM vmstat_metrics WHERE timestamp = %s", (moment(at + 1000),))
        [lost] = conservation(conn, now)["vmstat"].differences
        assert (lost.server_id, lost.counted - lost.in_table) == (4, 1)


VMSTAT_TEXT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 {r}  0      0 612344 108224 2410980    0    0     4    18  310  205  6  2 91  1  0
"""
NETWORK_TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
  eth0: {octets} 40 0 0 0 0 0 0 900 30 0 0 0 0 0 0
"""


class Host:
    """Sends samples of one server as a collector does, with rows of its own choosing."""

    def __init__(self, producer: Producer, server_id: int) -> None:
        self._producer = producer
        self._server_id = server_id
        self._sent = 0

    def send(self, family: str, at_ms: int, command: str, raw: str, rows: list[Row]) -> None:
        self._sent += 1
        parser = "linux/1;stream" if family == "vmstat" else "linux/1"
        sample = Sample(family, self._server_id, at_ms, rows, command, raw, parser, "c", "s", self._sent)
        value, headers = wire.encode(FAMILIES[family], sample)
        self._producer.send(f"hps.{family}", wire.key(self._server_id), value, headers)


def test_a_mended_parser_changes_only_what_it_read_wrongly(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms() - 3 * LONG_AGO_MS
    host = Host(producer, 6)
    for number in range(8):
        raw = VMSTAT_TEXT.format(r=number)
        rows = reparsing.parse(FAMILIES["vmstat"], "linux/1;stream", "vmstat -n 2", raw)
        if number in (2, 5):  # what the parser did wrongly then
            rows = [{**rows[0], "us": 99.0}]
        host.send("vmstat", at + number * 3_600_000, "vmstat -n 2", raw, rows)
    producer.flush(10)
    land(dsn, bootstrap)
    before = fetch(dsn, "SELECT timestamp, us, r, kafka_offset, xmin::text FROM vmstat_metrics ORDER BY timestamp")
    with session(dsn, application_name="test") as conn:
        conn.execute("DELETE FROM dirty_hours")
    span = moment(at - 1), moment(at + 7 * 3_600_000)  # the last one lies outside
    report = replay(dsn, bootstrap, "vmstat", *span, reparse=True)
    assert (report.rows, report.changed, report.duplicates, report.unreadable) == (2, 2, 5, 0)
    after = fetch(dsn, "SELECT timestamp, us, r, kafka_offset, xmin::text FROM vmstat_metrics ORDER BY timestamp")
    assert [us for _, us, *_ in after] == [6.0] * 8
    assert [row[3] for row in after] == [row[3] for row in before]
    assert [number for number in range(8) if after[number] != before[number]] == [2, 5]
    hours = {hour for (hour,) in fetch(dsn, "SELECT hour FROM dirty_hours")}
    assert hours == {moment(at + n * 3_600_000).replace(minute=0, second=0, microsecond=0) for n in (2, 5)}
    assert replay(dsn, bootstrap, "vmstat", *span, reparse=True).changed == 2  # the topic still says otherwise
    assert ledger_sums(dsn, "vmstat") == (8, 8, 0, 0)
    with session(dsn, application_name="test") as conn:
        day = moment(at).replace(hour=0, minute=0, second=0, microsecond=0)
        assert completeness.differences(conn, FAMILIES["vmstat"], day, day + timedelta(days=2)) == []


def test_rates_are_made_anew_from_the_sample_before(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms() - 4 * LONG_AGO_MS
    host = Host(producer, 7)
    for number, octets in enumerate((1_000, 3_000, 6_000, 10_000, 15_000)):
        raw = NETWORK_TEXT.format(octets=octets)
        [row] = reparsing.parse(FAMILIES["netstat"], "linux/1", "cat /proc/net/dev", raw)
        # The collector's own clock gave rates that its stamps do not give to the last digit: they stay.
        wrong = {"ibytes": 5, "ibytes_s": 1.0} if number == 2 else {"ibytes_s": 12.345}
        host.send("netstat", at + number * 10_000, "cat /proc/net/dev", raw, [row | wrong])
    producer.flush(10)
    land(dsn, bootstrap)
    report = replay(dsn, bootstrap, "netstat", moment(at), moment(at + 60_000), reparse=True)
    assert (report.changed, report.unreadable) == (2, 0)  # the wrong one and the one after it
    rates = [rate for (rate,) in fetch(dsn, "SELECT ibytes_s FROM netstat_metrics ORDER BY timestamp")]
    assert rates == [12.345, 12.345, 300.0, 400.0, 12.345]
    assert fetch(dsn, "SELECT ibytes FROM netstat_metrics ORDER BY timestamp")[2] == (6_000,)


def test_text_that_nobody_reads_keeps_its_rows(dsn: str, bootstrap: str, producer: Producer) -> None:
    at = now_ms() - 5 * LONG_AGO_MS
    send_sample(producer, 1, at, [{"us": 1.0}])  # its raw text is none of vmstat's
    producer.flush(10)
    land(dsn, bootstrap)
    report = replay(dsn, bootstrap, "vmstat", moment(at), moment(at + 1), reparse=True)
    assert (report.unreadable, report.changed) == (1, 0)
    assert count(dsn, "vmstat_metrics") == 1


def test_an_expired_range_says_since_when_it_is_possible(dsn: str, bootstrap: str, producer: Producer) -> None:
    send_sample(producer, 1, now_ms(), [{"used_pct": 1.0}], family="memory")
    producer.flush(10)
    expire(bootstrap, "hps.memory")
    now = moment(now_ms())
    with pytest.raises(NotFound, match=r"keeps hps.memory since \d{4}-\d\d-\d\dT"):
        replay(dsn, bootstrap, "memory", now - timedelta(days=2), now - timedelta(days=1))
    report = replay(dsn, bootstrap, "memory", now - timedelta(days=1), now + timedelta(hours=1))
    assert report.kept_since is not None
    assert report.kept_since >= now - timedelta(seconds=1)
