"""Time partitions on a real server."""

from datetime import date, timedelta

from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions
from hps_platform.store.database import Database, migrate


def test_days_beside_existing_ones_are_added(postgres_dsn: str) -> None:
    """Hours share a partition of a whole month: a second day of the month must not make it again."""
    migrate(postgres_dsn)
    today = date(2026, 11, 24)
    with Database(postgres_dsn) as database:
        with database.connection() as conn:
            first = partitions.ensure(conn, [FAMILIES["vmstat"]], [today])
        with database.connection() as conn:
            second = partitions.ensure(conn, [FAMILIES["vmstat"]], [today, today - timedelta(days=1)])
            again = partitions.ensure(conn, [FAMILIES["vmstat"]], [today, today - timedelta(days=1)])
    assert first == ["vmstat_metrics_1h_p202611", "vmstat_metrics_1m_p20261124", "vmstat_metrics_p20261124"]
    assert second == ["vmstat_metrics_1m_p20261123", "vmstat_metrics_p20261123"]
    assert again == []
