"""The fleet at a glance: a row a server, newest values and the last hour as sparklines."""

from collections.abc import Sequence

import polars as pl

from hps_platform.store import fleet
from hps_platform.store.database import Database

OVERVIEW_COLUMNS = (*fleet.LATEST_SCHEMA, *fleet.SPARKS)


def overview(db: Database, server_ids: Sequence[int] | None = None) -> pl.DataFrame:
    """`OVERVIEW_COLUMNS`, by server; `None` = every registered server.

    Values are those of the newest sample, null where none came within a day; `timestamp` is the newest of all
    families. Sparks are lists of 60 minutes, oldest first, null where nothing came.
    """
    with db.connection() as conn:
        ids = fleet.server_ids(conn) if server_ids is None else list(server_ids)
        return fleet.latest(conn, ids).join(fleet.sparks(conn, ids), on="server_id", how="left").sort("server_id")
