"""Numbers of samples in a batch, and what is entered of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.landing import sequence
from hps_platform.landing.decoding import decode
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import DeadLetter, Row, Sample
from hps_platform.stream import Record

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
MINUTE_MS = 60_000


def message(
    seq: int,
    at_ms: int = NOW_MS,
    *,
    server_id: int = 1,
    session: str = "s1",
    rows: list[Row] | None = None,
    **more: Any,
) -> Record:
    sample = Sample(
        "iostat", server_id, at_ms, rows or [{"disk": "a"}, {"disk": "b"}], "iostat", "raw", "aix/1", "c", session, seq
    )
    value, headers = wire.encode(FAMILIES["iostat"], sample)
    fields = {"value": value, "carried": dict(headers), "offset": seq, **more}
    return Record(topic="hps.iostat", partition=0, key=wire.key(server_id), timestamp_ms=NOW_MS, **fields)


def entries(records: list[Record]) -> pl.DataFrame:
    return decode(records, {}, NOW).runs.sort("server_id", "timestamp", "session", "landed", "first_seq")


def test_numbers_of_a_minute_are_one_entry() -> None:
    found = entries([message(seq, NOW_MS + 2000 * seq) for seq in range(1, 61)])
    assert found.select("timestamp", "first_seq", "last_seq", "landed", "landed_rows").rows() == [
        (NOW, 1, 29, True, 58),
        (NOW + timedelta(minutes=1), 30, 59, True, 60),
        (NOW + timedelta(minutes=2), 60, 60, True, 2),
    ]


def test_what_is_rejected_stands_apart() -> None:
    records = [message(1), message(2, value=b"{"), message(3, NOW_MS + 7_200_000), message(4)]
    found = entries(records)
    assert found.select("landed", "first_seq", "last_seq", "landed_rows", "rejected_rows").rows() == [
        (False, 2, 3, 0, 3),
        (True, 1, 1, 2, 0),
        (True, 4, 4, 2, 0),
    ]


def test_letters_of_the_collector_are_rejected_samples() -> None:
    letter = DeadLetter("iostat", 7, NOW_MS + 5000, "iostat", "?", "aix/1", "odd", "c", "s1", 9)
    record = message(1)._replace(topic=wire.DEAD_LETTER_TOPIC, value=wire.encode_dead_letter(letter))
    found = entries([record])
    assert found.select("family", "server_id", "timestamp", "first_seq", "landed").rows() == [
        ("iostat", 7, NOW, 9, False)
    ]


def test_rows_without_a_number_are_counted_all_the_same() -> None:
    record = message(1)
    found = entries([record._replace(carried={})])
    assert found.select("session", "first_seq", "landed_rows").rows() == [("", None, 2)]


def test_rows_of_one_message_may_lie_in_two_minutes() -> None:
    record = message(1)
    late = record.value.replace(str(NOW_MS).encode(), str(NOW_MS + MINUTE_MS).encode(), 1)
    found = entries([record._replace(value=late)])
    assert found["landed_rows"].to_list() == [1, 1]
    assert found["first_seq"].drop_nulls().to_list() == [1]


def numbers_in(found: pl.DataFrame) -> list[int]:
    bounds = found.select("first_seq", "last_seq").drop_nulls().rows()
    return sorted(seq for first, last in bounds for seq in range(first, last + 1))


def test_a_servers_many_records_are_read_at_their_ends_only() -> None:
    records = [message(seq, NOW_MS + seq * 2000) for seq in range(1, 41)]
    unread = [one._replace(carried={}) if 1 < one.offset < 40 else one for one in records]
    assert numbers_in(entries(unread)) == list(range(1, 41))


@pytest.mark.parametrize("odd", ["lost", "again", "other session", "both"])
def test_whatever_is_odd_in_between_is_found(odd: str) -> None:
    records = [message(seq, NOW_MS + seq * 2000) for seq in range(1, 41)]
    expected = list(range(1, 41))
    if odd in ("lost", "both"):
        records = [one for one in records if one.offset != 20]
        expected.remove(20)
    if odd in ("again", "both"):
        records.insert(31, records[30]._replace(offset=100))
    if odd == "other session":
        records.insert(10, message(3, NOW_MS + 10 * 2000 + 1, session="s2")._replace(offset=200))
        expected = sorted([3, *expected])
    found = entries(records)
    assert numbers_in(found) == expected


def test_rows_that_were_there_already_are_counted_from_every_record() -> None:
    records = [message(seq, NOW_MS + seq * 2000) for seq in range(1, 41)]
    records[20] = message(50, NOW_MS + 21 * 2000)._replace(offset=21)
    assert numbers_in(decode(records, {}, NOW).runs) == list(range(1, 41))  # nothing odd to be seen
    found = sequence.runs(decode(records, {}, NOW, exact=True).messages, recount=True)
    assert numbers_in(found) == [*range(1, 21), *range(22, 41), 50]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 2), st.sampled_from(["a", "b"])), min_size=1, max_size=60))
def test_entries_hold_exactly_the_numbers_that_came(sent: list[tuple[int, int, str]]) -> None:
    records = [
        message(seq, NOW_MS + seq * 10_000, server_id=server, session=session)._replace(offset=offset)
        for offset, (seq, server, session) in enumerate(sent)
    ]
    found: set[tuple[int, int, str]] = set()
    for server, session, first, last in entries(records).select("server_id", "session", "first_seq", "last_seq").rows():
        numbers = {(seq, server, session) for seq in range(first, last + 1)}
        assert not numbers & found
        found |= numbers
    assert found == set(sent)


def test_rows_that_postgresql_refuses_are_rejected() -> None:
    batch = decode([message(1), message(2)], {}, NOW)
    [rows] = batch.rows
    letters = batch.refuse(rows.family, rows.frame.filter(pl.col("kafka_offset") == 2), "too odd")
    found = sequence.runs(sequence.refused(batch.messages, letters), recount=True).sort("first_seq")
    assert found.select("first_seq", "landed", "landed_rows", "rejected_rows", "recount").rows() == [
        (1, True, 2, 0, True),
        (2, False, 0, 2, True),
    ]
