"""A range of any length as a file: CSV, JSON, NDJSON or Parquet, written piece by piece.

The range is read slice by slice, and slices are cut finer where they hold much, so memory does not depend on the
range. Each form begins with what was asked, the units, and how complete the range is.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hps_platform.errors import InvalidInput
from hps_platform.history import completeness
from hps_platform.history.intervals import spelled
from hps_platform.history.query import Question
from hps_platform.store import seam
from hps_platform.store.database import Database

Form = Literal["csv", "json", "ndjson", "parquet"]
MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
SLICE_ROWS = 50_000
_FIRST_SLICE = timedelta(hours=1)
_SHORTEST = timedelta(seconds=1)


def written(frame: pl.DataFrame) -> pl.DataFrame:
    """Moments as text, and no NaN, which JSON doesn't have."""
    as_text = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").str.replace(".000Z", "Z", literal=True)
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    return frame.with_columns(as_text, *[pl.col(name).fill_nan(None) for name in floats])


def export(db: Database, question: Question, form: str) -> Iterator[bytes]:
    """The file's bytes. What is wrong with the question, or with its first slice, is raised before the first of them.

    Ascending by time. Without an interval samples as they were taken. A chart can't be exported: say an interval.
    """
    if form not in get_args(Form):
        raise InvalidInput(f"format {form[:40]!r} is none: choose of {', '.join(get_args(Form))}")
    if question.points is not None:
        raise InvalidInput("an export is of samples or of an interval, not of a number of points")
    header = describe(db, question)
    slices = _slices(db, question)
    first = next(slices)
    writing = {"csv": _csv, "json": _json, "ndjson": _ndjson, "parquet": _parquet}[form]
    return writing(header, first, slices)


def describe(db: Database, question: Question) -> dict[str, Any]:
    """What was asked, in which units the answer is, and how complete."""
    with db.connection() as conn:
        whole = completeness.summary(conn, question.scope)
    columns = question.raw_columns if question.interval_s is None else [value.name for value in question.values]
    return {
        "query": {
            "metric": question.family.name,
            "server_id": list(question.server_ids),
            "start": _moment(question.start),
            "end": _moment(question.end),
            "interval": spelled(question.interval_s) if question.interval_s is not None else None,
            "agg": question.agg.value if question.interval_s is not None else None,
            "columns": columns,
            "timezone": question.zone.key,
            "group": "server" if question.tags is None else "tag",
        },
        "units": {name: unit for name, unit in question.family.units.items() if name in columns},
        "completeness": whole,
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _slices(db: Database, question: Question) -> Iterator[pl.DataFrame]:
    """The answer in pieces of mostly at most `SLICE_ROWS`, at least one; ascending by time over all of them."""
    start, end = question.start, question.end
    shortest = _SHORTEST
    if question.interval_s is not None:
        scope, _ = question.bucketed(question.interval_s)
        start, end, shortest = scope.start, scope.end, timedelta(seconds=question.interval_s)
    length = max(_FIRST_SLICE, shortest)
    while True:
        until = min(_cut(question, start + length, shortest), end)
        frame = _read(db, replace(question, start=start, end=until), SLICE_ROWS + 1 if length > shortest else None)
        if frame.height > SLICE_ROWS and length > shortest:
            length = max(length / 4, shortest)
            continue
        yield frame
        if until >= end:
            return
        start = until
        if frame.height < SLICE_ROWS / 8:
            length = min(length * 4, timedelta(days=28))


def _cut(question: Question, moment: datetime, shortest: timedelta) -> datetime:
    """A slice of buckets ends with one of them."""
    if question.interval_s is None:
        return moment
    scope, _ = replace(question, start=moment, end=moment + shortest).bucketed(question.interval_s)
    return scope.start if scope.start > question.start else scope.start + shortest


def _read(db: Database, question: Question, limit: int | None) -> pl.DataFrame:
    with db.connection() as conn:
        if question.interval_s is None:
            frame = seam.raw(conn, question.scope, question.raw_columns, limit or 2**31)
            return completeness.added(conn, question.scope, None, frame)
        scope, width = question.bucketed(question.interval_s)
        frame = seam.buckets(conn, scope, question.values, width, limit)
        return completeness.added(conn, scope, width, frame)


def _all(first: pl.DataFrame, others: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from (frame for frame in others if frame.height)


def _csv(header: dict[str, Any], first: pl.DataFrame, others: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    for name, value in header.items():
        yield f"# {name}: ".encode() + orjson.dumps(value) + b"\n"
    yield first.clear().write_csv().encode()
    for frame in _all(first, others):
        yield written(frame).write_csv(include_header=False).encode()


def _json(header: dict[str, Any], first: pl.DataFrame, others: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    yield orjson.dumps(header)[:-1] + b',"results":['
    between = b""
    for frame in _all(first, others):
        if frame.height:
            yield between + written(frame).write_json().encode()[1:-1]
            between = b","
    yield b"]}\n"


def _ndjson(header: dict[str, Any], first: pl.DataFrame, others: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    yield orjson.dumps(header) + b"\n"
    for frame in _all(first, others):
        yield written(frame).write_ndjson().encode()


def _parquet(header: dict[str, Any], first: pl.DataFrame, others: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    """A row group a slice; the header is metadata of the file, each of its parts JSON."""
    schema = first.to_arrow().schema.with_metadata({name: orjson.dumps(value) for name, value in header.items()})
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for frame in _all(first, others):
            writer.write_table(frame.to_arrow().cast(schema))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What a writer has written since the last look."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
