"""A sample's bytes on the wire: NDJSON rows as value, provenance as headers.

One message is one sample of one family of one host. The key is the server's id in ASCII. Reading is strict: a row that
does not fit the family's schema is an error of that message, never a null. What is quickest for many rows was measured:
`docs/benchmarks.md`.
"""

import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from hps_platform.errors import InvalidInput
from hps_platform.metrics.family import Family
from hps_platform.metrics.sample import DeadLetter, Sample

DEAD_LETTER_TOPIC = "hps.dead_letter"
HEALTH_TOPIC = "hps.health"

Headers = list[tuple[str, bytes]]

_NEWLINE = ord("\n")
_NUMBERS = b"0123456789.-"
_PLAIN = frozenset(string.ascii_lowercase + "_")
_NAMES = b'{}":' + "".join(sorted(_PLAIN)).encode()
_MOST_SHAPES = 8
"""Of messages in one batch: operating systems differ in their columns."""


def key(server_id: int) -> bytes:
    return str(server_id).encode("ascii")


def encode(family: Family, sample: Sample) -> tuple[bytes, Headers]:
    """Value and headers of one sample.

    Whole-number columns are rounded, absent columns stay absent (null on reading). Raises `InvalidInput` for a row
    with a column the family doesn't have.
    """
    rounded = family.rounded
    lines: list[bytes] = []
    for row in sample.rows:
        out: dict[str, Any] = {"server_id": sample.server_id, "timestamp": sample.timestamp_ms}
        for name, value in row.items():
            whole = rounded.get(name)
            if whole is None:
                raise InvalidInput(f"{family.name} has no column {name!r}")
            if value is not None:
                out[name] = round(value) if whole else value
        lines.append(orjson.dumps(out))
    headers: Headers = [
        *_origin(family.schema, sample.collector, sample.session),
        ("seq", b"%d" % sample.seq),
        ("command", sample.command.encode()),
        ("exit_code", b"" if sample.exit_code is None else b"%d" % sample.exit_code),
        ("parser", sample.parser.encode()),
        ("raw", sample.raw.encode()),
    ]
    return b"\n".join(lines), headers


@lru_cache(maxsize=1024)
def _origin(schema: str, collector: str, session: str) -> Headers:
    """The headers that all samples of a collector's family have in common."""
    return [("schema", schema.encode()), ("collector", collector.encode()), ("session", session.encode())]


def decode(family: Family, values: Sequence[bytes]) -> pl.DataFrame:
    """Rows of many messages with `family.frame_schema`, plus `message` (UInt32): which of `values` a row came from.

    Rows are in the order of their messages. Raises `InvalidInput` when any of them is malformed: the caller bisects to
    find it.
    """
    return decode_lines(family, b"\n".join(values), np.fromiter(map(len, values), np.int64, len(values)))


def decode_lines(family: Family, lines: bytes, lengths: npt.NDArray[np.int64]) -> pl.DataFrame:
    """The same of values put together, with a newline between one and the next; `lengths` are theirs, in bytes."""
    frame = None if family.has_texts else _read_alike(family, lines)
    if frame is None and not family.has_texts:
        values = split_values(lines, lengths)
        groups = _by_shape(values)
        if 1 < len(groups) <= _MOST_SHAPES:
            return _decode_apart(family, values, groups)
    if frame is None:
        frame = _read_any(family, lines)
    if any(frame[name].null_count() for name in family.primary_key):
        raise InvalidInput(f"not NDJSON of {family.schema}: a row lacks {' or '.join(family.primary_key)}")
    message = np.arange(len(lengths), dtype=np.uint32)
    if frame.height > len(lengths):
        newlines = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE)
        ends = np.cumsum(lengths + 1) - 1
        message = np.repeat(message, np.diff(np.searchsorted(newlines, ends), prepend=-1))
    return frame.with_columns(pl.col("timestamp").cast(family.frame_schema["timestamp"]), message=message)


def split_values(lines: bytes, lengths: npt.NDArray[np.int64]) -> list[bytes]:
    """Values that were put together with a newline between one and the next."""
    ends = np.cumsum(lengths + 1) - 1
    return [lines[begin:end] for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]


_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _read_any(family: Family, lines: bytes) -> pl.DataFrame:
    try:
        frame = pl.read_ndjson(lines, schema=family.wire_schema)
    except _UNREADABLE as error:
        raise InvalidInput(f"not NDJSON of {family.schema}: {error}") from error
    count = lines.count(b"\n") + 1
    if frame.height != count:
        raise InvalidInput(f"not NDJSON of {family.schema}: {count} lines gave {frame.height} rows")
    return frame


def _read_alike(family: Family, lines: bytes) -> pl.DataFrame | None:
    """The same for less than half the time, if all lines have one shape, of numbers only; `None` if they have not.

    What is left of such lines without their numbers is one text again and again, and what is left without their names
    is CSV. It takes numbers that JSON would not: `007`, `.5` and `5.`.
    """
    shapes = lines.translate(None, _NUMBERS)
    shape = shapes[: shapes.index(b"\n")] if b"\n" in shapes else shapes
    count, rest = divmod(len(shapes) + 1, len(shape) + 1)
    if rest or shapes != b"\n".join([shape] * count):
        return None
    names = shape[2:-3].decode("ascii", "replace").split('":,"')
    known = {name: family.wire_schema[name] for name in names if name in family.wire_schema}
    if shape != b'{"%s":}' % b'":,"'.join(map(str.encode, known)) or not _PLAIN.issuperset("".join(names)):
        return None
    try:
        frame = pl.read_csv(lines.translate(None, _NAMES), has_header=False, schema=known, quote_char=None)
    except _UNREADABLE:  # `_read_any` finds the words for it
        return None
    if frame.height != count or any(series.null_count() for series in frame):
        return None
    return frame.select(
        name if name in known else pl.lit(None, dtype=kind).alias(name) for name, kind in family.wire_schema.items()
    )


def _decode_apart(family: Family, values: Sequence[bytes], groups: Iterable[list[int]]) -> pl.DataFrame:
    frames = [among_all(decode(family, [values[index] for index in group]), group) for group in groups]
    return pl.concat(frames).sort("message", maintain_order=True)


def among_all(frame: pl.DataFrame, some: Sequence[int]) -> pl.DataFrame:
    """A frame that was decoded from `some` of all messages, with `message` as the index into all of them."""
    return frame.with_columns(message=pl.Series(some, dtype=pl.UInt32).gather(frame["message"]))


def _by_shape(values: Sequence[bytes]) -> list[list[int]]:
    """Indices of the messages that are alike but for their numbers."""
    groups: dict[bytes, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(value.translate(None, _NUMBERS), []).append(index)
    return list(groups.values())


def encode_dead_letter(letter: DeadLetter) -> bytes:
    return orjson.dumps(letter)


def decode_dead_letter(value: bytes) -> Mapping[str, Any]:
    """The fields of a dead letter; raises `InvalidInput` when it isn't a JSON object."""
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"dead letter is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidInput("dead letter is not a JSON object")
    return fields
