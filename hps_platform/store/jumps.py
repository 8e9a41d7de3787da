"""Jump hosts by name: which way leads to a server, and who depends on whom.

`settings.jump` of a server lists its jump hosts in the order they are passed: registered servers by name, or addresses
of their own. As with `ssh -J`, the way to the first one may lead through jump hosts of its own. What to log in with is
`logins`' business, all other changes of rows are `servers`'.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from hps_platform.errors import Conflict, InvalidInput

_LONGEST_WAY = 8

Jump = str | Mapping[str, str]
"""The name of a server, or `{"address": "user@host:port", "host_key": pin}`."""


def checked_names(conn: Connection[Any], hostname: str, jump: Sequence[Jump]) -> list[Jump]:
    """The list with each name spelled as it is registered. Raises `InvalidInput`: unknown names, a way in a circle."""
    known = listed(conn)
    spelled = {name.lower(): name for name in known}
    named: list[Jump] = []
    for entry in jump:
        if isinstance(entry, str) and entry.lower() != hostname.lower() and entry.lower() not in spelled:
            raise InvalidInput(
                f"settings.jump: there is no server {entry!r}; register it first, or give its address and host key"
            )
        named.append(spelled.get(entry.lower(), entry) if isinstance(entry, str) else entry)
    walk(hostname, named, known)
    return named


def listed(conn: Connection[Any]) -> dict[str, list[Jump]]:
    """Of every server what its settings list."""
    rows = conn.execute("SELECT hostname, coalesce(settings -> 'jump', '[]') FROM servers").fetchall()
    return dict(rows)


def touch(conn: Connection[Any], hostname: str) -> None:
    """Raises the revision of all servers whose way leads through this one, so that collectors take the new way."""
    conn.execute(
        """
        WITH RECURSIVE behind (id, hostname) AS (
            SELECT id, hostname FROM servers WHERE settings -> 'jump' ? %(name)s
            UNION SELECT s.id, s.hostname FROM servers s JOIN behind ON s.settings -> 'jump' ? behind.hostname
        )
        UPDATE servers SET revision = revision + 1 FROM behind WHERE servers.id = behind.id
        """,
        {"name": hostname},
    )


def rename(conn: Connection[Any], before: str, after: str) -> None:
    """Servers that jump through the host of the one name jump through that of the other."""
    conn.execute(
        """
        UPDATE servers SET settings = jsonb_set(settings, '{jump}', (
            SELECT jsonb_agg(CASE WHEN entry = to_jsonb(%(before)s::text) THEN to_jsonb(%(after)s::text) ELSE entry END
                             ORDER BY place)
            FROM jsonb_array_elements(settings -> 'jump') WITH ORDINALITY AS listed (entry, place)))
        WHERE settings -> 'jump' ? %(before)s
        """,
        {"before": before, "after": after},
    )


def refuse_in_use(conn: Connection[Any], hostname: str) -> None:
    """Raises `Conflict` when others jump through this server."""
    rows = conn.execute(
        "SELECT hostname FROM servers WHERE settings -> 'jump' ? %s AND hostname <> %s ORDER BY 1", (hostname, hostname)
    ).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        raise Conflict(f"{hostname} is a jump host of {names}: give them another way first")


def walk(hostname: str, jump: Sequence[Jump], known: Mapping[str, Sequence[Jump]]) -> list[tuple[Jump, str]]:
    """All jump hosts on the way, each with the name of the server whose settings list it; `known` as `listed` gives it.

    Raises `InvalidInput`.
    """
    way = [(entry, hostname) for entry in jump]
    passed = {hostname.lower()}
    while way and isinstance(first := way[0][0], str):
        if first.lower() in passed:
            raise InvalidInput(f"settings.jump: the way to {hostname} leads in a circle, through {first} again")
        passed.add(first.lower())
        before = known.get(first, ())
        way = [*((entry, first) for entry in before), *way]
        if not before:
            break
    names = [entry for entry, _ in way if isinstance(entry, str)]
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(f"settings.jump: there is no server {unknown[0]!r} any more")
    if hostname in names or len(names) != len(set(names)):
        raise InvalidInput(f"settings.jump: the way to {hostname} passes a host twice")
    if len(way) > _LONGEST_WAY:
        raise InvalidInput(f"settings.jump: the way to {hostname} has {len(way)} jump hosts, at most {_LONGEST_WAY} do")
    return way
