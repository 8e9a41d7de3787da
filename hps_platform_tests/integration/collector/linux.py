"""A scripted Linux host: enough of one for the collector, at intervals that suit a test."""

from collections.abc import Awaitable, Callable

from hps_platform_tests.integration.ssh.hosts import Answer, Terminal

UNAME = "Linux testhost 6.1.0-13-amd64 #1 SMP Debian 6.1.55-1 x86_64 GNU/Linux\nhps.node=testhost\nhps.cpus=2\n"
VMSTAT_HEADER = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
"""
VMSTAT_LINE = " 1  0      0 411204  80412 901216    0    0    18    95  611 1204 {us:2}  2 90  1  0\n"
DF = """\
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/sda1         10255636 4120000   5594388      43% /
"""
MEMINFO = "MemTotal: 2000000 kB\nMemFree: 500000 kB\nMemAvailable: 900000 kB\nBuffers: 1000 kB\nCached: 300000 kB\n"
NET = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
    "  eth0: 5000 100 0 0 0 0 0 0 6000 700 0 0 0 0 0 0\n"
)
PS = """\
    PID    PPID USER                             %CPU %MEM    VSZ   RSS     ELAPSED     TIME STAT COMMAND
      1       0 root                              0.0  0.1   2000  1000    01:02:03 00:00:01 Ss   init
"""

Script = Callable[[Terminal], Awaitable[int]]


async def vmstat(terminal: Terminal) -> int:
    terminal.print(VMSTAT_HEADER + VMSTAT_LINE.format(us=99))
    us = 0
    while True:
        await terminal.pause(0.3)
        us = us % 50 + 1
        terminal.print(VMSTAT_LINE.format(us=us))


def printing(text: str, exit_code: int = 0) -> Script:
    async def script(terminal: Terminal) -> int:
        terminal.print(text)
        return exit_code

    return script


def missing(program: str) -> Script:
    async def script(terminal: Terminal) -> int:
        terminal.complain(f"-bash: line 1: {program}: command not found\n")
        return 127

    return script


def linux(**scripts: Script) -> Answer:
    """A host on which some programs behave as told; by default there is no iostat."""
    programs: dict[str, Script] = {
        "uname": printing(UNAME),
        "vmstat": vmstat,
        "iostat": missing("iostat"),
        "df": printing(DF),
        "meminfo": printing(MEMINFO),
        "dev": printing(NET),
        "ps": printing(PS),
        **scripts,
    }

    async def answer(command: str, terminal: Terminal) -> int:
        if command.startswith("uname"):
            return await programs["uname"](terminal)
        words = [word.rpartition("/")[2] for word in command.split() if "=" not in word]
        program = words[1] if words[0] == "cat" else words[0]
        script = programs.get(program, missing(program))
        return await script(terminal)

    return answer
