"""One range of one family: checks the question, chooses the resolution, asks the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from hps_platform.errors import InvalidInput
from hps_platform.history.intervals import at_least, seconds, spelled
from hps_platform.metrics import family as family_named
from hps_platform.metrics.family import Family
from hps_platform.store import series
from hps_platform.store.database import Database
from hps_platform.store.series import Aggregate

MAX_ROWS = 50_000
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """`frame`: `server_id, timestamp, <key>, <columns>`, ascending by time. `interval` is `None` for raw samples.

    The key of a bucketed answer is the family's `summary_key`: processes are summed up by their command.
    """

    metric: str
    interval: str | None
    units: dict[str, str]
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Question:
    db: Database
    family: Family
    server_ids: list[int]
    start: datetime
    end: datetime
    columns: Sequence[str] | None
    agg: Aggregate

    @property
    def span_s(self) -> float:
        return (self.end - self.start).total_seconds()

    def raw(self) -> pl.DataFrame:
        names = [column.name for column in self.family.columns if column.name != self.family.key]
        columns = _known(self.family, self.columns) or names
        with self.db.connection() as conn:
            return series.raw(conn, self.family, self.server_ids, self.start, self.end, columns, MAX_ROWS + 1)

    def bucketed(self, interval_s: int) -> pl.DataFrame:
        columns = _aggregated(self.family, self.columns, self.agg)
        start, end = _whole_buckets(self.start, self.end, interval_s)
        with self.db.connection() as conn:
            return series.buckets(
                conn,
                self.family,
                self.server_ids,
                start,
                end,
                columns,
                interval_s=interval_s,
                agg=self.agg,
                limit=MAX_ROWS + 1,
            )

    def fitting(self, frame: pl.DataFrame, interval_s: int = 0) -> int:
        """A width with which an answer like `frame`, which is too long, has at most `MAX_ROWS` rows."""
        keys = {"server_id", self.family.key, self.family.summary_key}
        lines = max(frame.select(name for name in frame.columns if name in keys).n_unique(), 1)
        return at_least(max(self.span_s * lines / MAX_ROWS, interval_s + 1))


def _whole_buckets(start: datetime, end: datetime, interval_s: int) -> tuple[datetime, datetime]:
    width = timedelta(seconds=interval_s)
    return start - (start - _ORIGIN) % width, end + (_ORIGIN - end) % width


def _known(family: Family, columns: Sequence[str] | None) -> list[str]:
    """The columns asked for, once each, without the key, which every answer has."""
    for name in columns or ():
        if name not in family.by_name:
            raise InvalidInput(f"{family.name} has no column {name[:60]!r}: choose of {', '.join(family.by_name)}")
    return [name for name in dict.fromkeys(columns or ()) if name != family.key]


def _aggregated(family: Family, columns: Sequence[str] | None, agg: Aggregate) -> list[str]:
    """The columns asked for that can be aggregated so, or all that can; `InvalidInput` says which of them can't."""
    asked = [name for name in _known(family, columns) if name != family.summary_key]
    for name in asked:
        if not series.may_bucket(family, name, agg):
            able = [column for column in family.by_name if series.may_bucket(family, column, agg)]
            hint = f"; {agg} goes with {', '.join(able)}" if able else ""
            raise InvalidInput(f"{agg} makes no sense of {family.name}'s {name}{hint}")
    chosen = asked or [column.name for column in family.numeric_columns if series.may_bucket(family, column.name, agg)]
    if not chosen:
        raise InvalidInput(f"{family.name} has no column that {agg} goes with")
    return chosen


def _moment(value: datetime, name: str) -> datetime:
    if value.tzinfo is None:
        raise InvalidInput(f"{name} needs a time zone: write it like 2025-01-31T12:00:00Z")
    return value.astimezone(UTC)


def _spacing(frame: pl.DataFrame, family: Family) -> float:
    """Median seconds between two rows of the same line; 0 where there are not two."""
    keys = ["server_id", *([family.summary_key] if family.summary_key else [])]
    gaps = frame.select(pl.col("timestamp").diff().over(keys).dt.total_milliseconds() / 1000).to_series()
    middle = gaps.median()
    return float(middle) if isinstance(middle, int | float) else 0.0


def _to_fit(question: _Question, max_points: int) -> tuple[int | None, pl.DataFrame]:
    """The finest resolution with at most `max_points` a line and `MAX_ROWS` in all; `None`: raw."""
    if question.agg is not Aggregate.RATE and question.span_s / question.family.interval_s <= max_points:
        frame = question.raw()
        if frame.height <= MAX_ROWS:
            return None, frame
    interval_s = at_least(question.span_s / max_points)
    frame = question.bucketed(interval_s)
    if frame.height <= MAX_ROWS and (spacing := _spacing(frame, question.family)) > interval_s:
        # Sampled less often than this family usually is: buckets that are mostly empty would look like gaps.
        interval_s = at_least(spacing)
        frame = question.bucketed(interval_s)
    while frame.height > MAX_ROWS:
        interval_s = question.fitting(frame, interval_s)
        frame = question.bucketed(interval_s)
    return interval_s, frame


def _as_asked(question: _Question, interval_s: int | None) -> pl.DataFrame:
    if interval_s is None and question.agg is Aggregate.RATE:
        raise InvalidInput("a rate needs an interval: write it like 10s, 5m, 1h or 1d")
    frame = question.raw() if interval_s is None else question.bucketed(interval_s)
    if frame.height > MAX_ROWS:
        fits = spelled(question.fitting(frame, interval_s or 0))
        raise InvalidInput(f"more than {MAX_ROWS:,} rows: ask for a shorter range, fewer servers, or interval={fits}")
    return frame


def query(
    db: Database,
    family: str,
    server_ids: Sequence[int],
    start: datetime,
    end: datetime,
    *,
    columns: Sequence[str] | None = None,
    interval: str | None = None,
    agg: str = "mean",
    max_points: int | None = None,
) -> Answer:
    """Samples of servers in [`start`, `end`).

    Without `interval`: raw samples, or with `max_points` the finest buckets with no more points a line than that.
    With `interval`: whole buckets, so the first and the last may reach beyond the range. `agg` says what becomes of a
    bucket's samples: `mean min max p95 sum`, or `rate` for counters. `columns` `None` = all that can be shown so.

    `InvalidInput`: `end <= start`, unknown names, or more than `MAX_ROWS` rows, then with an interval that fits.
    """
    start, end = _moment(start, "start"), _moment(end, "end")
    if end <= start:
        raise InvalidInput("End time must be after start time")
    if agg not in list(Aggregate):
        raise InvalidInput(f"agg {agg[:40]!r} is none: choose of {', '.join(Aggregate)}")
    if max_points is not None and max_points < 1:
        raise InvalidInput("max_points must be at least 1")
    shown = family_named(family)
    question = _Question(db, shown, list(server_ids), start, end, columns, Aggregate(agg))
    if interval is None and max_points is not None:
        interval_s, frame = _to_fit(question, max_points)
    else:
        interval_s = seconds(interval) if interval is not None else None
        frame = _as_asked(question, interval_s)
    units = {name: shown.by_name[name].unit for name in frame.columns if name in shown.units}
    return Answer(shown.name, spelled(interval_s) if interval_s is not None else None, units, frame)
