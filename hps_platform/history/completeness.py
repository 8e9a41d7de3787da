"""How much of what the collector numbered is in an answer: a column beside its values.

The books are kept by minute and by hour (`hps_platform.store.completeness`); a sample has the share of its minute, a
bucket that of its minutes. Null: nothing is known, as of samples that were landed before the books were kept.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from hps_platform.store import completeness
from hps_platform.store.database import Connection
from hps_platform.store.schema import Grain
from hps_platform.store.series import Scope, Width

COLUMN = "completeness"
_MINUTE = Width(Grain.MINUTE.seconds)


def added(conn: Connection, scope: Scope, width: Width | None, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `completeness`, from 0 to 1; `width` is that of its buckets, `None` for samples."""
    if frame.is_empty():
        return frame.with_columns(pl.lit(None, pl.Float64).alias(COLUMN))
    grain = _books(width) if width else None
    known = completeness.shares(conn, scope, width if width and grain else _MINUTE, grain or Grain.MINUTE)
    if width and grain:
        return frame.join(known, on=[scope.line, "timestamp"], how="left", maintain_order="left")
    minute = pl.col("timestamp").dt.truncate("1m").alias("minute")
    known = known.rename({"timestamp": "minute"})
    return (
        frame.with_columns(minute)
        .join(known, on=[scope.line, "minute"], how="left", maintain_order="left")
        .drop("minute")
    )


def _books(width: Width) -> Grain | None:
    """The coarsest books that such buckets can be made from; `None`: the bucket is shorter than a minute."""
    if width.seconds % Grain.MINUTE.seconds:
        return None
    return Grain.MINUTE if width.seconds % Grain.HOUR.seconds or not width.whole_hours else Grain.HOUR


def summary(conn: Connection, scope: Scope) -> dict[str, Any]:
    """Samples of a range in all: `collected, landed, rejected, missing`, and `share` (null: nothing is known)."""
    found: Mapping[str, int] = completeness.totals(conn, scope)
    share = found["landed"] / found["collected"] if found["collected"] else None
    return {"share": None if share is None else round(share, 6), **found}
