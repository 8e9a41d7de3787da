"""Replaying dead letters: a text that today's dialects understand is sent again as the sample it should have been.

It goes through Kafka like any sample, with the command, text, session and number it had, so that landing puts it into
the tables, its rows lead back to a message, and the ledger's rejected number becomes a landed one. Sent twice it is
absorbed like every duplicate.
"""

import polars as pl

from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.landing import reparsing
from hps_platform.metrics import FAMILIES, rates, wire
from hps_platform.metrics.sample import Sample
from hps_platform.store import completeness, letters
from hps_platform.store.database import Connection
from hps_platform.store.letters import Letter
from hps_platform.stream import Producer

_DELIVERED_WITHIN_S = 30.0


def sample_of(letter: Letter) -> Sample:
    """The sample that its text gives today; `InvalidInput` says why it gives none."""
    family = FAMILIES.get(letter.family)
    known = (letter.server_id, letter.timestamp, letter.command, letter.raw, letter.parser)
    if family is None or letter.server_id is None or letter.timestamp is None or None in known:
        raise InvalidInput("This dead letter lacks what a sample needs: family, server, time, command, text or parser.")
    rows = reparsing.parse(family, letter.parser or "", letter.command or "", letter.raw or "")
    if family.name == "netstat":
        rows = rates.counter_rates(rows, None, 0.0)
    return Sample(
        family=family.name,
        server_id=letter.server_id,
        timestamp_ms=round(letter.timestamp.timestamp() * 1000),
        rows=rows,
        command=letter.command or "",
        raw=letter.raw or "",
        parser=letter.parser or "",
        collector=letter.collector or "",
        session=letter.session or "",
        seq=letter.seq if letter.seq is not None else 0,
        exit_code=letter.exit_code,
    )


def replay_letter(conn: Connection, bootstrap: str, letter_id: int) -> int:
    """Sends one again; how many rows it has. `InvalidInput` while nothing is made of its text."""
    letter = letters.get(conn, letter_id)
    return _send(conn, bootstrap, [(letter, sample_of(letter))])


def replay_understood(conn: Connection, bootstrap: str, found: list[Letter]) -> int:
    """Sends those again that today's dialects understand; how many."""
    understood = []
    for letter in found:
        try:
            understood.append((letter, sample_of(letter)))
        except InvalidInput:
            continue  # it stays a dead letter, with its reason
    if understood:
        _send(conn, bootstrap, understood)
    return len(understood)


def _send(conn: Connection, bootstrap: str, understood: list[tuple[Letter, Sample]]) -> int:
    producer = Producer(bootstrap, "hps replay")
    failed: list[Exception] = []
    rows = 0
    for letter, sample in understood:
        family = FAMILIES[sample.family]
        value, headers = wire.encode(family, sample)
        if letter.seq is None:  # a number it never had
            headers = [(name, content) for name, content in headers if name not in ("session", "seq")]
        producer.send(
            family.topic,
            wire.key(sample.server_id),
            value,
            headers,
            on_delivery=lambda error: failed.append(error) if error is not None else None,
        )
        rows += len(sample.rows)
    if producer.flush(_DELIVERED_WITHIN_S) or failed:
        raise KafkaUnavailable(f"Kafka did not take the sample: {failed[0] if failed else 'no answer'}")
    with conn.transaction():
        for letter, sample in understood:
            if letter.replayed_at is None and letter.rejected_rows:
                completeness.append(conn, _given_back(letter, sample))
            letters.mark_replayed(conn, letter.id)
    return rows


def _given_back(letter: Letter, sample: Sample) -> pl.DataFrame:
    """The ledger's rejected rows of a letter are none any more."""
    entry = {
        "family": sample.family,
        "server_id": sample.server_id,
        "timestamp": letter.timestamp and letter.timestamp.replace(second=0, microsecond=0),
        "session": sample.session,
        "landed": False,
        "landed_rows": 0,
        "rejected_rows": -letter.rejected_rows,
        "recount": False,
    }
    return pl.DataFrame([entry], schema=completeness.LOG_SCHEMA)
