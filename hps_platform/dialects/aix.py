"""AIX 4.3 to 7.3: its commands, their layouts, and the plan for an unprivileged account.

Pages are 4 KiB everywhere. `LC_ALL=C` on every command: AIX translates headers otherwise.
"""

import re

from hps_platform.dialects import aixadapters, aixdisks, aixlpar, aixmemory, mounts, processes, sardisks, vmstat
from hps_platform.dialects.dialect import Dialect, Plan, Reader

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat {interval}"),
    Plan("iostat", "LC_ALL=C iostat -d {interval}"),
    # Bytes are the adapters'; some lines of each are enough of the hundreds that -v prints.
    Plan(
        "netstat",
        "LC_ALL=C netstat -in; LC_ALL=C netstat -v | grep -E 'STATISTICS|Packets|Bytes:|Errors:|adapters?:|Adapter:'",
    ),
    # `stat` is the state; `st` would be the start time.
    Plan("process", "LC_ALL=C ps -A -o pid,ppid,user,pcpu,pmem,vsz,rssize,etime,time,stat,args"),
    Plan("filesystem", "LC_ALL=C df -k"),
    Plan("memory", "LC_ALL=C svmon -G; LC_ALL=C lsps -s"),
    # No report of it is the average since boot.
    Plan("lpar", "LC_ALL=C lparstat {interval}", once="LC_ALL=C lparstat {interval} 1"),
)

_PAGE_KB = 4

# vmstat 2 on a shared-processor partition (a dedicated one lacks pc, ec; -I has p, fi, fo for re, cy; -c has csz, cfr,
# dxm, ci, co for re, fr, sr, cy; -t adds a time)
#
# System configuration: lcpu=16 mem=24576MB ent=1.50
#
# kthr    memory              page              faults              cpu
# ----- ----------- ------------------------ ------------ -----------------------
#  r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa    pc    ec
#  3  0 1846211 402117   0   0   0   0    0   0 219 8810 2764 21  6 72  1  0.47  31.3
_VMSTAT = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "avm": ("avm", _PAGE_KB),
        "fre": ("fre", _PAGE_KB),
        "pi": ("pi", _PAGE_KB),
        "po": ("po", _PAGE_KB),
        "fr": ("fr", 1),
        "sr": ("sr", 1),
        "wa": ("wa", 1),
        "pc": ("pc", 1),
        "ec": ("ec", 1),
    },
    required=frozenset(("r", "b", "avm", "fre", "pi", "po", "in", "sy", "cs", "us", "id", "wa")),
)

_NETSTAT = aixadapters.reader()
_MEMORY = aixmemory.reader()

# What stands above the columns: of the partition, and the columns' groups.
_PREAMBLE = re.compile(
    r"System configuration: .*|kthr +memory +page .*|-[- ]+|tty: +tin +tout +avg-cpu: .*|AIX \S+ \d+ \d+ .*",
    re.IGNORECASE,
)

DIALECT = Dialect(
    name="aix",
    version=1,
    preamble=_PREAMBLE,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT),
        "iostat": aixdisks.reader(),
        "netstat": _NETSTAT,
        "entstat": _NETSTAT,
        "ps": processes.reader(),
        "df": mounts.reader(),
        "svmon": _MEMORY,
        "lsps": _MEMORY,
        "swap": _MEMORY,
        "prtconf": _MEMORY,
        "lsconf": _MEMORY,
        "lparstat": aixlpar.reader(),
        "sar": Reader("iostat", sardisks.read, lambda _: sardisks.Splitter()),
    },
)
