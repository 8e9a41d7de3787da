"""Databases on a server: making the ones that the platform keeps its own, Dagster's and MLflow's tables in."""

from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from hps_platform.errors import DatabaseUnavailable
from hps_platform.store.database import connect_arguments, explained


def create_databases(dsn: str, *names: str) -> list[str]:
    """Create those that don't exist yet and return them; `dsn` names the server and an account.

    Asks through the first database that can be opened: the DSN's own, else `postgres`. Raises `DatabaseUnavailable`,
    also when the account may not create one; the text names it.
    """
    created: list[str] = []
    try:
        with _open(dsn) as connection:
            for name in names:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
                    continue
                try:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    continue  # another process was quicker
                except psycopg.errors.InsufficientPrivilege as error:
                    raise DatabaseUnavailable(
                        f"the database {name} does not exist and this account may not create it: create it first"
                    ) from error
                created.append(name)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL refuses the connection: {explained(error)}") from error
    return created


def _open(dsn: str) -> psycopg.Connection:
    arguments = connect_arguments(application_name="hps setup", statement_timeout_s=60, idle_timeout_s=60)
    try:
        return psycopg.connect(dsn, autocommit=True, **arguments)
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise
    parts = urlsplit(dsn)
    return psycopg.connect(urlunsplit(parts._replace(path=f"/{quote('postgres')}")), autocommit=True, **arguments)
