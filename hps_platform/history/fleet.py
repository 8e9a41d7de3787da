"""The fleet at a glance: a row a server, newest values and the last hour as sparklines; and who leads it."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from hps_platform.errors import InvalidInput
from hps_platform.history.query import asked
from hps_platform.store import fleet, series
from hps_platform.store.database import Database
from hps_platform.store.series import Aggregate

OVERVIEW_COLUMNS = (*fleet.LATEST_SCHEMA, *fleet.SPARKS)


def overview(db: Database, server_ids: Sequence[int] | None = None) -> pl.DataFrame:
    """`OVERVIEW_COLUMNS`, by server; `None` = every registered server.

    Values are those of the newest sample, null where none came within a day; `timestamp` is the newest of all
    families. Sparks are lists of 60 minutes, oldest first, null where nothing came.
    """
    with db.connection() as conn:
        ids = fleet.server_ids(conn) if server_ids is None else list(server_ids)
        return fleet.latest(conn, ids).join(fleet.sparks(conn, ids), on="server_id", how="left").sort("server_id")


def top(
    db: Database, family: str, column: str, server_ids: Sequence[int], start: datetime, end: datetime, count: int = 10
) -> list[tuple[int, float]]:
    """The servers that are highest in a column in 95 % of their minutes or less, the highest first, with that value.

    Of a family with a key all its keys' minutes count. `InvalidInput` for a column that has no means.
    """
    question = asked(family, server_ids, start, end, columns=[column], interval="1m")
    if not series.may_bucket(question.family, column, Aggregate.MEAN):
        raise InvalidInput(f"{family} has no means of {column}")
    with db.connection() as conn:
        return series.top(conn, question.scope, column, count)
