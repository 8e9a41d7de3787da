"""Messages to rows, dead letters and counts, without any server."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.landing.decoding import AHEAD, BEHIND, MAX_KEY_BYTES, Batch, decode, decode_columns
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Row, Sample
from hps_platform.stream import Columns, LetGo, Record, by_topic

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def message(
    offset: int = 0,
    rows: list[Row] | None = None,
    *,
    family: str = "vmstat",
    at_ms: int = NOW_MS,
    server_id: int = 1,
    partition: int = 0,
    **more: Any,
) -> Record:
    shown = FAMILIES[family]
    sample = Sample(
        family, server_id, at_ms, rows or [{"us": 1.0}], "vmstat 2", "raw", "linux/1", "c1", "s1", offset + 1
    )
    value, headers = wire.encode(shown, sample)
    fields = {"value": value, "carried": dict(headers), "key": wire.key(server_id), **more}
    return Record(topic=shown.topic, partition=partition, offset=offset, timestamp_ms=NOW_MS, **fields)


def landed(batch: Batch) -> int:
    return sum(rows.frame.height for rows in batch.rows)


def test_rows_carry_where_they_came_from_in_order_of_the_key() -> None:
    records = [message(5, server_id=9, partition=2), message(6, server_id=3, partition=1)]
    [rows] = decode(records, {}, NOW).rows
    assert rows.frame.select("server_id", "kafka_partition", "kafka_offset").rows() == [(3, 1, 6), (9, 2, 5)]


def test_nothing_gives_nothing() -> None:
    batch = decode([], {("hps.vmstat", 0): (1, 2)}, NOW)
    assert (batch.rows, batch.rejected, batch.moves) == ([], [], {("hps.vmstat", 0): (1, 2)})


@settings(deadline=None, max_examples=30)
@given(
    bad=st.sets(st.integers(0, 39)), kind=st.sampled_from([b"", b"{", b'{"server_id": 1}', b"\xff\xfe", b"[1]\n[2]"])
)
def test_every_bad_message_is_found_and_every_good_one_lands(bad: set[int], kind: bytes) -> None:
    records = [message(number, at_ms=NOW_MS - number) for number in range(40)]
    records = [one._replace(value=kind) if one.offset in bad else one for one in records]
    batch = decode(records, {}, NOW)
    assert {letter.offset for letter in batch.rejected} == bad
    offsets = {offset for rows in batch.rows for offset in rows.frame["kafka_offset"]}
    assert offsets == set(range(40)) - bad


@pytest.mark.parametrize(
    ("shift", "lands"),
    [
        (AHEAD, True),
        (AHEAD + timedelta(milliseconds=1), False),
        (-BEHIND, True),
        (-BEHIND - timedelta(milliseconds=1), False),
    ],
)
def test_clocks_may_be_off_by_so_much(shift: timedelta, lands: bool) -> None:
    batch = decode([message(at_ms=round((NOW + shift).timestamp() * 1000))], {}, NOW)
    assert landed(batch) == int(lands)
    assert len(batch.rejected) == int(not lands)


def test_absurd_times_are_dead_letters_without_a_time() -> None:
    record = message()._replace(value=orjson.dumps({"server_id": 1, "timestamp": 2**62}))
    batch = decode([record, message(1)], {}, NOW)
    assert landed(batch) == 1
    assert "ahead" in batch.rejected[0].reason


def test_what_tables_can_not_hold_is_rejected() -> None:
    long = message(0, [{"disk": "x" * (MAX_KEY_BYTES + 1)}, {"disk": "ok"}], family="iostat")
    huge = message(1, [{"disk": "d", "tps": 1e300}], family="iostat")
    batch = decode([long, huge], {}, NOW)
    assert {letter.offset: letter.reason for letter in batch.rejected} == {
        0: f"disk is longer than {MAX_KEY_BYTES} bytes",
        1: "tps is no finite number",
    }
    assert landed(batch) == 1
    assert {letter.rejected_rows for letter in batch.rejected} == {1}


def test_nul_is_taken_out_of_texts() -> None:
    batch = decode([message(0, [{"pid": 1, "command": "a\x00b"}], family="process")], {}, NOW)
    assert batch.rows[0].frame["command"].to_list() == ["ab"]


def test_another_schema_is_not_guessed_at() -> None:
    record = message()
    batch = decode([record._replace(carried={**record.headers, "schema": b"vmstat.v9"})], {}, NOW)
    assert batch.rejected[0].reason == "schema vmstat.v9 instead of vmstat.v1"
    assert batch.rejected[0].raw == "raw"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"seq": b"9" * 5000, "session": b"s"},
        {"seq": b"1", "session": b"\xff"},
        {"seq": b"1", "session": b"s" * 5000},
        {"seq": b"-1", "session": b"s", "exit_code": b"99999999999"},
    ],
)
def test_headers_of_strangers_do_no_harm(headers: dict[str, bytes]) -> None:
    good = message(0)._replace(carried=headers, key=b"no number")
    bad = message(1)._replace(carried=headers, key=None, value=b"{")
    batch = decode([good, bad], {}, NOW)
    assert (landed(batch), len(batch.rejected)) == (1, 1)


def test_marks_and_days_follow_the_rows() -> None:
    batch = decode([message(0), message(1, at_ms=NOW_MS - 86_400_000, server_id=2)], {}, NOW)
    hour = NOW.replace(minute=0)
    assert batch.hours == {("vmstat", hour, 1), ("vmstat", hour - timedelta(days=1), 2)}
    assert batch.by_day == {("vmstat", date(2026, 3, 1)): 1, ("vmstat", date(2026, 2, 28)): 1}


def test_rows_that_postgresql_refuses_lead_back_to_their_messages() -> None:
    records = [message(number, [{"disk": "a"}, {"disk": "b"}], family="iostat") for number in range(3)]
    batch = decode(records, {}, NOW)
    [rows] = batch.rows
    letters = batch.refuse(rows.family, rows.frame.filter(rows.frame["kafka_offset"] == 1), "too odd")
    assert [(letter.offset, letter.rejected_rows, letter.reason) for letter in letters] == [(1, 2, "too odd")]


def let_go(records: list[Record], at_once: int = 7) -> list[Columns]:
    """The same as a reader gathers them that keeps no more than it must."""
    gathered: dict[str, Columns] = {}
    for begin in range(0, len(records), at_once):
        for topic, some in by_topic(records[begin : begin + at_once]).items():
            own = gathered.setdefault(topic, Columns(topic))
            own.let_go()
            own.add(some.values(), some.partitions, some.offsets, list(some))
    return list(gathered.values())


def same(one: Batch, other: Batch) -> bool:
    frames = [(a.frame, b.frame) for a, b in zip(one.rows, other.rows, strict=True)]
    order = ["server_id", "timestamp", "session", "landed", "first_seq"]
    frames.append((one.runs.sort(order), other.runs.sort(order)))
    return all(a.equals(b) for a, b in frames) and (
        (one.hours, one.by_day, one.oldest_ms, one.rejected)
        == (other.hours, other.by_day, other.oldest_ms, other.rejected)
    )


def test_of_many_regular_messages_ends_are_enough() -> None:
    records = [
        message(seq, at_ms=NOW_MS - 900_000 + seq * 2000, server_id=server, partition=server % 3)
        for seq in range(40)
        for server in range(1, 6)
    ]
    gathered = let_go(records)
    assert not any(own.whole for own in gathered)
    assert same(decode_columns(gathered, {}, NOW), decode(records, {}, NOW))
    [own] = gathered
    assert own.values() == [record.value for record in records]
    with pytest.raises(LetGo, match=r"message 3 of hps\.vmstat"):
        own[3]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.sampled_from(["", "gap", "again", "session", "bad", "late", "schema"])),
        max_size=4,
    ),
    st.integers(20, 60),
)
def test_what_ends_do_not_tell_is_asked_for(odd: list[tuple[int, str]], count: int) -> None:
    records = [message(seq, at_ms=NOW_MS - 900_000 + seq * 2000, server_id=seq % 3 + 1) for seq in range(count)]
    for at, kind in odd:
        index = at % len(records)
        one = records[index]
        headers = dict(one.headers)
        if kind == "gap":
            del records[index]
        elif kind == "again":
            records.append(one._replace(offset=1000 + len(records)))
        elif kind == "session":
            records[index] = one._replace(carried=headers | {"session": b"s2"})
        elif kind == "bad":
            records[index] = one._replace(value=b"{")
        elif kind == "late":
            records[index] = message(one.offset, at_ms=NOW_MS + 7_200_000, server_id=one.offset % 3 + 1)
        elif kind == "schema":
            records[index] = one._replace(carried=headers | {"schema": b"vmstat.v9"})
    try:
        batch = decode_columns(let_go(records), {}, NOW)
    except LetGo:
        return
    assert not batch.rejected
    assert same(batch, decode(records, {}, NOW))
