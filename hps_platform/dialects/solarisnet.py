"""Interface counters of Solaris beside `netstat -in`, with bytes: `kstat -p`, `netstat -k` of old ones, `dladm -s`."""

import re
from collections.abc import Iterable, Iterator, Mapping

from hps_platform.dialects import interfaces
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import counter
from hps_platform.metrics.sample import Row

# kstat -p -c net ':::/…/' (module:instance:name:statistic; one interface has several kstats)
#
# e1000g:0:mac:ipackets64 812044
# e1000g:0:mac:rbytes64   90120441
# link:0:net0:ipackets64  812044
# lo:0:lo0:ipackets       4411
#
# without -p, one kstat after the other
# module: e1000g                          instance: 0
# name:   mac                             class:    net
#         ipackets64                      812044
_MODULE = re.compile(r"module:\s+(\w+)\s+instance:\s+(\d+)\s*", re.ASCII)
_NAME = re.compile(r"name:\s+(\S+)\s+class:\s+\S+\s*", re.ASCII)
_STATISTIC = re.compile(r"\s+(\w+)\s+(\d+)\s*", re.ASCII)
_KSTAT = re.compile(r"\s*([A-Za-z]\w*):(\d+):([^:\s]+):(\w+)\s+(\d+)\s*", re.ASCII)
_WORDS = {
    "ipackets": "ipkts",
    "ierrors": "ierrs",
    "opackets": "opkts",
    "oerrors": "oerrs",
    "collisions": "coll",
    "rbytes": "ibytes",
    "obytes": "obytes",
}
# The 64-bit twin of a counter is the better one, whichever comes first.
_STATISTICS: Mapping[str, tuple[str, bool]] = {
    **{word: (column, False) for word, column in _WORDS.items()},
    **{f"{word}64": (column, True) for word, column in _WORDS.items()},
}
_OF_THE_DRIVER = ("mac", "statistics", "phys")


def _interface(module: str, instance: str, name: str) -> str | None:
    """Whose counters a kstat holds; those of rings and lanes are parts of them."""
    if module == "link" or name == f"{module}{instance}":
        return name
    return f"{module}{instance}" if name in _OF_THE_DRIVER else None


class _Counters:
    """Counters of interfaces as they are found, the wide ones kept."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._wide: set[tuple[str, str]] = set()

    def add(self, interface: str, statistic: str, value: str) -> None:
        if statistic not in _STATISTICS:
            return
        column, wide = _STATISTICS[statistic]
        row = self.rows.setdefault(interface, {**interfaces.EMPTY, "interface": interface})
        if row[column] is None or (wide and (interface, column) not in self._wide):
            row[column] = counter(value)
        if wide:
            self._wide.add((interface, column))

    def reading(self, names: Iterable[str] | None = None) -> Reading:
        """The rows of those interfaces that count anything; `names`: of these only."""
        rows = [row for name, row in self.rows.items() if names is None or name in names]
        counted = [row for row in rows if row["ipkts"] is not None or row["ibytes"] is not None]
        return Reading([row for row in counted if not interfaces.logical(row["interface"])], recognised=bool(self.rows))


def _statistics(text: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Module, instance, name, statistic and value of each line that has one."""
    module = instance = name = ""
    for line in text.split("\n"):
        if match := _KSTAT.fullmatch(line):
            yield match[1], match[2], match[3], match[4], match[5]
        elif match := _MODULE.match(line):
            module, instance, name = match[1], match[2], ""
        elif match := _NAME.match(line):
            name = match[1]
        elif name and (match := _STATISTIC.fullmatch(line)):
            yield module, instance, name, match[1], match[2]


def _kstat(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    found = _Counters()
    links: set[str] = set()
    for module, instance, name, statistic, value in _statistics(text):
        interface = _interface(module, instance, name)
        if interface is None:
            continue
        found.add(interface, statistic, value)
        if module in ("link", "lo"):
            links.add(interface)
    # Where links have names of their own, the drivers' kstats say the same once more under another name.
    return found.reading(links if any(not name.startswith("lo") for name in links) else None)


# netstat -k hme0 (Solaris 2.5 to 9)
#
# hme0:
# ipackets 2778226 ierrors 0 opackets 3157445 oerrors 0 collisions 0
# ipackets64 2778226 opackets64 3157445 rbytes64 665616811 obytes64 1997336116
_NAMED = re.compile(r"([A-Za-z][\w.]*):", re.ASCII)


def _netstat_k(text: str) -> Reading:
    found = _Counters()
    name = ""
    for line in text.split("\n"):
        words = line.split()
        if match := _NAMED.fullmatch(line.strip()):
            name = match[1]
        elif name and words and len(words) % 2 == 0 and all(word.isdigit() for word in words[1::2]):
            for statistic, value in zip(words[::2], words[1::2], strict=True):
                found.add(name, statistic, value)
    return found.reading()


# dladm show-link -s (Solaris 10 prints the words in lower case and no LINK; show-vnic adds shares, and a row of totals)
#
# LINK            IPACKETS  RBYTES      IERRORS  OPACKETS     OBYTES      OERRORS
# net0            812044    90120441    0        512044       40120441    0
def _of_link(words: list[str], count: int) -> bool:
    """Whether a line is a link's name, so many counters, and perhaps two shares."""
    counted, shares = words[1 : count + 1], words[count + 1 :]
    if len(counted) < count or len(shares) not in (0, 2) or words[0] == "Total":
        return False
    return all(word.isdigit() for word in counted) and all("." in word for word in shares)


def _dladm(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    found = _Counters()
    names: list[str] = []
    for line in text.split("\n"):
        words = line.split()
        lower = [word.lower() for word in words]
        if {"ipackets", "rbytes", "opackets", "obytes"}.issubset(lower):
            names = lower[1:] if lower[0] == "link" else lower
        elif names and _of_link(words, len(names)):
            for name, word in zip(names, words[1:], strict=False):
                found.add(words[0], name, word)
    reading = found.reading()
    reading.recognised = bool(names)
    return reading


def _netstat(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    reading = _TABLE.read(programs, text, streamed)
    return _netstat_k(text) if not reading.recognised and programs[0].has("k") else reading


_TABLE = interfaces.reader()

READERS: Mapping[str, Reader] = {
    "netstat": Reader("netstat", _netstat),
    "kstat": Reader("netstat", _kstat),
    "dladm": Reader("netstat", _dladm),
}
