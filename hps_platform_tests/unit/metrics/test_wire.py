"""A sample's way to bytes and back."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES, family, wire
from hps_platform.metrics.family import Kind
from hps_platform.metrics.sample import DeadLetter, Row, Sample

MOMENT_MS = 1_700_000_000_123


def sample(family_name: str, rows: list[Row], server_id: int = 7) -> Sample:
    return Sample(
        family=family_name,
        server_id=server_id,
        timestamp_ms=MOMENT_MS,
        rows=rows,
        command="vmstat 2",
        raw="r b\n1 0\n",
        parser="linux/1;stream",
        collector="c1",
        session="s1",
        seq=41,
        exit_code=None,
    )


def test_rows_come_back_as_they_went() -> None:
    disks = FAMILIES["iostat"]
    value, headers = wire.encode(disks, sample("iostat", [{"disk": "sda", "tps": 1.5}, {"disk": "sdb", "kb_read": 3}]))
    frame = wire.decode(disks, [value])
    assert frame.schema == {**disks.frame_schema, "message": pl.UInt32}
    assert frame["disk"].to_list() == ["sda", "sdb"]
    assert frame["tps"].to_list() == [1.5, None]
    assert frame["kb_read"].to_list() == [None, 3]
    assert frame["timestamp"][0] == datetime.fromtimestamp(MOMENT_MS / 1000, UTC)
    assert dict(headers)["seq"] == b"41"
    assert dict(headers)["exit_code"] == b""


def test_each_row_knows_its_message() -> None:
    disks = FAMILIES["iostat"]
    one, _ = wire.encode(disks, sample("iostat", [{"disk": "a"}]))
    three, _ = wire.encode(disks, sample("iostat", [{"disk": "a"}, {"disk": "b"}, {"disk": "c"}], server_id=8))
    frame = wire.decode(disks, [one, three, one])
    assert frame["message"].to_list() == [0, 1, 1, 1, 2]
    assert frame["server_id"].to_list() == [7, 8, 8, 8, 7]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"{cut",
        b"[1, 2]",
        b'{"server_id":1,"timestamp":"noon","disk":"a"}',
        b'{"server_id":1,"timestamp":1,"disk":"a","tps":"many"}',
        b'{"server_id":1,"timestamp":1}',
        b'{"server_id":1,"timestamp":1,"disk":"a"}\n',
    ],
)
def test_a_malformed_message_is_an_error_not_a_null(bad: bytes) -> None:
    disks = FAMILIES["iostat"]
    good, _ = wire.encode(disks, sample("iostat", [{"disk": "a"}]))
    with pytest.raises(InvalidInput, match=r"iostat\.v1"):
        wire.decode(disks, [good, bad, good])


_NUMBER = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["null", "true", '"1"', "", "-", "1-2", "0.1.2", "--1", "1.0", "-0", "-0.0", "1e5", " 7"]),
)
_USUAL = st.integers(0, 10**9).map(str)


def _both_ways(values: list[bytes]) -> tuple[pl.DataFrame | str, pl.DataFrame | str]:
    """What `decode` makes of messages of vmstat together, and line by line, where no line is like another."""
    vmstat = FAMILIES["vmstat"]

    def tried(decoded: Callable[[], pl.DataFrame]) -> pl.DataFrame | str:
        try:
            return decoded()
        except InvalidInput:
            return "refused"

    def apart() -> pl.DataFrame:
        rows = [
            (wire._read_any(vmstat, line), message)
            for message, value in enumerate(values)
            for line in value.split(b"\n")
        ]
        frame = pl.concat(row.with_columns(message=pl.lit(message, pl.UInt32)) for row, message in rows)
        if any(frame[name].null_count() for name in vmstat.primary_key):
            raise InvalidInput("no key")
        return frame.cast({"timestamp": vmstat.frame_schema["timestamp"]})

    return tried(lambda: wire.decode(vmstat, values)), tried(apart)


def _line(cells: Sequence[tuple[str, str]]) -> bytes:
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), value.encode()) for name, value in cells)


@given(
    st.lists(st.sampled_from(["r", "us", "wa", "watts", "x1"]), max_size=5),
    st.lists(st.lists(st.lists(_USUAL, min_size=7, max_size=7), min_size=1, max_size=3), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 6), _NUMBER), max_size=2),
)
def test_what_is_alike_is_read_as_what_is_not(
    names: list[str], messages: list[list[list[str]]], odd: list[tuple[int, int, str]]
) -> None:
    lines = [line for message in messages for line in message]
    for at, cell, value in odd:
        lines[at % len(lines)][cell] = value
    columns = ["server_id", "timestamp", *names]
    values = [b"\n".join(_line(list(zip(columns, line, strict=False))) for line in message) for message in messages]
    together, apart = _both_ways(values)
    if isinstance(together, str) or isinstance(apart, str):
        assert together is apart or together == apart
    else:
        assert together.equals(apart)
        assert together.schema == apart.schema


def test_messages_of_several_shapes_keep_their_order() -> None:
    vmstat = FAMILIES["vmstat"]
    shapes = ({"r": 3, "us": 1.5}, {"r": 4, "avm": 7}, {"us": 1e-7}, {"r": 5, "us": 2.5})
    samples = [sample("vmstat", [dict(shapes[number % 4])], server_id=number) for number in range(40)]
    frame = wire.decode(vmstat, [wire.encode(vmstat, one)[0] for one in samples])
    assert frame["message"].to_list() == list(range(40))
    assert frame["server_id"].to_list() == list(range(40))
    assert (
        frame.select("r", "avm", "us").rows()
        == [
            (3, None, 1.5),
            (4, 7, None),
            (None, None, 1e-7),
            (5, None, 2.5),
        ]
        * 10
    )


def test_a_column_the_family_lacks_is_refused_on_encoding() -> None:
    with pytest.raises(InvalidInput, match="no column 'watts'"):
        wire.encode(FAMILIES["vmstat"], sample("vmstat", [{"watts": 3}]))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"disk": st.text(min_size=1, max_size=20)},
            optional={
                "tps": st.floats(0, 1e9),
                "kb_read": st.integers(0, 2**53),
                "service_time_ms": st.none() | st.floats(0, 1e6),
            },
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_value_survives(rows: list[Row]) -> None:
    disks = FAMILIES["iostat"]
    value, _ = wire.encode(disks, sample("iostat", rows))
    back = wire.decode(disks, [value]).to_dicts()
    for row, returned in zip(rows, back, strict=True):
        assert {name: returned[name] for name in row} == row


def test_dead_letters_keep_everything() -> None:
    letter = DeadLetter("vmstat", 3, MOMENT_MS, "vmstat 2", "\x1b[1mnoise\x00", "aix/1", "unknown dialect", seq=4)
    fields = wire.decode_dead_letter(wire.encode_dead_letter(letter))
    assert fields["raw"] == letter.raw
    assert fields["reason"] == "unknown dialect"
    with pytest.raises(InvalidInput):
        wire.decode_dead_letter(b"[1]")


def test_families_are_whole() -> None:
    for name, each in FAMILIES.items():
        assert each.headline in each.by_name, name
        assert all(column.help.endswith(".") for column in each.columns), name
        assert all(column.unit for column in each.columns if column.summaries)
        assert each.key is None or each.by_name[each.key].kind in (Kind.TEXT, Kind.ID)
    with pytest.raises(InvalidInput, match="choose one of vmstat, iostat"):
        family("cpu")
