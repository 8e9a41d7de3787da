"""HP-UX 10.20 and 11i."""

import re

from hps_platform.dialects import freespace, hpuxdisks, hpuxvmstat, interfaces, lanadmin, memory, mounts, processes
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading
from hps_platform.dialects.text import lone_number

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat {interval}"),
    # Where there is sar it tells of busy, queue and service time, of the disks that were busy. Both end with the pipe.
    Plan("iostat", "LC_ALL=C iostat {interval}", unless="sar"),
    Plan(
        "iostat",
        "LC_ALL=C sar -d {interval} 9999999 & LC_ALL=C iostat {interval}",
        once="LC_ALL=C sar -d {interval} 1 & LC_ALL=C iostat {interval} 2; wait",
    ),
    Plan("netstat", "LC_ALL=C netstat -in"),
    # UNIX95, even empty, is what makes ps know -o.
    Plan("process", "LC_ALL=C UNIX95= ps -eo pid,ppid,user,pcpu,vsz,etime,time,state,args"),
    Plan("filesystem", "LC_ALL=C bdf"),
    Plan("memory", "LC_ALL=C swapinfo -tam"),
)

# netstat -in
#
# Name      Mtu  Network         Address         Ipkts   Ierrs Opkts   Oerrs Coll
# lan0      1500 10.7.2.0        10.7.2.15       8120331 0     6021147 0     0
# lan0:1    1500 10.7.2.0        10.7.2.16       51022   0     0       0     0
# lo0       4136 127.0.0.0       127.0.0.1       70011   0     70011   0     0

# swapinfo -tam (Kb without -m)
#
#              Mb      Mb      Mb   PCT  START/      Mb
# TYPE      AVAIL    USED    FREE  USED   LIMIT RESERVE  PRI  NAME
# dev        8192       0    8192    0%       0       -    1  /dev/vg00/lvol2
# reserve       -    2048   -2048
# memory     7811    4100    3711   52%
# total     16003    6148    9855   38%       -       0    -
#
# Through `grep total` nothing of the header is left, and with -q only the total: there the options tell the unit.
_UNITS = {"Kb": 1, "Mb": 1024, "Gb": 1024**2}
_UNIT_LINE = re.compile(r"\s*(Kb|Mb|Gb)\s+\1\s+\1\s+PCT\b.*")
_AREA = re.compile(r"(dev|localfs|network|fs|total)\s+(\d+)\s+(\d+)\s+(-?\d+)\s+(\d+)%.*", re.ASCII)


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    unit = 1024 if programs[0].has("m") else 1
    if programs[0].has("q") and (total := lone_number(text)) is not None:
        return Reading([memory.row(paging_total_kb=total * unit)], recognised=True)
    lines = text.split("\n")
    headed = any(_UNIT_LINE.fullmatch(line) for line in lines)
    # What no newline ends may have been cut.
    recognised = not headed and any(_AREA.match(line) for line in lines[:-1])
    areas: list[tuple[int, int]] = []
    row = None
    for line in lines:
        if match := _UNIT_LINE.fullmatch(line):
            unit = _UNITS[match[1]]
        elif headed and line.split()[:4] == ["TYPE", "AVAIL", "USED", "FREE"]:
            recognised = True
        elif recognised and (match := _AREA.match(line)):
            available, used = int(match[2]) * unit, int(match[3]) * unit
            if match[1] == "total":
                row = memory.row(paging_total_kb=available, paging_used_kb=used, paging_used_pct=int(match[5]))
            else:
                areas.append((available, used))
    if row is None and areas:
        row = memory.row(paging_total_kb=sum(area[0] for area in areas), paging_used_kb=sum(area[1] for area in areas))
    return Reading([] if row is None else [row], recognised=recognised)


# What stands above the columns: the groups of vmstat, the unit of swapinfo, the banner of sar, the title of lanadmin.
_PREAMBLE = re.compile(
    r"procs +memory +page +faults +cpu|[KMG]b +[KMG]b +[KMG]b +PCT .*|HP-UX \S+ B\.\d.*|LAN INTERFACE STATUS DISPLAY"
    r"|[A-Z][a-z]{2} ?, [A-Z][a-z]{2} +\d+, ?\d{4} +\d+:\d\d:\d\d"
)

DIALECT = Dialect(
    name="hpux",
    version=1,
    preamble=_PREAMBLE,
    plan=PLAN,
    readers={
        "vmstat": hpuxvmstat.reader(),
        "iostat": hpuxdisks.reader(),
        "sar": hpuxdisks.beside_sar(),
        "netstat": interfaces.reader(),
        "lanadmin": lanadmin.reader(),
        "nwmgr": lanadmin.reader(),
        "ps": processes.reader(),
        "df": freespace.reader(),
        "bdf": mounts.reader(),
        "swapinfo": Reader("memory", _memory),
    },
)
