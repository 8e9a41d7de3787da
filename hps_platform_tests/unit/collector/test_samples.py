"""From text to samples: numbering, stamping, rates, what is kept of a process list, and what is refused."""

from collections.abc import Callable

import pytest

from hps_platform import dialects
from hps_platform.collector.samples import BUSIEST, Arrival, Origin, Output, Series
from hps_platform.dialects import PlannedCommand
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import DeadLetter, Sample

VMSTAT = PlannedCommand("vmstat", "LC_ALL=C vmstat -n 2", True, 2.0)
REPORT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 1  0      0 411204  80412 901216    0    0    18    95  611 1204  7  2 90  1  0
"""
PS = PlannedCommand("process", "LC_ALL=C ps -eo pid,ppid,user:32,pcpu,pmem,vsz,rss,etime,time,stat,args", False, 60.0)
NET = PlannedCommand("netstat", "LC_ALL=C cat /proc/net/dev", False, 15.0)


class Emitted(list[Sample | DeadLetter]):
    @property
    def samples(self) -> list[Sample]:
        return [item for item in self if isinstance(item, Sample)]

    @property
    def letters(self) -> list[DeadLetter]:
        return [item for item in self if isinstance(item, DeadLetter)]


@pytest.fixture
def emitted() -> Emitted:
    return Emitted()


@pytest.fixture
def series(emitted: Emitted) -> Callable[[str], Series]:
    return lambda family: Series(FAMILIES[family], 7, Origin("here", "s1"), emitted.append)


def _report(wall_ms: int, monotonic: float = 0.0, text: str = REPORT) -> Output:
    return Output("linux", VMSTAT, text, Arrival(wall_ms, monotonic), None, True)


def test_samples_are_numbered_from_one_and_say_where_they_came_from(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    vmstat = series("vmstat")
    assert vmstat.answered(_report(1_000_000))
    assert vmstat.answered(_report(1_002_000))
    assert [sample.seq for sample in emitted.samples] == [1, 2]
    sample = emitted.samples[0]
    assert (sample.server_id, sample.timestamp_ms, sample.session, sample.collector) == (7, 1_000_000, "s1", "here")
    assert sample.parser.endswith(";stream")
    assert sample.rows[0]["us"] == 7
    wire.encode(FAMILIES["vmstat"], sample)


def test_two_samples_never_share_a_moment_but_a_clock_that_was_set_back_is_believed(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    vmstat = series("vmstat")
    for wall_ms in (10_000_000, 10_000_000, 9_999_000, 5_000_000):
        vmstat.answered(_report(wall_ms))
    assert [sample.timestamp_ms for sample in emitted.samples] == [10_000_000, 10_000_008, 10_000_016, 5_000_001]


def test_moments_that_are_lived_through_again_after_the_clock_was_set_back_give_no_duplicates(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    vmstat = series("vmstat")
    for _ in range(3):
        for second in range(0, 200, 2):
            vmstat.answered(_report(1_000_000_000 + second * 1000, monotonic=second))
    stamps = [sample.timestamp_ms for sample in emitted.samples]
    assert len(set(stamps)) == 300
    assert all(abs(stamp - stamp // 1000 * 1000) < 8 for stamp in stamps)


def test_reports_held_up_on_the_way_are_stamped_an_interval_apart(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    vmstat = series("vmstat")
    for age_ms in (4000, 2000, 0):
        vmstat.answered(_report(1_000_000), age_ms=age_ms)
    assert [sample.timestamp_ms for sample in emitted.samples] == [996_000, 998_000, 1_000_000]


def test_counters_become_rates_over_the_time_that_really_passed(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    def table(packets: int) -> str:
        return (
            "Inter-|   Receive                                                |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|"
            "bytes    packets errs drop fifo colls carrier compressed\n"
            f"  eth0: 5000 {packets} 0 0 0 0 0 0 6000 700 0 0 0 0 0 0\n"
        )

    netstat = series("netstat")
    netstat.answered(Output("linux", NET, table(100), Arrival(0, 50.0), 0))
    netstat.answered(Output("linux", NET, table(300), Arrival(1, 60.0), 0))
    assert emitted.samples[0].rows[0]["ipkts_s"] is None
    assert emitted.samples[1].rows[0]["ipkts_s"] == 20.0


def test_totals_of_an_interval_are_divided_by_what_the_command_measured_not_by_how_often_it_runs(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    text = (
        "Disks:         % tm_act     Kbps      tps    Kb_read   Kb_wrtn\n"
        "hdisk0           1.0     10.0      2.0       9000       9000\n\n"
        "Disks:         % tm_act     Kbps      tps    Kb_read   Kb_wrtn\n"
        "hdisk0           1.0     15.0      2.0        100         50\n"
    )
    (planned,) = (line for line in dialects.plan("aix", {"iostat": 60}) if line.family == "iostat")
    assert (planned.stream, planned.interval_s) == (False, 60.0)
    assert series("iostat").answered(Output("aix", planned, text, Arrival(0, 0.0), 0))
    (row,) = emitted.samples[0].rows
    assert (row["kb_read_s"], row["kb_wrtn_s"]) == (10.0, 5.0)


def _process_list(count: int) -> str:
    lines = [
        "    PID    PPID USER                             %CPU %MEM    VSZ   RSS     ELAPSED     TIME STAT COMMAND"
    ]
    for pid in range(1, count + 1):
        cpu = pid / 10 if pid % 2 else 0.0
        rss = 1000 * pid if pid % 2 == 0 else 10
        lines.append(
            f"{pid:7} {1:7} {'root':32} {cpu:4.1f}  0.1 {rss * 2:6} {rss:5}    01:02:03 00:00:01 S    job {pid} 99"
        )
    return "\n".join(lines) + "\n"


def test_of_a_process_list_the_busiest_by_cpu_and_by_memory_are_kept_with_a_text_that_says_just_that(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    assert series("process").answered(Output("linux", PS, _process_list(200), Arrival(0, 0.0), 0))
    sample = emitted.samples[0]
    pids = [row["pid"] for row in sample.rows]
    assert len(pids) == 2 * BUSIEST
    assert pids == sorted(pids)
    assert {pid for pid in pids if pid % 2} == set(range(161, 200, 2))
    assert {pid for pid in pids if pid % 2 == 0} == set(range(162, 201, 2))
    assert dialects.parse("linux", PS.command, sample.raw).rows == list(sample.rows)
    assert len(sample.raw) < len(_process_list(200)) / 3


def test_a_short_process_list_is_kept_whole(series: Callable[[str], Series], emitted: Emitted) -> None:
    series("process").answered(Output("linux", PS, _process_list(5), Arrival(0, 0.0), 0))
    assert [row["pid"] for row in emitted.samples[0].rows] == [1, 2, 3, 4, 5]
    assert emitted.samples[0].raw == _process_list(5)


def test_what_is_no_report_becomes_a_dead_letter_that_keeps_it_whole(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    vmstat = series("vmstat")
    text = "prozs speicher\n r  b  frei\n 1  0  4711\n"
    assert not vmstat.answered(_report(5, text=text))
    (letter,) = emitted.letters
    assert (letter.raw, letter.family, letter.server_id, letter.outcome) == (text, "vmstat", 7, "unknown")
    assert letter.seq is None
    assert letter.reason
    problems = [vmstat.problem]  # one bad report is not a broken family yet
    vmstat.answered(_report(6, text=text))
    problems.append(vmstat.problem)
    vmstat.answered(_report(7))
    problems.append(vmstat.problem)
    assert [bool(problem) for problem in problems] == [False, True, False]
    assert emitted.samples[0].seq == 1


def test_a_flood_of_dead_letters_is_counted_and_not_kept(series: Callable[[str], Series], emitted: Emitted) -> None:
    vmstat = series("vmstat")
    for second in range(100):
        vmstat.answered(_report(second, float(second), "garbage 1 2 3\n"))
    kept = len(emitted.letters)
    assert 5 <= kept <= 7
    assert vmstat.tally.dead_letters == kept
    assert vmstat.tally.suppressed == 100 - kept
    vmstat.answered(_report(0, 1000.0, "garbage 1 2 3\n"))
    assert "more like it were counted" in emitted.letters[-1].reason


def test_a_missing_command_is_a_state_and_no_dead_letter(series: Callable[[str], Series], emitted: Emitted) -> None:
    vmstat = series("vmstat")
    vmstat.answered(Output("linux", VMSTAT, "-bash: vmstat: command not found\n", Arrival(0, 0.0), 127))
    assert vmstat.unavailable
    assert "not found" in vmstat.problem
    assert emitted == []


def test_an_average_since_boot_is_no_sample(series: Callable[[str], Series], emitted: Emitted) -> None:
    once = PlannedCommand("vmstat", "vmstat", False, 60.0)
    assert not series("vmstat").answered(Output("linux", once, REPORT, Arrival(0, 0.0), 0))
    assert "since boot" in emitted.letters[0].reason


def test_a_parser_that_fails_ends_nothing(
    series: Callable[[str], Series], emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("in the parser")

    monkeypatch.setattr(dialects, "parse", broken)
    assert not series("vmstat").answered(_report(0))
    assert emitted.letters[0].raw == REPORT
    assert "ZeroDivisionError" in emitted.letters[0].reason


def _answer(text: str, exit_code: int = 0) -> Output:
    return Output("linux", NET, text, Arrival(1_000_000, 0.0), exit_code)


NET_TEXT = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
    "  eth0: 5000 100 0 0 0 0 0 0 6000 700 0 0 0 0 0 0\n"
)


def test_output_that_is_unknown_three_times_in_a_row_parks_the_family_until_it_is_read(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    netstat = series("netstat")
    strange = "\x1b[1mTabelle der Karten\x1b[0m\n\n karte0 1 2\n karte1 3 4\n karte2 5 6\n"
    assert not netstat.answered(_answer(strange))
    assert not netstat.answered(_answer(strange))
    assert netstat.standing == "failing"
    netstat.answered(_answer(strange))
    assert netstat.standing == "quarantined"
    assert netstat.parked == "Tabelle der Karten\n karte0 1 2\n karte1 3 4"
    assert [letter.raw for letter in emitted.letters] == [strange] * 3
    netstat.answered(_answer(strange))
    assert netstat.parked
    assert netstat.answered(_answer(NET_TEXT))
    assert (netstat.standing, netstat.parked, netstat.problem) == ("ok", "", "")


def test_only_unknown_output_in_a_row_parks_a_family(series: Callable[[str], Series]) -> None:
    netstat = series("netstat")
    for text in ("strange", "strange", "", "strange", "strange", NET_TEXT, "strange", "strange"):
        netstat.answered(_answer(text))
        assert netstat.parked == ""


def test_a_command_that_is_missing_is_unavailable_and_no_dead_letter(
    series: Callable[[str], Series], emitted: Emitted
) -> None:
    netstat = series("netstat")
    netstat.answered(_answer("sh: netstat: not found\n", exit_code=127))
    assert (netstat.standing, emitted.letters) == ("unavailable", [])
