"""A message's rows anew, from the raw text that its headers keep, with today's dialects.

Only messages whose rows come out differently are made anew; all others stay byte for byte. Rates of counters need the
sample before: its counters and its time come from its own raw text. Where messages come from is the caller's business:
Kafka, or whatever keeps them longer.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hps_platform import dialects
from hps_platform.dialects import Outcome
from hps_platform.dialects.commandline import programs
from hps_platform.errors import InvalidInput
from hps_platform.metrics import rates, wire
from hps_platform.metrics.family import Family
from hps_platform.metrics.sample import STREAMED, Row, Sample
from hps_platform.stream import Record

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Before:
    """A server's sample before: its time, its counters, and whether its rows came out differently."""

    timestamp_ms: int
    counters: dict[str, Row]
    changed: bool


def parse(family: Family, parser: str, command: str, raw: str) -> list[Row]:
    """The rows of a kept text; `InvalidInput` says why there are none."""
    system = parser.partition("/")[0]
    parsed = dialects.parse(system, command, raw, streamed=parser.endswith(STREAMED))
    if parsed.outcome is not Outcome.ROWS or parsed.rows[0].get("since_boot", False):
        raise InvalidInput(f"{parser} makes no sample of it: {parsed.message or 'an average since boot'}")
    if parsed.family != family.name:
        raise InvalidInput(f"{parser} reads {parsed.family} from it, not {family.name}")
    if family.name == "iostat":
        interval_s = next((program.interval for program in programs(command) if program.interval), family.interval_s)
        return rates.interval_rates(parsed.rows, interval_s)
    return list(parsed.rows)


def _same(family: Family, old: Sequence[Row], new: Sequence[Row]) -> bool:
    """Whether parsing gives what it gave; rates of counters are judged by their counters."""
    if len(old) != len(new):
        return False
    key = family.key
    if key is not None:
        old, new = (sorted(rows, key=lambda row: str(row.get(key))) for rows in (old, new))
    rated = family.name == "netstat"
    return all(
        row.items() <= was.items() and all(rated and name.endswith("_s") for name in was.keys() - row.keys())
        for was, row in zip(old, new, strict=True)
    )


@dataclass(slots=True)
class Reparser:
    """Takes a family's records in the order of their offsets; makes those of [`start_ms`, `end_ms`) anew.

    `unreadable` counts those that keep their rows because nothing is made of their text.
    """

    family: Family
    start_ms: int
    end_ms: int
    changed: int = 0
    unreadable: int = 0
    _before: dict[tuple[bytes | None, str], _Before] = field(default_factory=dict)

    def __call__(self, record: Record) -> Record | None:
        """The record with other rows, or `None` where they are what they were."""
        old, timestamp_ms = _rows(record)
        wanted = self.start_ms <= timestamp_ms < self.end_ms
        if not wanted and self.family.name != "netstat":
            return None
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers.items()}
        try:
            rows = parse(self.family, headers["parser"], headers["command"], headers["raw"])
        except (InvalidInput, KeyError) as error:
            logger.debug("%s[%d] offset %d keeps its rows: %s", record.topic, record.partition, record.offset, error)
            self.unreadable += wanted
            return None
        if self.family.name == "process" and old:  # of a text that could not be cut only the busiest were kept
            pids = {row.get("pid") for row in old}
            rows = [row for row in rows if row["pid"] in pids] or rows
        canonical, _ = _rows(_remade(self.family, record, headers, timestamp_ms, rows))
        changed = not _same(self.family, old, canonical)
        if self.family.name == "netstat":
            series = record.key, headers.get("session", "")
            before = self._before.get(series)
            self._before[series] = _Before(timestamp_ms, {row["interface"]: row for row in rows}, changed)
            changed = changed or (before is not None and before.changed)
            elapsed_s = (timestamp_ms - before.timestamp_ms) / 1000 if before else 0.0
            rows = rates.counter_rates(rows, before.counters if before else None, elapsed_s)
        if not (changed and wanted):
            return None
        self.changed += 1
        return _remade(self.family, record, headers, timestamp_ms, rows)


def _rows(record: Record) -> tuple[list[dict[str, Any]], int]:
    """A message's rows as they were sent, without server and time, and its time; the time of sending without rows."""
    try:
        sent = [orjson.loads(line) for line in record.value.splitlines()]
        timestamp_ms = int(sent[0]["timestamp"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return [], record.timestamp_ms
    common = ("server_id", "timestamp")
    rows = [{name: value for name, value in row.items() if name not in common and value is not None} for row in sent]
    return rows, timestamp_ms


def _remade(family: Family, record: Record, headers: dict[str, str], timestamp_ms: int, rows: Sequence[Row]) -> Record:
    code = headers.get("exit_code", "")
    sample = Sample(
        family=family.name,
        server_id=int(record.key or b"0"),
        timestamp_ms=timestamp_ms,
        rows=rows,
        command=headers["command"],
        raw=headers["raw"],
        parser=headers["parser"],
        collector=headers.get("collector", ""),
        session=headers.get("session", ""),
        seq=int(headers.get("seq") or 0),
        exit_code=int(code) if code else None,
    )
    value, _ = wire.encode(family, sample)
    return record._replace(value=value)
