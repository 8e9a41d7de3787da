"""Time partitions: created once, however many ask."""

import threading
from datetime import UTC, date, datetime

from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions
from hps_platform.store.database import Connection, session
from hps_platform_tests.integration.store import samples

VMSTAT = FAMILIES["vmstat"]


def test_days_and_months(conn: Connection) -> None:
    with conn.transaction():
        made = partitions.ensure(conn, [VMSTAT], [date(2026, 2, 28), date(2026, 3, 1)])
    assert made == [
        "vmstat_metrics_1h_p202602",
        "vmstat_metrics_1h_p202603",
        "vmstat_metrics_1m_p20260228",
        "vmstat_metrics_1m_p20260301",
        "vmstat_metrics_6h_p202602",
        "vmstat_metrics_6h_p202603",
        "vmstat_metrics_p20260228",
        "vmstat_metrics_p20260301",
    ]
    found = {one.name: one for one in partitions.listing(conn)}
    assert sorted(found) == made
    assert found["vmstat_metrics_p20260228"].end == datetime(2026, 3, 1, tzinfo=UTC)
    assert found["vmstat_metrics_1h_p202602"].start == datetime(2026, 2, 1, tzinfo=UTC)


def test_again_creates_nothing(conn: Connection) -> None:
    with conn.transaction():
        assert len(partitions.ensure_ahead(conn, date(2026, 12, 30), 7)) == len(FAMILIES) * (9 + 9 + 2 + 2)
        assert partitions.ensure_ahead(conn, date(2026, 12, 30), 7) == []


def test_several_processes_may_ask_at_once(migrated_dsn: str) -> None:
    made: list[list[str]] = []

    def ask() -> None:
        with session(migrated_dsn, application_name="test") as conn, conn.transaction():
            made.append(partitions.ensure(conn, FAMILIES.values(), [date(2026, 3, day) for day in range(1, 6)]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, made)) == [0, 0, 0, len(FAMILIES) * 12]


def test_a_new_partition_does_not_wait_for_writers(migrated_dsn: str) -> None:
    """Landing creates a historic day's partition while another transaction has rows of the table in the works."""
    with session(migrated_dsn, application_name="writer") as writer, writer.transaction():
        rows = samples.frame(VMSTAT, samples.every(60, 2))
        partitions.ensure(writer, [VMSTAT], [samples.START.date()])
        writer.execute("COMMIT")
        writer.execute("BEGIN")
        samples.land(writer, VMSTAT, rows)
        with session(migrated_dsn, application_name="other") as other, other.transaction():
            other.execute("SET LOCAL lock_timeout = '2s'")
            assert partitions.ensure(other, [VMSTAT], [date(2025, 3, 1)])


def test_days_beside_existing_ones_are_added(conn: Connection) -> None:
    """Hours share a partition of a whole month: a second day of the month must not make it again."""
    today, before = date(2026, 11, 24), date(2026, 11, 23)
    with conn.transaction():
        first = partitions.ensure(conn, [VMSTAT], [today])
    with conn.transaction():
        second = partitions.ensure(conn, [VMSTAT], [today, before])
        again = partitions.ensure(conn, [VMSTAT], [today, before])
    assert first == [
        "vmstat_metrics_1h_p202611",
        "vmstat_metrics_1m_p20261124",
        "vmstat_metrics_6h_p202611",
        "vmstat_metrics_p20261124",
    ]
    assert second == ["vmstat_metrics_1m_p20261123", "vmstat_metrics_p20261123"]
    assert again == []
