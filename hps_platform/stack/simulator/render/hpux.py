"""HP-UX 11.31 on Itanium: vmstat, iostat, netstat -in, ps -eo under UNIX95, bdf, swapinfo -tam."""

import numpy as np

from hps_platform.stack.simulator.filesystems import usages, used_kb
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.model import NET_FIELDS, ROW
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.render.forms import (
    Answer,
    Field,
    Moments,
    Once,
    Stream,
    age,
    lines,
    nothing,
    options_of,
    output_fields,
    process_table,
    shares,
    whole,
)

VMSTAT_HEADER = (
    "         procs           memory                   page                              faults       cpu\n"
    "    r     b     w      avm    free   re   at    pi   po    fr   de    sr     in     sy    cs  us sy id\n"
)
VMSTAT_ROW = "%5d %5d %5d %8d %7d %4d %4d %5d %4d %5d %4d %5d %6d %6d %5d %3d %2d %2d"
IOSTAT_HEADER = "\n  device    bps     sps    msps \n"
IOSTAT_ROW = "  %-6s %6d %7.1f     1.0 \n"
NETSTAT_HEADER = "Name      Mtu  Network         Address         Ipkts   Ierrs Opkts   Oerrs Coll\n"
NETSTAT_ROW = "%-9s %-4d %-15s %-15s %-7d %-5d %-7d %-5d %d\n"
BDF_HEADER = "Filesystem          kbytes    used   avail %used Mounted on\n"
BDF_ROW = "%-18s %7d %7d %7d %4d%% %s\n"
SWAPINFO = (
    "             Mb      Mb      Mb   PCT  START/      Mb\n"
    "TYPE      AVAIL    USED    FREE  USED   LIMIT RESERVE  PRI  NAME\n"
    "dev     %7d %7d %7d %4d%%       0       -    1  /dev/vg00/lvol2\n"
    "reserve       - %7d %7d\n"
    "memory  %7d %7d %7d %4d%%\n"
    "total   %7d %7d %7d %4d%%       -       0    -\n"
)
_WRAP = 18
_COUNTER_BITS = 2**32


def _vmstat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    run, blocked, comp, cache, re, at, pi, po, fr, sr, interrupts, calls, switches = whole(
        states, "r", "b", "comp", "cache", "re", "mf", "pi", "po", "fr", "sr", "in", "sysc", "cs"
    )
    us, sy, idle, _ = shares(states, wait=False)
    free = [max(host.memory_kb - c - f, 32768) // 4 for c, f in zip(comp, cache, strict=True)]
    zero = [0] * len(run)
    columns = [
        run, blocked, zero, [kb // 4 for kb in comp], free, re, at, pi, po, fr, zero, sr, interrupts, calls, switches,
        us, sy, idle,
    ]  # fmt: skip
    return lines(VMSTAT_ROW + "\n", columns)


def _iostat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    disks = []
    for number, disk in enumerate(host.disks):
        rs, ws, krs, kws = states[ROW[f"rs{number}"] : ROW[f"rs{number}"] + 4]
        moved = np.rint(krs + kws).astype(np.int64).tolist()
        disks.append(lines(IOSTAT_ROW, [[disk.name] * len(moved), moved, (rs + ws).tolist()]))
    return ["\n" + "".join(rows) for rows in zip(*disks, strict=True)]


def _netstat(moments: Moments) -> list[str]:
    # The counters are 32 bits wide and start again at 0.
    counted = moments.counters.astype(np.int64) % _COUNTER_BITS
    looped = counted[3 * len(NET_FIELDS)].tolist()
    texts = []
    for place in range(len(moments.seconds)):
        rows = [NETSTAT_HEADER]
        for number, interface in enumerate(moments.host.interfaces):
            ipkts, opkts, ierrs, oerrs = counted[number * 6 : number * 6 + 4, place].tolist()
            names = (interface.name, interface.mtu, interface.network + ".0", interface.address)
            rows.append(NETSTAT_ROW % (*names, ipkts, ierrs, opkts, oerrs, 0))
        rows.append(NETSTAT_ROW % ("lo0", 4136, "127.0.0.0", "127.0.0.1", looped[place], 0, looped[place], 0, 0))
        texts.append("".join(rows))
    return texts


def _bdf(moments: Moments) -> list[str]:
    host = moments.host
    used = used_kb(moments.machine, np.array(moments.seconds) / 60.0)
    texts = []
    for place in range(len(moments.seconds)):
        rows = [BDF_HEADER]
        for usage in usages(host, used[:, place]):
            # vxfs keeps about a sixteenth of what is free for itself.
            available = usage.free_kb * 15 // 16
            full = -(-100 * usage.used_kb // max(usage.used_kb + available, 1))
            device = usage.mount.device
            if len(device) > _WRAP:
                rows.append(device + "\n")
                device = ""
            rows.append(BDF_ROW % (device, usage.mount.size_kb, usage.used_kb, available, full, usage.mount.path))
        texts.append("".join(rows))
    return texts


def _swapinfo(moments: Moments) -> list[str]:
    host = moments.host
    memory, device = host.memory_mb * 19 // 20, host.paging_mb
    texts = []
    for comp, swap in zip(*whole(moments.states, "comp", "swap"), strict=True):
        used, swapped = min(comp // 1024, memory), swap // 1024
        reserved = min(used // 5, device - swapped)
        total, taken = memory + device, used + swapped + reserved
        texts.append(
            SWAPINFO % (
                device, swapped, device - swapped, round(100 * swapped / device), reserved, -reserved,
                memory, used, memory - used, round(100 * used / memory),
                total, taken, total - taken, round(100 * taken / total),
            )
        )  # fmt: skip
    return texts


PS_FIELDS = {
    "pid": Field("PID", "%5d", "pid"),
    "ppid": Field("PPID", "%5d", "ppid"),
    "user": Field("USER", "%-8s", "user"),
    "pcpu": Field("%CPU", "%5.2f", "cpu_pct"),
    "vsz": Field("VSZ", "%7d", "vsz_kb"),
    "etime": Field("ELAPSED", "%11s", "elapsed_s", age),
    "time": Field("TIME", "%8s", "cpu_time_s", age),
    "state": Field("S", "%s", "state"),
    "args": Field("COMMAND", "%s", "args"),
}

VMSTAT = Stream("hpux/vmstat-1-4-1.txt", nothing, lambda _: VMSTAT_HEADER, _vmstat, 20)
ANSWERS: dict[tuple[str, str], Answer] = {
    ("vmstat", ""): VMSTAT,
    # No capture of it is at hand: laid out as its manual page and published samples of one report show it. How often
    # the heading comes back is not known; here with each report.
    ("iostat", ""): Stream("", nothing, lambda _: IOSTAT_HEADER, _iostat, 1),
    ("netstat", "in"): Once("hpux/netstat-i-1.txt", _netstat),
    ("bdf", ""): Once("hpux/bdf-hpux1-vxfs-1.txt", _bdf),
    ("swapinfo", "amt"): Once("hpux/swapinfo-t-2.txt", _swapinfo),
}
PS_FIXTURE = "hpux/ps-ef-2.txt"
_ARGS_LIMIT = 64


def answer(program: str, arguments: tuple[str, ...]) -> Answer | None:
    """See `render.answer`."""
    if program == "ps":
        return Once(PS_FIXTURE, process_table(PS_FIELDS, output_fields(arguments), cut=_ARGS_LIMIT))
    return ANSWERS.get((program, options_of(arguments)))


def uname(host: Host) -> str:
    """`uname -a`."""
    return f"HP-UX {host.hostname} B.11.31 U ia64 {host.key % 10**10:010d} unlimited-user license"
