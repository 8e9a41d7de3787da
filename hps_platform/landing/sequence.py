"""Which of a collector's numbers a batch holds, and what became of them: the entries of `store.completeness`'s log.

A collector numbers the samples of each host and family, 1, 2, 3 …, anew in each of its sessions. Numbers of one minute
that follow each other are one entry. Pure.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from hps_platform.metrics import FAMILIES
from hps_platform.store.completeness import LOG_SCHEMA
from hps_platform.store.landing import Rejected
from hps_platform.stream import Record

MAX_SESSION = 200
_PLACE = ("kafka_partition", "kafka_offset")
_MINUTE = LOG_SCHEMA["timestamp"]
MESSAGES: dict[str, pl.DataType] = {
    "family": pl.String(),
    "server_id": pl.Int64(),
    "timestamp": _MINUTE,
    "session": pl.String(),
    "seq": pl.Int64(),
    "kafka_partition": pl.Int16(),
    "kafka_offset": pl.Int64(),
    "landed_rows": pl.Int64(),
    "rejected_rows": pl.Int64(),
}
"""One row a message and minute of its rows; its number stands in the first, and is null where it has none."""


def _texts(values: list[bytes | None]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:  # a stranger's bytes
        return pl.Series([value and value.decode("utf-8", "replace") for value in values], dtype=pl.String)


def _numbers(values: list[bytes | None]) -> pl.Series:
    """What is no number of 63 bits is null."""
    return _texts(values).cast(pl.Int64, strict=False)


def messages(family: str, records: Sequence[Record], frame: pl.DataFrame, rejected: Iterable[Rejected]) -> pl.DataFrame:
    """`frame` has the rows that are to land, with `message`, the index into `records`."""
    carried = pl.DataFrame(
        {
            "message": pl.int_range(len(records), dtype=pl.UInt32, eager=True),
            "key": _numbers([record.key for record in records]),
            "produced": pl.Series([record.timestamp_ms for record in records], dtype=pl.Int64).cast(_MINUTE),
            "session": _texts([record.headers.get("session") for record in records]),
            "seq": _numbers([record.headers.get("seq") for record in records]),
            "kafka_partition": pl.Series([record.partition for record in records], dtype=pl.Int16),
            "kafka_offset": pl.Series([record.offset for record in records], dtype=pl.Int64),
        }
    ).with_columns(
        pl.when(pl.col("session").str.len_bytes().is_between(1, MAX_SESSION) & ~pl.col("session").str.contains("\0"))
        .then("session")
        .otherwise(pl.lit(""))
    )
    rows = (
        frame.select("message", "server_id", pl.col("timestamp").dt.truncate("1m"))
        .group_by("message", "timestamp", maintain_order=True)
        .agg(pl.col("server_id").first(), pl.len().cast(pl.Int64).alias("landed_rows"))
    )
    joined = carried.join(rows, on="message", how="left", maintain_order="left_right")
    first = pl.col("message") != pl.col("message").shift(1).fill_null(len(records))
    numbered = first & (pl.col("session") != "") & (pl.col("seq") >= 0)
    found = joined.select(
        pl.lit(family).alias("family"),
        pl.coalesce("server_id", "key").alias("server_id"),
        pl.coalesce("timestamp", pl.col("produced").dt.truncate("1m")).alias("timestamp"),
        pl.when(pl.col("seq").is_null()).then(pl.lit("")).otherwise("session").alias("session"),
        pl.when(numbered).then("seq").alias("seq"),
        *_PLACE,
        pl.col("landed_rows").fill_null(0),
        pl.lit(0, dtype=pl.Int64).alias("rejected_rows"),
    )
    known = found.filter(pl.col("server_id").is_not_null())
    return known.with_columns(rejected_rows=_lost(known, rejected))


def _lost(found: pl.DataFrame, letters: Iterable[Rejected]) -> pl.Series:
    """Rows that were rejected, for each row of `found`: in the first one of their message."""
    places = [(letter.partition, letter.offset, letter.rejected_rows) for letter in letters]
    if not places:
        return pl.zeros(found.height, dtype=pl.Int64, eager=True)
    schema = {name: MESSAGES[name] for name in (*_PLACE, "rejected_rows")}
    sums = pl.DataFrame(places, schema=schema, orient="row").group_by(_PLACE).agg(pl.col("rejected_rows").sum())
    first = pl.int_range(pl.len()).over(_PLACE) == 0
    joined = found.select(*_PLACE, first=first).join(sums, on=_PLACE, how="left", maintain_order="left")
    return joined.select(pl.when("first").then(pl.col("rejected_rows").fill_null(0)).otherwise(0)).to_series()


def unparsed(letters: Iterable[Rejected]) -> pl.DataFrame:
    """Samples that the collector numbered but could not make rows of."""
    numbered = [
        (
            letter.family,
            letter.server_id,
            letter.timestamp,
            letter.session,
            letter.seq,
            letter.partition,
            letter.offset,
            0,
            0,
        )
        for letter in letters
        if letter.family in FAMILIES
        and letter.session
        and len(letter.session) <= MAX_SESSION
        and letter.seq is not None
        and letter.seq >= 0
        and letter.server_id is not None
        and letter.timestamp is not None
    ]
    return pl.DataFrame(numbered, schema=MESSAGES, orient="row").with_columns(pl.col("timestamp").dt.truncate("1m"))


def refused(found: pl.DataFrame, letters: Iterable[Rejected]) -> pl.DataFrame:
    """`found` after PostgreSQL has refused rows of some messages."""
    lost = _lost(found, letters)
    return found.with_columns(
        landed_rows=pl.max_horizontal(pl.col("landed_rows") - lost, 0), rejected_rows=pl.col("rejected_rows") + lost
    )


def runs(found: pl.DataFrame, *, recount: bool = False) -> pl.DataFrame:
    """Entries of the log: consecutive numbers of one minute and fate together."""
    keys = ["family", "server_id", "timestamp", "session", "landed"]
    tagged = found.with_columns(landed=pl.col("landed_rows") > 0)
    sums = [pl.col("landed_rows").sum(), pl.col("rejected_rows").sum()]
    bounds = [pl.col("seq").min().alias("first_seq"), pl.col("seq").max().alias("last_seq")]
    grouped = tagged.group_by(keys).agg(*bounds, pl.col("seq").drop_nulls().n_unique().alias("known"), *sums)
    whole = (pl.col("last_seq") - pl.col("first_seq") + 1 == pl.col("known")) | pl.col("first_seq").is_null()
    entries = grouped.filter(whole)
    if entries.height < grouped.height:
        broken = tagged.join(grouped.filter(~whole).select(keys), on=keys, how="semi").sort(*keys, "seq")
        begins = (pl.col("seq") - pl.col("seq").shift(1) > 1).fill_null(value=False)
        parts = broken.with_columns(part=begins.cast(pl.Int64).cum_sum().over(keys))
        apart = parts.group_by(*keys, "part").agg(*bounds, *sums)
        entries = pl.concat([entries, apart], how="diagonal")
    return entries.with_columns(recount=pl.lit(recount)).select(list(LOG_SCHEMA))
