"""AIX 7.2: vmstat with pc and ec on shared processors, iostat -d, netstat -in and -v, ps -o, df -k, svmon -G, lsps -s.

lparstat too, with the columns that shared and dedicated processors have.
"""

import numpy as np

from hps_platform.stack.simulator.filesystems import usages, used_kb
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.model import NET_FIELDS, NETS, ROW
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
    options_of,
    output_fields,
    process_table,
    shares,
    whole,
)

VMSTAT_DEDICATED = (
    "kthr    memory              page              faults        cpu\n"
    "----- ----------- ------------------------ ------------ -----------\n"
    " r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa\n"
)
VMSTAT_SHARED = (
    "kthr    memory              page              faults              cpu\n"
    "----- ----------- ------------------------ ------------ -----------------------\n"
    " r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa    pc    ec\n"
)
VMSTAT_ROW = "%2d %2d %6d %5d %3d %3d %3d %3d %4d %3d %3d %4d %3d %2d %2d %2d %2d"
VMSTAT_SHARED_ROW = VMSTAT_ROW + " %5.2f %5.1f"
IOSTAT_HEADER = "\nDisks:        % tm_act     Kbps      tps    Kb_read   Kb_wrtn\n"
IOSTAT_ROW = "%-13s%7.1f %9.1f %9.1f   %8d  %8d\n"
NETSTAT_HEADER = "Name  Mtu   Network     Address            Ipkts Ierrs    Opkts Oerrs  Coll\n"
NETSTAT_NAMES = "%-5s %-5d %-11s %-17s"
NETSTAT_COUNTS = " %7d %5d %8d %5d %5d\n"
ADAPTER = (
    "-------------------------------------------------------------\n"
    "ETHERNET STATISTICS (ent{adapter}) :\n"
    "Device Type: Virtual I/O Ethernet Adapter (l-lan)\n"
    "Hardware Address: {mac}\n"
    "\n"
    "Transmit Statistics:                          Receive Statistics:\n"
    "--------------------                          -------------------\n"
    "Packets: {opkts:<37d}Packets: {ipkts}\n"
    "Bytes: {obytes:<39d}Bytes: {ibytes}\n"
    "Interrupts: 0                                 Interrupts: {interrupts}\n"
    "Transmit Errors: {oerrs:<29d}Receive Errors: {ierrs}\n"
    "Packets Dropped: 0                            Packets Dropped: 0\n"
    "                                              Bad Packets: 0\n"
    "\n"
    "General Statistics:\n"
    "-------------------\n"
    "Adapter Data Rate: 20000\n"
    "Driver Flags: Up Broadcast Running \n"
    "\n"
)
LPARSTAT_DEDICATED = "\n%user  %sys  %wait  %idle\n----- ----- ------ ------\n"
LPARSTAT_SHARED = (
    "\n%user  %sys  %wait  %idle physc %entc  lbusy  vcsw phint\n"
    "----- ----- ------ ------ ----- ----- ------ ----- -----\n"
)
LPARSTAT_ROW = "%5.1f %5.1f %6.1f %6.1f"
LPARSTAT_SHARED_ROW = LPARSTAT_ROW + " %5.2f %5.1f %6.1f %5d %5d"
DF_HEADER = "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n"
DF_ROW = "%-13s %11d %9d %4d%% %8d %5d%% %s\n"
SVMON = (
    "               size       inuse        free         pin     virtual   mmode\n"
    "memory  %11d %11d %11d %11d %11d %7s\n"
    "pg space%11d %11d\n"
    "\n"
    "               work        pers        clnt       other\n"
    "pin     %11d %11d %11d %11d\n"
    "in use  %11d %11d %11d\n"
    "\n"
    "PageSize   PoolSize       inuse        pgsp         pin     virtual\n"
    "s    4 KB         - %11d %11d %11d %11d\n"
    "m   64 KB         - %11d %11d %11d %11d\n"
)
LSPS = "Total Paging Space   Percent Used\n      %dMB%16d%%\n"
VERSION = ("7", "2")
LEVEL = "7200-05-09-2446"


def _vmstat_preamble(host: Host, _at: float) -> str:
    entitled = f" ent={host.entitlement:.2f}" if host.entitlement else ""
    return f"\nSystem configuration: lcpu={host.cpus} mem={host.memory_mb}MB{entitled}\n\n"


def _vmstat_header(host: Host) -> str:
    return VMSTAT_SHARED if host.entitlement else VMSTAT_DEDICATED


def _vmstat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    run, blocked, avm, cache, pi, po, fr, sr, interrupts, calls, switches = whole(
        states, "r", "b", "comp", "cache", "pi", "po", "fr", "sr", "in", "sysc", "cs"
    )
    us, sy, idle, wa = shares(states, wait=True)
    pages = host.memory_kb // 4
    virtual = [kb // 4 for kb in avm]
    free = [max(pages - (used + cached) // 4, 960) for used, cached in zip(avm, cache, strict=True)]
    zero = [0] * len(run)
    columns: list[list[int]] = [
        run, blocked, virtual, free, zero, pi, po, fr, sr, zero, interrupts, calls, switches, us, sy, idle, wa,
    ]  # fmt: skip
    if not host.entitlement:
        return lines(VMSTAT_ROW + "\n", columns)
    consumed = states[ROW["pc"]]
    entitled = (100.0 * consumed / host.entitlement).tolist()
    return lines(VMSTAT_SHARED_ROW + "\n", [*columns, consumed.tolist(), entitled])


def _iostat_preamble(host: Host, _at: float) -> str:
    virtual = f" vdisks={len(host.disks)}" if host.entitlement else ""
    entitled = f" ent={host.entitlement:.2f}" if host.entitlement else ""
    paths = 2 * len(host.disks)
    return f"\nSystem configuration: lcpu={host.cpus} drives={len(host.disks)}{entitled} paths={paths}{virtual}\n"


def _iostat(host: Host, states: Floats, interval_s: float) -> list[str]:
    disks = []
    for number, disk in enumerate(host.disks):
        rs, ws, krs, kws, _, busy = states[ROW[f"rs{number}"] : ROW[f"rs{number}"] + 6]
        read = np.rint(krs * interval_s).astype(np.int64)
        written = np.rint(kws * interval_s).astype(np.int64)
        kbps = ((read + written) / interval_s).tolist()
        names = [disk.name] * len(kbps)
        disks.append(
            lines(IOSTAT_ROW, (names, busy.tolist(), kbps, (rs + ws).tolist(), read.tolist(), written.tolist()))
        )
    return ["".join(rows) for rows in zip(*disks, strict=True)]


def _netstat(moments: Moments) -> list[str]:
    counted = moments.counters.astype(np.int64)
    texts = [NETSTAT_HEADER] * len(moments.seconds)
    zero = [0] * len(texts)

    def add(names: tuple[str, int, str, str], columns: list[list[int]]) -> None:
        nonlocal texts
        form = (NETSTAT_NAMES % names).replace("%", "%%") + NETSTAT_COUNTS
        texts = [text + line for text, line in zip(texts, lines(form, columns), strict=True)]

    for number, interface in enumerate(moments.host.interfaces):
        row = number * len(NET_FIELDS)
        ipkts, opkts, ierrs, oerrs = counted[row : row + 4].tolist()
        mac = ".".join(f"{octet:x}" for octet in interface.mac)
        for network, address in ((f"link#{number + 2}", mac), (interface.network, interface.address)):
            add((interface.name, interface.mtu, network, address), [ipkts, ierrs, opkts, oerrs, zero])
    looped = counted[(NETS - 1) * len(NET_FIELDS)].tolist()
    for network, address in (("link#1", ""), ("127", "127.0.0.1"), ("::1%1", "")):
        add(("lo0", 16896, network, address), [looped, zero, looped, zero, zero])
    return texts


def _adapters(moments: Moments) -> list[str]:
    counted = moments.counters.astype(np.int64)
    texts = [""] * len(moments.seconds)
    for number, interface in enumerate(moments.host.interfaces):
        row = number * len(NET_FIELDS)
        for place in range(len(texts)):
            counters = dict(zip(NET_FIELDS, counted[row : row + len(NET_FIELDS), place].tolist(), strict=True))
            mac = ":".join(f"{octet:02x}" for octet in interface.mac)
            adapter = interface.name.removeprefix("en")
            texts[place] += ADAPTER.format(adapter=adapter, mac=mac, interrupts=counters["ipkts"], **counters)
    return texts


def _lparstat_preamble(host: Host, _at: float) -> str:
    kind = (
        f"Shared mode=Uncapped smt=4 lcpu={host.cpus}"
        if host.entitlement
        else f"Dedicated mode=Capped lcpu={host.cpus}"
    )
    entitled = f" psize=16 ent={host.entitlement:.2f}" if host.entitlement else ""
    return f"\nSystem configuration: type={kind} mem={host.memory_mb}MB{entitled}\n"


def _lparstat_header(host: Host) -> str:
    return LPARSTAT_SHARED if host.entitlement else LPARSTAT_DEDICATED


def _lparstat(host: Host, states: Floats, _interval_s: float) -> list[str]:
    us, sy, wa = (np.minimum(states[ROW[name]], 100.0) for name in ("us", "sy", "wa"))
    idle = np.maximum(100.0 - us - sy - wa, 0.0)
    columns = [us.tolist(), sy.tolist(), wa.tolist(), idle.tolist()]
    if not host.entitlement:
        return lines(LPARSTAT_ROW + "\n", columns)
    consumed = states[ROW["pc"]]
    busy = ((us + sy) / 2.0).tolist()
    switches = np.rint(states[ROW["cs"]] / 4.0).astype(np.int64)
    return lines(
        LPARSTAT_SHARED_ROW + "\n",
        [
            *columns,
            consumed.tolist(),
            (100.0 * consumed / host.entitlement).tolist(),
            busy,
            switches.tolist(),
            (switches // 500).tolist(),
        ],
    )


def _df(moments: Moments) -> list[str]:
    host = moments.host
    used = used_kb(moments.machine, np.array(moments.seconds) / 60.0)
    texts = []
    for place in range(len(moments.seconds)):
        rows = [DF_HEADER]
        for usage in usages(host, used[:, place]):
            full = -(-100 * usage.used_kb // usage.mount.size_kb)
            nodes = -(-100 * usage.inodes_used // usage.inodes)
            mount = usage.mount
            rows.append(
                DF_ROW % (mount.device, mount.size_kb, usage.free_kb, full, usage.inodes_used, nodes, mount.path)
            )
            if mount.path == "/admin":
                rows.append("/proc                    -         -    -         -     -  /proc\n")
        texts.append("".join(rows))
    return texts


def _svmon(moments: Moments) -> list[str]:
    host = moments.host
    pages, paging = host.memory_kb // 4, host.paging_kb // 4
    mode = "Shared" if host.entitlement else "Ded"
    pinned = pages // 9
    texts = []
    used = np.rint(moments.machine.memory_used_kb(moments.states)).astype(np.int64).tolist()
    for comp, swap, taken in zip(*whole(moments.states, "comp", "swap"), used, strict=True):
        work, in_use, paged = comp // 4, taken // 4, swap // 4
        files = max(in_use - work, 0)
        small, medium = in_use - in_use // 5 // 16 * 16, in_use // 5 // 16
        texts.append(
            SVMON % (
                pages, in_use, pages - in_use, pinned, work + paged, mode, paging, paged,
                pinned * 3 // 4, 0, 2108, pinned // 4, work, 0, files,
                small, paged, pinned * 2 // 3, work - work // 5, medium, 0, pinned // 48, work // 80,
            )
        )  # fmt: skip
    return texts


def _lsps(moments: Moments) -> list[str]:
    host = moments.host
    (swap,) = whole(moments.states, "swap")
    return [LSPS % (host.paging_mb, round(100 * used / host.paging_kb)) for used in swap]


PS_FIELDS = {
    "pid": Field("PID", "%8d", "pid"),
    "ppid": Field("PPID", "%8d", "ppid"),
    "user": Field("USER", "%8.8s", "user"),
    "pcpu": Field("%CPU", "%5.1f", "cpu_pct"),
    "pmem": Field("%MEM", "%5.1f", "memory_pct"),
    "vsz": Field("VSZ", "%6d", "vsz_kb"),
    "rssize": Field("RSS", "%6d", "rss_kb"),
    "etime": Field("ELAPSED", "%11s", "elapsed_s", age),
    "time": Field("TIME", "%11s", "cpu_time_s", clock),
    "stat": Field("S", "%s", "state", lambda _: "A"),
    "args": Field("COMMAND", "%s", "args"),
}

VMSTAT = Stream("aix/vmstat-1-5-shared-capped-1.txt", _vmstat_preamble, _vmstat_header, _vmstat, 20)
IOSTAT = Stream("aix/iostat-d-1-1-1.txt", _iostat_preamble, lambda _: IOSTAT_HEADER, _iostat, 1)
LPARSTAT = Stream(
    "aix/lparstat-shared-uncapped-1.txt", _lparstat_preamble, _lparstat_header, _lparstat, 20, boot_first=False
)
ANSWERS: dict[tuple[str, str], Answer] = {
    ("vmstat", ""): VMSTAT,
    ("iostat", "d"): IOSTAT,
    ("netstat", "in"): Once("aix/netstat-in-1.txt", _netstat),
    ("netstat", "v"): Once("aix/entstat-en0-vioent-1.txt", _adapters),
    ("lparstat", ""): LPARSTAT,
    ("df", "k"): Once("aix/df-k-1.txt", _df),
    ("svmon", "G"): Once("aix/svmon-G-2.txt", _svmon),
    ("lsps", "s"): Once("aix/lsps-s-6.1a-1.txt", _lsps),
}
PS_FIXTURE = "aix/ps-aux-pase-1.txt"


def answer(program: str, arguments: tuple[str, ...]) -> Answer | None:
    """See `render.answer`."""
    if program == "ps":
        return Once(PS_FIXTURE, process_table(PS_FIELDS, output_fields(arguments)))
    return ANSWERS.get((program, options_of(arguments)))


def uname(host: Host) -> str:
    """`uname -a`: release before version, and the machine's number."""
    return f"AIX {host.hostname} {VERSION[1]} {VERSION[0]} 00F{host.key % 16**8:08X}C00"[:60]
