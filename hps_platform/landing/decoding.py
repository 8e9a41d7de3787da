"""From messages to what one commit writes: rows per family, dead letters, counts, and the offsets they span.

Pure but for the clock it is handed. A message that does not decode is found by halving; everything else of its batch
lands.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from hps_platform.errors import InvalidInput
from hps_platform.landing import sequence
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.family import Family, Kind
from hps_platform.store.completeness import LOG_SCHEMA
from hps_platform.store.landing import FamilyRows, Position, Range, Rejected, family_rows, utc
from hps_platform.stream import Columns, LetGo, Record, by_topic

AHEAD = timedelta(hours=1)
BEHIND = timedelta(days=400)
"""Rows stamped further from now than this are a wrong clock's; they would make partitions of their own for years."""
MAX_KEY_BYTES = 1024
MAX_REAL = 3e38
"""Rollups are single precision."""
_HOUR_MS = 3_600_000

_FAMILY_OF = {family.topic: family for family in FAMILIES.values()}


@dataclass(slots=True)
class Batch:
    """One commit's worth. `moves` are the ledger's steps; `oldest_ms` is when the oldest of the partitions' first
    messages was produced.

    `records` are its messages by topic. `runs` are the completeness log's entries if all rows land; `messages` is what
    they were made of, as far as they were not made of their ends.
    """

    moves: dict[Position, Range]
    decoded_at: datetime
    records: Collection[Columns] = ()
    rows: list[FamilyRows] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    messages: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=sequence.MESSAGES))
    runs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LOG_SCHEMA))
    hours: set[tuple[str, datetime, int]] = field(default_factory=set)
    by_day: dict[tuple[str, date], int] = field(default_factory=dict)
    oldest_ms: int = 0

    @property
    def offsets(self) -> dict[str, dict[int, Range]]:
        """`moves` by topic, then partition."""
        nested: dict[str, dict[int, Range]] = {}
        for (topic, partition), span in self.moves.items():
            nested.setdefault(topic, {})[partition] = span
        return nested

    def refuse(self, family: Family, rows: pl.DataFrame, reason: str) -> list[Rejected]:
        """Dead letters for rows that PostgreSQL did not take, one a message."""
        places = rows.group_by("kafka_partition", "kafka_offset").len()
        counts = {(partition, offset): count for partition, offset, count in places.iter_rows()}
        return [
            _reject(family.name, own[index], reason, counts[place])
            for own in self.records
            if own.topic == family.topic
            for index, place in enumerate(zip(own.partitions.tolist(), own.offsets.tolist(), strict=True))
            if place in counts
        ]


@dataclass(slots=True)
class _Decoded:
    frame: pl.DataFrame  # the family's columns and `message`, the index into the records it was decoded from
    bad: dict[int, tuple[str, int]]  # message -> reason, rows


def _text(record: Record, name: str) -> str | None:
    value = record.headers.get(name)
    return value.decode("utf-8", "replace").replace("\x00", "") if value is not None else None


def _number(text: str | None, bits: int = 63) -> int | None:
    try:
        number = int(text) if text else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < 1 << bits else None


def _server_id(record: Record) -> int | None:
    return _number((record.key or b"").decode("ascii", "replace"))


def _reject(family: str, record: Record, reason: str, rows: int, timestamp: datetime | None = None) -> Rejected:
    """`timestamp`: the sample's; without one, when it was produced."""
    return Rejected(
        family=family,
        reason=reason[:2000].replace("\x00", ""),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        rejected_rows=rows,
        server_id=_server_id(record),
        timestamp=timestamp or utc(record.timestamp_ms),
        command=_text(record, "command"),
        exit_code=_number(_text(record, "exit_code"), bits=31),
        raw=_text(record, "raw"),
        value=record.value,
        parser=_text(record, "parser"),
        outcome="rejected",
        collector=_text(record, "collector"),
        session=_text(record, "session"),
        seq=_number(_text(record, "seq")),
    )


def _decode_halving(family: Family, values: Sequence[bytes], first: int) -> tuple[list[pl.DataFrame], dict[int, str]]:
    """Frames of what decodes, and the reason for each message that doesn't; `message` counts from `first`."""
    if not values:
        return [], {}
    try:
        frame = wire.decode(family, values)
    except InvalidInput as error:
        if len(values) == 1:
            return [], {first: str(error)}
        middle = len(values) // 2
        left, bad = _decode_halving(family, values[:middle], first)
        right, more = _decode_halving(family, values[middle:], first + middle)
        return left + right, bad | more
    return [frame.with_columns(pl.col("message") + first) if first else frame], {}


def _implausible(family: Family, now: datetime) -> list[tuple[pl.Expr, str]]:
    """What is no row of a table though it decodes, with the reason."""
    found = [
        (pl.col("timestamp") > now + AHEAD, "timestamp more than 1 h ahead of the platform's clock"),
        (pl.col("timestamp") < now - BEHIND, "timestamp more than 400 d in the past"),
    ]
    for column in family.columns:
        value = pl.col(column.name)
        if column.kind is Kind.REAL:
            found.append((~value.is_between(-MAX_REAL, MAX_REAL), f"{column.name} is no finite number"))
        elif column.name == family.key and column.kind is Kind.TEXT:
            found.append((value.str.len_bytes() > MAX_KEY_BYTES, f"{column.name} is longer than {MAX_KEY_BYTES} bytes"))
    return found


def _all_plausible(family: Family, frame: pl.DataFrame, now: datetime) -> bool:
    """Whether no row is `_implausible`, in few expressions: building many of them costs more than judging the rows."""
    found = [pl.col("timestamp").is_between(now - BEHIND, now + AHEAD).all()]
    reals = [column.name for column in family.columns if column.kind is Kind.REAL]
    if reals:
        found.append(pl.col(reals).is_between(-MAX_REAL, MAX_REAL).all())
    if family.key is not None and family.by_name[family.key].kind is Kind.TEXT:
        found.append((pl.col(family.key).str.len_bytes() <= MAX_KEY_BYTES).all())
    return all(frame.select(found).row(0))


def _plausible(family: Family, frame: pl.DataFrame, now: datetime) -> _Decoded:
    """Leaves out rows that the tables can't or shouldn't hold."""
    bad: dict[int, tuple[str, int]] = {}
    for condition, reason in () if _all_plausible(family, frame, now) else _implausible(family, now):
        wrong = frame.select(condition.fill_null(value=False)).to_series()
        if not wrong.any():
            continue
        for message, rows in frame.filter(wrong).group_by("message").len().iter_rows():
            known = bad.get(message)
            bad[message] = (known[0] if known else reason, rows + (known[1] if known else 0))
        frame = frame.filter(~wrong)
    texts = [column.name for column in family.columns if column.kind is Kind.TEXT]
    with_nul = [name for name in texts if frame[name].str.contains("\x00", literal=True).any()]
    if with_nul:
        frame = frame.with_columns(pl.col(with_nul).str.replace_all("\x00", "", literal=True))
    return _Decoded(frame, bad)


def _rows(family: Family, records: Columns, strange: dict[int, str]) -> tuple[pl.DataFrame, dict[int, str]]:
    """What decodes, with `message`, and why each other message did not; `strange` ones are not tried."""
    if not strange:
        try:
            return wire.decode_lines(family, records.lines, records.lengths), {}
        except InvalidInput as error:
            if not records.whole:
                raise LetGo(f"{error}") from error
    values = records.values()
    reasons = {index: "the message is empty" for index, value in enumerate(values) if not value.strip()} | strange
    good = [index for index in range(len(values)) if index not in reasons]
    frames, bad = _decode_halving(family, [values[index] for index in good], 0)
    frame = pl.concat(frames) if frames else pl.DataFrame(schema={**family.frame_schema, "message": pl.UInt32})
    return wire.among_all(frame, good), reasons | {good[index]: reason for index, reason in bad.items()}


def _decode_family(
    family: Family, records: Columns, schemas: set[bytes], now: datetime
) -> tuple[pl.DataFrame, list[Rejected]]:
    """Rows with provenance and `message`, and what was rejected."""
    schema = family.schema.encode()
    strange: dict[int, str] = {}
    if schemas - {schema}:
        shown = ((index, record.headers.get("schema", schema)) for index, record in enumerate(records))
        strange = {
            index: f"schema {said.decode('utf-8', 'replace')} instead of {family.schema}"
            for index, said in shown
            if said != schema
        }
    frame, reasons = _rows(family, records, strange)
    decoded = _plausible(family, frame, now)
    rejected = [
        _reject(family.name, records[index], reason, records[index].value.strip().count(b"\n") + 1)
        for index, reason in reasons.items()
    ]
    for index, (reason, rows) in decoded.bad.items():
        stamps = frame.filter(pl.col("message") == index)["timestamp"].dt.timestamp("ms")
        rejected.append(_reject(family.name, records[index], reason, rows, utc(stamps[0])))
    message = decoded.frame["message"].to_numpy()
    placed = decoded.frame.with_columns(
        kafka_partition=records.partitions[message], kafka_offset=records.offsets[message]
    )
    return placed, rejected


def _touched(rows: FamilyRows) -> tuple[set[tuple[str, datetime, int]], dict[tuple[str, date], int]]:
    """Of rows in order of the primary key: their family, hour and server, and how many there are by family and day."""
    server = rows.frame["server_id"].to_numpy()
    hour = rows.frame["timestamp"].to_physical().to_numpy() // _HOUR_MS
    begins = np.flatnonzero((np.diff(server, prepend=-1) != 0) | (np.diff(hour, prepend=-1) != 0))
    name = rows.family.name
    hours: set[tuple[str, datetime, int]] = set()
    by_day: Counter[tuple[str, date]] = Counter()
    columns = (hour[begins], server[begins], np.diff(begins, append=len(server)))
    for at, server_id, count in zip(*(column.tolist() for column in columns), strict=True):
        began = datetime.fromtimestamp(at * 3600, UTC)
        hours.add((name, began, server_id))
        by_day[name, began.date()] += count
    return hours, by_day


def _dead_letter(record: Record) -> Rejected:
    """A message of the dead-letter topic: the collector's own account of what it could not parse."""
    try:
        fields = wire.decode_dead_letter(record.value)
    except InvalidInput as error:
        return _reject("", record, str(error), 0)

    def text(name: str) -> str | None:
        value = fields.get(name)
        return None if value is None else str(value).replace("\x00", "")

    def whole(name: str) -> int | None:
        value = fields.get(name)
        return value if isinstance(value, int) and abs(value) < 2**63 else None

    exit_code = whole("exit_code")
    return Rejected(
        family=text("family") or "",
        reason=text("reason") or "",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        rejected_rows=0,
        server_id=whole("server_id"),
        timestamp=utc(whole("timestamp_ms")),
        command=text("command"),
        exit_code=exit_code if exit_code is not None and abs(exit_code) < 2**31 else None,
        raw=text("raw"),
        parser=text("parser"),
        outcome=text("outcome"),
        collector=text("collector"),
        session=text("session"),
        seq=whole("seq"),
    )


def decode(
    records: Iterable[Record], moves: Mapping[Position, Range], now: datetime | None = None, *, exact: bool = False
) -> Batch:
    """Everything that one commit of `records` writes; `moves` say which offsets they span.

    `exact` is for when some of the rows turn out to be there already: numbers are taken from every header.
    """
    return decode_columns(by_topic(records).values(), moves, now, exact=exact)


def decode_columns(
    read: Collection[Columns],
    moves: Mapping[Position, Range],
    now: datetime | None = None,
    *,
    exact: bool = False,
) -> Batch:
    """The same of messages by topic, each of which has some; `LetGo` when it takes more of them than there is."""
    now = now or datetime.now(UTC)
    batch = Batch(dict(moves), records=read, decoded_at=now)
    batch.oldest_ms = min((own.oldest_ms for own in read), default=0)
    letters: list[Rejected] = []
    numbered: list[pl.DataFrame] = []
    regular: list[pl.DataFrame] = []
    for own in sorted(read, key=lambda own: own.topic):
        family = _FAMILY_OF.get(own.topic)
        if family is None:
            letters += [_dead_letter(record) for record in own]
            continue
        said = sequence.read(own)
        frame, rejected = _decode_family(family, own, said.schemas, now)
        batch.rejected += rejected
        entries = None
        if isinstance(said, sequence.Ends) and not exact and not frame.is_empty():
            entries = said.entries(family.name, frame, len(own))
        if entries is None:
            carried = sequence.read_all(own) if isinstance(said, sequence.Ends) else said
            numbered.append(sequence.messages(family.name, own, carried, frame, rejected))
        else:
            regular.append(entries)
        if frame.is_empty():
            continue
        rows = family_rows(family, frame)
        batch.rows.append(rows)
        hours, by_day = _touched(rows)
        batch.hours |= hours
        batch.by_day |= by_day
    batch.rejected += letters
    batch.messages = pl.concat([*numbered, sequence.unparsed(letters)])
    batch.runs = pl.concat([*regular, sequence.runs(batch.messages)])
    return batch
