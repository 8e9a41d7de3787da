"""A sample's way to bytes and back."""

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
