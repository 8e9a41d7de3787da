"""Landing a range again, and the state of each family."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from hps_platform.cli.replay import app
from hps_platform.errors import InvalidInput
from hps_platform.landing import conservation, family_states, replay, run_window
from hps_platform.store import events
from hps_platform.store.database import session
from hps_platform.stream import Producer
from hps_platform_tests.integration.landing.ground import behind, count, fetch, ledger_sums, now_ms, send_sample

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
