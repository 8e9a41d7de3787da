"""What a command line runs: programs and their arguments, seen through pipes, wrappers and environment prefixes.

Only as much of the shell's grammar as the commands of a collection plan use; nothing is ever executed here.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_REDIRECTION = re.compile(r"(?:(?<=\s)\d|&)?>{1,2}\s*(?:&\d|[^\s;|&\"']+)|<\s*[^\s;|&\"']+")
# Who runs a command: the one-letter options that take a value, and how many words name where it runs.
_WRAPPERS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("nohup", "time", "exec", "command", "busybox", "toybox"), ("", 0)),
    "env": ("u", 0),
    "sudo": ("ugpCT", 0),
    "doas": ("uC", 0),
    "nice": ("n", 0),
    "ionice": ("cn", 0),
    "stdbuf": ("ioe", 0),
    "timeout": ("sk", 1),
    "chroot": ("", 1),
    "jexec": ("uU", 1),
    "clogin": ("l", 1),
    "zlogin": ("l", 1),
}
_KEYWORDS = frozenset(("while", "until", "do", "done", "if", "then", "else", "fi"))
_SHELLS = frozenset(("sh", "bash", "ksh", "zsh", "csh", "tcsh", "dash"))
_FEEDERS = frozenset(("echo", "printf", "yes"))
_PRINTERS = frozenset(("cat", "head", "tail", "more", "grep", "egrep", "fgrep", "sed", "awk"))


@dataclass(frozen=True, slots=True)
class Program:
    """One program with its arguments. `name` lacks the path; of `cat FILE` it is the file, which is what is read."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def interval(self) -> float | None:
        """The first bare number among the arguments: the interval of vmstat and its kin."""
        for argument in self.arguments:
            if _NUMBER.fullmatch(argument) is not None and float(argument) > 0:
                return float(argument)
        return None

    def has(self, letter: str) -> bool:
        """Whether a one-letter flag is given, alone or among others (`-xn`)."""
        return any(
            argument.startswith("-") and not argument.startswith("--") and letter in argument[1:]
            for argument in self.arguments
        )

    def value(self, letter: str) -> str | None:
        """What follows a one-letter flag, in the same word or in the next one."""
        for index, argument in enumerate(self.arguments):
            if argument.startswith("-") and not argument.startswith("--") and letter in argument[1:]:
                inline = argument[1:].partition(letter)[2]
                if inline:
                    return inline
                return self.arguments[index + 1] if index + 1 < len(self.arguments) else None
        return None

    def without(self, letters: str) -> "Program":
        """The program without these one-letter options and what follows them."""
        if not letters:
            return self
        kept: list[str] = []
        words = iter(self.arguments)
        for word in words:
            at = next((index for index, char in enumerate(word) if index and char in letters), 0)
            if not at or not word.startswith("-") or word.startswith("--"):
                kept.append(word)
                continue
            if at > 1:
                kept.append(word[:at])
            if at == len(word) - 1:
                next(words, None)
        return Program(self.name, tuple(kept))

    def values(self, letter: str) -> list[str]:
        """The same for a flag that may be given several times."""
        return [
            found
            for index in range(len(self.arguments))
            if (found := Program(self.name, self.arguments[index : index + 2]).value(letter)) is not None
            and self.arguments[index].startswith("-")
        ]


def _words(command: str) -> list[str]:
    line = _REDIRECTION.sub(" ", command).replace("\n", ";")
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # an unbalanced quote: the words are still there
        return re.findall(r"[;|&]+|[^\s;|&]+", line)


def _unwrap(words: list[str]) -> list[str]:
    """Without assignments, keywords of loops, wrappers and their options in front."""
    while words:
        if _ASSIGNMENT.fullmatch(words[0]) or words[0] in _KEYWORDS:
            words = words[1:]
        elif (wrapper := _WRAPPERS.get(words[0].rpartition("/")[2])) is not None:
            valued, places = wrapper
            words = words[1:]
            while words and words[0].startswith("-"):
                words = words[2 if len(words[0]) == 2 and words[0][1] in valued else 1 :]
            words = words[places:]
        else:
            break
    return words


def _programs(words: list[str]) -> list[Program]:
    words = _unwrap(words)
    if not words:
        return []
    name = words[0].rpartition("/")[2]
    arguments = tuple(words[1:])
    if name in _SHELLS:
        if "-c" in arguments[:-1]:
            return list(programs(arguments[arguments.index("-c") + 1]))
        return []
    if name in _PRINTERS:
        return [Program(argument) for argument in arguments if argument.startswith("/")]
    return [Program(name, arguments)]


@lru_cache(maxsize=4096)
def programs(command: str) -> tuple[Program, ...]:
    """The programs whose output the command line prints: the first of each pipe, in order.

    What only feeds the next one with words (`echo … | lanadmin`) is passed over.
    """
    found: list[Program] = []
    current: list[str] = []
    piped = False
    for word in [*_words(command), ";"]:
        if word.strip("();|&"):
            current.append(word)
            continue
        pipe = word in ("|", "|&")
        feeds = pipe and bool(current) and current[0].rpartition("/")[2] in _FEEDERS
        if not piped and not feeds:
            found += _programs(current)
        current, piped = [], pipe and (piped or not feeds)
    return tuple(found)
