"""Each night's forecasts: every server's metrics a week ahead by the hour and a quarter ahead by the day.

What these were worth over all servers belongs to `backtests`.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hps_platform.analysis import capacity
from hps_platform.analysis.capacity import Outlook, Runway
from hps_platform.analysis.forecasting import DAY, WEEK, Backtest, Bands, Floats, forecast
from hps_platform.errors import NotEnoughData, one_of_many
from hps_platform.forecasting import hours
from hps_platform.forecasting.hours import HOUR, METRICS, Metric
from hps_platform.store import forecasts as stored
from hps_platform.store import servers
from hps_platform.store.database import Database

logger = logging.getLogger(__name__)

HORIZONS = (WEEK, capacity.HORIZON_DAYS)
"""In days: a week, a value an hour; a quarter, a value a day."""


@dataclass
class Report:
    """`made`: forecasts; `without`: how many could not be made, by reason; `failed`: reasons by hostname."""

    servers: int = 0
    made: int = 0
    without: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


def forecast_all(db: Database, *, now: datetime | None = None, server_ids: Sequence[int] | None = None) -> Report:
    """Replaces the forecasts of every active server, or of those given, up to the last full hour.

    A server that fails is reported and keeps what it had; only a PostgreSQL that is away stops the others.
    """
    end = (now or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
    report = Report()
    with db.connection() as conn:
        active = servers.list_servers(conn, active_only=True)
    for server in active:
        if server_ids is not None and server.id not in server_ids:
            continue
        with one_of_many(report.failed, server.hostname, logger, "forecasting"):
            with db.connection() as conn:
                past = hours.read(conn, server.id, end)
            made = [one for series in past.items() for one in _made(server.id, *series, end)]
            with db.connection() as conn:
                stored.replace(conn, server.id, made)
            report.servers += 1
            report.made += sum(one.reason is None for one in made)
            report.without.update(one.reason for one in made if one.reason is not None)
    return report


def _made(server_id: int, series: tuple[str, str], values: Floats, end: datetime) -> list[stored.Forecast]:
    """Of one series a forecast for each horizon, or the reason why there is none."""
    name, key = series
    metric = METRICS[name]
    about: dict[str, Any] = {"week_on_week": _weeks(values)}
    made = []
    quarter: Outlook | None = None
    reason: str | None = None
    try:
        quarter = capacity.outlook(values, limit=metric.limit, low=metric.low, high=metric.high)
        about["trend"] = asdict(quarter.trend)
    except NotEnoughData as error:
        reason = str(error)
    about["runway"] = _runway(metric, quarter, reason, end)
    try:
        week = forecast(values, low=metric.low, high=metric.high)
        made.append((WEEK, HOUR, {**_bands(week.bands), "backtest": _backtest(week.backtest)}))
    except NotEnoughData as error:
        made.append((WEEK, HOUR, {"reason": str(error)}))
    if quarter is None:
        made.append((capacity.HORIZON_DAYS, DAY * HOUR, {"reason": reason}))
    else:
        told = {**_bands(quarter.bands), "backtest": _backtest(quarter.backtest)}
        made.append((capacity.HORIZON_DAYS, DAY * HOUR, told))
    return [
        stored.Forecast(server_id, name, key, horizon, end, end, int(step.total_seconds()), **about, **more)
        for horizon, step, more in made
    ]


def _bands(bands: Bands) -> dict[str, Any]:
    return {"p10": bands.p10.tolist(), "p50": bands.p50.tolist(), "p90": bands.p90.tolist()}


def _backtest(tested: Backtest | None) -> dict[str, Any] | None:
    return None if tested is None else asdict(tested)


def _weeks(values: Floats) -> dict[str, float | None] | None:
    found = capacity.week_on_week(values)
    if found is None:
        return None
    this, before = found
    return {"this_week": this, "week_before": before, "change": this - before}


def _runway(metric: Metric, quarter: Outlook | None, reason: str | None, end: datetime) -> dict[str, Any] | None:
    """With dates in place of days; None for a metric without a limit."""
    if metric.limit is None:
        return None
    found = Runway(metric.limit, None, None, None, reason)
    if quarter is not None and quarter.runway is not None:
        found = quarter.runway
    days = {"p10": found.p10, "p50": found.p50, "p90": found.p90}
    dates = {
        name: None if count is None else (end + timedelta(days=count)).date().isoformat()
        for name, count in days.items()
    }
    return {"limit": found.limit, **dates, "reason": found.reason}
