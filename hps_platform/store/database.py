"""Connections to the platform's PostgreSQL, and bringing its schema up to date.

What is asked of the database belongs to the other modules of `store`; starting a server to `hps_platform.stack`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from hps_platform.errors import DatabaseUnavailable, QueryTimeout

if TYPE_CHECKING:
    from alembic.config import Config

Connection = psycopg.Connection[Any]
"""What `Database.connection()` and `session()` give, for signatures outside `store`."""

_MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x687073_01
_CONNECT_TIMEOUT_S = 5


def connect_arguments(*, application_name: str, statement_timeout_s: float, idle_timeout_s: float) -> dict[str, Any]:
    """Keyword arguments of `psycopg.connect` that every connection of the platform shares.

    Sessions are in UTC. Keep-alives notice a vanished server within some 20 s; a transaction left open by a hung
    process is ended by the server after `idle_timeout_s`, so that it can't hold locks for ever.
    """
    return {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": application_name,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "options": (
            f"-c timezone=UTC -c statement_timeout={round(statement_timeout_s * 1000)}"
            f" -c idle_in_transaction_session_timeout={round(idle_timeout_s * 1000)}"
        ),
    }


def explained(error: psycopg.Error) -> str:
    """The server's own sentence, without libpq's repetition of addresses and hints."""
    return (error.diag.message_primary or str(error).strip().splitlines()[0] or type(error).__name__).strip()


@contextmanager
def translated() -> Iterator[None]:
    """Turns what psycopg says about an absent or overloaded server into `DatabaseUnavailable`."""
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise QueryTimeout(f"PostgreSQL gave up on a query: {explained(error)}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout) as error:
        raise DatabaseUnavailable(f"PostgreSQL does not answer: {explained(error)}") from error


class Database:
    """A pool of connections; opened at the first use, survives restarts of the server.

    `connection()` commits at the end of its block and rolls back on an exception. A server that can't be reached is
    `DatabaseUnavailable` after at most `timeout_s`.
    """

    def __init__(
        self,
        dsn: str,
        *,
        min_size: int = 1,
        max_size: int = 8,
        timeout_s: float = 10.0,
        statement_timeout_s: float = 60.0,
        application_name: str = "hps",
    ) -> None:
        self.dsn = dsn
        self._opening = threading.Lock()
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout_s,
            max_idle=300.0,
            reconnect_timeout=timeout_s,
            check=ConnectionPool.check_connection,
            kwargs=connect_arguments(
                application_name=application_name, statement_timeout_s=statement_timeout_s, idle_timeout_s=60.0
            ),
            name=application_name,
            open=False,
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self._opening:
            if self._pool.closed:
                self._pool.open()
        with translated():
            try:
                with self._pool.connection() as conn:
                    yield conn
            except PoolTimeout as error:
                raise DatabaseUnavailable(f"no connection to PostgreSQL at {address(self.dsn)}: {error}") from error

    def ping(self) -> None:
        """Raises `DatabaseUnavailable` unless the server answers a query."""
        with self.connection() as conn:
            conn.execute("SELECT 1")

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def session(dsn: str, *, application_name: str, statement_timeout_s: float = 120.0) -> Iterator[Connection]:
    """One connection of its own, in autocommit: transactions are the caller's `conn.transaction()`.

    A server that can't be reached or goes away meanwhile is `DatabaseUnavailable`.
    """
    arguments = connect_arguments(
        application_name=application_name, statement_timeout_s=statement_timeout_s, idle_timeout_s=30.0
    )
    with translated(), psycopg.connect(dsn, autocommit=True, **arguments) as conn:
        yield conn


def address(dsn: str) -> str:
    """Host, port and database of a DSN, without its password."""
    parts = conninfo_to_dict(dsn)
    return f"{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def migrations() -> list[tuple[str, str | None]]:
    """Every revision with the one before it, the first one first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [(script.revision, script.down_revision) for script in reversed(list(scripts))]  # type: ignore[misc]


def migrate(dsn: str, revision: str = "head") -> str:
    """Brings the schema up to `revision` and returns it; idempotent, and safe to run from several processes.

    All migrations of a call are one transaction: it arrives there or changes nothing.
    """
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine, exc, pool

    def connect() -> Connection:
        arguments = connect_arguments(application_name="hps migrate", statement_timeout_s=0, idle_timeout_s=0)
        return psycopg.connect(dsn, **arguments)

    config = _config()
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)
    try:
        with translated(), engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            return MigrationContext.configure(connection).get_current_revision() or ""
    except exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.OperationalError):
            raise DatabaseUnavailable(f"PostgreSQL at {address(dsn)}: {explained(error.orig)}") from error
        raise
    finally:
        engine.dispose()
