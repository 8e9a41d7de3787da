"""What a line costs. Bounds are several times what is measured on a quiet machine, to hold on a busy one."""

import time
from collections.abc import Callable

from hps_platform.dialects import parse, splitter
from hps_platform_tests.unit.dialects.cases import cases


def _cpu_us(work: Callable[[], object], times: int) -> float:
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times * 1e6


def _text(name: str) -> str:
    return next(case.text for case in cases() if str(case) == name)


def test_a_vmstat_line() -> None:
    lines = _text("aix/vmstat/shared").rstrip("\n").split("\n")
    text = "\n".join([*lines, *lines[-2:] * 500])

    assert _cpu_us(lambda: parse("aix", "vmstat 2", text), 5) / 1000 < 60


def test_an_iostat_line() -> None:
    lines = _text("linux/iostat/planned").rstrip("\n").split("\n")
    header, row = lines[2], lines[3]
    text = "\n".join([header, *(row.replace("nvme0n1", f"d{index}") for index in range(500))])

    assert _cpu_us(lambda: parse("linux", "iostat -dxk", text), 5) / 500 < 60


def test_a_screen_of_200_processes() -> None:
    lines = _text("linux/process/planned").rstrip("\n").split("\n")
    rows = (f"{pid:7d}{lines[1 + pid % 5][7:]}" for pid in range(1, 201))
    text = "\n".join([lines[0], *rows, ""])

    assert len(parse("linux", "ps -eo pid", text).rows) == 200
    assert _cpu_us(lambda: parse("linux", "ps -eo pid", text), 10) < 10_000


def test_splitting_a_line() -> None:
    running = splitter("linux", "LC_ALL=C vmstat -n 2")
    text = _text("linux/vmstat/planned")
    running.feed(text)
    row = text.rstrip("\n").rpartition("\n")[2] + "\n"

    assert _cpu_us(lambda: running.feed(row), 2000) < 20
