"""Running `sar -d`, alone and beside iostat: reports cut out of the two, in whatever order their lines arrive."""

import pytest

from hps_platform.dialects import Splitter, parse, splitter
from hps_platform.metrics.sample import Row

_BESIDE = "LC_ALL=C sar -d 2 9999999 & LC_ALL=C iostat 2"
_SAR_HEADER = "10:20:00   device   %busy   avque   r+w/s  blks/s  avwait  avserv\n"
_IOSTAT_HEADER = "\n  device    bps     sps    msps \n\n"
_BOOT = f"{_IOSTAT_HEADER}   disk3     20     3.1     1.0 \n   disk7    410    12.5     1.0 \n"


def _iostat(disk3: int, disk7: int) -> str:
    return f"{_IOSTAT_HEADER}   disk3   {disk3}     8.5     1.0 \n   disk7   {disk7}    40.0     1.0 \n"


def _sar(second: int, *rows: str) -> str:
    return f"10:20:{second:02d}" + "\n          ".join((*(f"  {row}" for row in rows), "")) + "\n"


_DISK3 = "disk3    6.50    0.50      11     184    0.00    5.92"
_DISK7 = "disk7   21.00    0.74      58    2112    0.31    4.06"


def _rows(reports: list[str], os: str = "hpux", command: str = _BESIDE) -> list[list[Row]]:
    return [
        [
            {name: value for name, value in row.items() if value is not None}
            for row in parse(os, command, report, streamed=True).rows
        ]
        for report in reports
    ]


def _started() -> Splitter:
    running = splitter("hpux", _BESIDE)
    assert running.feed(_SAR_HEADER + _BOOT) == []
    assert running.flush() == []
    return running


_BUSY: list[Row] = [
    {"disk": "disk3", "tps": 11, "kb_s": 92, "busy_pct": 6.5, "service_time_ms": 5.92, "queue_length": 0.5},
    {"disk": "disk7", "tps": 58, "kb_s": 1056, "busy_pct": 21.0, "service_time_ms": 4.06, "queue_length": 0.74},
]
_IDLE: list[Row] = [
    {"disk": disk, "tps": 0, "kb_s": 0, "busy_pct": 0, "service_time_ms": 0, "queue_length": 0}
    for disk in ("disk3", "disk7")
]


@pytest.mark.parametrize("sar_first", [True, False])
def test_a_report_has_both_halves_whichever_comes_first(sar_first: bool) -> None:
    running = _started()
    halves = [_sar(2, _DISK3, _DISK7), _iostat(92, 1056)]

    first, second = halves if sar_first else reversed(halves)
    assert running.feed(first) == []
    assert running.flush() == []  # the other half is still to come
    running.feed(second)

    assert _rows(running.flush()) == [_BUSY]


def test_a_disk_that_sar_leaves_out_did_nothing_in_that_time() -> None:
    running = _started()
    running.feed(_iostat(0, 0) + _sar(4))

    assert _rows(running.flush()) == [_IDLE]


def test_a_disk_with_throughput_is_not_called_idle() -> None:
    running = _started()
    running.feed(_iostat(92, 4) + _sar(4, _DISK3))

    [[disk3, disk7]] = _rows(running.flush())
    assert disk3 == _BUSY[0]
    assert disk7 == {"disk": "disk7", "kb_s": 4}


def test_what_sar_says_nothing_of_stays_unknown() -> None:
    [rows] = _rows([_SAR_HEADER + _iostat(0, 0)])

    assert rows == [{"disk": "disk3", "kb_s": 0}, {"disk": "disk7", "kb_s": 0}]


def test_several_reports_at_once_are_cut_apart() -> None:
    running = _started()

    reports = running.feed(
        _iostat(92, 1056) + _sar(2, _DISK3, _DISK7) + _iostat(0, 0) + _sar(4) + _sar(6, _DISK3) + _iostat(92, 0)
    )

    assert _rows([*reports, *running.flush()]) == [_BUSY, _IDLE, [_BUSY[0], _IDLE[1]]]


def test_without_sar_iostat_goes_on_alone() -> None:
    running = splitter("hpux", _BESIDE)
    assert running.feed("sh: sar:  not found.\n" + _BOOT) == []
    assert running.flush() == []

    running.feed(_iostat(92, 1056))

    assert _rows(running.flush()) == [[{"disk": "disk3", "kb_s": 92}, {"disk": "disk7", "kb_s": 1056}]]


def test_without_iostat_sar_goes_on_alone() -> None:
    running = splitter("hpux", _BESIDE)

    reports = running.feed("sh: iostat:  not found.\n" + _SAR_HEADER + _sar(2, _DISK3, _DISK7) + _sar(4, _DISK7))

    assert _rows([*reports, *running.flush()]) == [_BUSY, [_BUSY[1]]]


def test_an_error_message_is_handed_out_as_it_stands() -> None:
    running = splitter("hpux", _BESIDE)
    running.feed("sh: sar:  not found.\nsh: iostat:  not found.\n")

    assert running.flush() == ["sh: sar:  not found.\nsh: iostat:  not found.\n"]


def test_sar_alone_on_aix() -> None:
    running = splitter("aix", "sar -d 2 1000")
    rows = "10:20:02     hdisk0      4      0.0       22      176      0.0      2.1\n"
    further = "             hdisk4     61      1.3      310     5120      0.4      3.8\n"

    assert running.feed("\nAIX heron 2 7 00F91A2B4C00    03/14/26\n\n") == []
    assert running.feed("10:20:00     device    %busy    avque    r+w/s    Kbs/s   avwait   avserv\n\n") == []
    assert running.feed(rows + further[:20]) == []
    assert running.feed(further[20:]) == []
    reports = running.flush()

    assert [[row["disk"] for row in rows] for rows in _rows(reports, "aix", "sar -d")] == [["hdisk0", "hdisk4"]]
    assert running.feed("\nAverage      hdisk0      4      0.0       22      176      0.0      2.1\n" + further) == []


def test_the_averages_at_the_end_are_no_sample() -> None:
    text = _SAR_HEADER + _sar(2, _DISK3) + "\nAverage     " + _DISK3 + "\n            " + _DISK7 + "\n"

    assert [row["disk"] for row in parse("hpux", "sar -d 2 1", text).rows] == ["disk3"]
