"""AIX entstat and `netstat -v`: packets, bytes, errors and drops of network adapters, and how they meet `netstat -in`.

One row an adapter. What an EtherChannel or a Shared Ethernet Adapter is made of is printed behind it and left out: its
traffic is already in the whole.
"""

import re
from collections.abc import Mapping, Sequence

from hps_platform.dialects import interfaces
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import counter
from hps_platform.metrics.sample import Row

# entstat -d ent4 (shortened)
#
# -------------------------------------------------------------
# ETHERNET STATISTICS (ent4) :
# Device Type: EtherChannel
# Hardware Address: 2a:40:11:9c:07:02
# Elapsed Time: 31 days 4 hours 12 minutes 9 seconds
#
# Transmit Statistics:                          Receive Statistics:
# --------------------                          -------------------
# Packets: 51200                                Packets: 60311
# Bytes: 8812004                                Bytes: 44021991
# Interrupts: 0                                 Interrupts: 41200
# Transmit Errors: 2                            Receive Errors: 5
# Packets Dropped: 1                            Packets Dropped: 3
#                                               Bad Packets: 0
#
# Statistics for every adapter in the EtherChannel:
# Number of adapters: 2
# -------------------------------------------------------------
# ETHERNET STATISTICS (ent0) :
_BLOCK = re.compile(r"\s*[A-Z][A-Z -]* STATISTICS \((\w+)\)\s*:?\s*", re.ASCII)
_PAIR = re.compile(r"\s*(\w[\w ]*?): *(\d+)(?:\s+(\w[\w ]*?): *(\d+))?\s*", re.ASCII)
_MEMBERS = re.compile(r"\s*Number of adapters: *(\d+)\s*", re.ASCII)
_MEMBER = re.compile(r"\s*(?:primary|backup|real|virtual|control|base) adapter\b.*", re.IGNORECASE)

# Sent on the left, received on the right.
_COUNTERS: Mapping[str, tuple[str, str]] = {
    "Packets": ("opkts", "ipkts"),
    "Bytes": ("obytes", "ibytes"),
    "Packets Dropped": ("odrops", "idrops"),
}
_ERRORS = ("Transmit Errors", "Receive Errors")


def _counted(line: str, row: Row) -> None:
    """Adds what a line of the two halves says; the first time counts, as adapters have tables of their own below."""
    found = _PAIR.fullmatch(line)
    if found is None or found[3] is None:
        return
    if (found[1], found[3]) == _ERRORS:
        names = ("oerrs", "ierrs")
    elif found[1] == found[3] and found[1] in _COUNTERS:
        names = _COUNTERS[found[1]]
    else:
        return
    for name, cell in zip(names, (found[2], found[4]), strict=True):
        if row[name] is None:
            row[name] = counter(cell)


def _adapters(text: str) -> tuple[list[Row], bool, int]:
    """The adapters' rows, whether there were any, and how many came twice."""
    rows: dict[str, Row] = {}
    recognised = False
    row: Row | None = None
    members = duplicates = 0
    named = False
    for line in text.split("\n")[:-1] if not text.endswith("\n") else text.split("\n"):
        if (block := _BLOCK.fullmatch(line)) is not None:
            recognised = True
            row = None
            if members or named:
                members = max(0, members - 1)
            else:
                row = interfaces.EMPTY.copy()
                row["interface"] = block[1]
                duplicates += block[1] in rows
                rows[block[1]] = row
            named = False
        elif (count := _MEMBERS.fullmatch(line)) is not None:
            members += int(count[1])
        elif _MEMBER.fullmatch(line) is not None:
            named = True
        elif row is not None and ":" in line:
            _counted(line, row)
    whole = [row for row in rows.values() if row["opkts"] is not None and row["obytes"] is not None]
    return whole, recognised, duplicates


def _interface(adapter: str) -> str:
    """The name that `netstat -in` has for what runs on an adapter: `en4` on `ent4`."""
    return re.sub(r"^(en|tr|fi)[ti](?=\d)", r"\1", adapter)


def _joined(rows: Sequence[Row], adapters: Sequence[Row]) -> list[Row]:
    """Interfaces with the bytes and drops of their adapters; adapters without an interface carry others' traffic."""
    of = {_interface(row["interface"]): row for row in adapters}
    return [
        {name: of[row["interface"]][name] if value is None else value for name, value in row.items()}
        if row["interface"] in of
        else row
        for row in rows
    ]


def reader() -> Reader:
    """Reads entstat, and netstat with `-in`, with `-v`, or the one after the other."""
    table = interfaces.reader()

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        found = table.read(programs, text, streamed)
        if " STATISTICS (" not in text:
            return found
        adapters, recognised, duplicates = _adapters(text)
        if not found.rows:
            return Reading(adapters, recognised or found.recognised, duplicates)
        return Reading(_joined(found.rows, adapters), recognised=True, duplicates=found.duplicates)

    return Reader("netstat", read)
