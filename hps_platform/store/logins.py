"""What to log in with: a server's secrets in clear, its jump hosts with theirs; and all of them under another key.

The only module that opens what is stored encrypted. Secrets leave here as `SecretStr`, for `ssh` and nobody else.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from hps_platform.errors import HpsError, InvalidInput, NotFound, SettingsError
from hps_platform.store import jumps, servers
from hps_platform.store.jumps import Jump
from hps_platform.store.secrets import SecretBox
from hps_platform.store.server_fields import SECRETS
from hps_platform.store.servers import Server

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, SECRETS))


@dataclass(frozen=True, slots=True)
class Credentials:
    """A server's secrets in clear; they show as asterisks wherever they are printed."""

    password: SecretStr | None = None
    private_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    certificate: SecretStr | None = None
    jump: SecretStr | None = None
    """JSON: of jump hosts that are not registered, by address, the same four."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A jump host, and how to log in there. Without a pinned key nobody does."""

    name: str
    host: str
    port: int
    username: str
    host_key: str | None
    credentials: Credentials
    legacy: bool = False
    """Whether it is an old server, to which SHA-1 will do."""


@dataclass(frozen=True, slots=True)
class Login:
    """All it takes to log in to a server: its own secrets, and the jump hosts in the order they are passed."""

    credentials: Credentials = field(default_factory=Credentials)
    hops: tuple[Hop, ...] = ()


def login_to(conn: Connection[Any], box: SecretBox, server: Server) -> Login:
    """Raises `SettingsError` when no configured key opens a secret, `InvalidInput` when no way leads there."""
    found = logins_to(conn, box, [server])[server.id]
    if isinstance(found, HpsError):
        raise found
    return found


def logins_to(conn: Connection[Any], box: SecretBox, found: Collection[Server]) -> dict[int, Login | HpsError]:
    """Of many servers at once, by id; one that nobody can log in to has the error in place of it."""
    # Whose credentials open an entry of `settings.jump`: those of the server it names, or of the one that lists it.
    passed: dict[int, list[tuple[Jump, Server]] | InvalidInput] = {}
    jumping = [server for server in found if server.settings.get("jump")]
    known = {server.hostname: server for server in servers.list_servers(conn)} if jumping else {}
    lists = {name: server.settings.get("jump", []) for name, server in known.items()}
    for server in jumping:
        try:
            way = jumps.walk(server.hostname, server.settings["jump"], lists)
        except InvalidInput as error:
            passed[server.id] = error
        else:
            passed[server.id] = [(entry, known[entry if isinstance(entry, str) else of]) for entry, of in way]
    holders = {holder.id for way in passed.values() if isinstance(way, list) for _, holder in way}
    secrets = credentials_of(conn, box, holders | {server.id for server in found})
    return {server.id: _login(secrets, server.id, passed.get(server.id, [])) for server in found}


def rotate(conn: Connection[Any], box: SecretBox) -> tuple[int, int]:
    """Encrypts every secret under the newest key that isn't yet; how many it was, and how many there are.

    In one transaction, whole or not at all; no revision changes, so collectors go on with what they have. Raises
    `SettingsError` naming the server when no configured key opens a secret.
    """
    changed = total = 0
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        # In order of ids, so that a change of two servers at the same time can't wait for us in a circle.
        cursor.execute(sql.SQL("SELECT id, hostname, {} FROM servers ORDER BY id FOR UPDATE").format(_COLUMNS))
        for row in cursor.fetchall():
            try:
                tokens = {name: row[name] for name in SECRETS if row[name]}
                fresh = {name: box.rotate(token) for name, token in tokens.items() if not box.is_newest(token)}
            except SettingsError as error:
                raise SettingsError(f"{row['hostname']}: {error}; nothing was changed") from error
            total += len(tokens)
            changed += len(fresh)
            if fresh:
                assignments = sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in fresh
                )
                statement = sql.SQL("UPDATE servers SET {} WHERE id = {}").format(assignments, sql.Placeholder())
                cursor.execute(statement, [*fresh.values(), row["id"]])
    return changed, total


def credentials_of(
    conn: Connection[Any], box: SecretBox, server_ids: Collection[int]
) -> dict[int, Credentials | SettingsError]:
    """Their own only, by id; one whose secrets no configured key opens has the error in place of them."""
    found: dict[int, Credentials | SettingsError] = {}
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("SELECT id, {} FROM servers WHERE id = ANY(%s)").format(_COLUMNS)
        cursor.execute(query, (list(server_ids),))
        for row in cursor:
            try:
                found[row["id"]] = Credentials(*(box.decrypt(row[name]) if row[name] else None for name in SECRETS))
            except SettingsError as error:
                found[row["id"]] = error
    return found


def _login(
    secrets: Mapping[int, Credentials | SettingsError],
    server_id: int,
    way: Sequence[tuple[Jump, Server]] | InvalidInput,
) -> Login | HpsError:
    if isinstance(way, InvalidInput):
        return way
    needed = [secrets.get(number) for number in (server_id, *(holder.id for _, holder in way))]
    if wrong := next((found for found in needed if not isinstance(found, Credentials)), None):
        return wrong
    opened = [found for found in needed if isinstance(found, Credentials)]
    if len(opened) < len(needed):
        return NotFound(f"server {server_id}, or a jump host of it, was removed just now")
    return Login(
        opened[0], tuple(_hop(entry, holder, own) for (entry, holder), own in zip(way, opened[1:], strict=True))
    )


def _hop(jump: Jump, holder: Server, found: Credentials) -> Hop:
    if isinstance(jump, str):
        return Hop(
            holder.hostname,
            holder.address,
            holder.ssh_port,
            holder.ssh_username,
            holder.host_key,
            found,
            holder.settings.get("legacy_ssh", False),
        )
    username, _, place = jump["address"].rpartition("@")
    host, _, port = place.rpartition(":")
    own = json.loads(found.jump.get_secret_value()).get(jump["address"]) if found.jump else None
    if own is not None:
        found = Credentials(**{part: SecretStr(secret) for part, secret in own.items()})
    return Hop("", host.strip("[]"), int(port), username, jump.get("host_key"), found)
