"""HP-UX lanadmin and nwmgr: the statistics display of one or several interfaces, the only place with bytes there."""

import re
from collections.abc import Mapping

from hps_platform.dialects import interfaces
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import counter
from hps_platform.metrics.sample import Row

# lanadmin -g 1 (shortened)
#
#                       LAN INTERFACE STATUS DISPLAY
#                        Sat, Mar 14,2026  10:20:00
#
# PPA Number                      = 1
# Description                     = lan1 HP PCI-X 1000Base-T Release B.11.31.1203
# MTU Size                        = 1500
# Inbound Octets                  = 88120331
# Inbound Unicast Packets         = 60211
# Inbound Non-Unicast Packets     = 1204
# Inbound Discards                = 3
# Inbound Errors                  = 0
# Outbound Octets                 = 22100318
# Outbound Unicast Packets        = 31877
# Outbound Non-Unicast Packets    = 40
# Outbound Discards               = 0
# Outbound Errors                 = 1
#
# nwmgr -g --st mib -c lan1 begins with `*** lan1 64 bit MIB statistics:`, prints the same labels, and multicast and
# broadcast packets apart.
_LINE = re.compile(r"\s*([A-Z][A-Za-z -]*?(?: \(value\))?)\s*= *(.*?)\s*")
_NAME = re.compile(r"lan\d+", re.ASCII)
_TITLE = re.compile(r"\s*\*+ (lan\d+) .*statistics.*", re.ASCII)
# What a display begins with; whichever of them comes again begins the next one.
_IDENTITY = ("Interface Name", "PPA Number", "Network Management ID", "Description")
_KINDS = ("Unicast", "Non-Unicast", "Multicast", "Broadcast")
# Packets of different kinds are printed apart, and added up.
_COLUMNS: Mapping[str, str] = {
    "MTU Size": "mtu",
    "Inbound Octets": "ibytes",
    "Inbound Discards": "idrops",
    "Inbound Errors": "ierrs",
    "Outbound Octets": "obytes",
    "Outbound Discards": "odrops",
    "Outbound Errors": "oerrs",
    **{f"Inbound {kind} Packets": "ipkts" for kind in _KINDS},
    **{f"Outbound {kind} Packets": "opkts" for kind in _KINDS},
}


def _name(labels: Mapping[str, str]) -> str | None:
    for label in ("title", "Interface Name", "Description"):
        words = labels.get(label, "").split()
        if words and _NAME.fullmatch(words[0]) is not None:
            return words[0]
    return f"lan{labels['PPA Number']}" if labels.get("PPA Number", "").isdigit() else None


def _row(labels: Mapping[str, str]) -> Row | None:
    """The row of one display; `None` where it was cut before what was sent."""
    name = _name(labels)
    if name is None or not {"Inbound Octets", "Outbound Octets", "Outbound Unicast Packets"}.issubset(labels):
        return None
    row = interfaces.EMPTY.copy()
    row["interface"] = name
    for label, column in _COLUMNS.items():
        value = counter(labels.get(label, ""))
        if value is not None:
            row[column] = value + (row[column] or 0)
    return row


def _displays(text: str) -> list[dict[str, str]]:
    displays: list[dict[str, str]] = []
    # What no newline ends may have been cut in the middle of a number.
    for line in text.split("\n")[:-1]:
        title = _TITLE.fullmatch(line)
        if title is not None:
            if not displays or displays[-1].get("title") != title[1]:
                displays.append({"title": title[1]})
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        label = found[1]
        if label in _IDENTITY and (not displays or (label in displays[-1] and "title" not in displays[-1])):
            displays.append({})
        if displays:
            displays[-1].setdefault(label, found[2])
    return displays


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    displays = _displays(text)
    rows: dict[str, Row] = {}
    duplicates = 0
    for labels in displays:
        row = _row(labels)
        if row is not None:
            duplicates += row["interface"] in rows
            rows[row["interface"]] = row
    return Reading(list(rows.values()), recognised=bool(displays), duplicates=duplicates)


def reader() -> Reader:
    """Reads `lanadmin -g` and `nwmgr --st`."""
    return Reader("netstat", _read)
