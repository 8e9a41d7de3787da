"""OpenSSH client configurations as text: which hosts they name and how those are reached. Nothing is run or opened.

`Match exec` would run a command and `Include` read further files: the one is refused, the other is told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko

from hps_platform.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ConfiguredHost:
    """What a configuration says of a name without wildcards; `line` is that of its `Host`."""

    name: str
    address: str
    port: str
    username: str | None
    key_files: tuple[str, ...]
    certificate_file: str | None
    jumps: tuple[str, ...]
    """`[user@]host[:port]` each, in the order they are passed."""
    line: int


def configured_hosts(text: str) -> tuple[list[ConfiguredHost], list[str]]:
    """The hosts in the order of the text, and what was not followed, in words. Raises `InvalidInput` with the line."""
    names, notes = _names(text)
    try:
        config = paramiko.SSHConfig.from_text(text)
    except paramiko.ConfigParseError as error:
        raise InvalidInput(f"no OpenSSH configuration: {error}") from error
    return [_host(config, name, line) for name, line in names.items()], notes


def _names(text: str) -> tuple[dict[str, int], list[str]]:
    names: dict[str, int] = {}
    notes: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        keyword, value = ([*re.split(r"\s*=\s*|\s+", line.strip(), maxsplit=1), ""])[:2]
        match keyword.lower():
            case "host":
                for name in value.replace('"', "").split():
                    if not re.search(r"[*?!]", name):
                        names.setdefault(name, number)
            case "match" if re.search(r"\bexec\b", value, re.IGNORECASE):
                raise InvalidInput(f"line {number}: `Match exec` would run a command; take it out")
            case "include":
                notes.append(f"line {number}: `Include {value}` is not followed; import that file as well")
    return names, notes


def _host(config: paramiko.SSHConfig, name: str, line: int) -> ConfiguredHost:
    try:
        found = config.lookup(name)
    except (paramiko.SSHException, ValueError, KeyError) as error:
        raise InvalidInput(f"line {line} ({name}): {error}") from error
    jump = found.get("proxyjump") or "none"
    files: Sequence[str] = found.get("identityfile", [])
    return ConfiguredHost(
        name=name,
        address=found["hostname"],
        port=found.get("port", "22"),
        username=found.get("user"),
        key_files=tuple(files),
        certificate_file=found.get("certificatefile"),
        jumps=() if jump.lower() == "none" else tuple(part.strip() for part in jump.split(",")),
        line=line,
    )
