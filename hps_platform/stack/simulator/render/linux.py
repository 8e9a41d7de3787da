"""Linux with procps and sysstat 12: vmstat -n, iostat -dxk, /proc/net/dev, ps -eo, df -kP, /proc/meminfo."""

from datetime import UTC, datetime

import numpy as np

from hps_platform.stack.simulator.filesystems import usages, used_kb
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.model import DISKS, NET_FIELDS, NETS, ROW
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.render.forms import (
    Answer,
    Field,
    Moments,
    Once,
    Stream,
    age,
    clock,
    lines,
    nothing,
    options_of,
    output_fields,
    process_table,
    shares,
    whole,
)

VMSTAT_HEADER = (
    "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----\n"
    " r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st\n"
)
VMSTAT_ROW = "%2d %2d %6d %6d %6d %6d %4d %4d %5d %5d %4d %4d %2d %2d %2d %2d %2d"
IOSTAT_HEADER = (
    "Device            r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz"
    "     w/s     wkB/s   wrqm/s  %wrqm w_await wareq-sz"
    "     d/s     dkB/s   drqm/s  %drqm d_await dareq-sz     f/s f_await  aqu-sz  %util\n"
)
_GROUP = " %7.2f %9.2f %8.2f %6.2f %7.2f %8.2f"
IOSTAT_ROW = "%-13s" + 3 * _GROUP + " %7.2f %7.2f %7.2f %6.2f\n"
NET_HEADER = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)
NET_ROW = "%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n"
KERNEL = "6.1.0-28-amd64"
PRETTY_NAME = "Debian GNU/Linux 12 (bookworm)"

_MEMINFO_BEFORE = (
    "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Zswap",
    "Zswapped", "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable",
    "SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "CommitLimit",
    "Committed_AS",
)  # fmt: skip
_MEMINFO = "".join(f"{name + ':':<15} %8d kB\n" for name in _MEMINFO_BEFORE) + (
    "VmallocTotal:   34359738367 kB\nVmallocUsed:       61420 kB\nVmallocChunk:          0 kB\n"
    "Percpu:             8960 kB\nHardwareCorrupted:     0 kB\nAnonHugePages:         0 kB\n"
    "ShmemHugePages:        0 kB\n"
    "ShmemPmdMapped:        0 kB\nFileHugePages:         0 kB\nFilePmdMapped:         0 kB\n"
    "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n"
    "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n"
    "DirectMap4k:      286564 kB\nDirectMap2M:     8101888 kB\nDirectMap1G:     2097152 kB\n"
)


def _memory(host: Host, states: Floats) -> tuple[list[int], list[int], list[int], list[int]]:
    """Free, buffers, page cache and swapped, in KiB."""
    comp, cached, swapped = whole(states, "comp", "cache", "swap")
    free = [max(host.memory_kb - c - f, 65536) for c, f in zip(comp, cached, strict=True)]
    buffers = [f // 24 for f in cached]
    return free, buffers, [f - b for f, b in zip(cached, buffers, strict=True)], swapped


def _vmstat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    run, blocked, pi, po, interrupts, switches = whole(states, "r", "b", "pi", "po", "in", "cs")
    free, buffers, cached, swapped = _memory(host, states)
    read = np.rint(sum(states[ROW[f"krs{disk}"]] for disk in range(DISKS))).astype(np.int64).tolist()
    written = np.rint(sum(states[ROW[f"kws{disk}"]] for disk in range(DISKS))).astype(np.int64).tolist()
    us, sy, idle, wa = shares(states, wait=True)
    columns = [
        run, blocked, swapped, free, buffers, cached, [4 * v for v in pi], [4 * v for v in po], read, written,
        interrupts, switches, us, sy, idle, wa, [0] * len(run),
    ]  # fmt: skip
    return lines(VMSTAT_ROW + "\n", columns)


def _iostat_preamble(host: Host, at: float) -> str:
    day = datetime.fromtimestamp(at, UTC).strftime("%m/%d/%y")
    return f"Linux {KERNEL} ({host.hostname}) \t{day} \t_x86_64_\t({host.cpus} CPU)\n\n"


def _iostat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    disks = []
    for number, disk in enumerate(host.disks):
        rs, ws, krs, kws, service, busy = states[ROW[f"rs{number}"] : ROW[f"rs{number}"] + 6]
        merged_reads, merged_writes = rs * 0.04, ws * 0.62
        read_share, write_share = 100.0 * 0.04 / 1.04 + 0.0 * rs, 100.0 * 0.62 / 1.62 + 0.0 * ws
        read_size, written_size = krs / np.maximum(rs, 0.01), kws / np.maximum(ws, 0.01)
        reads = [rs, krs, merged_reads, read_share, service * 0.9, read_size]
        writes = [ws, kws, merged_writes, write_share, service * 1.1, written_size]
        discards = [np.zeros(len(rs))] * 6
        queue = (rs * service * 0.9 + ws * service * 1.1) / 1000.0
        last = [ws * 0.08, service * 0.35, queue, busy]
        numbers = np.array(reads + writes + discards + last).tolist()
        disks.append(lines(IOSTAT_ROW, [[disk.name] * len(rs), *numbers]))
    return ["".join([*rows, "\n\n"]) for rows in zip(*disks, strict=True)]


def _net_dev(moments: Moments) -> list[str]:
    counted = moments.counters.astype(np.int64)
    names = ["lo", *(interface.name for interface in moments.host.interfaces)]
    texts = [NET_HEADER] * len(moments.seconds)
    zero = [0] * len(texts)
    for place, name in enumerate(names):
        row = ((place - 1) % NETS) * len(NET_FIELDS)
        ipkts, opkts, ierrs, oerrs, ibytes, obytes = (counted[row + field].tolist() for field in range(6))
        if name == "lo":
            opkts, obytes = ipkts, ibytes
        multicast = [count // 9000 for count in ipkts]
        columns = [
            [name] * len(texts), ibytes, ipkts, ierrs, zero, zero, zero, zero, multicast,
            obytes, opkts, oerrs, zero, zero, zero, zero, zero,
        ]  # fmt: skip
        texts = [text + line for text, line in zip(texts, lines(NET_ROW, columns), strict=True)]
    return texts


def _df(moments: Moments) -> list[str]:
    host = moments.host
    used = used_kb(moments.machine, np.array(moments.seconds) / 60.0)
    source = max(14, *(len(mount.device) for mount in host.mounts))
    texts = []
    for place in range(len(moments.seconds)):
        found = usages(host, used[:, place])
        # A twentieth is kept for root on ext4, so that used and available do not make the size.
        rows = [(u, max(u.free_kb - (u.mount.size_kb // 20 if u.mount.device != "tmpfs" else 0), 0)) for u in found]
        taken = max(8, *(len(str(u.used_kb)) for u, _ in rows))
        left = max(9, *(len(str(available)) for _, available in rows))
        text = [
            f"{'Filesystem':<{source}} {'1024-blocks':>11} {'Used':>{taken}} {'Available':>{left}} "
            "Capacity Mounted on\n"
        ]
        for usage, available in rows:
            full = -(-100 * usage.used_kb // max(usage.used_kb + available, 1))
            text.append(
                f"{usage.mount.device:<{source}} {usage.mount.size_kb:>11} {usage.used_kb:>{taken}} "
                f"{available:>{left}} {full:>7}% {usage.mount.path}\n"
            )
        texts.append("".join(text))
    return texts


def _meminfo(moments: Moments) -> list[str]:
    host = moments.host
    total, swap = host.memory_kb, host.paging_kb
    texts = []
    used = np.rint(moments.machine.memory_used_kb(moments.states)).astype(np.int64).tolist()
    for free, buffers, files, swapped, taken in zip(*_memory(host, moments.states), used, strict=True):
        # The kernel counts reclaimable slab apart from the page cache.
        slab = files // 11
        cached = files - slab
        anonymous = total - free - buffers - cached - slab - 400000
        half = (cached + buffers) // 2
        values = (
            total, free, total - taken, buffers, cached, swapped // 20,
            half + anonymous // 3, half + anonymous * 2 // 3, anonymous // 3, anonymous * 2 // 3, half, half,
            3072, 3072, swap, swap - swapped, 0, 0, 1836 + cached % 4096, 0, anonymous, cached // 7, cached // 30,
            slab, slab + 120000, slab, 120000, 14336, 61440, 0, 0, 0, 0, total // 2 + swap, anonymous * 3 // 2,
        )  # fmt: skip
        texts.append(_MEMINFO % values)
    return texts


PS_FIELDS = {
    "pid": Field("PID", "%7d", "pid"),
    "ppid": Field("PPID", "%7d", "ppid"),
    "user": Field("USER", "%-8s", "user"),
    "pcpu": Field("%CPU", "%4.1f", "cpu_pct"),
    "pmem": Field("%MEM", "%4.1f", "memory_pct"),
    "vsz": Field("VSZ", "%6d", "vsz_kb"),
    "rss": Field("RSS", "%5d", "rss_kb"),
    "etime": Field("ELAPSED", "%11s", "elapsed_s", age),
    "time": Field("TIME", "%8s", "cpu_time_s", clock),
    "stat": Field("STAT", "%-4s", "state", lambda state: state + "s"),
    "args": Field("COMMAND", "%s", "args"),
}

VMSTAT = Stream("linux/vmstat-n-2-3-debian12.txt", nothing, lambda _: VMSTAT_HEADER, _vmstat, 0)
VMSTAT_REPEATING = Stream("linux/vmstat-1-4-debian12.txt", nothing, lambda _: VMSTAT_HEADER, _vmstat, 22)
ANSWERS: dict[tuple[str, str], Answer] = {
    ("vmstat", "n"): VMSTAT,
    ("vmstat", ""): VMSTAT_REPEATING,
    ("iostat", "dkx"): Stream(
        "linux/iostat-dkx-1-2-debian12.txt", _iostat_preamble, lambda _: IOSTAT_HEADER, _iostat, 1
    ),
    ("df", "Pk"): Once("linux/df-kP-debian12.txt", _df),
}
FILES: dict[str, Answer] = {
    "/proc/net/dev": Once("linux/procnetdev-debian12.txt", _net_dev),
    "/proc/meminfo": Once("linux/meminfo-debian12.txt", _meminfo),
}
PS_FIXTURE = "linux/ps-eo-cfengine-1.txt"


def answer(program: str, arguments: tuple[str, ...]) -> Answer | None:
    """See `render.answer`."""
    if program == "ps":
        return Once(PS_FIXTURE, process_table(PS_FIELDS, output_fields(arguments)))
    if program == "cat" and len(arguments) == 1:
        return FILES.get(arguments[0])
    return ANSWERS.get((program, options_of(arguments)))


def uname(host: Host) -> str:
    """`uname -a`."""
    return f"Linux {host.hostname} {KERNEL} #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22) x86_64 GNU/Linux"
