"""Text as Unix commands print it: cleaning, numbers, times, cells under headers, and messages of failed commands.

Knows no family and no operating system. What a table of a family looks like belongs to the modules beside this one.
"""

import re
from collections.abc import Collection, Iterable

Number = int | float

# Escape sequences as terminals get them: CSI (colours, erase), OSC (window titles), and two-character ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()*+][0-9A-Za-z]|[@-Z\\-_=>c]|$)")
_CONTROLS = {"\r": None, "\x00": None, "\x07": None, "\x08": None, "\x1b": None}
_CONTROL_TABLE = str.maketrans({**_CONTROLS, "\x0b": "\n", "\x0c": "\n"})
_DIRT = "\x00\x07\x08\x0b\x0c\r\x1b"


def clean(text: str) -> str:
    """`text` without escape sequences, carriage returns, NULs and bells; lines end in a newline only."""
    if not any(map(text.__contains__, _DIRT)):
        return text
    return _ESCAPES.sub("", text).translate(_CONTROL_TABLE)


NULLS = frozenset(("-", "--", "---", "***", "nan", "-nan", "inf", "-inf", "nanq", "nans", "n/a", "xx", "none"))
"""Cells (in lower case) that commands print for "no value"."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)", re.ASCII)
NUMERIC_LINE = re.compile(r"[\d\s.:\-]*", re.ASCII)
"""A line of plain numbers and times: `int`, `float` and `split` read it without looking at each cell first."""

# Beyond these no gauge or counter of a real machine goes: what is larger is a wrapped or uninitialised variable.
LARGEST_RATE = 2**31 - 1
LARGEST_SIZE = 10**15
LARGEST_COUNTER = 2**63 - 1


def number(cell: str) -> Number | None:
    """The number a cell holds, a decimal comma read as a point; `None` for a null. Raises `ValueError` for text."""
    if _NUMBER.fullmatch(cell) is not None:
        if "," in cell:
            cell = cell.replace(",", ".")
        return float(cell) if "." in cell else int(cell)
    if cell.lower() in NULLS:
        return None
    raise ValueError(cell)


def is_number(cell: str) -> bool:
    """Whether `number` would read the cell: a number or a null."""
    return _NUMBER.fullmatch(cell) is not None or cell.lower() in NULLS


def lone_number(text: str) -> int | None:
    """The one number that has a line to itself, with the end of that line: without that it may have been cut."""
    found = numbers_alone(text.split("\n")[:-1])
    return found[0] if len(found) == 1 else None


def numbers_alone(lines: Iterable[str]) -> list[int]:
    """The numbers of the lines that hold nothing else."""
    return [int(word) for word in map(str.strip, lines) if word.isascii() and word.isdigit()]


def within(value: Number | None, low: float, high: float) -> Number | None:
    """`value`, or `None` where it is not plausible."""
    return value if value is not None and low <= value <= high else None


def counter(cell: str) -> int | None:
    """A cumulative counter; `None` for a null, for text, and for what no 64-bit counter reaches in real life."""
    if cell.isascii() and cell.isdigit():
        value = int(cell)
        return value if value <= LARGEST_COUNTER else None
    return None


def scaled(value: Number | None, factor: float) -> Number | None:
    """`value` x `factor`, an integer where the product is one."""
    if value is None:
        return None
    product = value * factor
    return int(product) if product == int(product) and abs(product) < LARGEST_SIZE else product


_SUFFIXED = re.compile(r"([+-]?\d+(?:[.,]\d*)?)([KMGTPE]?)(i?)(B?)", re.ASCII | re.IGNORECASE)
_POWERS = {letter: power for power, letter in enumerate("KMGTPE", start=1)}


def suffixed(cell: str, base: int = 1024) -> Number | None:
    """A number with a unit suffix, such as `1.5K` or `12Gi`, in plain units; `base` is what K stands for.

    `i` always means powers of 1024. `None` for a null. Raises `ValueError` for text.
    """
    found = _SUFFIXED.fullmatch(cell)
    if found is None:
        if cell.lower() in NULLS:
            return None
        raise ValueError(cell)
    value = number(found[1])
    if value is None or not found[2]:
        return value
    return value * float((1024 if found[3] else base) ** _POWERS[found[2].upper()])


_CLOCK = re.compile(r"(?:\d+:){0,2}\d+", re.ASCII)
"""The usual time, without days and fractions."""


def seconds(cell: str) -> Number | None:
    """`[[dd-]hh:]mm:ss[.cc]` in seconds, a bare number as it stands; `None` for a null.

    Raises `ValueError` for anything else.
    """
    if _CLOCK.fullmatch(cell) is not None:
        whole = 0
        for part in cell.split(":"):
            whole = whole * 60 + int(part)
        return whole
    days, dash, clock = cell.rpartition("-")
    if dash and not (days.isascii() and days.isdigit()):
        if cell.lower() in NULLS:
            return None
        raise ValueError(cell)
    parts = clock.split(":")
    if len(parts) > 3 or (dash and len(parts) < 2):
        raise ValueError(cell)
    total: Number = 0
    for part in parts[:-1]:
        if not (part.isascii() and part.isdigit()):
            raise ValueError(cell)
        total = total * 60 + int(part)
    last = parts[-1]
    if last.isascii() and last.isdigit():
        total = total * 60 + int(last)
    else:
        rest = number(last)
        if rest is None or rest < 0:
            if rest is None and len(parts) == 1 and not dash:
                return None
            raise ValueError(cell)
        total = total * 60 + rest
    return total + int(days) * 86400 if dash else total


Span = tuple[int, int, str]
_WORD = re.compile(r"\S+")


def spans(line: str) -> list[Span]:
    """The words of a line with where each starts and ends."""
    return [(found.start(), found.end(), found.group()) for found in _WORD.finditer(line)]


def distance(cell: Span, header: Span) -> int:
    """How far a cell is from standing under a header word, by the nearer of left and right edges."""
    if cell[0] < header[1] and header[0] < cell[1]:
        return min(abs(cell[0] - header[0]), abs(cell[1] - header[1]), 2)
    return min(abs(cell[0] - header[0]), abs(cell[1] - header[1]))


# What shells and commands say when there is nothing to parse. A line of it in mid-output never fails a good table:
# these are looked for only where no table was found.
_FAILURES = re.compile(
    r"""(?: not[ ]found \b | \b command[ ]or[ ]file[ ]not[ ]found | \b no[ ]such[ ][a-z] | \b bad[ ]command
    | permission[ ]denied | \b access[ ]denied | operation[ ]not[ ]permitted | not[ ]permitted | not[ ]authorized
    | not[ ]allowed[ ]to | permission[ ]to | not[ ]in[ ]the[ ]sudoers | \b privileged[ ]user
    | \b only[ ](?: the[ ] )? root \b | \b superuser[ ]privileges | \b could[ ]not[ ](?: be[ ] )? load
    | not[ ]recognized | cannot[ ](?: execute | open | access | find | allocate | read | stat | load | create ) \b
    | can't[ ](?: open | find | read | stat | locate ) \b | \b unable[ ]to \b | \b failed[ ](?: to | setting ) \b
    | \b (?: is | are | currently )[ ]not[ ]
        (?: available | installed | supported | running | configured | connected ) \b
    | \b not[ ](?: available \b | (?: supported | configured ) [.]? \s*$ )
    | \b do(?:es)?[ ]not[ ](?: exist | allow ) \b
    | \b is[ ]not[ ]a[ ]typo | \b invalid[ ]system[ ]activity
    | (?: invalid | illegal | unknown | unrecogni[sz]ed | bad | ambiguous | unsupported )[ -][^:]{0,40}
        \b(?: option | flag | argument | format | specifier | keyword | interval | operand )
    | \b unknown[ ](?: command | oid ) \b | \b is[ ]unknown,[ ]try \b | ^\s* command[ ]line[ ]is[ ]not[ ]complete
    | \b (?: must | need[s]?[ ]to )[ ] be[ ] (?: root | super | run )
    | \b password[ ](?: has[ ]expired | is[ ]required | change ) | \b change[ ]your[ ]password
    | \b account[ ] (?: is[ ] )? (?: has[ ]expired | locked | disabled )
    | \b try[ ]['`"\u2018]?\S+[ ]-{1,2}h(?:elp)? | ^\s*(?: usage | aufruf | utilisation | syntaxe? )\s*:
    | ^\s*(?: error | fehler | erreur | fatal )\s*[:,] | error[ ]parsing[ ] | exec(?: format[ ]error | ution[ ]error )
    | connection[ ](?: refused | reset | closed | timed[ ]out ) | ^\s* connection[ ]to[ ] .* closed
    | \b no[ ]inet[ ]socket | \b invalid[ ]type[ ]of \b
    | \b could[ ]not[ ]resolve | host[ ]key[ ]verification | open[ ]failed: | allocation[ ]request[ ]failed
    | \b not[ ]responding \b | out[ ]of[ ]memory | not[ ]enough[ ]memory | no[ ]space[ ]left | device[ ]busy
    | read-only[ ]file[ ]system | resource[ ]temporarily[ ]unavailable | fork[ ](?: failed | function )
    | \b no[ ](?: more | child )[ ]processes | i/o[ ]error | input/output[ ]error | stale[ ](?: nfs[ ] )?file[ ]handle
    | ^\s*(?: killed | terminated | alarm[ ]clock | bus[ ]error | abort(?: ed | [ ]trap )? | illegal[ ]instruction
        | hangup ) [.]? \s*$
    | \b (?: killed | terminated ) \s*$ | core[ ]dumped | segmentation[ ]fault | \b syntax[ ]error
    | ^\s* (?: [\w./-]+: [ ]+ )? \d{4}-\d{3,4} \b (?! - ) )""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_MESSAGE_ID = re.compile(r"\d{4}-\d{3,4}\b(?!-)", re.ASCII)
_COUNTED = re.compile(r"\s*\d+\s+[A-Za-z]|.*[:=]\s*\d+\s*$", re.ASCII)
# Whoever runs a command speaks in its stead when it can't, in the words of any language.
_SHELLS = ("sh", "ash", "bash", "csh", "dash", "fish", "ksh", "ksh93", "pdksh", "rbash", "rksh", "tcsh", "zsh")
_STARTERS = ("cat", "sudo", "doas", "su", "env", "exec", "nice", "timeout", "xargs", "ssh", "ld.so.1", "ld-elf.so.1")
_SPEAKERS = frozenset((*_SHELLS, *_STARTERS))
_SAID = re.compile(r"\s*-?(?:\S*/)?([a-z][\w.-]*?)(?:\[\d+\])?\s?: ?\s*\S", re.ASCII)


def failure(text: str, programs: Collection[str] = ()) -> str | None:
    """The line in which a command or shell says that it failed, or `None`.

    Text that mentions an error but holds data as well is some report, not a failed command. `programs` are the names
    of those that ran: what they or the shell say in their own name is no report, either.
    """
    if looks_tabular(text):
        return None
    known = _FAILURES.search(text) is not None
    for line in text.split("\n"):
        said = line.strip()
        if not said or (said[0].isdigit() and _MESSAGE_ID.match(said) is None):
            continue
        if known and _FAILURES.search(said):
            return said
        speaker = _SAID.match(said)
        if speaker is not None and (speaker[1] in _SPEAKERS or speaker[1] in programs):
            return said
    return None


def looks_tabular(text: str) -> bool:
    """Whether the text holds data, known or not: a line of four numbers or more, or several of a number and a label."""
    counted = 0
    for line in text.split("\n"):
        if sum(1 for word in line.split() if _SUFFIXED.fullmatch(word.rstrip("%")) is not None) >= 4:
            return True
        counted += _COUNTED.match(line) is not None
        if counted >= 4:
            return True
    return False


def first_line(text: str, width: int = 120) -> str:
    """The first line that isn't blank, for messages."""
    for line in text.split("\n"):
        if line.strip():
            stripped = "".join(char if char.isprintable() else "?" for char in line.strip())
            return stripped if len(stripped) <= width else stripped[: width - 1] + "…"
    return ""


_MESSAGE = re.compile(r"\s*(?:\S*/)?(?:-?[a-z]{0,4}sh|[a-z][\w.-]*): \S", re.ASCII)


def is_message(line: str) -> bool:
    """Whether the line is something a shell or command said (`df: /x: Stale file handle`), not data."""
    return _MESSAGE.match(line) is not None
