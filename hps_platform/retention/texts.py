"""The raw text of the messages that a day's rows came from, kept beside the rows while Kafka still has them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from hps_platform.metrics.family import Family
from hps_platform.stream import Record, read_spans, watermarks

_SCHEMA: dict[str, pl.DataType] = {
    "kafka_partition": pl.Int16(),
    "kafka_offset": pl.Int64(),
    "server_id": pl.Int64(),
    "timestamp": pl.Datetime("ms", "UTC"),
    "produced_at": pl.Datetime("ms", "UTC"),
    "command": pl.String(),
    "exit_code": pl.Int32(),
    "parser": pl.String(),
    "schema": pl.String(),
    "collector": pl.String(),
    "session": pl.String(),
    "seq": pl.Int64(),
    "raw": pl.String(),
}
_ORIGIN = ["kafka_partition", "kafka_offset"]
_SAMPLE = [*_ORIGIN, "server_id", "timestamp"]


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _fields(record: Record) -> tuple[Any, ...]:
    row = orjson.loads(record.value.split(b"\n", 1)[0])
    headers = record.headers

    def text(name: str) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    def number(name: str) -> int | None:
        value = text(name)
        return int(value) if value and value.lstrip("-").isdecimal() else None

    return (
        *(record.partition, record.offset, row["server_id"], _moment(row["timestamp"]), _moment(record.timestamp_ms)),
        *(text("command"), number("exit_code"), text("parser"), text("schema")),
        *(text("collector"), text("session"), number("seq"), text("raw")),
    )


def _still_there(bootstrap: str, family: Family, wanted: pl.DataFrame) -> dict[tuple[str, int], tuple[int, int]]:
    """Per partition the offsets to read, as far as Kafka has them."""
    marks = watermarks(bootstrap, [family.topic])
    bounds = wanted.group_by("kafka_partition").agg(
        pl.col("kafka_offset").min().alias("first"), pl.col("kafka_offset").max().alias("last")
    )
    spans = {}
    for partition, first, last in bounds.sort("kafka_partition").iter_rows():
        low, high = marks.get((family.topic, partition), (0, 0))
        if max(first, low) < min(last + 1, high):
            spans[family.topic, partition] = (max(first, low), min(last + 1, high))
    return spans


def _found(bootstrap: str, family: Family, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What Kafka has of the wanted messages, ascending by partition and offset.

    Server and time must be those of the rows: a topic that was made anew begins at offset 0 again.
    """
    for place, span in _still_there(bootstrap, family, wanted).items():
        own = wanted.filter(pl.col("kafka_partition") == place[1])
        offsets = set(own["kafka_offset"])
        for records in read_spans(bootstrap, {place: span}):
            rows = [_fields(one) for one in records if one.offset in offsets]
            yield pl.DataFrame(rows, schema=_SCHEMA, orient="row").join(own, on=_SAMPLE, how="semi")


@dataclass(frozen=True, slots=True)
class Kept:
    """How many messages rows came from, the file with the texts that are left of them, and how many it holds."""

    messages: int
    path: Path | None
    texts: int


def keep(bootstrap: str | None, family: Family, rows: Path, before: Path | None, room: Path) -> Kept:
    """Writes the texts of the messages that `rows` came from to a file below `room`.

    `before` holds texts that were kept already. Without `bootstrap` no more are added to these.
    """
    samples = pl.scan_parquet(rows).select(*_ORIGIN, "server_id", pl.col("timestamp").cast(_SCHEMA["timestamp"]))
    wanted = samples.unique().collect()
    messages = wanted.height
    parts = []
    if before is not None:
        kept = pl.scan_parquet(before).join(wanted.lazy(), on=_SAMPLE, how="semi").collect()
        wanted = wanted.join(kept, on=_SAMPLE, how="anti")
        parts.append(room / "text-before.parquet")
        kept.write_parquet(parts[-1])
    for number, frame in enumerate(_found(bootstrap, family, wanted) if bootstrap else ()):
        parts.append(room / f"text-{number:05d}.parquet")
        frame.write_parquet(parts[-1])
    path = room / "raw.parquet"
    if parts:
        pl.scan_parquet(parts).sink_parquet(path, compression="zstd", row_group_size=20_000)
    count = pl.scan_parquet(path).select(pl.len()).collect().item() if parts else 0
    return Kept(messages, path if count else None, count)
