"""A sample's bytes on the wire: NDJSON rows as value, provenance as headers.

One message is one sample of one family of one host. The key is the server's id in ASCII. Reading is strict: a row that
does not fit the family's schema is an error of that message, never a null.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import polars as pl

from hps_platform.errors import InvalidInput
from hps_platform.metrics.family import Family
from hps_platform.metrics.sample import DeadLetter, Sample

DEAD_LETTER_TOPIC = "hps.dead_letter"
HEALTH_TOPIC = "hps.health"

Headers = list[tuple[str, bytes]]


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

    Raises `InvalidInput` when any of them is malformed: the caller bisects to find it.
    """
    joined = b"\n".join(values)
    lines = joined.count(b"\n") + 1
    try:
        frame = pl.read_ndjson(joined, schema=family.wire_schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InvalidInput(f"not NDJSON of {family.schema}: {error}") from error
    if frame.height != lines:
        raise InvalidInput(f"not NDJSON of {family.schema}: {lines} lines gave {frame.height} rows")
    if any(frame[name].null_count() for name in family.primary_key):
        raise InvalidInput(f"not NDJSON of {family.schema}: a row lacks {' or '.join(family.primary_key)}")
    message = np.arange(len(values), dtype=np.uint32)
    if lines > len(values):
        message = np.repeat(message, [value.count(b"\n") + 1 for value in values])
    return frame.with_columns(pl.col("timestamp").cast(family.frame_schema["timestamp"]), message=message)


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
