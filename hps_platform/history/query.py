"""One range of one family: checks the question, has the resolution planned, asks the store, thins the answer out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TypedDict, Unpack
from zoneinfo import ZoneInfo

import polars as pl

from hps_platform.errors import InvalidInput, QueryTimeout
from hps_platform.history import completeness, intervals, planner
from hps_platform.history.intervals import at_least, spelled
from hps_platform.history.thinning import HOLE, thin
from hps_platform.metrics import family as family_named
from hps_platform.metrics.family import Family
from hps_platform.store import seam, series
from hps_platform.store.database import Database
from hps_platform.store.schema import Grain
from hps_platform.store.series import Aggregate, Scope, Value

MAX_ROWS = 50_000
ENVELOPE = {"min": Aggregate.MIN, "max": Aggregate.MAX}
"""Suffixes of the columns that go with a chart's means."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`frame`: `server_id` (or `tag`), `timestamp, <key>, <columns>`, ascending by time.

    `interval` is `None` for raw samples. Where nothing is missing, the rows of a line lie at most `HOLE` times
    `step_s` apart; `None`: as far as samples do. The key of a bucketed answer is the family's `summary_key`: processes
    are summed up by their command.
    """

    metric: str
    interval: str | None
    units: dict[str, str]
    frame: pl.DataFrame
    step_s: float | None = None
    settled: bool = False
    """Of a range that has ended, of which all is rolled up: it changes only when something is landed again."""


@dataclass(frozen=True)
class Question:
    """What is asked for, checked. `interval_s` `None` with `points` `None`: samples as they were taken."""

    family: Family
    server_ids: Sequence[int]
    start: datetime
    end: datetime
    columns: Sequence[str] | None = None
    interval_s: int | None = None
    agg: Aggregate = Aggregate.MEAN
    points: int | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    tags: Mapping[int, Sequence[str]] | None = None
    envelope: bool = False
    completeness: bool = False

    @property
    def span_s(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def line(self) -> str:
        return "server_id" if self.tags is None else "tag"

    @property
    def lines(self) -> int:
        """How many lines an answer has, if there are samples of all; more where there are keys."""
        return len(self.server_ids if self.tags is None else {tag for own in self.tags.values() for tag in own})

    @property
    def scope(self) -> Scope:
        return Scope(self.family, self.server_ids, self.start, self.end, self.tags)

    @cached_property
    def raw_columns(self) -> list[str]:
        names = [column.name for column in self.family.columns if column.name != self.family.key]
        return _known(self.family, self.columns) or names

    @cached_property
    def values(self) -> list[Value]:
        names = _aggregated(self.family, self.columns, self.agg)
        plain = [Value(name, name, self.agg) for name in names]
        if not self.envelope or self.agg is not Aggregate.MEAN:
            return plain
        return plain + [Value(f"{name}_{suffix}", name, agg) for name in names for suffix, agg in ENVELOPE.items()]

    def width(self, interval_s: int) -> series.Width:
        return intervals.width(interval_s, self.zone, self.start, self.end)

    def bucketed(self, interval_s: int) -> tuple[Scope, series.Width]:
        """The range in whole buckets."""
        width = self.width(interval_s)
        start, end = intervals.whole_buckets(self.start, self.end, width)
        return replace(self.scope, start=start, end=end), width

    def read(self, db: Database, interval_s: int | None) -> pl.DataFrame:
        """The answer at that resolution, at most one row more than `MAX_ROWS`."""
        with db.connection() as conn:
            if interval_s is None:
                return seam.raw(conn, self.scope, self.raw_columns, MAX_ROWS + 1)
            scope, width = self.bucketed(interval_s)
            return seam.buckets(conn, scope, self.values, width, MAX_ROWS + 1)

    def keys(self, frame: pl.DataFrame) -> list[str]:
        """Columns that tell the lines of an answer apart."""
        known = {self.line, self.family.key, self.family.summary_key}
        return [name for name in frame.columns if name in known]

    def fitting(self, frame: pl.DataFrame, interval_s: int = 0) -> int:
        """A width with which an answer like `frame`, which is too long, has at most `MAX_ROWS` rows."""
        lines = max(frame.select(self.keys(frame)).n_unique(), 1)
        return at_least(max(self.span_s * lines / MAX_ROWS, interval_s + 1))


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


def _spacing(frame: pl.DataFrame, keys: Sequence[str]) -> float:
    """Median seconds between two rows of the same line; 0 where there are not two."""
    gaps = frame.select(pl.col("timestamp").diff().over(keys).dt.total_milliseconds() / 1000).to_series()
    middle = gaps.median()
    return float(middle) if isinstance(middle, int | float) else 0.0


def _chart(db: Database, question: Question, points: int) -> tuple[int | None, float | None, pl.DataFrame]:
    """Width, step and frame of the finest answer with at most `points` a line and `MAX_ROWS` in all."""
    rate = question.agg is Aggregate.RATE
    raw_only = rate or question.agg is Aggregate.P95
    with db.connection() as conn:
        finest: Grain | None = None if raw_only else seam.finest(conn, question.scope)
    may_be_raw = not rate and question.tags is None
    tried = planner.widths(question.span_s, points, question.family.interval_s, finest=finest, rate=not may_be_raw)
    interval_s = next(width for width in tried if width is None or question.lines * question.span_s / width <= MAX_ROWS)
    frame = question.read(db, interval_s)
    if interval_s is not None and frame.height <= MAX_ROWS:
        spacing = _spacing(frame, question.keys(frame))
        if interval_s < spacing:
            # Sampled less often than this family usually is: buckets that are mostly empty would look like gaps.
            interval_s = at_least(spacing)
            frame = question.read(db, interval_s)
    while frame.height > MAX_ROWS:
        wide_enough = question.fitting(frame, interval_s or 0)
        interval_s = next(width for width in tried if width is not None and width >= wide_enough)
        frame = question.read(db, interval_s)
    columns = question.raw_columns if interval_s is None else [v.name for v in question.values if v.name == v.column]
    numeric = [name for name in columns if question.family.by_name[name].numeric]
    key = next((name for name in question.keys(frame) if name != question.line), None)
    thinned, apart_s = thin(frame, question.line, key, numeric, points)
    if thinned.height == frame.height:
        return interval_s, interval_s, frame
    return interval_s, max(interval_s or 0.0, question.span_s / points, apart_s / HOLE), thinned


def _as_asked(db: Database, question: Question) -> pl.DataFrame:
    frame = question.read(db, question.interval_s)
    if frame.height > MAX_ROWS:
        fits = spelled(question.fitting(frame, question.interval_s or 0))
        raise InvalidInput(f"more than {MAX_ROWS:,} rows: ask for a shorter range, fewer servers, or interval={fits}")
    return frame


class How(TypedDict, total=False):
    """How an answer is to be, as people write it; see `query`."""

    columns: Sequence[str] | None
    interval: str | None
    agg: str
    max_points: int | None
    zone: str
    tags: Mapping[int, Sequence[str]] | None
    envelope: bool
    completeness: bool


def asked(family: str, server_ids: Sequence[int], start: datetime, end: datetime, **how: Unpack[How]) -> Question:
    """The question, checked; `InvalidInput` says what is wrong with it."""
    interval, agg, max_points = how.get("interval"), how.get("agg", "mean"), how.get("max_points")
    columns, tags = how.get("columns"), how.get("tags")
    start, end = _moment(start, "start"), _moment(end, "end")
    if end <= start:
        raise InvalidInput("End time must be after start time")
    if agg not in list(Aggregate):
        raise InvalidInput(f"agg {agg[:40]!r} is none: choose of {', '.join(Aggregate)}")
    if max_points is not None and max_points < 1:
        raise InvalidInput("max_points must be at least 1")
    if interval is None and max_points is None:
        if agg == Aggregate.RATE:
            raise InvalidInput("a rate needs an interval: write it like 10s, 5m, 1h or 1d")
        if tags is not None:
            raise InvalidInput("grouping by tag needs an interval: write it like 10s, 5m, 1h or 1d")
    question = Question(
        family_named(family),
        tuple(dict.fromkeys(server_ids)),
        start,
        end,
        columns,
        intervals.seconds(interval) if interval is not None else None,
        Aggregate(agg),
        max_points if interval is None else None,
        intervals.zone(how.get("zone", "UTC")),
        tags,
        how.get("envelope", False),
        how.get("completeness", False),
    )
    _known(question.family, columns)
    if interval is not None or agg == Aggregate.RATE:
        _aggregated(question.family, columns, question.agg)
    return question


def answer(db: Database, question: Question) -> Answer:
    """Samples of servers in [`start`, `end`): raw, in buckets of `interval_s`, or a chart of `points` a line.

    Buckets are whole, so the first and the last may reach beyond the range. `InvalidInput`: more than `MAX_ROWS` rows,
    or more than the database does in its time; then with an interval that fits.
    """
    try:
        if question.points is not None:
            interval_s, step_s, frame = _chart(db, question, question.points)
        else:
            interval_s, step_s, frame = question.interval_s, question.interval_s, _as_asked(db, question)
    except QueryTimeout as error:
        wider = spelled(at_least(max(question.span_s / 500, (question.interval_s or 0) + 1, 60)))
        raise InvalidInput(f"{error}: ask for a shorter range, fewer servers, or interval={wider}") from error
    if question.completeness:
        with db.connection() as conn:
            scope, width = (question.scope, None) if interval_s is None else question.bucketed(interval_s)
            frame = completeness.added(conn, scope, width, frame)
    by_name = question.family.by_name
    units = {name: by_name[name].unit for name in frame.columns if name in question.family.units}
    return Answer(question.family.name, spelled(interval_s) if interval_s is not None else None, units, frame, step_s)


def query(
    db: Database, family: str, server_ids: Sequence[int], start: datetime, end: datetime, **how: Unpack[How]
) -> Answer:
    """`answer` to a question in words.

    Without `interval`: samples as they were taken, or with `max_points` a chart of no more points a line than that,
    peaks kept. `agg` says what becomes of a bucket's samples: `mean min max p95 sum`, or `rate` for counters.
    `columns` `None` = all that can be shown so. Whole days begin at midnight of `zone`. With `tags` (by server) lines
    are tags. `envelope`: means of buckets have `<column>_min` and `<column>_max` beside them. `completeness`: a column
    of that name says which share of what the collector numbered is there.
    """
    return answer(db, asked(family, server_ids, start, end, **how))
