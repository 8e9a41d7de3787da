"""Users, API tokens, sessions and failed sign-ins: their rows. Secrets arrive here hashed.

What a password must be, how it is hashed and when a sign-in is refused belongs to `hps_platform.access`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from hps_platform.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `users`; never leaves the server, it carries the password's hash."""

    id: int
    username: str
    password_hash: str
    is_admin: bool
    is_active: bool
    created_at: datetime
    password_changed_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token's description; the token itself is known to its owner only."""

    id: int
    username: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


_ACCOUNT = "id, username, password_hash, is_admin, is_active, created_at, password_changed_at, last_sign_in_at"


def create_user(conn: Connection[Any], username: str, password_hash: str, *, is_admin: bool) -> int:
    """The new user's id; `Conflict` when the name is taken (in whatever case)."""
    try:
        with conn.transaction():
            row = conn.execute(
                "INSERT INTO users (username, password_hash, is_admin) VALUES (%s, %s, %s) RETURNING id",
                (username, password_hash, is_admin),
            ).fetchone()
    except UniqueViolation:
        raise Conflict(f"there is a user {username!r} already") from None
    assert row is not None  # noqa: S101  RETURNING gives a row or raises
    return int(row[0])


def create_first_user(conn: Connection[Any], username: str, password_hash: str) -> bool:
    """Adds an administrator where there is no user at all; says whether it did. Safe against a second caller."""
    conn.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
    created = conn.execute(
        "INSERT INTO users (username, password_hash, is_admin)"
        " SELECT %s, %s, true WHERE NOT EXISTS (SELECT FROM users)",
        (username, password_hash),
    )
    return created.rowcount == 1


def any_user(conn: Connection[Any]) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT FROM users)").fetchone()
    return bool(row and row[0])


def find_account(conn: Connection[Any], username: str) -> Account | None:
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        cursor.execute(f"SELECT {_ACCOUNT} FROM users WHERE lower(username) = lower(%s)", (username,))  # noqa: S608
        return cursor.fetchone()


def list_accounts(conn: Connection[Any]) -> list[Account]:
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        cursor.execute(f"SELECT {_ACCOUNT} FROM users ORDER BY lower(username)")  # noqa: S608
        return cursor.fetchall()


def set_password_hash(conn: Connection[Any], user_id: int, password_hash: str, *, changed: bool) -> None:
    """`changed` tells a new password (which ends the user's sessions) from a stronger hash of the same one."""
    conn.execute(
        "UPDATE users SET password_hash = %s,"
        " password_changed_at = CASE WHEN %s THEN now() ELSE password_changed_at END WHERE id = %s",
        (password_hash, changed, user_id),
    )
    if changed:
        conn.execute("DELETE FROM sessions WHERE user_id = %s", (user_id,))


def set_active(conn: Connection[Any], user_id: int, *, active: bool) -> None:
    """A user who is not active is refused with every session and token; the sessions are gone for good."""
    conn.execute("UPDATE users SET is_active = %s WHERE id = %s", (active, user_id))
    if not active:
        conn.execute("DELETE FROM sessions WHERE user_id = %s", (user_id,))


# Sessions -------------------------------------------------------------------------------------------------------------


def create_session(
    conn: Connection[Any], token_hash: bytes, user_id: int, *, expires_at: datetime, address: str
) -> None:
    """Also notes the sign-in and sweeps out sessions that have expired."""
    conn.execute("DELETE FROM sessions WHERE expires_at < now()")
    conn.execute(
        "INSERT INTO sessions (token_hash, user_id, expires_at, address) VALUES (%s, %s, %s, %s)",
        (token_hash, user_id, expires_at, address),
    )
    conn.execute("UPDATE users SET last_sign_in_at = now() WHERE id = %s", (user_id,))


def session_user(conn: Connection[Any], token_hash: bytes) -> tuple[int, str, bool, datetime] | None:
    """`(id, username, is_admin, expires_at)` of the active user whose running session this is."""
    return conn.execute(
        "SELECT users.id, username, is_admin, expires_at FROM sessions JOIN users ON users.id = user_id"
        " WHERE token_hash = %s AND expires_at > now() AND is_active",
        (token_hash,),
    ).fetchone()


def end_session(conn: Connection[Any], token_hash: bytes) -> None:
    conn.execute("DELETE FROM sessions WHERE token_hash = %s", (token_hash,))


# API tokens -----------------------------------------------------------------------------------------------------------


def create_token(
    conn: Connection[Any], token_hash: bytes, user_id: int, *, name: str, expires_at: datetime | None
) -> int:
    """The new token's id; sweeps out tokens that have expired."""
    conn.execute("DELETE FROM api_tokens WHERE expires_at < now()")
    row = conn.execute(
        "INSERT INTO api_tokens (user_id, name, token_hash, expires_at) VALUES (%s, %s, %s, %s) RETURNING id",
        (user_id, name, token_hash, expires_at),
    ).fetchone()
    assert row is not None  # noqa: S101  RETURNING gives a row or raises
    return int(row[0])


def token_user(conn: Connection[Any], token_hash: bytes) -> tuple[int, str, bool, datetime | None] | None:
    """`(id, username, is_admin, expires_at)` of the active user whose token this is; its use is noted, once a minute
    at most."""
    row = conn.execute(
        "SELECT users.id, username, is_admin, expires_at, last_used_at FROM api_tokens"
        " JOIN users ON users.id = user_id"
        " WHERE token_hash = %s AND (expires_at IS NULL OR expires_at > now()) AND is_active",
        (token_hash,),
    ).fetchone()
    if row is None:
        return None
    conn.execute(
        "UPDATE api_tokens SET last_used_at = now() WHERE token_hash = %s"
        " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
        (token_hash,),
    )
    return row[0], row[1], row[2], row[3]


def list_tokens(conn: Connection[Any], username: str | None = None) -> list[ApiToken]:
    with conn.cursor(row_factory=class_row(ApiToken)) as cursor:
        cursor.execute(
            "SELECT api_tokens.id, username, name, api_tokens.created_at, expires_at, last_used_at"
            " FROM api_tokens JOIN users ON users.id = user_id"
            " WHERE %(username)s::text IS NULL OR lower(username) = lower(%(username)s) ORDER BY api_tokens.id",
            {"username": username},
        )
        return cursor.fetchall()


def revoke_token(conn: Connection[Any], token_id: int) -> None:
    """`NotFound` when there is no such token."""
    if conn.execute("DELETE FROM api_tokens WHERE id = %s", (token_id,)).rowcount == 0:
        raise NotFound(f"there is no API token {token_id}")


# Failed sign-ins ------------------------------------------------------------------------------------------------------


def lock_failures(conn: Connection[Any], address: str, username: str) -> tuple[int, float]:
    """`(failures, seconds since the last)`.

    The row stays locked until the transaction ends, so that parallel guesses are counted one after the other.
    """
    conn.execute(
        "INSERT INTO sign_in_failures (address, username, failures, last_at) VALUES (%s, %s, 0, clock_timestamp())"
        " ON CONFLICT (address, username) DO NOTHING",
        (address, username),
    )
    row = conn.execute(
        "SELECT failures, extract(epoch FROM clock_timestamp() - last_at)::float8 FROM sign_in_failures"
        " WHERE address = %s AND username = %s FOR UPDATE",
        (address, username),
    ).fetchone()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def set_failures(conn: Connection[Any], address: str, username: str, failures: int) -> None:
    conn.execute(
        "UPDATE sign_in_failures SET failures = %s, last_at = clock_timestamp() WHERE address = %s AND username = %s",
        (failures, address, username),
    )


def forgive(conn: Connection[Any], address: str, username: str, every_account: str) -> None:
    """After a success: nothing is held against this account from this address; the address gets its attempt back."""
    conn.execute(
        "UPDATE sign_in_failures SET failures = greatest(failures - 1, 0) WHERE address = %s AND username = %s",
        (address, every_account),
    )
    conn.execute("DELETE FROM sign_in_failures WHERE address = %s AND username = %s", (address, username))


def forget_failures(conn: Connection[Any], *, older_than_s: float) -> None:
    """Skips rows that another attempt has locked: two sweeps never wait for each other."""
    conn.execute(
        "DELETE FROM sign_in_failures WHERE (address, username) IN (SELECT address, username FROM sign_in_failures"
        " WHERE last_at < now() - make_interval(secs => %s) FOR UPDATE SKIP LOCKED)",
        (older_than_s,),
    )
