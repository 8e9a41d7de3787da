"""Rules of `parse` that hold for every family: outcomes, since-boot reports, duplicates, odd values."""

import pytest

from hps_platform.dialects import Outcome, parse, parser_id
from hps_platform.errors import InvalidInput
from hps_platform.metrics.sample import Row
from hps_platform_tests.unit.dialects.cases import Case, cases

_LINUX = " r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st\n"
_ROW = " 2  0   1280 911204  80412 4401216    0    0    18    95  611 1204  7  2 90  1  0\n"


def test_a_single_report_without_interval_is_marked() -> None:
    [row] = parse("linux", "vmstat", _LINUX + _ROW).rows

    assert row["since_boot"] is True


def test_the_first_report_of_a_run_with_interval_is_no_sample() -> None:
    assert parse("linux", "vmstat 2", _LINUX + _ROW).outcome is Outcome.NO_DATA
    assert [row.get("since_boot") for row in parse("linux", "vmstat 2 2", _LINUX + _ROW + _ROW).rows] == [None]


def test_a_report_cut_from_a_stream_is_a_sample() -> None:
    [row] = parse("linux", "LC_ALL=C vmstat -n 2", _LINUX + _ROW, streamed=True).rows

    assert "since_boot" not in row


def test_several_reports_of_a_command_without_interval_began_with_the_one_since_boot() -> None:
    rows = parse("linux", "vmstat", _LINUX + _ROW + _ROW.replace("611", "612")).rows

    assert [row["interrupts"] for row in rows] == [612]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", Outcome.NO_DATA),
        (" \n\t\n", Outcome.NO_DATA),
        ("\x1b[0m\r\n", Outcome.NO_DATA),
        (_LINUX, Outcome.NO_DATA),
        (_LINUX + " 2  0   1280 9112", Outcome.NO_DATA),
        ("-bash: vmstat: command not found\n", Outcome.FAILED),
        ("ksh: vmstat:  not found.\n", Outcome.FAILED),
        ("Welcome!\nsh: /usr/bin/vmstat: Permission denied\n", Outcome.FAILED),
        ("vmstat: invalid option -- 'q'\n", Outcome.FAILED),
        ("ksh: /usr/bin/vmstat: 0403-006 Execute permission denied.\n", Outcome.FAILED),
        ("usage: vmstat [-n] [delay]\n", Outcome.FAILED),
        ("\ufffd\ufffd\x01binary\x7f\n", Outcome.UNKNOWN),
        ("Name  Mtu   Network     Address            Ipkts Ierrs    Opkts Oerrs  Coll\n", Outcome.UNKNOWN),
        ("vmstat: warning: permission denied\n 1 2 3 4 5 6\n", Outcome.UNKNOWN),
    ],
)
def test_outcomes_are_kept_apart(text: str, outcome: Outcome) -> None:
    parsed = parse("linux", "vmstat 2", text)

    assert parsed.outcome is outcome
    assert parsed.family == "vmstat"
    assert parsed.rows == []
    assert parsed.message


@pytest.mark.parametrize(
    ("os", "command", "text"),
    [
        ("aix", "vmstat 2", "\nSystem configuration: lcpu=4 mem=8192MB ent=0.50\n\n"),
        ("aix", "sar -d 2 1", "\nAIX keel 3 7 00F6B5ED4C00    03/14/26\n\nSystem configuration: lcpu=4 drives=2\n"),
        ("linux", "iostat -dxk 2", "Linux 6.1.0 (keel) \t03/14/26 \t_x86_64_\t(4 CPU)\n\n"),
        ("linux", "vmstat 2", "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----\n"),
        ("linux", "netstat -i", "Kernel Interface table\n"),
        ("solaris", "iostat -xnz", "                    extended device statistics              \n"),
        ("solaris", "vmstat 2", " kthr      memory            page            disk          faults      cpu\n"),
        ("hpux", "vmstat 2", "         procs           memory             page             faults       cpu\n"),
        ("hpux", "lanadmin -g 1", "          LAN INTERFACE STATUS DISPLAY\n           Sat, Mar 14,2026  10:20:00\n"),
        ("hpux", "swapinfo -tam", "             Mb      Mb      Mb   PCT  START/      Mb\n"),
        ("freebsd", "vmstat 2", " procs    memory    page                      disks       faults       cpu\n"),
    ],
)
def test_an_output_that_ended_above_its_header_is_no_data(os: str, command: str, text: str) -> None:
    assert parse(os, command, text).outcome is Outcome.NO_DATA
    assert parse(os, command, text + "mémoire tampon 1 2 3 4\n").outcome is Outcome.UNKNOWN


def test_a_share_of_memory_that_grew_into_the_next_column_is_null() -> None:
    header = "USER       PID %CPU %MEM   SZ  RSS TT       S    START  TIME COMMAND\n"
    row = "shop       412  0.1  0.318204 4412 ?        S 10:20:00  0:07 /opt/shop/bin/till -d\n"

    [parsed] = parse("solaris", "/usr/ucb/ps aux", header + row).rows

    assert (parsed["pid"], parsed["cpu_pct"], parsed["mem_pct"], parsed["rss_kb"]) == (412, 0.1, None, 4412)
    assert parsed["command"] == "/opt/shop/bin/till -d"


def test_the_message_of_a_failure_is_its_line() -> None:
    assert parse("hpux", "bdf", "motd\n\nsh: bdf:  not found.\n").message == "sh: bdf:  not found."


def test_a_command_that_no_dialect_reads() -> None:
    assert parse("aix", "mpstat 1", "cpu min maj\n 0 1 2\n").outcome is Outcome.UNKNOWN
    assert parse("aix", "nosuch", "ksh: nosuch:  not found.\n").outcome is Outcome.FAILED
    assert parse("aix", "nosuch", "").outcome is Outcome.NO_DATA
    assert parse("aix", "nosuch", "").family is None


def test_an_operating_system_without_dialect() -> None:
    with pytest.raises(InvalidInput, match="plan9"):
        parse("plan9", "vmstat", "")


@pytest.mark.parametrize("cell", ["-", "nan", "-nan", "inf", "xx", "***", "9999999999999999", "-3"])
def test_what_is_no_plausible_number_is_null(cell: str) -> None:
    text = _LINUX + _ROW + _ROW.replace(" 611 ", f" {cell} ")

    [row] = parse("linux", "vmstat 2", text).rows

    assert row["interrupts"] is None
    assert row["cs"] == 1204


def test_shares_of_cpu_outside_their_range_are_null_and_entitlement_is_not() -> None:
    header = " r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa    pc    ec\n"
    row = " 5  0 3292 1345   0   0   0   0    0   0  45 3743 3154 102 -2 101 -1  4.06 422.5\n"

    [parsed] = parse("aix", "vmstat 2", header + row, streamed=True).rows

    assert (parsed["us"], parsed["sy"], parsed["idle"], parsed["wa"], parsed["ec"]) == (None, None, 101, -1, 422.5)


def test_a_decimal_comma_is_a_decimal_point() -> None:
    text = "Device tps kB_read/s kB_wrtn/s kB_read kB_wrtn\nsda 165,98 3190,41 12,00 10 20\n"

    [row] = parse("linux", "iostat -d", text).rows

    assert (row["tps"], row["kb_read_s"]) == (165.98, 3190.41)


def test_a_last_row_without_its_last_cells_is_dropped_and_a_whole_one_without_newline_kept() -> None:
    whole = _LINUX + _ROW + _ROW + _ROW.rstrip("\n")

    assert len(parse("linux", "vmstat 2", whole).rows) == 2
    assert len(parse("linux", "vmstat 2", whole[:-3]).rows) == 1


def test_the_beginning_of_a_known_disk_at_the_end_is_a_cut_name() -> None:
    header = "    r/s    w/s   kr/s   kw/s wait actv wsvc_t asvc_t  %w  %b device\n"
    row = "    4.5   18.0  102.0  311.5  0.2  0.1    0.1    5.2   1   7 c1t"

    rows = parse("solaris", "iostat -xn 2", header + row + "0d0\n" + header + row + "1d0\n" + row + "0d").rows

    assert [parsed["disk"] for parsed in rows] == ["c1t1d0"]


def test_the_same_disk_twice_in_a_report_counts_as_a_duplicate() -> None:
    text = "Device tps kB_read/s kB_wrtn/s kB_read kB_wrtn\nsda 1.00 2.00 3.00 4 5\nsda 6.00 7.00 8.00 9 10\n"

    parsed = parse("linux", "iostat -d", text)

    assert [row["tps"] for row in parsed.rows] == [6.0]
    assert parsed.duplicates == 1


def test_no_transfers_took_no_time() -> None:
    text = "Device r/s w/s rkB/s wkB/s r_await w_await aqu-sz %util\nsda 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00\n"

    [row] = parse("linux", "iostat -x", text).rows

    assert (row["tps"], row["service_time_ms"]) == (0.0, 0.0)


def test_percentages_above_a_hundred_of_a_file_system_are_kept() -> None:
    text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 104 -4 104% /full\n"

    [row] = parse("linux", "df -kP", text).rows

    assert (row["used_pct"], row["avail_kb"]) == (104, -4)


def test_a_percentage_without_its_sign_was_cut() -> None:
    text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 50 50 5 /half\n"

    [row] = parse("linux", "df -kP", text).rows

    assert row["used_pct"] is None


def test_parser_id() -> None:
    assert parser_id("aix") == "aix/1"


def test_a_cut_size_of_a_swap_area_is_no_number() -> None:
    text = "swapfile             dev  swaplo blocks   free\n/dev/dsk/c0d0s1     100,1      16 2049632 1.\n"

    assert parse("solaris", "swap -l", text).outcome is Outcome.NO_DATA


_LISTINGS = [case for case in cases() if case.family == "process" and len(case.rows) > 1 and "PID" in case.text]


@pytest.mark.parametrize("case", _LISTINGS, ids=str)
def test_a_process_is_read_by_itself_as_among_others(case: Case) -> None:
    lines = case.text.splitlines(keepends=True)
    header = next(line for line in lines if "PID" in line)
    alone: dict[int, Row] = {}
    for line in lines[lines.index(header) + 1 :]:
        for row in parse(case.os, case.command, f"{header}{line}").rows:
            alone.pop(row["pid"], None)
            alone[row["pid"]] = row

    assert list(alone.values()) == parse(case.os, case.command, case.text).rows


def test_one_cell_that_can_not_be_read_costs_its_own_row_only() -> None:
    header = "  PID  PPID USER      %CPU %MEM    VSZ   RSS     ELAPSED     TIME S COMMAND\n"
    row = "  {pid}     1 oracle     1.5  2.0  90100 12000    01:02:03 00:00:{time} S oracle {pid}\n"
    text = header + row.format(pid=11, time="07") + row.format(pid=12, time="x7") + row.format(pid=13, time="09")

    rows = parse("linux", "ps -eo pid,ppid,user,pcpu,pmem,vsz,rss,etime,time,s,args", text).rows

    assert [(row["pid"], row["cpu_time_s"]) for row in rows if row["cpu_time_s"] is not None] == [(11, 7), (13, 9)]
