"""Interface counters of Linux: `/proc/net/dev`, `netstat -i`, `ifconfig` (`netstat -ie`) and `ip -s link`."""

import json
import re
from collections.abc import Mapping

from hps_platform.dialects import interfaces
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import counter, suffixed
from hps_platform.metrics.sample import Row

# ruff: noqa: E501 (samples of output are as wide as they are)

# /proc/net/dev
#
# Inter-|   Receive                                                |  Transmit
#  face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
#     lo:   51230     402    0    0    0     0          0         0    51230     402    0    0    0     0       0          0
#   ens3: 8812004   60211    0    3    0     0          0         0  2210031   31877    0    0    0     0       0          0
_RECEIVED = {"bytes": "ibytes", "packets": "ipkts", "errs": "ierrs", "drop": "idrops"}
_SENT = {"bytes": "obytes", "packets": "opkts", "errs": "oerrs", "drop": "odrops", "colls": "coll"}


def _proc_net_dev(text: str) -> Reading:
    reading = Reading()
    columns: list[str | None] = []
    rows: dict[str, Row] = {}
    for line in text.split("\n"):
        heads = line.split("|")
        if len(heads) == 3 and heads[0].strip() == "face":
            columns = [_RECEIVED.get(word) for word in heads[1].split()]
            columns += [_SENT.get(word) for word in heads[2].split()]
            reading.recognised = "ipkts" in columns and "opkts" in columns
            continue
        name, colon, rest = line.rpartition(":")
        cells = rest.split()
        if not reading.recognised or not colon or len(cells) != len(columns):
            continue
        interface = name.strip()
        if not all(cell.isdigit() for cell in cells) or not interface or " " in interface:
            continue
        if interfaces.logical(interface):
            continue
        row = interfaces.EMPTY.copy()
        row["interface"] = interface
        for column, cell in zip(columns, cells, strict=True):
            if column is not None:
                row[column] = counter(cell)
        reading.duplicates += interface in rows
        rows[interface] = row
    reading.rows = list(rows.values())
    return reading


# netstat -i (net-tools 1.60 has Met behind MTU)
#
# Kernel Interface table
# Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    TX-OK TX-ERR TX-DRP TX-OVR Flg
# ens3             1500    60211      0      3 0         31877      0      0      0 BMRU
_IFACE = {
    "MTU": "mtu",
    "RX-OK": "ipkts",
    "RX-ERR": "ierrs",
    "RX-DRP": "idrops",
    "TX-OK": "opkts",
    "TX-ERR": "oerrs",
    "TX-DRP": "odrops",
}
_IFACE_WORDS = frozenset(_IFACE) | {"Iface", "Met", "RX-OVR", "TX-OVR", "Flg"}


def _table(text: str) -> Reading:
    names: list[str] = []
    samples = interfaces.Samples()
    for line in text.split("\n"):
        words = line.split()
        if words[:1] == ["Iface"] and _IFACE_WORDS.issuperset(words) and {"RX-OK", "TX-OK"}.issubset(words):
            names = words
            samples.header(line.strip())
        elif names and len(words) == len(names) and all(cell.isdigit() for cell in words[1:-1]):
            row = interfaces.EMPTY.copy()
            row["interface"] = words[0].rstrip("*")
            for name, cell in zip(names, words, strict=True):
                if name in _IFACE:
                    row[_IFACE[name]] = counter(cell)
            samples.add(row, link=True)
    return Reading(samples.rows, recognised=bool(names))


# ifconfig -a, netstat -ie (net-tools 2; those before print `RX packets:60211 errors:0 …` and `MTU:1500`)
#
# ens3: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500
#         RX packets 60211  bytes 8812004 (8.4 MiB)
#         RX errors 0  dropped 3  overruns 0  frame 0
#         TX packets 31877  bytes 2210031 (2.1 MiB)
#         TX errors 0  dropped 0 overruns 0  carrier 0  collisions 0
_CONFIGURED = re.compile(r"(\S+?):? +(?:flags=\d+<|Link encap:).*")
_MTU = re.compile(r"\bmtu[ :](\d+)", re.IGNORECASE | re.ASCII)
_DIRECTION = re.compile(r"\b([RT]X) (?=packets|errors|bytes)")
_COUNTED = re.compile(r"\b(packets|errors|dropped|bytes|collisions)[ :](\d+)(?!\S)", re.ASCII)
_COUNTERS: Mapping[tuple[str, str], str] = {
    ("RX", "packets"): "ipkts",
    ("RX", "errors"): "ierrs",
    ("RX", "dropped"): "idrops",
    ("RX", "bytes"): "ibytes",
    ("TX", "packets"): "opkts",
    ("TX", "errors"): "oerrs",
    ("TX", "dropped"): "odrops",
    ("TX", "bytes"): "obytes",
    ("TX", "collisions"): "coll",
    ("TX", "collsns"): "coll",
}


def _row(interface: str) -> Row:
    row = interfaces.EMPTY.copy()
    row["interface"] = interface
    return row


def _ifconfig(text: str) -> Reading:
    rows: dict[str, Row] = {}
    row: Row | None = None
    direction = ""
    for line in text.split("\n"):
        if match := _CONFIGURED.fullmatch(line):
            row = _row(match[1])
            if not interfaces.logical(match[1]):
                rows[match[1]] = row
        if row is None:
            continue
        if mtu := _MTU.search(line):
            row["mtu"] = counter(mtu[1])
        # Old ones print bytes of both directions in one line, and collisions in a line of their own.
        for part in _DIRECTION.sub(r"\n\1 ", line).split("\n"):
            direction = part[:2] if part[:2] in ("RX", "TX") else direction
            for name, value in _COUNTED.findall(part):
                row[_COUNTERS.get((direction, name), "coll")] = counter(value)
    return Reading([row for row in rows.values() if row["ipkts"] is not None], recognised=bool(rows))


# ip -s link (-s -s has further tables of errors; -h prints suffixes; -o has backslashes for line ends; -j is JSON)
#
# 2: ens3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP mode DEFAULT group default qlen 1000
#     link/ether 52:54:00:12:ab:34 brd ff:ff:ff:ff:ff:ff
#     RX:  bytes packets errors dropped  missed   mcast
#        8812004   60211      0       3       0       0
#     TX:  bytes packets errors dropped carrier collsns
#        2210031   31877      0       0       0       0
_LINK = re.compile(r"\d+: ([^\s:@]+)(?:@[^\s:]+)?: <[^>]*>.*? mtu (\d+) .*", re.ASCII)
_JSON = re.compile(r"^\[\s*\{\s*(?=\"ifindex\")", re.MULTILINE)
_DETAILS = re.compile(r"[RT]X errors:")
_LINK_TABLE = re.compile(r"([RT]X):\s+(bytes\s+packets\s.*)")


def _ip(text: str) -> Reading:
    if found := _JSON.search(text):
        return _ip_json(text[found.start() :])
    rows: dict[str, Row] = {}
    row: Row | None = None
    table: tuple[str, list[str]] | None = None
    for printed in text.replace("\\", "\n").split("\n"):
        line = printed.strip()
        if match := _LINK.fullmatch(line):
            row, table = _row(match[1]), None
            row["mtu"] = counter(match[2])
            rows[match[1]] = row
        elif match := _LINK_TABLE.fullmatch(line):
            table = match[1], match[2].split()
        elif _DETAILS.match(line):
            table = None
        elif row is not None and table is not None and (cells := _cells(table[1], line)):
            row.update((_COUNTERS[table[0], name], cell) for name, cell in cells if (table[0], name) in _COUNTERS)
            table = None
    return Reading([row for row in rows.values() if row["ipkts"] is not None], recognised=bool(rows))


def _cells(names: list[str], line: str) -> list[tuple[str, int | None]]:
    """The numbers of a line below such words; none where it is another line."""
    words = line.split()
    if len(words) != len(names):
        return []
    try:
        values = [counter(word) if word.isdigit() else suffixed(word, 1000) for word in words]
    except ValueError:
        return []
    return [(name, None if value is None else round(value)) for name, value in zip(names, values, strict=True)]


def _ip_json(text: str) -> Reading:
    try:
        links, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:  # cut: which of its objects are whole is not worth knowing
        return Reading(recognised=True)
    rows = []
    for link in links:
        stats = link.get("stats64") or link.get("stats")
        if not isinstance(stats, dict) or "ifname" not in link:
            continue
        row = _row(link["ifname"])
        row["mtu"] = link.get("mtu")
        for (direction, name), column in _COUNTERS.items():
            value = stats.get(direction.lower(), {}).get(name)
            if isinstance(value, int):
                row[column] = value
        rows.append(row)
    return Reading(rows, recognised=bool(rows))


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    """By what the text is, as `netstat -ie` prints what ifconfig does."""
    reading = _table(text)
    return reading if reading.recognised else _ifconfig(text)


READERS: Mapping[str, Reader] = {
    "/proc/net/dev": Reader("netstat", lambda programs, text, streamed: _proc_net_dev(text)),
    "netstat": Reader("netstat", _read),
    "ifconfig": Reader("netstat", _read),
    "ip": Reader("netstat", lambda programs, text, streamed: _ip(text)),
}
