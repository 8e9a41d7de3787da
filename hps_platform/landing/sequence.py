"""Which of a collector's numbers a batch holds, and what became of them: the entries of `store.completeness`'s log.

A collector numbers the samples of each host and family, 1, 2, 3 …, anew in each of its sessions. Numbers of one minute
that follow each other are one entry. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hps_platform.metrics import FAMILIES
from hps_platform.store.completeness import LOG_SCHEMA
from hps_platform.store.landing import Rejected
from hps_platform.stream import Columns, Record

MAX_SESSION = 200
_PLACE = ("kafka_partition", "kafka_offset")
_MINUTE_MS = 60_000
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


def _texts(values: Sequence[bytes | None]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:  # a stranger's bytes
        return pl.Series([value and value.decode("utf-8", "replace") for value in values], dtype=pl.String)


def _numbers(values: Sequence[bytes | None]) -> pl.Series:
    """What is no number of 63 bits is null."""
    return _texts(values).cast(pl.Int64, strict=False)


@dataclass(frozen=True, slots=True)
class Carried:
    """What the headers of records say of their numbers: `session` ('' for none), `seq`; `schemas` that were seen."""

    session: pl.Series
    seq: pl.Series
    schemas: set[bytes]


def read_all(records: Iterable[Record]) -> Carried:
    """From the headers of every record."""
    headers = [record.headers for record in records]
    session = _texts([one.get("session") for one in headers])
    usable = session.str.len_bytes().is_between(1, MAX_SESSION) & ~session.str.contains("\0", literal=True)
    seq = _numbers([one.get("seq") for one in headers])
    good = (usable & (seq >= 0)).fill_null(value=False)
    known = pl.DataFrame({"session": session, "seq": seq}).select(
        pl.when(good).then("session").otherwise(pl.lit("")), pl.when(good).then("seq")
    )
    return Carried(known["session"], known["seq"], {one["schema"] for one in headers if "schema" in one})


@dataclass(frozen=True, slots=True)
class Ends:
    """From the headers of each server's first and last record."""

    server: pl.Series
    first: Carried
    last: Carried

    @property
    def schemas(self) -> set[bytes]:
        return self.first.schemas | self.last.schemas

    def entries(self, family: str, frame: pl.DataFrame, count: int) -> pl.DataFrame | None:
        """The log's entries for `frame`, the rows of `count` records; `None` where those in between may not follow.

        They follow when both ends have one session and numbers as far apart as there are records. Only records that
        come again, or another session's between them, could make up for just as many that are lost: so a server's
        times must grow, and rows that turn out to be there already are counted from all headers.
        """
        message, server, at = _columns(frame)
        begins = np.flatnonzero(np.diff(message, prepend=-1))
        if len(begins) != count:
            return None  # some record has no row
        minute = at // _MINUTE_MS
        if len(message) > count and bool(np.any((np.diff(message) == 0) & (np.diff(minute) != 0))):
            return None
        order = np.argsort(server[begins], kind="stable")
        server, at, minute = (column[begins][order] for column in (server, at, minute))
        other = np.diff(server, prepend=server[0] - 1) != 0
        firsts = np.flatnonzero(other)
        own = np.argsort(self.server.to_numpy())
        if np.any((np.diff(at) <= 0) & ~other[1:]) or not np.array_equal(self.server.to_numpy()[own], server[firsts]):
            return None
        session, first, last = self.first.session.gather(own), self.first.seq.gather(own), self.last.seq.gather(own)
        one_session = (session == self.last.session.gather(own)) & (session != "")
        sizes = pl.Series(np.diff(firsts, append=count))
        if not (one_session & (last - first + 1 == sizes)).fill_null(value=False).all():
            return None
        starts = np.flatnonzero(other | (np.diff(minute, prepend=minute[0]) != 0))
        which = np.cumsum(other[starts]) - 1
        lengths = np.diff(starts, append=count)
        seq = first.to_numpy()[which] + starts - firsts[which]
        rows = np.add.reduceat(np.diff(begins, append=len(message))[order], starts)
        return pl.DataFrame(
            {
                "family": pl.repeat(family, len(starts), eager=True),
                "server_id": pl.Series(server[starts], dtype=pl.Int64),
                "timestamp": pl.Series(minute[starts] * _MINUTE_MS).cast(_MINUTE),
                "session": session.gather(which),
                "first_seq": seq,
                "last_seq": seq + lengths - 1,
                "landed": pl.repeat(value=True, n=len(starts), eager=True),
                "landed_rows": rows,
                "rejected_rows": pl.zeros(len(starts), dtype=pl.Int64, eager=True),
                "recount": pl.repeat(value=False, n=len(starts), eager=True),
            },
            schema=LOG_SCHEMA,
        )


def read(records: Columns) -> Carried | Ends:
    """From as few headers as will do."""
    keys = records.keys()
    server = _numbers(keys)
    if server.null_count() or (records.whole and 4 * len(keys) > len(records)):
        return read_all(records)
    firsts, lasts = records.ends()
    return Ends(server, read_all(firsts), read_all(lasts))


def _columns(frame: pl.DataFrame) -> tuple[np.ndarray[Any, Any], ...]:
    """Of rows, in ascending order of `message`: `message`, server and epoch milliseconds."""
    return tuple(frame[name].to_physical().to_numpy() for name in ("message", "server_id", "timestamp"))


def messages(
    family: str, records: Columns, carried: Carried, frame: pl.DataFrame, rejected: Iterable[Rejected]
) -> pl.DataFrame:
    """`frame` has the rows that are to land, with `message`, the index into `records`, in ascending order."""
    message, server, at = _columns(frame)
    minute = at // _MINUTE_MS
    changes = (message[1:] != message[:-1]) | (minute[1:] != minute[:-1])
    begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(message)), dtype=bool), changes]))
    landed = message[begins]
    without = np.ones(len(records), dtype=bool)
    without[landed] = False
    absent = np.flatnonzero(without)
    lost = [records[at] for at in absent.tolist()]
    keys = _numbers([record.key for record in lost])
    produced = np.array([record.timestamp_ms for record in lost], dtype=np.int64) // _MINUTE_MS
    index = np.concatenate([landed, absent])
    first = pl.Series(np.diff(index, prepend=-1) != 0)
    found = (
        pl.DataFrame(
            {
                "family": pl.repeat(family, len(index), eager=True),
                "server_id": pl.concat([pl.Series(server[begins], dtype=pl.Int64), keys]),
                "timestamp": np.concatenate([minute[begins], produced]) * _MINUTE_MS,
                "session": carried.session.gather(index),
                "seq": carried.seq.gather(index),
                "kafka_partition": records.partitions[index],
                "kafka_offset": records.offsets[index],
                "landed_rows": np.concatenate([np.diff(begins, append=len(message)), np.zeros_like(absent)]),
                "rejected_rows": pl.zeros(len(index), dtype=pl.Int64, eager=True),
            }
        )
        .select(pl.exclude("timestamp", "seq"), pl.col("timestamp").cast(_MINUTE), pl.when(first).then(pl.col("seq")))
        .select(list(MESSAGES))
    )
    known = found.filter(pl.col("server_id").is_not_null())
    return known.with_columns(rejected_rows=_lost(known, rejected))


def _lost(found: pl.DataFrame, letters: Iterable[Rejected]) -> pl.Series:
    """Rows that were rejected, for each row of `found`: in the first one of their message."""
    places = [(letter.family, letter.partition, letter.offset, letter.rejected_rows) for letter in letters]
    if not places:
        return pl.zeros(found.height, dtype=pl.Int64, eager=True)
    place = ["family", *_PLACE]
    schema = {name: MESSAGES[name] for name in (*place, "rejected_rows")}
    sums = pl.DataFrame(places, schema=schema, orient="row").group_by(place).agg(pl.col("rejected_rows").sum())
    first = pl.int_range(pl.len()).over(place) == 0
    joined = found.select(*place, first=first).join(sums, on=place, how="left", maintain_order="left")
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
    if found.is_empty():
        return pl.DataFrame(schema=LOG_SCHEMA)
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
