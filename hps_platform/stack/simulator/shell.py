"""What a simulated machine's login shell makes of a command line.

Enough of a shell for what a monitoring account runs: assignments before a command, absolute paths, `;`, `grep` behind a
pipe, redirections of stderr, and "not found". Nothing is executed on the machine that the simulator runs on.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from hps_platform.errors import InvalidInput
from hps_platform.stack.simulator import render
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.render import Once, Stream

IDENTIFIED_BY = "uname -a;"
_SHELLS = {
    "aix": "ksh: {}:  not found.",
    "hpux": "sh: {}:  not found.",
    "solaris": "-bash: {}: command not found",
    "linux": "-bash: {}: command not found",
}
_PROCESSORS = {"aix": "powerpc", "linux": "x86_64", "solaris": "sparc", "hpux": "ia64"}
_INTERVAL_COMMANDS = frozenset({"vmstat", "iostat", "sar", "lparstat"})


@dataclass(frozen=True, slots=True)
class Printed:
    """A step whose output does not depend on time."""

    stdout: str
    stderr: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A step that prints once, filtered by the words of `grep`: of `grep -E`, several with a bar between."""

    once: Once
    keep: tuple[str, ...] = ()

    def filtered(self, text: str) -> str:
        """The lines that every `grep` behind the command lets through."""
        kept = text.splitlines(keepends=True)
        for words in self.keep:
            kept = [line for line in kept if any(word in line for word in words.split("|"))]
        return "".join(kept)


@dataclass(frozen=True, slots=True)
class Reports:
    """A step that prints at an interval, `count` times or until it is stopped (None)."""

    program: str
    stream: Stream
    interval_s: float | None
    count: int | None


Step = Printed | Report | Reports


def steps(host: Host, command: str) -> list[Step]:
    """The steps of a command line, in order; a command that does not exist is a step too."""
    stripped = command.strip()
    if stripped.startswith(IDENTIFIED_BY):
        return [Printed(identification(host))]
    found: list[Step] = []
    for part in _parts(stripped):
        stage, *rest = part
        found.append(_step(host, stage, rest))
    return found


def _parts(command: str) -> list[list[list[str]]]:
    """Commands joined by `;` or `&&`, each a list of the stages of its pipe, each a list of words."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[list[str]]] = [[[]]]
    try:
        words = list(lexer)
    except ValueError:
        return [[["sh:"]]]
    for word in words:
        if word in (";", "&&", "||", ";;"):
            parts.append([[]])
        elif word == "|":
            parts[-1].append([])
        else:
            parts[-1][-1].append(word)
    return [part for part in parts if part[0]]


def _step(host: Host, words: list[str], filters: list[list[str]]) -> Step:
    words = _without_redirections(words)
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        words = words[1:]
    if not words:
        return Printed("")
    program, arguments = words[0].rpartition("/")[2], words[1:]
    plain = _PLAIN.get(program)
    if plain is not None:
        return Printed(plain(host, arguments))
    try:
        options, interval_s, count = _interval(program, arguments)
        answer = render.answer(host.os, program, options)
    except InvalidInput as error:
        return Printed("", f"{error}\n", 1)
    if answer is None:
        return _refused(host, program)
    if isinstance(answer, Stream):
        return Reports(program, answer, interval_s, count)
    return Report(answer, tuple(stage[-1] for stage in filters if stage and stage[0] == "grep"))


def _refused(host: Host, program: str) -> Printed:
    known = {name for name, _ in render.SYSTEMS[host.os].ANSWERS} | {"ps"}
    if program in known:
        return Printed("", f"usage: {program}: option not recognised\n", 1)
    if program == "cat" and host.os == "linux":
        return Printed("", "cat: No such file or directory\n", 1)
    return Printed("", _SHELLS[host.os].format(program) + "\n", 127)


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in (">", ">>", "<", ">&"):
            if kept and kept[-1].isdigit():
                kept.pop()
            skip = True
        else:
            kept.append(word)
    return kept


def _interval(program: str, arguments: list[str]) -> tuple[tuple[str, ...], float | None, int | None]:
    """Options, interval and count of a command; only some take the two."""
    if program not in _INTERVAL_COMMANDS:
        return tuple(arguments), None, None
    options = tuple(argument for argument in arguments if argument.startswith("-"))
    numbers = [argument for argument in arguments if not argument.startswith("-")]
    try:
        interval_s = float(numbers[0]) if numbers else None
        count = int(numbers[1]) if len(numbers) > 1 else None
    except ValueError:
        raise InvalidInput(f"usage: {program} [interval [count]]") from None
    if interval_s is not None and interval_s <= 0:
        raise InvalidInput(f"usage: {program} [interval [count]]")
    return options, interval_s, count


def identification(host: Host) -> str:
    """What the script prints that asks a machine who it is."""
    levels = {"aix": render.aix.LEVEL, "linux": render.linux.PRETTY_NAME}
    return (
        f"{_uname(host, [])}\nhps.node={host.hostname}\nhps.level={levels.get(host.os, '')}\n"
        f"hps.processor={_PROCESSORS[host.os]}\nhps.cpus={host.cpus}\n"
    )


def _uname(host: Host, arguments: list[str]) -> str:
    text: str = render.SYSTEMS[host.os].uname(host)
    words = text.split()
    if arguments == ["-n"]:
        return words[1]
    return text if arguments in ([], ["-a"]) else words[0]


_PLAIN: dict[str, Callable[[Host, list[str]], str]] = {
    "uname": lambda host, arguments: _uname(host, arguments or ["-s"]) + "\n",
    "hostname": lambda host, _: host.hostname + "\n",
    "echo": lambda _, arguments: " ".join(arguments) + "\n",
    "true": lambda _host, _arguments: "",
    ":": lambda _host, _arguments: "",
}
