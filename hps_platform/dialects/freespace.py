"""df of System V without a table, as Solaris and HP-UX have it: `/mount (device):`, then figures before their words.

They say what is free, and with some options what there is altogether. Tables of df stand in `mounts`.
"""

import re
from collections.abc import Mapping

from hps_platform.dialects import mounts
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_SIZE, Number, scaled, within
from hps_platform.metrics.sample import Row

# df (blocks have 512 bytes; HP-UX says i-nodes for files; -t adds the second line, -b of Solaris prints kilobytes)
#
# /export/home       (/dev/dsk/c0t1d0s7 ): 6236516 blocks   580433 files
#                                   total: 8810220 blocks   529984 files
#
# df -g of Solaris, and of HP-UX, whose blocks have the size of a fragment
#
# /var               (/dev/dsk/c0t1d0s5 ):         8192 block size          1024 frag size
#  8810220 total blocks    1665368 free blocks  1577266 available         529984 total files
#   354391 free files      8650752 filesys id
#      ufs fstype       0x00000004 flag             255 filename length
#
# /var                   (/dev/vg00/lvol8       ) :
#                 8192 file system block size            8192 fragment size
#               131072 total blocks                     83242 total free blocks
#                82600 allocated free blocks            23136 total i-nodes
#                20796 total free i-nodes               20796 allocated free i-nodes
#
# df -k of HP-UX
#
# /home                  (/dev/vg00/lvol5       ) :   524288 total allocated Kb
#                                                     310112 free allocated Kb
#                                                     214176 used allocated Kb
#                                                         41 % allocation used
_MOUNTED = re.compile(r"(/.*?)\s*\((.*?)\s*\)\s*:(\s*\d.*|\s*)", re.ASCII)
_TOTALS = re.compile(r"\s*total\s*:\s*(?=\d)", re.ASCII)
_FIGURE = re.compile(r"(?<!\S)(-?\d+) +(%? ?[A-Za-z][A-Za-z-]*(?: [A-Za-z-]+)*)(?=\s|$)", re.ASCII)

_BLOCK_KB = 0.5
_IN_BLOCKS: Mapping[str, str] = {
    "blocks": "free",
    "free blocks": "free",
    "total free blocks": "free",
    "available": "avail",
    "allocated free blocks": "avail",
    "total blocks": "size",
}
_IN_KB: Mapping[str, str] = {
    "kilobytes": "free",
    "total allocated Kb": "size",
    "free allocated Kb": "free",
    "used allocated Kb": "used",
}
_COUNTED: Mapping[str, str] = {
    "files": "ifree",
    "i-nodes": "ifree",
    "free files": "ifree",
    "total free i-nodes": "ifree",
    "total files": "inodes",
    "total i-nodes": "inodes",
    "% allocation used": "used_pct",
    "fragment size": "fragment",
}
_OF_TOTALS: Mapping[str, str] = {"blocks": "total blocks", "files": "total files", "i-nodes": "total i-nodes"}

_Figures = dict[str, Number | None]
"""By what they are; none where -1 was printed, which is what NFS knows of files."""


def _add(figures: _Figures, text: str, *, totals: bool) -> None:
    """Adds the figures of a line; sizes in KiB."""
    for digits, words in _FIGURE.findall(text):
        name = _OF_TOTALS.get(words, words) if totals else words
        figure = within(int(digits), 0, LARGEST_SIZE)
        if name in _IN_BLOCKS:
            fragment = figures.get("fragment")
            figures[_IN_BLOCKS[name]] = scaled(figure, fragment / 1024 if fragment else _BLOCK_KB)
        elif name in _IN_KB:
            figures[_IN_KB[name]] = figure
        elif name in _COUNTED:
            figures[_COUNTED[name]] = figure


def _row(mount: str, device: str, figures: _Figures) -> Row | None:
    """The family's row; `None` for what was cut, and for trees of the kernel, which have no size."""
    size, free = figures.get("size"), figures.get("free")
    if free is None or ("ifree" not in figures and (size is None or "used" not in figures)):
        return None
    # Without a size, nothing free is either a full file system or none: one on a disk has a path or a pool.
    if size == 0 or (size is None and not free and "/" not in device.strip("/")):
        return None
    row = mounts.EMPTY.copy()
    row["mount"], row["device"] = mount, device
    row["size_kb"], row["avail_kb"] = size, figures.get("avail", free)
    row["used_kb"] = figures.get("used", None if size is None else size - free)
    row["used_pct"] = figures.get("used_pct")
    row["inodes"], ifree = figures.get("inodes"), figures.get("ifree")
    if row["inodes"] is not None and ifree is not None:
        row["iused"] = row["inodes"] - ifree
    return row


def _listed(text: str) -> list[tuple[str, str, _Figures]]:
    """Mount point, device and figures of each file system, in the order of the text."""
    listed: list[tuple[str, str, _Figures]] = []
    for line in text.split("\n"):
        found = _MOUNTED.fullmatch(line)
        said = line
        if found is not None:
            mount, device, said = found.groups()
            # -b with -e prints a line for blocks and another one for files.
            if not listed or listed[-1][0] != mount or "ifree" in listed[-1][2]:
                listed.append((mount, device, {}))
        elif not listed or not (line[:1].isspace() or line[:1].isdigit()):
            continue
        totals = _TOTALS.match(said)
        _add(listed[-1][2], said[totals.end() :] if totals else said, totals=totals is not None)
    return [entry for entry in listed if entry[2]]


def reader() -> Reader:
    """Reads df, with a table or without."""
    tables = mounts.reader()

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        reading = tables.read(programs, text, streamed)
        listed = [] if reading.recognised else _listed(text)
        if not listed:
            return reading
        rows: dict[str, Row] = {}
        duplicates = 0
        for mount, device, figures in listed:
            row = _row(mount, device, figures)
            if row is not None and mount not in mounts.PSEUDO:
                duplicates += mount in rows
                rows[mount] = row
        return Reading(list(rows.values()), recognised=True, duplicates=duplicates)

    return Reader("filesystem", read)
