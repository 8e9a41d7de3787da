"""AIX iostat: the default table, and the two shapes of `-D` with service times and queues.

Suffixes K, M, G are powers of 1000 here, on bytes and on counts; a time with S is in seconds, without it in
milliseconds.
"""

import re
from collections.abc import Mapping, Sequence

from hps_platform.dialects import iostat, sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import Number, number
from hps_platform.metrics.sample import Row

_KIB = 1 / 1024

# iostat -d 2 (without -d a tty and CPU table stands above; -T adds a time at the end)
#
# System configuration: lcpu=16 drives=3 paths=6 vdisks=1
#
# Disks:        % tm_act     Kbps      tps    Kb_read   Kb_wrtn
# hdisk0          12.5     468.0      71.5        112       824
# hdisk4           0.0       0.0       0.0          0         0
_DEFAULT: Mapping[str, tuple[str, float]] = {
    "%tm_act": ("busy_pct", 1),
    "Kbps": ("kb_s", 1),
    "tps": ("tps", 1),
    "Kb_read": ("kb_read", 1),
    "Kb_wrtn": ("kb_wrtn", 1),
}

# iostat -Dl 2 (-T adds a time at the end). The second header line is enough to know the columns.
#
# Disks:                xfers                    read                            write                         queue
# ------------ -------------------- -------------------------- ------------------------------ -------------------------
#              %tm   bps  tps bread bwrtn  rps  avg  min  max time fail  wps  avg  min  max time fail  avg  min  max …
#              act                              serv serv serv outs           serv serv serv outs      time time time …
# hdisk0       4.0 61.4K  9.5 12.3K 49.2K  1.5  3.1  0.4  9.9    0    0  8.0  1.2  0.3 11.0    0    0  0.0  0.0  0.0 …
_LONG = (
    *("%tm", "bps", "tps", "bread", "bwrtn"),
    *("rps", "avg", "min", "max", "time", "fail"),
    *("wps", "avg", "min", "max", "time", "fail"),
    *("avg", "min", "max", "avg", "avg", "serv"),
)
_LONG_PARTS: tuple[iostat.Part, ...] = (
    (1, "busy_pct", 1),
    (2, "kb_s", _KIB),
    (3, "tps", 1),
    (4, "kb_read_s", _KIB),
    (5, "kb_wrtn_s", _KIB),
    (6, iostat.READS, 1),
    (7, iostat.READ_MS, 1),
    (12, iostat.WRITES, 1),
    (13, iostat.WRITE_MS, 1),
    (21, iostat.WAITING, 1),
    (22, iostat.ACTIVE, 1),
)

_CLOCK = re.compile(r"\d\d:\d\d:\d\d", re.ASCII)
_SUFFIXED = re.compile(r"(\d+(?:[.,]\d+)?)([KMGTS])", re.ASCII)
_POWERS = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "S": 1e3}


def _convert(cell: str) -> Number | None:
    found = _SUFFIXED.fullmatch(cell)
    if found is None:
        return number(cell)
    value = number(found[1])
    return None if value is None else value * _POWERS[found[2]]


def _header(line: str) -> sampling.Table | None:
    names = re.sub(r"% (?=\w)", "%", line).split()
    if tuple(names) == _LONG:
        return iostat.DiskTable(_LONG_PARTS, len(_LONG) + 1, 0, convert=_convert, clocked=True)
    if names[0] == "Disks:" and {"%tm_act", "Kbps", "tps"}.issubset(names):
        clocked = names[-1] == "time"
        count = len(names) - clocked
        return iostat.DiskTable(iostat.parts_of(names[:count], _DEFAULT), count, 0, clocked=clocked)
    return None


# iostat -D 2
#
# hdisk0          xfer:  %tm_act      bps      tps      bread      bwrtn
#                            4.0    61.4K      9.5      12.3K      49.2K
#                 read:      rps  avgserv  minserv  maxserv   timeouts      fails
#                            1.5      3.1      0.4      9.9           0          0
#                write:      wps  avgserv  minserv  maxserv   timeouts      fails
#                            8.0      1.2      0.3     11.0           0          0
#                queue:  avgtime  mintime  maxtime  avgwqsz    avgsqsz     sqfull
#                            0.0      0.0      0.0      0.0        0.0         0.0
#
# Adapters have stanzas too (-a), with other words behind `xfer:`.
_STANZA = re.compile(r"(?:(\S+)\s+)?\s*(xfer|read|write|queue):((?:\s+[%A-Za-z_-]+)+)\s*")
_STANZA_PARTS: Mapping[tuple[str, str], tuple[str, float]] = {
    ("xfer", "%tm_act"): ("busy_pct", 1),
    ("xfer", "bps"): ("kb_s", _KIB),
    ("xfer", "tps"): ("tps", 1),
    ("xfer", "bread"): ("kb_read_s", _KIB),
    ("xfer", "bwrtn"): ("kb_wrtn_s", _KIB),
    ("read", "rps"): (iostat.READS, 1),
    ("read", "avgserv"): (iostat.READ_MS, 1),
    ("write", "wps"): (iostat.WRITES, 1),
    ("write", "avgserv"): (iostat.WRITE_MS, 1),
    ("queue", "avgwqsz"): (iostat.WAITING, 1),
    ("queue", "avgsqsz"): (iostat.ACTIVE, 1),
}


def _stanza_cells(section: str, names: Sequence[str], line: str) -> Row | None:
    words = line.split()
    if words and _CLOCK.fullmatch(words[-1]) is not None:
        words.pop()
    if len(words) != len(names):
        return None
    try:
        values = [_convert(word) for word in words]
    except ValueError:
        return None
    cells: Row = {}
    for name, value in zip(names, values, strict=True):
        part = _STANZA_PARTS.get((section, name))
        if part is not None:
            cells[part[0]] = None if value is None else value * part[1]
    return cells


def _stanzas(text: str) -> tuple[list[list[Row]], bool]:
    """Reports of `-D`, and whether any stanza was there; a stanza that was cut is left out."""
    reports: list[list[Row]] = []
    disks: dict[str, Row] = {}
    section, names, disk = "", [""], ""
    recognised = False
    for line in text.split("\n"):
        found = _STANZA.fullmatch(line)
        if found is not None:
            section, names = found[2], [name for name in found[3].split() if name != "time"]
            recognised = True
            if found[1] and "%tm_act" not in names:
                disk = ""
            elif found[1]:
                disk = found[1]
                if disk in disks or not reports:
                    disks = {}
                    reports.append([])
                disks[disk] = {"disk": disk}
        elif disk and section and (cells := _stanza_cells(section, names, line)) is not None:
            disks[disk].update(cells)
            if section == "queue":
                reports[-1].append(disks[disk])
            section = ""
    return reports, recognised


# iostat -t and -A, which print no disk:
# tty:      tin         tout    avg-cpu: % user % sys % idle % iowait physc % entc
# aio: avgc avfc maxgc maxfc maxreqs avg-cpu: % user % sys % idle % iow physc % entc
_WITHOUT_DISKS = re.compile(r"^\s*(?:tty:\s+tin\s+tout|aio:\s+avgc\s+avfc)\b", re.MULTILINE)

# What the first report says of disks where `lsattr -El sys0 -a iostat` is false, as it is by default.
_UNKEPT = "Disk history since boot not available"

_ALL_DISKS = iostat.layouts(_header, "bps", by_key=True, unkept=_UNKEPT)
# -V leaves idle disks out: there a key that comes again tells nothing of where a report ends.
_BUSY_DISKS = iostat.layouts(_header, "bps", unkept=_UNKEPT)


def _layouts(program: Program) -> sampling.Layouts:
    return _BUSY_DISKS if program.has("V") else _ALL_DISKS


def reader() -> Reader:
    """Reads iostat of AIX."""
    tables = iostat.reader(_layouts)

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        if "xfer:" not in text:
            reading = tables.read(programs, text, streamed)
            # Disks below a header that isn't ours, such as a translated one, are no output without disks.
            without = "tm_act" not in text and _WITHOUT_DISKS.search(text) is not None
            reading.recognised = reading.recognised or without
            return reading
        reports, recognised = _stanzas(text)
        finished = [[iostat.finish(cells) for cells in report] for report in reports]
        interval = programs[0].interval is not None
        kept = _UNKEPT not in text
        return Reading(
            sampling.samples(finished, streamed=streamed, interval=interval, since_boot_first=kept), recognised
        )

    return Reader("iostat", read, tables.split)
