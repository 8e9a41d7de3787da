"""Rows as PostgreSQL's binary COPY stream, encoded column by column with numpy.

Rows that share a layout (the same nulls, texts of the same lengths) are one structured array whose bytes are the
stream; so a batch costs per layout, not per row. The format: https://www.postgresql.org/docs/current/sql-copy.html
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from psycopg import Connection, sql

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's timestamps begin
_AT_ONCE = 1024
"""Rows that are filled while they lie in the processor's cache."""
_NUMBERS: dict[Any, str] = {
    pl.Boolean: "?",
    pl.Int16: ">i2",
    pl.Int32: ">i4",
    pl.Int64: ">i8",
    pl.Float32: ">f4",
    pl.Float64: ">f8",
}


def _layouts(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The frame cut into parts of one layout each, rows in their order."""
    varying: list[pl.Expr] = []
    bits: list[pl.Expr] = []
    for series in frame:
        if series.dtype == pl.String:
            varying.append(pl.col(series.name).str.len_bytes().cast(pl.Int64).fill_null(-1).alias(f"len {series.name}"))
        elif 0 < series.null_count() < frame.height:
            bits.append(pl.col(series.name).is_null().cast(pl.Int64) * (1 << len(bits)))
    if bits:
        varying.append(pl.sum_horizontal(bits).alias("null bits"))
    if not varying:
        return [frame]
    keys = [expression.meta.output_name() for expression in varying]
    return frame.with_columns(varying).partition_by(keys, maintain_order=True, include_key=False)


def _text(series: pl.Series, width: int) -> np.ndarray[Any, Any]:
    return np.frombuffer("".join(series.to_list()).encode(), dtype=f"V{width}")


def _encode_layout(frame: pl.DataFrame) -> memoryview:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    same: list[tuple[str, int]] = [("fields", frame.width)]
    values: list[tuple[str, Any]] = []
    for number, series in enumerate(frame):
        length, value = f"l{number}", f"v{number}"
        fields.append((length, ">i4"))
        if series.null_count():
            same.append((length, -1))
            continue
        if series.dtype == pl.String:
            width = len(series[0].encode())
            if width:
                fields.append((value, f"V{width}"))
                values.append((value, _text(series, width)))
        elif isinstance(series.dtype, pl.Datetime):
            fields.append((value, ">i8"))
            values.append((value, series.dt.epoch("us").to_numpy() - _EPOCH_US))
            width = 8
        else:
            fields.append((value, _NUMBERS[series.dtype.base_type()]))
            values.append((value, series.to_numpy()))
            width = np.dtype(fields[-1][1]).itemsize
        same.append((length, width))
    row = np.zeros((), dtype=np.dtype(fields))
    for name, value_of_all in same:
        row[name] = value_of_all
    rows = np.empty(frame.height, dtype=row.dtype)
    template = np.full(min(frame.height, _AT_ONCE), row).view(np.uint8)
    for begin in range(0, frame.height, _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        some.view(np.uint8)[:] = template[: some.nbytes]
        for name, filling in values:
            some[name] = filling[begin : begin + _AT_ONCE]
    return rows.view(np.uint8).data


def encode(frame: pl.DataFrame) -> list[bytes | memoryview]:
    """The stream, in pieces. Types: booleans, integers, floats, `Datetime`, `String`; texts must hold no NUL."""
    if frame.is_empty():
        return [_HEADER + _TRAILER]
    return [_HEADER, *(_encode_layout(part) for part in _layouts(frame)), _TRAILER]


def send(
    conn: Connection[Any],
    table: str,
    columns: Sequence[str],
    pieces: Sequence[bytes | memoryview],
    *,
    frozen: bool = False,
) -> int:
    """COPY of an encoded stream into `table`; returns the number of rows.

    `frozen` ones no vacuum needs to look at; of a table that was made or truncated in the same transaction only.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY, FREEZE {})").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Literal(frozen)
    )
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


def refill(
    conn: Connection[Any], table: str, columns: Sequence[str], streams: Iterable[Sequence[bytes | memoryview]]
) -> None:
    """Replaces the rows of a table without partitions, as they would be after a vacuum, and counts them for plans."""
    with conn.transaction():
        conn.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
        for pieces in streams:
            send(conn, table, columns, pieces, frozen=True)
    conn.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


def from_file(conn: Connection[Any], table: str, columns: Sequence[str], path: str) -> int:
    """COPY BINARY of a file on the server's own machine; returns the number of rows."""
    statement = sql.SQL("COPY {} ({}) FROM {} (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Literal(path)
    )
    return conn.execute(statement).rowcount
