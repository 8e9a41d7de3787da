"""The columns of ps on all systems: their titles and field names, what their cells look like, and how those are read.

How a line is cut into cells stands in `processes`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hps_platform.dialects.text import number, scaled, seconds, suffixed


def _whole(cell: str) -> int | None:
    if cell.isdigit() and cell.isascii():
        return int(cell)
    value = number(cell)
    if isinstance(value, float) or (value is not None and value < 0):
        raise ValueError(cell)
    return value


_DECIMALS = 2
"""The most that any ps prints of a share."""


@lru_cache(maxsize=2048)
def _share(cell: str) -> float | int | None:
    value = number(cell)
    if len(cell.replace(",", ".").partition(".")[2]) > _DECIMALS:
        return None  # it grew into the next column
    return value if value is None or 0 <= value <= 1_000_000 else None


def _kib(cell: str) -> float | int | None:
    """A size in KiB; busybox prints `24m` and `1g` for large ones."""
    if cell.isdigit() and cell.isascii():
        return int(cell)
    if cell[-1:].lower() in ("m", "g", "t"):
        value = suffixed(cell)
        return None if value is None else scaled(value, 1 / 1024)
    return _whole(cell)


_COARSE = re.compile(r"(\d+)([hd])(\d\d)?", re.ASCII)


@lru_cache(maxsize=16_384)  # most processes have used little, and none since they were looked at last
def _duration(cell: str) -> float | int | None:
    """A time; busybox prints `3h07` (hours, minutes), `12d05` (days, hours) and `140d` for long ones."""
    if match := _COARSE.fullmatch(cell):
        rest = int(match[3] or 0)
        return int(match[1]) * 3600 + rest * 60 if match[2] == "h" else (int(match[1]) * 24 + rest) * 3600
    return seconds(cell)


def _word(cell: str) -> str | None:
    return None if cell == "-" else cell


def _text(cell: str) -> str:
    return cell


@dataclass(frozen=True, slots=True)
class Kind:
    """What a cell of a column may look like, and how it is read."""

    read: Callable[[str], Any]
    pattern: re.Pattern[str]
    # Further words the cell may have, by a pattern of them all joined with one blank.
    longer: re.Pattern[str] | None = None
    more: int = 0


_A = re.ASCII
WHOLE = Kind(_whole, re.compile(r"\d+|-|xx", _A))
SIGNED = Kind(_text, re.compile(r"-?\d+|-+|[A-Z]{2}", _A))
SHARE = Kind(_share, re.compile(r"\d+(?:[.,]\d+)?|-", _A))
KIB = Kind(_kib, re.compile(r"\d+(?:[.,]\d+)?[mgt]?|-", _A | re.IGNORECASE))
DURATION = Kind(_duration, re.compile(r"(?:\d+-)?(?:\d+:){0,2}\d+(?:[.,]\d+)?|\d+[hd](?:\d\d)?|-", _A))
STATE = Kind(
    _word,
    re.compile(r"[A-Za-z?][A-Za-z<>+]{0,6}|[01IORTSWXZA-]", _A),
    re.compile(r"[A-Z] [<N]", _A),  # busybox puts the priority in the third place, whatever stands in the second
    1,
)
USER = Kind(_word, re.compile(r"\S+"))
ANY = Kind(_text, re.compile(r"(?!\d+:\d\d)\S+", _A))
TTY = Kind(_text, ANY.pattern)
# Names of months are the locale's, also where titles are not: `Mar14`, `mars14`, `févr.14`, `3月14`, `14Mar26`.
_NAMED = r"[A-Z][a-z]{2}[_-]?[0-9]{1,2}(?:[AP]M)?|(?!tty|con)[^\W\d_]{2,9}\.?[0-9]{1,2}"
_NUMBERED = r"[0-9]{1,2}[^\W\d_]{2,9}\.?(?:[0-9][0-9])?|[0-9]{1,2}[^\W\d_a-zA-Z][0-9]{1,2}"
START = Kind(
    _text,
    re.compile(rf"[0-9]?[0-9]:[0-9][0-9](?::[0-9][0-9]|[AP]M)?|[0-9]{{4}}|{_NAMED}|{_NUMBERED}|-"),
    re.compile(r"[A-Z][a-z]{2} \d{1,2}", _A),
    1,
)
LONG_START = Kind(
    _text,
    START.pattern,
    re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d\d:\d\d:\d\d \d{4}|[A-Z][a-z]{2} \d{1,2}", _A),
    4,
)
NUMBERS = (WHOLE.read, KIB.read)
"""What reads nothing but digits as a plain number."""
COMMAND = Kind(_text, re.compile(r".*", re.DOTALL))

# Header word -> the family's column (or none) and what its cells look like. Words that mean another unit on one of the
# systems (SZ: pages; SIZE: a data segment) stay without a column.
TITLES: Mapping[str, tuple[str | None, Kind]] = {
    "PID": ("pid", WHOLE),
    "PPID": ("ppid", WHOLE),
    "USER": ("user", USER),
    "UID": ("user", USER),
    "RUSER": ("user", USER),
    "EUSER": ("user", USER),
    "EUID": ("user", USER),
    "UNAME": ("user", USER),
    "%CPU": ("cpu_pct", SHARE),
    "%MEM": ("mem_pct", SHARE),
    "VSZ": ("vsz_kb", KIB),
    "VMSIZE": ("vsz_kb", KIB),
    "RSS": ("rss_kb", KIB),
    "RSZ": ("rss_kb", KIB),
    "S": ("state", STATE),
    "ST": ("state", STATE),
    "STAT": ("state", STATE),
    "STATE": ("state", STATE),
    "TIME": ("cpu_time_s", DURATION),
    "ELAPSED": ("elapsed_s", DURATION),
    "COMMAND": ("command", COMMAND),
    "CMD": ("command", COMMAND),
    "COMD": ("command", COMMAND),
    "ARGS": ("command", COMMAND),
    "STIME": (None, START),
    "START": (None, START),
    "STARTED": (None, LONG_START),
    "TTY": (None, TTY),
    "TT": (None, TTY),
    "C": (None, SHARE),
    "CPU": (None, SHARE),
    "%C": (None, SHARE),
    "NI": (None, SIGNED),
    "PRI": (None, SIGNED),
    "TPGID": (None, SIGNED),
    "RTPRIO": (None, SIGNED),
    **dict.fromkeys(("SZ", "SIZE", "TRS", "TSIZ", "LIM", "PGIN", "NLWP", "LWP", "THCNT", "TCNT"), (None, WHOLE)),
    **dict.fromkeys(("PGID", "SID", "PSR", "TID", "ZONEID", "RUID", "GID", "EGID", "RGID", "PGRP"), (None, WHOLE)),
    **dict.fromkeys(("WCHAN", "ADDR", "F", "GROUP", "RGROUP", "CLS", "ZONE", "WPAR", "COMM", "SESS"), (None, ANY)),
    **dict.fromkeys(("MWCHAN", "LOGIN", "CLASS", "PROJECT", "POOL", "FNAME", "CGROUP", "FLAGS", "LABEL"), (None, ANY)),
    **dict.fromkeys(
        ("TGID", "SPID", "FIB", "CP", "SC", "USS", "PSS", "NUMA", "BND", "P", "POL", "SCH", "OOM", "SSIZ"),
        (None, WHOLE),
    ),
    **dict.fromkeys((f"{of}{kind}" for of in ("F", "S", "SV") for kind in ("GID", "UID")), (None, WHOLE)),
    **dict.fromkeys((f"{of}GROUP" for of in ("F", "S", "E")), (None, ANY)),
    **dict.fromkeys((f"{of}NS" for of in ("CGROUP", "IPC", "MNT", "NET", "PID", "TIME", "USER", "UTS")), (None, ANY)),
    **dict.fromkeys(("UNIT", "UUNIT", "SLICE", "USLICE", "MACHINE", "SEAT", "SESSION", "OWNER", "OUID"), (None, ANY)),
    **dict.fromkeys(("BLOCKED", "CAUGHT", "IGNORED", "PENDING", "STACKP", "ESP", "EIP", "LXC", "JAIL"), (None, ANY)),
    **dict.fromkeys(("FUSER", "SUSER", "SVUSER", "TDNAME", "TAG", "PROJ", "EMUL", "LWPNAME"), (None, ANY)),
    **dict.fromkeys(
        ("JID", "JOBC", "SL", "RE", "PAGEIN", "TASKID", "PROJID", "CTID", "LGRP", "PSET", "MAJFL", "MINFL", "DRS"),
        (None, WHOLE),
    ),
}

# Field names of `-o` -> header words, for output whose header was switched off (`-o pid=`).
FIELDS: Mapping[str, str] = {
    "pid": "PID",
    "ppid": "PPID",
    "pgid": "PGID",
    "user": "USER",
    "uname": "USER",
    "uid": "UID",
    "ruser": "RUSER",
    "euser": "USER",
    "pcpu": "%CPU",
    "%cpu": "%CPU",
    "pmem": "%MEM",
    "%mem": "%MEM",
    "vsz": "VSZ",
    "vsize": "VSZ",
    "rss": "RSS",
    "rssize": "RSS",
    "rsz": "RSS",
    "s": "S",
    "state": "S",
    "stat": "STAT",
    "time": "TIME",
    "cputime": "TIME",
    "cputimes": "TIME",
    "times": "TIME",
    "etime": "ELAPSED",
    "etimes": "ELAPSED",
    "args": "COMMAND",
    "cmd": "COMMAND",
    "command": "COMMAND",
    "comm": "COMMAND",
    "ucmd": "COMMAND",
    "stime": "STIME",
    "start": "STIME",
    "start_time": "STIME",
    "st": "STIME",
    "lstart": "STARTED",
    "tty": "TTY",
    "tt": "TTY",
    "tname": "TTY",
    "ni": "NI",
    "nice": "NI",
    "pri": "PRI",
    "c": "C",
    "nlwp": "NLWP",
    "lwp": "LWP",
    "psr": "PSR",
    "sz": "SZ",
    "osz": "SZ",
    "wchan": "WCHAN",
}
FULL = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")

OLD_BUSYBOX = {"Uid": "UID", "VmSize": "VMSIZE", "Stat": "STAT", "Command": "COMMAND"}
