"""Solaris 11 on SPARC: vmstat, iostat -xn, netstat -in, ps -eo, df -k, swap -s, prtconf."""

import numpy as np

from hps_platform.stack.simulator.filesystems import usages, used_kb
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.model import DISKS, NET_FIELDS, ROW
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
    " kthr      memory            page            disk          faults      cpu\n"
    " r b w   swap  free  re  mf pi po fr de sr s0 s1 s2 s3   in   sy   cs us sy id\n"
)
VMSTAT_WIDTHS = (1, 1, 1, 6, 5, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 2)
IOSTAT_HEADER = (
    "                    extended device statistics              \n"
    "    r/s    w/s   kr/s   kw/s wait actv wsvc_t asvc_t  %w  %b device\n"
)
IOSTAT_ROW = "%7.1f %6.1f %6.1f %6.1f %4.1f %4.1f %6.1f %6.1f %3.0f %3.0f %s\n"
NETSTAT_HEADER = "Name  Mtu  Net/Dest      Address        Ipkts  Ierrs Opkts  Oerrs Collis Queue\n"
NETSTAT_ROW = "%-5s %-4d %-13s %-14s %-6d %-5d %-6d %-5d %-6d %-6d"
NETSTAT_6_HEADER = (
    "\nName  Mtu  Net/Dest                    Address                     Ipkts  Ierrs Opkts  Oerrs Collis\n"
)
NETSTAT_6_ROW = "%-5s %-4d %-27s %-27s %-6d %-5d %-6d %-5d %-6d"
DF_HEADER = "Filesystem            kbytes    used   avail capacity  Mounted on\n"
DF_ROW = "%-20s %7d %7d %7d %5d%%    %s\n"
SWAP = "total: %dk bytes allocated + %dk reserved = %dk used, %dk available\n"
RELEASE, VERSION = "5.11", "11.4.42.111.0"


def vmstat_row(values: tuple[int, ...]) -> str:
    """A row: a value too long for its column takes the room from the columns after it, as the real tool does it."""
    owed = 0
    cells = []
    for width, value in zip(VMSTAT_WIDTHS, values, strict=True):
        cell = str(value).rjust(width - owed)
        owed = max(0, owed + len(cell) - width)
        cells.append(cell)
    return " " + " ".join(cells) + "\n"


def _swap(host: Host, states: Floats) -> tuple[list[int], list[int], list[int]]:
    """KiB of virtual swap allocated, reserved and available: memory counts as swap."""
    comp, swapped = whole(states, "comp", "swap")
    allocated = [c * 9 // 10 + s for c, s in zip(comp, swapped, strict=True)]
    reserved = [c // 9 for c in comp]
    whole_kb = host.memory_kb * 9 // 10 + host.paging_kb
    return allocated, reserved, [max(whole_kb - a - r, 4096) for a, r in zip(allocated, reserved, strict=True)]


def _vmstat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    run, blocked, comp, cache, re, mf, pi, po, fr, sr, interrupts, calls, switches = whole(
        states, "r", "b", "comp", "cache", "re", "mf", "pi", "po", "fr", "sr", "in", "sysc", "cs"
    )
    us, sy, idle, _ = shares(states, wait=False)
    free = [max(host.memory_kb - c - f, 32768) for c, f in zip(comp, cache, strict=True)]
    available = _swap(host, states)[2]
    disks = [
        np.rint(states[ROW[f"rs{disk}"]] + states[ROW[f"ws{disk}"]]).astype(np.int64).tolist() for disk in range(DISKS)
    ]
    zero = [0] * len(run)
    kib = [[4 * value for value in values] for values in (pi, po, fr)]
    columns = [
        run, blocked, zero, available, free, re, mf, *kib, zero, sr, *disks, interrupts, calls, switches, us, sy, idle,
    ]  # fmt: skip
    return [vmstat_row(row) for row in zip(*columns, strict=True)]


def _iostat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    disks = []
    for number, disk in enumerate(host.disks):
        rs, ws, krs, kws, service, busy = states[ROW[f"rs{number}"] : ROW[f"rs{number}"] + 6]
        active = (rs + ws) * service / 1000.0
        waiting = np.maximum(active - 3.0, 0.0) * 0.5
        waited = 1000.0 * waiting / np.maximum(rs + ws, 0.1)
        columns = [
            values.tolist()
            for values in (rs, ws, krs, kws, waiting, active, waited, service, np.minimum(waiting * 4.0, 100.0), busy)
        ]
        disks.append(lines(IOSTAT_ROW, [*columns, [disk.name] * len(rs)]))
    return ["".join(rows) for rows in zip(*disks, strict=True)]


def _netstat(moments: Moments) -> list[str]:
    counted = moments.counters.astype(np.int64)
    interfaces = moments.host.interfaces
    looped = counted[3 * len(NET_FIELDS)].tolist()
    texts = []
    for place in range(len(moments.seconds)):
        loop = looped[place]
        rows = [NETSTAT_HEADER, NETSTAT_ROW % ("lo0", 8232, "127.0.0.0", "127.0.0.1", loop, 0, loop, 0, 0, 0), "\n"]
        for number, interface in enumerate(interfaces):
            ipkts, opkts, ierrs, oerrs = counted[number * 6 : number * 6 + 4, place].tolist()
            names = (interface.name, interface.mtu, interface.network + ".0", interface.address)
            rows.append(NETSTAT_ROW % (*names, ipkts, ierrs, opkts, oerrs, 0, 0))
            rows.append("\n")
        rows += [NETSTAT_6_HEADER, NETSTAT_6_ROW % ("lo0", 8252, "::1", "::1", loop, 0, loop, 0, 0), "\n\n"]
        texts.append("".join(rows))
    return texts


def _df(moments: Moments) -> list[str]:
    host = moments.host
    used = used_kb(moments.machine, np.array(moments.seconds) / 60.0)
    texts = []
    for place in range(len(moments.seconds)):
        rows = [DF_HEADER]
        for usage in usages(host, used[:, place]):
            full = -(-100 * usage.used_kb // usage.mount.size_kb)
            mount = usage.mount
            rows.append(DF_ROW % (mount.device, mount.size_kb, usage.used_kb, usage.free_kb, full, mount.path))
            if mount.path == "/var":
                rows.append("/proc                      0       0       0     0%    /proc\n")
        texts.append("".join(rows))
    return texts


def _swap_summary(moments: Moments) -> list[str]:
    allocated, reserved, available = _swap(moments.host, moments.states)
    return [SWAP % (a, r, a + r, free) for a, r, free in zip(allocated, reserved, available, strict=True)]


def _prtconf(moments: Moments) -> list[str]:
    text = (
        "System Configuration:  Oracle Corporation  sun4v\n"
        f"Memory size: {moments.host.memory_mb} Megabytes\n"
        "System Peripherals (Software Nodes):\n\nORCL,SPARC-T7-1\n    scsi_vhci, instance #0\n"
    )
    return [text] * len(moments.seconds)


PS_FIELDS = {
    "pid": Field("PID", "%5d", "pid"),
    "ppid": Field("PPID", "%5d", "ppid"),
    "user": Field("USER", "%8s", "user"),
    "pcpu": Field("%CPU", "%4.1f", "cpu_pct"),
    "pmem": Field("%MEM", "%4.1f", "memory_pct"),
    "vsz": Field("VSZ", "%4d", "vsz_kb"),
    "rss": Field("RSS", "%4d", "rss_kb"),
    "etime": Field("ELAPSED", "%11s", "elapsed_s", age),
    "time": Field("TIME", "%11s", "cpu_time_s", age),
    "s": Field("S", "%s", "state", lambda state: "O" if state == "R" else state),
    "args": Field("COMMAND", "%s", "args"),
}

VMSTAT = Stream("solaris/vmstat-2-2-1.txt", nothing, lambda _: VMSTAT_HEADER, _vmstat, 19)
ANSWERS: dict[tuple[str, str], Answer] = {
    ("vmstat", ""): VMSTAT,
    ("iostat", "nx"): Stream("solaris/iostat-xn-twoblocks-1.txt", nothing, lambda _: IOSTAT_HEADER, _iostat, 1),
    ("netstat", "in"): Once("solaris/netstat-in-hugecounters-1.txt", _netstat),
    ("df", "k"): Once("solaris/df-k-3.txt", _df),
    ("swap", "s"): Once("solaris/swap-s-1.txt", _swap_summary),
    ("prtconf", ""): Once("", _prtconf),
}
PS_FIXTURE = "solaris/ps-eo-11-1.txt"
_ARGS_LIMIT = 80


def answer(program: str, arguments: tuple[str, ...]) -> Answer | None:
    """See `render.answer`."""
    if program == "ps":
        return Once(PS_FIXTURE, process_table(PS_FIELDS, output_fields(arguments), cut=_ARGS_LIMIT))
    return ANSWERS.get((program, options_of(arguments)))


def uname(host: Host) -> str:
    """`uname -a`."""
    return f"SunOS {host.hostname} {RELEASE} {VERSION} sun4v sparc sun4v logical-domain"
