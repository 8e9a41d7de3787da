"""The registry: which servers there are, how to log in there, and the state the collector last saw them in.

What fields may hold is checked by `server_fields`, jump hosts by `jumps`; encryption belongs to `secrets`, and opening
what is stored to `logins`. Each change that a person makes raises the row's `revision` and notifies the channel
`hps_servers`, so that collectors pick it up at once.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from hps_platform.errors import Conflict, InvalidInput, NotFound
from hps_platform.store import jumps
from hps_platform.store.database import connect_arguments, translated
from hps_platform.store.secrets import SecretBox
from hps_platform.store.server_fields import SECRETS, check_private_key, checked

CHANNEL = "hps_servers"


@dataclass(frozen=True, slots=True)
class Server:
    """One row, without secrets. `state` is the collector's word; `status` is what people are shown."""

    id: int
    hostname: str
    ip_address: str | None
    ssh_port: int
    ssh_username: str
    operating_system: str | None
    os_version: str | None
    architecture: str | None
    host_key: str | None
    is_active: bool
    owner: str | None
    organisation: str | None
    tags: list[str]
    settings: dict[str, Any]
    state: str
    state_message: str
    state_since: datetime
    facts: dict[str, Any]
    recognised_at: datetime | None
    clock_offset_s: float | None
    plan: list[dict[str, Any]]
    last_seen_at: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime
    has_password: bool
    has_private_key: bool
    has_certificate: bool
    has_jump_credentials: bool

    @property
    def address(self) -> str:
        """Where to connect to."""
        return self.ip_address or self.hostname

    @property
    def status(self) -> str:
        """`paused`, `pending_host_key`, or the state: connecting up slow degraded quarantined_output
        auth_failed key_changed unreachable."""
        if not self.is_active:
            return "paused"
        if self.host_key is None:
            return "pending_host_key"
        return "connecting" if self.state in ("paused", "pending_host_key") else self.state

    @property
    def status_message(self) -> str:
        if not self.is_active:
            return "Collection is switched off for this server."
        if self.host_key is None and self.state != "pending_host_key":
            return "No host key is pinned, so nobody logs in."
        return self.state_message


_COLUMNS = """
    id, hostname, host(ip_address) AS ip_address, ssh_port, ssh_username, operating_system, os_version, architecture,
    host_key, is_active, owner, organisation, tags, settings, state, state_message, state_since, facts, recognised_at,
    clock_offset_s, plan, last_seen_at, revision,
    created_at, updated_at, ssh_password IS NOT NULL AS has_password, ssh_private_key IS NOT NULL AS has_private_key,
    ssh_certificate IS NOT NULL AS has_certificate, ssh_jump_credentials IS NOT NULL AS has_jump_credentials
"""
_SECRETS = sql.SQL(", ").join(map(sql.Identifier, SECRETS))
_SELECT = f"SELECT {_COLUMNS} FROM servers"  # noqa: S608  fixed text


def list_servers(
    conn: Connection[Any], *, active_only: bool = False, limit: int | None = None, offset: int = 0
) -> list[Server]:
    """In the order of hostnames."""
    with conn.cursor(row_factory=class_row(Server)) as cursor:
        cursor.execute(
            f"{_SELECT} WHERE is_active OR NOT %s ORDER BY lower(hostname), id LIMIT %s OFFSET %s",
            (active_only, limit, offset),
        )
        return cursor.fetchall()


def count_servers(conn: Connection[Any]) -> int:
    row = conn.execute("SELECT count(*) FROM servers").fetchone()
    return int(row[0]) if row else 0


def get_server(conn: Connection[Any], server_id: int) -> Server:
    """Raises `NotFound`."""
    with conn.cursor(row_factory=class_row(Server)) as cursor:
        server = cursor.execute(f"{_SELECT} WHERE id = %s", (server_id,)).fetchone()
    if server is None:
        raise NotFound(f"there is no server {server_id}")
    return server


def find_server(conn: Connection[Any], hostname: str) -> Server:
    """By its name, in whatever case. Raises `NotFound`."""
    with conn.cursor(row_factory=class_row(Server)) as cursor:
        server = cursor.execute(f"{_SELECT} WHERE lower(hostname) = lower(%s)", (hostname,)).fetchone()
    if server is None:
        raise NotFound(f"there is no server {hostname!r}; `hps server list` shows those there are")
    return server


def add_server(conn: Connection[Any], box: SecretBox, fields: Mapping[str, Any]) -> Server:
    """`hostname` and `ssh_username` are needed. Raises `InvalidInput`, or `Conflict` when the name is taken."""
    values = checked(fields)
    for name in ("hostname", "ssh_username"):
        if name not in values:
            raise InvalidInput(f"{name} is missing")
    _check_key_pair(values, {})
    _check_jumps(conn, values["hostname"], values)
    row = _encrypted(box, values)
    statement = sql.SQL("INSERT INTO servers ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(sql.Placeholder() * len(row))
    )
    with _unique_hostname(values["hostname"]), conn.transaction():
        inserted = conn.execute(statement, list(row.values())).fetchone()
    assert inserted is not None  # noqa: S101  RETURNING gives a row or raises
    _notify(conn, inserted[0])
    return get_server(conn, inserted[0])


def update_server(conn: Connection[Any], box: SecretBox, server_id: int, fields: Mapping[str, Any]) -> Server:
    """Changes the fields given and no others; an empty secret removes it. Raises `NotFound` and as `add_server`."""
    values = checked(fields)
    stored = stored_secrets(conn, server_id, lock=True)
    if {"ssh_private_key", "ssh_key_passphrase", "ssh_certificate"} & set(values):
        _check_key_pair(values, {name: box.decrypt(token) for name, token in stored.items() if name not in values})
    before = get_server(conn, server_id)
    if not values:
        return before
    _check_jumps(conn, values.get("hostname", before.hostname), values, before)
    row = _encrypted(box, values)
    assignments = sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in row)
    statement = sql.SQL("UPDATE servers SET {}, revision = revision + 1, updated_at = now() WHERE id = {}").format(
        assignments, sql.Placeholder()
    )
    with _unique_hostname(values.get("hostname", "")), conn.transaction():
        conn.execute(statement, [*row.values(), server_id])
    after = get_server(conn, server_id)
    if after.hostname != before.hostname:
        jumps.rename(conn, before.hostname, after.hostname)
    jumps.touch(conn, after.hostname)
    _notify(conn, server_id)
    return after


def remove_server(conn: Connection[Any], server_id: int) -> None:
    """Its samples and events stay. Raises `NotFound`, or `Conflict` when it is another server's jump host."""
    jumps.refuse_in_use(conn, get_server(conn, server_id).hostname)
    if conn.execute("DELETE FROM servers WHERE id = %s", (server_id,)).rowcount == 0:
        raise NotFound(f"there is no server {server_id}")
    _notify(conn, server_id)


def set_state(conn: Connection[Any], server_id: int, state: str, message: str, since: datetime | None = None) -> None:
    """The collector's word on a server; a server that is gone meanwhile is passed over."""
    conn.execute(
        """
        UPDATE servers SET state = %(state)s, state_message = %(message)s,
               state_since = CASE WHEN state = %(state)s THEN state_since ELSE coalesce(%(since)s, now()) END
        WHERE id = %(id)s
        """,
        {"id": server_id, "state": state, "message": message, "since": since},
    )


def recognised(
    conn: Connection[Any], server_id: int, facts: Mapping[str, Any], clock_offset_s: float | None
) -> tuple[dict[str, Any], float | None]:
    """Stores what a host said of itself, and returns what it had said before and its clock's offset then.

    Fills `operating_system` and `architecture` where nobody entered them; the version is always the host's own word.
    """
    before = conn.execute("SELECT facts, clock_offset_s FROM servers WHERE id = %s FOR UPDATE", (server_id,)).fetchone()
    conn.execute(
        """
        UPDATE servers SET operating_system = coalesce(operating_system, %s), os_version = %s,
               architecture = coalesce(architecture, %s), facts = %s, recognised_at = now(),
               clock_offset_s = coalesce(%s, clock_offset_s)
        WHERE id = %s
        """,
        (
            facts["operating_system"], facts["version"] or None, facts["architecture"] or None, Jsonb(dict(facts)),
            clock_offset_s, server_id,
        ),
    )  # fmt: skip
    return (before[0], before[1]) if before else (dict(facts), clock_offset_s)


def planned(conn: Connection[Any], plans: Mapping[int, list[dict[str, Any]]]) -> None:
    """Which command is run for which family on each of these servers, and how that goes."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE servers SET plan = %s WHERE id = %s",
            [(Jsonb(plan), server_id) for server_id, plan in plans.items()],
        )


def seen(conn: Connection[Any], moments: Mapping[int, datetime]) -> None:
    """Moves `last_seen_at` of many servers forward, in one statement."""
    conn.execute(
        """
        UPDATE servers SET last_seen_at = greatest(last_seen_at, seen.at)
        FROM unnest(%s::bigint[], %s::timestamptz[]) AS seen (id, at) WHERE servers.id = seen.id
        """,
        (list(moments), list(moments.values())),
    )


def registry_version(conn: Connection[Any]) -> tuple[int, int, int]:
    """Differs after any change that a person made; cheap enough to ask every few seconds."""
    row = conn.execute(
        "SELECT count(*), coalesce(max(id), 0), coalesce(sum(revision), 0)::bigint FROM servers"
    ).fetchone()
    assert row is not None  # noqa: S101  an aggregate always gives a row
    return int(row[0]), int(row[1]), int(row[2])


class Watch:
    """Waits for changes of the registry on a connection of its own. Methods raise `DatabaseUnavailable`."""

    def __init__(self, dsn: str) -> None:
        with translated():
            self._conn = psycopg.connect(
                dsn,
                autocommit=True,
                **connect_arguments(application_name="hps registry watch", statement_timeout_s=10, idle_timeout_s=0),
            )
            self._conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))

    def wait(self, timeout_s: float) -> tuple[int, int, int]:
        """`registry_version` at the first change, or after `timeout_s` without one."""
        with translated():
            for _ in self._conn.notifies(timeout=timeout_s, stop_after=1):
                pass
            return registry_version(self._conn)

    def close(self) -> None:
        self._conn.close()


def stored_secrets(conn: Connection[Any], server_id: int, *, lock: bool = False) -> dict[str, str]:
    """A server's secrets as they are stored, encrypted. Raises `NotFound`."""
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("SELECT {} FROM servers WHERE id = %s{}").format(
            _SECRETS, sql.SQL(" FOR UPDATE" if lock else "")
        )
        row = cursor.execute(query, (server_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no server {server_id}")
    return {name: token for name, token in row.items() if token}


def _check_key_pair(values: Mapping[str, Any], stored: Mapping[str, SecretStr]) -> None:
    key = values.get("ssh_private_key", stored.get("ssh_private_key"))
    passphrase = values.get("ssh_key_passphrase", stored.get("ssh_key_passphrase"))
    certificate = values.get("ssh_certificate", stored.get("ssh_certificate"))
    if key is not None:
        check_private_key(key, passphrase, certificate)
    elif certificate is not None:
        raise InvalidInput("ssh_certificate is of no use without its ssh_private_key")


def _check_jumps(conn: Connection[Any], hostname: str, values: dict[str, Any], before: Server | None = None) -> None:
    """Names of jump hosts get their registered spelling. A circle, a name that nobody knows: `InvalidInput`."""
    settings = values.get("settings", before.settings if before else {})
    if values.get("settings", {}).get("jump"):
        values["settings"]["jump"] = jumps.checked_names(conn, hostname, settings["jump"])
    if secret := values.get("ssh_jump_credentials"):
        listed = {entry["address"] for entry in settings.get("jump", ()) if isinstance(entry, dict)}
        if strange := sorted(json.loads(secret.get_secret_value()).keys() - listed):
            raise InvalidInput(f"ssh_jump_credentials are for {strange[0]}, which settings.jump does not name")


def _encrypted(box: SecretBox, values: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in values.items():
        if name in SECRETS:
            row[name] = None if value is None else box.encrypt(value)
        else:
            row[name] = Jsonb(value) if name == "settings" else value
    return row


@contextmanager
def _unique_hostname(hostname: str) -> Iterator[None]:
    try:
        yield
    except UniqueViolation:
        raise Conflict(f"there is a server {hostname!r} already") from None


def _notify(conn: Connection[Any], server_id: int) -> None:
    conn.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(server_id)))
