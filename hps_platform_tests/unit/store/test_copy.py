"""The binary COPY stream, byte for byte."""

import struct
from datetime import UTC, datetime

import polars as pl

from hps_platform.store import copy


def _stream(frame: pl.DataFrame) -> bytes:
    return b"".join(copy.encode(frame))


def test_bytes_of_one_row() -> None:
    frame = pl.DataFrame(
        {"id": [7], "at": [datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)], "share": [0.5], "name": ["ü"], "none": [None]},
        schema={
            "id": pl.Int64(),
            "at": pl.Datetime("ms", "UTC"),
            "share": pl.Float64(),
            "name": pl.String(),
            "none": pl.Int16(),
        },
    )
    row = struct.pack("!h", 5)
    row += struct.pack("!iq", 8, 7)
    row += struct.pack("!iq", 8, 1_000_000)  # microseconds since 2000
    row += struct.pack("!id", 8, 0.5)
    row += struct.pack("!i", 2) + "ü".encode()
    row += struct.pack("!i", -1)
    assert _stream(frame) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + row + struct.pack("!h", -1)


def test_no_rows_are_a_stream_too() -> None:
    assert (
        _stream(pl.DataFrame({"id": []}, schema={"id": pl.Int64()})) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
    )


def test_rows_of_one_layout_stay_in_order_and_none_is_lost() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "name": ["a", "bb", "c", None]})
    pieces = copy.encode(frame)
    assert len(pieces) == 2 + 3  # header and trailer, and three layouts
    assert b"".join(pieces[1:2]) == b"".join(
        struct.pack("!hiqi", 2, 8, number, 1) + name for number, name in ((1, b"a"), (3, b"c"))
    )


def test_an_empty_text_is_no_null() -> None:
    frame = pl.DataFrame({"name": ["", None]})
    pieces = copy.encode(frame)
    assert pieces[1:3] == [struct.pack("!hi", 1, 0), struct.pack("!hi", 1, -1)]
