"""Dagster's storage in PostgreSQL, over connections that are kept.

`dagster_postgres` makes a new connection for each question, except in the webserver. A daemon and a code location ask
some fifteen a second, and logging in each time cost a tenth of a core.
"""

from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

_KEPT = 2
"""Connections that stay, of each of the three storages; more are made when needed and closed after use."""
_RENEWED_AFTER_S = 600


class KeptConnectionsStorage(DagsterPostgresStorage):
    """As `dagster.yaml` names it. A connection is tried before it is used, so that PostgreSQL may restart."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = create_pg_engine(
                self.postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=_KEPT,
                max_overflow=-1,
                pool_recycle=_RENEWED_AFTER_S,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptConnectionsStorage":
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
