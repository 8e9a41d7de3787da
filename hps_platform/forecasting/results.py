"""What is known of the days ahead: plain rows for pages, API and scripts, with a reason where there is nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hps_platform.analysis.forecasting import LEAST_DAYS
from hps_platform.errors import InvalidInput
from hps_platform.forecasting.hours import METRICS
from hps_platform.forecasting.nightly import HORIZONS
from hps_platform.store import forecasts as stored
from hps_platform.store import minutes, servers
from hps_platform.store.database import Database


def forecasts(
    db: Database,
    server_id: int,
    *,
    metric: str | None = None,
    horizon_days: int = HORIZONS[0],
    now: datetime | None = None,
) -> list[dict[str, Any]]:
    """The newest forecasts of a server, by metric and key; every metric asked for is there, at least with a reason.

    Each: `server_id, metric, key, title, unit, horizon_days, made_at, step_s, points` (list of `timestamp, p10, p50,
    p90`), `trend, runway, week_on_week, backtest, reason`. `NotFound`; `InvalidInput` for a metric or a horizon
    that nothing is forecast for.
    """
    if metric is not None and metric not in METRICS:
        raise InvalidInput(f"{metric[:60]!r} is not forecast: choose of {', '.join(METRICS)}")
    if horizon_days not in HORIZONS:
        raise InvalidInput(f"horizon is {' or '.join(map(str, HORIZONS))} days")
    with db.connection() as conn:
        server = servers.get_server(conn, server_id)
        found = stored.find(conn, server_id=server_id, metric=metric, horizon_days=horizon_days)
        oldest = minutes.oldest(conn, server_id)
    told = [_told(one) for one in found if one.metric in METRICS]
    missing = [name for name in ([metric] if metric else METRICS) if name not in {one.metric for one in found}]
    if missing:
        reason = _not_yet(oldest, now or datetime.now(UTC), active=server.is_active)
        told += [_answer(server_id, name, "", horizon_days, reason=reason) for name in missing]
    return told


def _told(one: stored.Forecast) -> dict[str, Any]:
    step = timedelta(seconds=one.step_s)
    return _answer(
        one.server_id,
        one.metric,
        one.key,
        one.horizon_days,
        made_at=one.made_at,
        step_s=one.step_s,
        points=[
            {"timestamp": one.first_at + number * step, "p10": p10, "p50": p50, "p90": p90}
            for number, (p10, p50, p90) in enumerate(zip(one.p10, one.p50, one.p90, strict=True))
        ],
        trend=one.trend,
        runway=one.runway,
        week_on_week=one.week_on_week,
        backtest=one.backtest,
        reason=one.reason,
    )


_NOTHING: Mapping[str, Any] = {
    "made_at": None,
    "step_s": None,
    "points": [],
    **dict.fromkeys(("trend", "runway", "week_on_week", "backtest", "reason")),
}


def _answer(server_id: int, name: str, key: str, horizon_days: int, **known: Any) -> dict[str, Any]:
    metric = METRICS[name]
    about = {"metric": name, "key": key, "title": metric.title, "unit": metric.unit}
    return {"server_id": server_id, **about, "horizon_days": horizon_days, **_NOTHING, **known}


def _not_yet(oldest: datetime | None, now: datetime, *, active: bool) -> str:
    if oldest is None:
        return "there are no samples of this server yet"
    if not active:
        return "the server is not active: only active ones are forecast"
    hours = int((now - oldest) / timedelta(hours=1))
    if hours < 24 * LEAST_DAYS:
        return f"{hours} hours of history: a forecast needs {LEAST_DAYS} days"
    return "forecasts are made each night; there was none since this server has enough history"
