"""`hps forecast`: the days ahead of servers, and when they reach their limits."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hps_platform.cli.database import database
from hps_platform.errors import NotFound

app = typer.Typer()


@app.command()
def forecast(
    server: Annotated[list[str] | None, typer.Option(help="Host name or id; repeat it; all if left out.")] = None,
    metric: Annotated[str, typer.Option(help="As cpu_busy_pct, fs_used_pct; all if left out.")] = "",
    horizon: Annotated[int, typer.Option(help="Days: 7, by the hour, or 90, by the day's peak.")] = 7,
    now: Annotated[bool, typer.Option("--now", help="Make them now, rather than show last night's.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a series, as a list.")] = False,
) -> None:
    """What servers' metrics will be, their trends, and when limits are reached; made each night."""
    from hps_platform import forecasting
    from hps_platform.store import servers

    with database("hps forecast") as db:
        with db.connection() as conn:
            known = servers.list_servers(conn)
        hostnames = {one.id: one.hostname for one in known}
        ids = [_server_id(word, hostnames) for word in server] if server else list(hostnames)
        if now:
            report = forecasting.forecast_all(db, server_ids=ids)
            for hostname, reason in report.failed.items():
                typer.echo(f"{hostname} keeps its forecasts: {reason}", err=True)
        found = [
            {"hostname": hostnames[server_id], **one}
            for server_id in ids
            for one in forecasting.forecasts(db, server_id, metric=metric or None, horizon_days=horizon)
        ]
    if as_json:
        typer.echo(json.dumps(found, default=_written))
        return
    typer.echo(
        f"{'HOST':<20} {'METRIC':<14} {'MOUNT':<16} {'P50 TOP':>9} {'P90 TOP':>9} {'PER WEEK':>9}  LIMIT REACHED"
    )
    for one in found:
        typer.echo(_line(one))


def _server_id(word: str, hostnames: Mapping[int, str]) -> int:
    for number, hostname in hostnames.items():
        if word in (hostname, str(number)):
            return number
    raise NotFound(f"no server {word!r}: `hps server list` shows them")


def _line(one: Mapping[str, Any]) -> str:
    start = f"{one['hostname']:<20} {one['metric']:<14} {one['key']:<16}"
    if one["reason"] is not None:
        return f"{start} {one['reason']}"
    tops = " ".join(f"{max(point[name] for point in one['points']):>9.1f}" for name in ("p50", "p90"))
    trend = one["trend"]
    rise = f"{trend['per_week']:>+9.2f}" if trend and trend["direction"] != "flat" else f"{'flat':>9}"
    return f"{start} {tops} {rise}  {_runway(one['runway'])}"


def _runway(runway: Mapping[str, Any] | None) -> str:
    if runway is None:
        return "no limit"
    if runway["p50"] is None:
        return f"{runway['limit']:g}: {runway['reason']}"
    latest = runway["p90"] or "unknown"
    return f"{runway['limit']:g}: about {runway['p50']} (between {runway['p10']} and {latest})"


def _written(value: Any) -> str:
    assert isinstance(value, datetime)  # noqa: S101  # all else in it is plain
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
