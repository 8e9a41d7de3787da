"""Reports cut out of a running command's output, however its chunks fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.dialects import SYSTEMS, Outcome, Splitter, parse, plan, splitter
from hps_platform.errors import InvalidInput
from hps_platform.metrics.sample import Row
from hps_platform_tests.unit.dialects.cases import Case, cases, streaming

_CASES = streaming()


def _running(case: Case) -> Splitter:
    return splitter(case.os, case.command)


def _rows(case: Case, reports: list[str]) -> list[Row]:
    rows: list[Row] = []
    for report in reports:
        parsed = parse(case.os, case.command, report, streamed=True)
        assert parsed.outcome is Outcome.ROWS, report
        assert parsed.family == case.family
        rows += parsed.rows
    return rows


def test_every_planned_stream_has_a_case() -> None:
    planned = {(os, command.family) for os in SYSTEMS for command in plan(os) if command.stream}

    assert {(case.os, case.family) for case in _CASES} == planned


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_reports_hold_the_same_samples_as_the_whole_output(case: Case) -> None:
    running = _running(case)

    reports = [*running.feed(case.text), *running.flush()]

    assert _rows(case, reports) == parse(case.os, case.command, case.text).rows
    assert all("since_boot" not in row for row in _rows(case, reports))


@given(st.sampled_from(_CASES), st.data())
def test_chunks_cut_anywhere_give_the_same_reports(case: Case, data: st.DataObject) -> None:
    whole = _running(case)
    expected = [*whole.feed(case.text), *whole.flush()]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(case.text)), max_size=12)))

    running = _running(case)
    reports: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(case.text)], strict=True):
        reports += running.feed(case.text[start:end])
    reports += running.flush()

    assert reports == expected


@given(st.sampled_from(_CASES), st.data())
def test_quiet_moments_lose_and_double_nothing(case: Case, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(case.text)), max_size=12)))

    running = _running(case)
    reports: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(case.text)], strict=True):
        reports += running.feed(case.text[start:end])
        reports += running.flush()

    assert _rows(case, reports) == parse(case.os, case.command, case.text).rows


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_half_a_line_waits_for_its_other_half(case: Case) -> None:
    running = _running(case)
    running.feed(case.text)
    running.flush()
    header, last = case.text.rstrip("\n").rpartition("\n")[::2]
    del header

    assert running.feed(last[:-2]) == []
    assert running.flush() == []
    assert [*running.feed(last[-2:] + "\n"), *running.flush()] != []


def test_reports_of_several_lines_end_with_the_next_or_when_as_many_have_come() -> None:
    memory = "VM\n avm    free   re   at    pi   po    fr   de    sr     in     sy    cs\n"
    cpu = "CPU\n cpu procs\n us sy id    r     b     w\n"
    running = splitter("hpux", "vmstat -n 2")

    assert running.feed(f"{memory}  100  200   0    0     0    0     0    0     0     11     12    13\n") == []
    assert running.feed(f"{cpu} 1  2 97  1  0  0\n 3  4 93\n") == []
    assert running.flush() == []
    assert running.feed("  101  201  0  0  0  0  0  0  0  21  22  23\n 5  6 89  2  0  0\n") == []
    assert running.flush() == []  # the second processor is missing
    assert running.feed(" 7  8 85\n") == []
    (report,) = running.flush()

    (row,) = parse("hpux", "vmstat -n 2", report, streamed=True).rows
    assert (row["avm"], row["r"], row["cs"], row["us"]) == (404, 2, 23, None)


def test_a_disk_report_is_a_sample_where_no_history_since_boot_is_kept() -> None:
    header = "Disks:        % tm_act     Kbps      tps    Kb_read   Kb_wrtn\n"
    running = splitter("aix", "iostat -d 2")

    assert running.feed('\t\t" Disk history since boot not available. "\n\n') == []
    assert running.feed(f"{header}hdisk0  1.0  8.0  2.0  0  16\n") == []
    assert len(running.flush()) == 1


_DEVICES = "Device    tps  kB_read/s  kB_wrtn/s  kB_dscd/s  kB_read  kB_wrtn  kB_dscd\n"


def _disk(name: str) -> str:
    return f"{name}   1.50   12.00   8.00   0.00   24   16   0\n"


def test_a_report_that_ends_as_the_one_before_it_did_waits_for_nothing() -> None:
    running = splitter("linux", "LC_ALL=C iostat -dk 2")
    running.feed(f"{_DEVICES}{_disk('sda')}{_disk('sdb')}\n")
    assert running.feed(f"{_DEVICES}{_disk('sda')}") == []  # half of it

    (report,) = running.feed(_disk("sdb"))

    assert report == f"{_DEVICES}{_disk('sda')}{_disk('sdb')}"
    assert not running.waiting
    assert running.feed(f"\n{_DEVICES}") == []


def test_a_disk_that_is_new_is_waited_for() -> None:
    running = splitter("linux", "LC_ALL=C iostat -dk 2")
    for _ in range(2):
        running.feed(f"{_DEVICES}{_disk('sda')}{_disk('sdb')}\n")

    assert running.feed(f"{_DEVICES}{_disk('sda')}{_disk('sdb')}{_disk('sdc')}\n") == []
    (report,) = running.flush()

    assert report.count("\n") == 4


@pytest.mark.parametrize(
    ("os", "command", "header", "row"),
    [
        ("linux", "iostat -dkz 2", _DEVICES, _disk("sda")),
        (
            "aix",
            "iostat -dV 2",
            "Disks:   % tm_act   Kbps    tps    Kb_read   Kb_wrtn\n",
            "hdisk0  1.0  8.0  2.0  0  16\n",
        ),
    ],
)
def test_where_idle_disks_are_left_out_the_length_of_a_report_is_unknown(
    os: str, command: str, header: str, row: str
) -> None:
    running = splitter(os, command)
    for _ in range(2):
        running.feed(header + row)

    assert running.feed(header + row) == [header + row]  # the one before
    assert running.flush() == [header + row]


def test_a_vmstat_row_is_out_as_soon_as_its_line_is() -> None:
    running = splitter("linux", "LC_ALL=C vmstat -n 2")
    running.feed(
        "procs ---memory--- --swap--\n r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa\n"
    )

    assert running.feed(" 1  0      0   9000    100    200    0    0     1     2    3    4  5  6 88  1\n") == []
    assert len(running.feed(" 2  0      0   9100    100    200    0    0     1     2    3    4  5  6 88  1\n")) == 1


def test_a_changed_header_goes_with_its_rows() -> None:
    running = splitter("aix", "LC_ALL=C vmstat 2")
    dedicated = " r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa\n"
    shared = " r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa    pc    ec\n"
    row = " 1  0 41010 21044   0   0   0   0    0   0  44 1202 390  3  2 94  1"

    reports = running.feed(f"{dedicated}{row}\n{row}\n\nSystem configuration: lcpu=8\n\n{shared}{row}  0.05   7.7\n")

    ecs = [parse("aix", "vmstat 2", report, streamed=True).rows[0]["ec"] for report in reports]
    assert ecs == [None, 7.7]


def test_without_a_first_report_since_boot_nothing_is_left_out() -> None:
    header = (
        "procs ---memory--- --swap--\n r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa\n"
    )
    row = " 1  0      0   9000    100    200    0    0     1     2    3    4  5  6 88  1\n"

    assert len(splitter("linux", "vmstat -n -y 2").feed(header + row)) == 1


@pytest.mark.parametrize(
    ("os", "command", "text", "outcome"),
    [
        ("aix", "LC_ALL=C vmstat 2", "ksh: vmstat:  not found.\n", Outcome.FAILED),
        ("linux", "LC_ALL=C iostat -dxk 2", "bash: line 1: iostat: command not found\n", Outcome.FAILED),
        ("linux", "vmstat -n 2", " r  b   swpd   frei\n 1  0  0  9000\n 1  0  0  9000\n", Outcome.UNKNOWN),
    ],
)
def test_what_is_no_report_comes_out_whole(os: str, command: str, text: str, outcome: Outcome) -> None:
    running = splitter(os, command)

    assert running.feed(text) == []
    [said] = running.flush()
    assert said == text
    assert parse(os, command, said, streamed=True).outcome is outcome
    assert running.flush() == []


def test_a_banner_alone_is_kept_back() -> None:
    running = splitter("solaris", "LC_ALL=C vmstat 2")

    assert running.feed("Welcome to sol3\nAuthorised use only\n") == []
    assert running.flush() == []


def test_numbers_that_the_header_does_not_explain_are_handed_out() -> None:
    running = splitter("hpux", "LC_ALL=C vmstat 2")
    header = "    r     b     w      avm    free   re   at    pi   po    fr   de    sr     in     sy    cs  us sy id\n"

    [said] = running.feed(header + "    1     0     0   410220   90114   11    5     0    0\n")

    assert parse("hpux", "LC_ALL=C vmstat 2", said, streamed=True).outcome is Outcome.NO_DATA


@pytest.mark.parametrize(("os", "command"), [("linux", "df -kP"), ("aix", "uptime"), ("hpux", "")])
def test_only_repeating_commands_have_a_splitter(os: str, command: str) -> None:
    with pytest.raises(InvalidInput):
        splitter(os, command)


READINGS = [
    case
    for case in cases()
    if case.os == "linux" and case.command.startswith("while LC_ALL=C cat /proc/") and case.rows
]


@given(st.sampled_from(READINGS), st.data())
def test_readings_of_the_kernels_counters_are_handed_out_in_pairs(case: Case, data: st.DataObject) -> None:
    cut = sorted(data.draw(st.lists(st.integers(0, len(case.text)), max_size=20)))
    stream = splitter(case.os, case.command)

    reports = [
        report
        for start, end in zip([0, *cut], [*cut, len(case.text)], strict=True)
        for report in (*stream.feed(case.text[start:end]), *stream.flush())
    ]

    rows = [row for report in reports for row in parse(case.os, case.command, report, streamed=True).rows]
    assert rows == parse(case.os, case.command, case.text).rows
    assert len(reports) == 2


def test_disks_side_by_side_are_handed_out_line_by_line() -> None:
    [case] = [case for case in cases() if str(case) == "freebsd/iostat/side_by_side"]
    stream = splitter(case.os, case.command)

    reports = stream.feed(case.text)

    assert len(reports) == 2
    rows = [row for report in reports for row in parse(case.os, case.command, report, streamed=True).rows]
    assert rows == parse(case.os, case.command, case.text).rows
