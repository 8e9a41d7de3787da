"""A query's rows as a polars frame.

`frame` is for answers that fit into memory: PostgreSQL gathers each column into one array, whose bytes numpy takes as
they are, so a row costs no Python object. `stream` is for those of any length. Which query is asked belongs elsewhere.
"""

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import polars as pl
from psycopg import Connection, sql

Schema = Mapping[str, pl.DataType]

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's timestamps begin
_ARRAY_HEADER = 20  # dimensions, whether there are nulls, type, length, lower bound: 4 bytes each
_NO_INTEGER = -(2**63)
"""Stands for null among integers, as NaN does among reals: no family has a column that reaches either."""


def frame(conn: Connection[Any], query: sql.Composable, asked: Mapping[str, Any], schema: Schema) -> pl.DataFrame:
    """The rows of a SELECT with the columns of `schema` in its order; in no order of rows."""
    gathered = sql.SQL("SELECT {} FROM ({}) AS rows ({})").format(
        sql.SQL(", ").join(_gathered(name, dtype) for name, dtype in schema.items()),
        query,
        sql.SQL(", ").join(map(sql.Identifier, schema)),
    )
    with conn.cursor(binary=True) as cursor:
        # The planner shall see the range: only then does it leave out the other days' partitions.
        cursor.execute(gathered, asked, prepare=False)
        result = cursor.pgresult
        assert result is not None  # noqa: S101  # a query was executed
        found = [_column(name, dtype, result.get_value(0, i)) for i, (name, dtype) in enumerate(schema.items())]
    return pl.DataFrame(found)


def _gathered(name: str, dtype: pl.DataType) -> sql.Composable:
    column = sql.Identifier(name)
    if dtype == pl.String:
        return sql.SQL("to_json(array_agg({}))::text").format(column)
    if dtype == pl.Float64:
        return sql.SQL("array_agg(coalesce({}::float8, 'NaN'))").format(column)
    if dtype == pl.Int64:
        return sql.SQL("array_agg(coalesce({}::bigint, {}))").format(column, sql.Literal(_NO_INTEGER))
    return sql.SQL("array_agg({}::timestamptz)").format(column)


def _column(name: str, dtype: pl.DataType, value: bytes | None) -> pl.Series:
    if value is None:  # no row at all
        return pl.Series(name, [], dtype=dtype)
    if dtype == pl.String:
        return pl.Series(name, orjson.loads(value), dtype=dtype)
    kind = ">f8" if dtype == pl.Float64 else ">i8"
    cells = np.frombuffer(value, dtype=np.dtype([("length", ">i4"), ("value", kind)]), offset=_ARRAY_HEADER)
    numbers = cells["value"].astype(kind.replace(">", "="))
    if dtype == pl.Float64:
        return pl.Series(name, numbers, dtype=dtype, nan_to_null=True)
    if dtype == pl.Int64:
        series = pl.Series(name, numbers, dtype=dtype)
        return series.set(series == _NO_INTEGER, None) if (numbers == _NO_INTEGER).any() else series
    milliseconds = (numbers + _EPOCH_US) // 1000
    return pl.Series(name, milliseconds).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def stream(
    conn: Connection[Any], query: sql.Composed, asked: Mapping[str, Any], schema: Schema, rows: int
) -> Iterator[pl.DataFrame]:
    """The rows of a SELECT in its order, `rows` at a time; belongs into a transaction."""
    # The cursor is closed with the transaction too, whoever stops reading early.
    with contextlib.closing(conn.cursor(name=f"stream_{uuid.uuid4().hex}", withhold=False)) as cursor:
        cursor.execute(query, asked, binary=True)
        while found := cursor.fetchmany(rows):
            columns = zip(*found, strict=True)
            yield pl.DataFrame(
                [
                    pl.Series(name, cells, dtype=kind)
                    for (name, kind), cells in zip(schema.items(), columns, strict=True)
                ]
            )
