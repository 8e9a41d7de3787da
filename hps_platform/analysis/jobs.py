"""Programs that usually run at a time of day and don't today: the backup that did not start.

Pure functions of what was seen on which day. Where that is read from is `hps_platform.store.traces`.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

DAYS = 14
"""How many days back are compared with today."""
_WEEK = 7
_LEAST_DAYS = 3
_MOST = 0.8
"""The share of the last seven days on which a daily job has run."""
_WORTH_PCT = 1.0
"""Of one processor, on average: a program that takes less explains little by its absence."""
_RUNNERS = re.compile(r"(?:(?:ba|k|z|da|c)?sh|perl|python|ruby|node|php|java|env|nice|ionice|nohup|time)[\d.]*")


def program(command: str) -> str:
    """What a person calls a command line: "backup.sh" for "/bin/ksh /opt/bin/backup.sh --to 2026-03-02".

    Of an interpreter the script; of a program its file name. Arguments change from night to night.
    """
    words = command.split()
    for word in words:
        name = PurePosixPath(word.strip("[]()")).name
        if word[0] != "-" and "=" not in word and not word.isdecimal() and not _RUNNERS.fullmatch(name):
            return name or word
    return PurePosixPath(words[0]).name if words else ""


def absent(seen: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Programs that run now on most days, or on this day of the week, but not today; the busiest first.

    `seen`: by days back (0 is today) the command lines that ran at this time of day, with the share of a processor in
    percent. A day without samples is missing; without today nothing is known.
    """
    if 0 not in seen:
        return []
    days = {back: _programs(commands) for back, commands in seen.items()}
    today = days.pop(0)
    last = [back for back in days if back <= _WEEK]
    found: dict[str, float] = {}
    for name in {name for programs in days.values() for name in programs} - today.keys():
        ran = [back for back in days if name in days[back]]
        daily = len(last) >= _LEAST_DAYS and sum(back in ran for back in last) >= _MOST * len(last)
        weekly = _WEEK in ran and 2 * _WEEK in ran
        mean = sum(days[back][name] for back in ran) / len(ran)
        if (daily or weekly) and mean >= _WORTH_PCT:
            found[name] = mean
    return sorted(found, key=lambda name: (-found[name], name))


def _programs(commands: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for command, share in commands.items():
        name = program(command)
        found[name] = found.get(name, 0.0) + share
    return found
