"""What a file says of servers, before anything is compared: fields as the registry names them, each with its place."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hps_platform.errors import InvalidInput
from hps_platform.store.server_fields import FIELDS, checked


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a file: the fields that the file speaks of, checked; `where` is its line, for a message."""

    where: str
    fields: Mapping[str, Any]
    adds: bool = False
    """Its tags and settings come to those that the server has, instead of in place of them."""

    @property
    def hostname(self) -> str:
        return str(self.fields["hostname"])


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's servers, and what of it was passed over, in words."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Collecting:
    """Entries of one file as they are read; what is wrong with them is told together at the end."""

    defaults: Mapping[str, Any]
    adds: bool = False
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _places: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, fields: Mapping[str, Any]) -> None:
        """A default stands in for what the file leaves out."""
        given = {**{name: value for name, value in self.defaults.items() if fields.get(name) is None}, **fields}
        try:
            name = given.get("hostname")
            if not name:
                raise InvalidInput("hostname is missing")  # noqa: TRY301  collected like the others
            entry = Entry(where, checked({key: value for key, value in given.items() if key in FIELDS}), self.adds)
            if strange := [key for key in given if key not in FIELDS]:
                raise InvalidInput(f"a server has no field {strange[0]!r}: it has {', '.join(FIELDS)}")  # noqa: TRY301
        except InvalidInput as error:
            self.problems.append(f"{where}{f' ({name})' if (name := given.get('hostname')) else ''}: {error}")
            return
        if before := self._places.get(entry.hostname.lower()):
            self.problems.append(f"{where} ({entry.hostname}): it stands in {before} already")
            return
        self._places[entry.hostname.lower()] = where
        self.entries.append(entry)

    def done(self) -> Reading:
        """Raises `InvalidInput` with a line for each problem."""
        if self.problems:
            more = len(self.problems) - 20
            lines = self.problems[:20] + ([f"and {more} more"] if more > 0 else [])
            raise InvalidInput("\n".join(lines))
        return Reading(tuple(self.entries), tuple(self.notes))


def placed(name: str, address: str | None) -> dict[str, Any]:
    """Hostname and address of a host that a file knows as `name` and reaches at `address`, an IP address or a name."""
    if not address or address == name:
        return {"hostname": name}
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"hostname": address}
    return {"hostname": name, "ip_address": address}


def jump_hosts(words: Iterable[str], names: Mapping[str, str], username: str | None) -> list[Any]:
    """`[user@]host[:port]` each: a host that the file names itself by its name, others by their address."""
    found: list[Any] = []
    for word in words:
        jump = word.removeprefix("ssh://").rstrip("/")
        if (bare := re.sub(r"^[^@]*@|:\d+$", "", jump)) in names:
            found.append(names[bare])
            continue
        user, _, place = jump.rpartition("@")
        if not (user or username):
            raise InvalidInput(f"the jump host {jump} has no account")
        found.append({"address": f"{user or username}@{place}"})
    return found


def secret_file(name: str, folder: Path, what: str) -> str:
    """The text of a private key or certificate that a file names; relative to that file. Raises `InvalidInput`."""
    path = Path(name).expanduser()
    try:
        return (folder / path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{what} {name} can't be read: {getattr(error, 'strerror', None) or 'no text'}") from error
