"""Where a sample came from, and whether its text still says the same: the whole way back from a row.

The row knows its message in Kafka; the message carries command, exit code, text and who collected it. The text is
parsed again with today's dialects, rates are taken from the sample before, and the result is compared with the row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hps_platform import dialects, stream
from hps_platform.dialects.commandline import programs
from hps_platform.errors import InvalidInput, NotFound
from hps_platform.metrics import family as family_named
from hps_platform.metrics import rates
from hps_platform.metrics.family import Family, Kind
from hps_platform.metrics.sample import STREAMED, Row
from hps_platform.store import detections, provenance
from hps_platform.store.archive import reading as archive
from hps_platform.store.database import Connection, Database
from hps_platform.store.provenance import Place
from hps_platform.stream import OffsetsExpired, Record

_SAME = 1e-3
"""Rates are taken from two stamps in milliseconds; the collector took them from a finer clock."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the parts of the way are: Kafka, and the addresses of the Dagster and MLflow user interfaces."""

    bootstrap: str
    dagster: str
    mlflow: str


def trace(
    db: Database, sources: Sources, family: str, server_id: int, timestamp: datetime, within: timedelta = timedelta()
) -> dict[str, Any]:
    """The sample at that moment, or else the first one `within` that time after it.

    `command exit_code raw parser schema collector session seq produced_at` are null where neither Kafka nor the archive
    has kept the message; `note` says then since when it is possible, as `available_from` does. `reparsed` holds what
    the text gives today, `predecessor` the sample that rates were taken from. `NotFound` without a sample.
    """
    shown = family_named(family)
    with db.connection() as conn:
        place = provenance.sample_at(conn, shown, server_id, timestamp, timestamp + within)
        if place is None:
            raise NotFound(_no_sample(conn, shown, server_id, timestamp))
        partition, rows = provenance.rows_at(conn, shown, server_id, place.timestamp)
        rated = any(row[column.name] is not None for column in shown.rates for row in rows)
        before = provenance.sample_before(conn, shown, server_id, place.timestamp) if rated else None
        run = provenance.landed_by(conn, shown.topic, place.partition, place.offset)
        anomaly = _anomaly(conn, sources, server_id, place.timestamp)
    message, note, available_from = _message(db, sources.bootstrap, shown, server_id, place)
    earlier = _message(db, sources.bootstrap, shown, server_id, before)[0] if before and message else None
    return {
        "metric": shown.name,
        "server_id": server_id,
        "timestamp": place.timestamp,
        "table": shown.table,
        "partition": partition,
        "rows": rows,
        **_place(shown, place),
        **(message or _UNTOLD),
        "note": note,
        "available_from": available_from,
        "run_id": run.run_id if run else None,
        "run_url": f"{sources.dagster}/runs/{run.run_id}" if run else None,
        "predecessor": {"timestamp": before.timestamp, **_place(shown, before), **(earlier or _UNTOLD)}
        if before
        else None,
        "reparsed": _reparsed(shown, rows, (place, message), (before, earlier)) if message else None,
        "anomaly": anomaly,
    }


def _no_sample(conn: Connection, family: Family, server_id: int, timestamp: datetime) -> str:
    since = provenance.kept_since(conn, family)
    kept = f"samples are kept since {since:%Y-%m-%d %H:%M} UTC" if since else "there are no samples of it at all"
    return f"server {server_id} has no {family.name} sample at {timestamp.isoformat()}: {kept}"


def _place(family: Family, place: Place) -> dict[str, Any]:
    return {"topic": family.topic, "kafka_partition": place.partition, "kafka_offset": place.offset}


def _message(
    db: Database, bootstrap: str, family: Family, server_id: int, place: Place
) -> tuple[dict[str, Any] | None, str | None, datetime | None]:
    """What the message says, or why there is none and when the oldest was produced that its partition still has."""
    told, note, since = _in_kafka(bootstrap, family, server_id, place)
    if told is None:
        with db.connection() as conn:
            kept = archive.message(conn, family, server_id, place.timestamp, (place.partition, place.offset))
        if kept is not None:
            return {name: kept[name] for name in _UNTOLD}, "The text is the archive's: Kafka has it no more", None
    return told, note, since


def _in_kafka(
    bootstrap: str, family: Family, server_id: int, place: Place
) -> tuple[dict[str, Any] | None, str | None, datetime | None]:
    try:
        record = stream.read_at(bootstrap, family.topic, place.partition, place.offset)
    except OffsetsExpired:
        oldest_ms = stream.oldest_ms(bootstrap, family.topic, place.partition)
        if oldest_ms is None:
            return None, f"Kafka keeps no message of {family.topic}[{place.partition}] any more", None
        since = datetime.fromtimestamp(oldest_ms / 1000, UTC)
        return None, f"Kafka keeps messages of this partition since {since:%Y-%m-%d %H:%M:%S} UTC only", since
    if record.key != str(server_id).encode():
        return None, f"{family.topic} was created anew since: this offset is another server's message now", None
    return _told(record), None, None


_UNTOLD: Mapping[str, None] = dict.fromkeys(
    ("command", "exit_code", "raw", "parser", "schema", "collector", "session", "seq", "produced_at")
)


def _told(record: Record) -> dict[str, Any]:
    """What a message says of itself."""
    texts = {name: value.decode("utf-8", "replace") for name, value in record.headers.items()}
    return {
        **{name: texts.get(name) for name in ("command", "raw", "parser", "schema", "collector", "session")},
        **{name: int(texts[name]) if texts.get(name) else None for name in ("exit_code", "seq")},
        "produced_at": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
    }


def _anomaly(conn: Connection, sources: Sources, server_id: int, timestamp: datetime) -> dict[str, Any] | None:
    minute = timestamp.replace(second=0, microsecond=0)
    try:
        found = detections.result(conn, server_id, minute)
    except NotFound:  # that minute was not scored
        return None
    version = found["model_version"]
    return {
        "timestamp": found["timestamp"],
        "is_anomaly": found["is_anomaly"],
        "anomaly_score": found["anomaly_score"],
        "model_version": version,
        "run_id": str(found["run_id"]),
        "mlflow_url": f"{sources.mlflow}/#/models/hps.{server_id}/versions/{version}" if version else None,
    }


# Parsing again --------------------------------------------------------------------------------------------------------

_Kept = tuple[Place | None, Mapping[str, Any] | None]


def _reparsed(family: Family, rows: Sequence[Row], kept: _Kept, before: _Kept) -> dict[str, Any]:
    """What the text gives today: its rows, whether they are the landed ones, and by which parser."""
    place, told = kept
    assert place is not None  # noqa: S101  # the caller has both
    assert told is not None  # noqa: S101
    earlier, earlier_told = before
    elapsed_s = (place.timestamp - earlier.timestamp).total_seconds() if earlier else 0.0
    try:
        again = parsed_again(family, told, earlier_told, elapsed_s)
        parser = dialects.parser_id(_system(told)[0])
    except InvalidInput as error:
        return {"parser": None, "equal": False, "rows": [], "message": str(error)}
    return {"parser": parser, "equal": same_rows(family, rows, again), "rows": again, "message": None}


def _system(told: Mapping[str, Any]) -> tuple[str, bool]:
    parser = str(told["parser"] or "")
    return parser.partition("/")[0], parser.endswith(STREAMED)


def parsed_again(
    family: Family, told: Mapping[str, Any], before: Mapping[str, Any] | None, elapsed_s: float
) -> list[Row]:
    """The rows of a message's text, with rates from the message before, as the collector makes them.

    Of a process list that was kept whole these are all processes. `InvalidInput` for a system without a dialect.
    """
    rows = _parsed(told)
    if family.name == "netstat":
        earlier = {row["interface"]: row for row in _parsed(before)} if before else None
        rows = rates.counter_rates(rows, earlier, elapsed_s)
    elif family.name == "iostat":
        named = (program.interval for program in programs(str(told["command"])))
        rows = rates.interval_rates(rows, next((one for one in named if one), family.interval_s))
    return rows


def _parsed(told: Mapping[str, Any]) -> list[Row]:
    system, streamed = _system(told)
    found = dialects.parse(system, str(told["command"]), str(told["raw"]), streamed=streamed)
    return [{name: value for name, value in row.items() if name != "since_boot"} for row in found.rows]


def same_rows(family: Family, landed: Sequence[Row], parsed: Sequence[Row]) -> bool:
    """Whether each landed row is among the parsed ones, value by value; and none is missing, but for processes."""
    by_key = {row.get(family.key) if family.key else None: row for row in parsed}
    if not landed or (len(by_key) != len(landed) and family.name != "process"):
        return False
    for row in landed:
        found = by_key.get(row[family.key] if family.key else None)
        if found is None or not all(_equal(family, name, value, found.get(name)) for name, value in row.items()):
            return False
    return True


def _equal(family: Family, name: str, landed: Any, parsed: Any) -> bool:
    if landed is None or parsed is None:
        return landed is None and parsed is None
    kind = family.by_name[name].kind
    if kind is Kind.TEXT:
        return bool(landed == str(parsed).replace("\x00", ""))
    if kind is not Kind.REAL:
        return bool(landed == round(parsed))
    return math.isclose(landed, parsed, rel_tol=_SAME if name.endswith("_s") else 1e-9, abs_tol=1e-9)
