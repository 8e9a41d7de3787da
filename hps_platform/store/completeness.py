"""The conservation ledger: of every minute of a family on a server, what was sequenced and what became of it.

`completeness` has one row per server, family, minute (`timestamp`) and collector session. Readers sum over sessions:

| column | meaning |
|---|---|
| `collected` | samples that the collector numbered: `landed + rejected + missing` |
| `landed` | samples whose rows are in the family's table |
| `rejected` | samples that are dead letters |
| `missing` | numbers that never came, laid into the minutes between their neighbours |
| `landed_rows`, `rejected_rows` | rows, where the others count samples |

`completeness_1h` holds the sums by hour, one row per server, family and hour. A minute without a row had nothing
sequenced; a row's completeness is `landed / nullif(collected, 0)`. Both are partitioned by `timestamp`.

A landing commit only appends to `completeness_log` (`append`), which costs a COPY; `fold` takes that in, some minutes
later, and is exact whatever comes late, twice or again by replay: `landed_seqs` and `rejected_seqs` keep the numbers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from psycopg import Connection, sql

from hps_platform.metrics.family import Family
from hps_platform.store import copy, partitions, reading
from hps_platform.store.schema import Grain
from hps_platform.store.series import Scope, Width

TABLES = ("completeness", "completeness_1h")
LOG_SCHEMA: dict[str, pl.DataType] = {
    "family": pl.String(),
    "server_id": pl.Int64(),
    "timestamp": pl.Datetime("ms", "UTC"),
    "session": pl.String(),
    "first_seq": pl.Int64(),
    "last_seq": pl.Int64(),
    "landed": pl.Boolean(),
    "landed_rows": pl.Int64(),
    "rejected_rows": pl.Int64(),
    "recount": pl.Boolean(),
}
"""A run of consecutive numbers of one minute, all landed or all rejected, with the rows they gave. Without numbers:
rows of messages that carry none. `recount`: rows of this minute were there already, so they are counted in the table.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK = 0x687073_04
_AT_ONCE = 200_000
_NEIGHBOUR = timedelta(days=2)
"""A session's numbers are followed over a pause of so long."""

_TEMPORARY = """
    CREATE TEMPORARY TABLE IF NOT EXISTS folding (LIKE completeness_log) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS fold_windows (
        server_id bigint, family text, session text, first timestamptz, last timestamptz, continues boolean,
        begins boolean
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS fold_missing (
        server_id bigint, family text, session text, "timestamp" timestamptz, missing integer
    ) ON COMMIT DELETE ROWS;
"""
_TAKE = """
    WITH taken AS (
        DELETE FROM completeness_log
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM completeness_log LIMIT %(limit)s)) RETURNING *
    )
    INSERT INTO folding SELECT * FROM taken
"""
_MERGE = """
    INSERT INTO completeness AS old (server_id, family, "timestamp", session, landed_seqs, rejected_seqs,
                                     landed, rejected, collected, landed_rows, rejected_rows)
    SELECT server_id, family, "timestamp", session, good, bad - good, completeness_count(good),
           completeness_count(bad - good), completeness_count(good + bad), landed_rows, rejected_rows
    FROM (
        SELECT server_id, family, "timestamp", session,
               coalesce(range_agg(int8range(first_seq, last_seq, '[]'))
                        FILTER (WHERE landed AND first_seq IS NOT NULL), '{}') AS good,
               coalesce(range_agg(int8range(first_seq, last_seq, '[]'))
                        FILTER (WHERE NOT landed AND first_seq IS NOT NULL), '{}') AS bad,
               sum(landed_rows) AS landed_rows, sum(rejected_rows) AS rejected_rows
        FROM folding GROUP BY 1, 2, 3, 4
    ) AS new
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (server_id, family, "timestamp", session) DO UPDATE SET
        landed_seqs = old.landed_seqs + excluded.landed_seqs,
        rejected_seqs = old.rejected_seqs + excluded.rejected_seqs - (old.landed_seqs + excluded.landed_seqs),
        landed = completeness_count(old.landed_seqs + excluded.landed_seqs),
        rejected = completeness_count(
            old.rejected_seqs + excluded.rejected_seqs - (old.landed_seqs + excluded.landed_seqs)),
        collected = old.missing + completeness_count(
            old.landed_seqs + excluded.landed_seqs + old.rejected_seqs + excluded.rejected_seqs),
        landed_rows = old.landed_rows + excluded.landed_rows,
        rejected_rows = old.rejected_rows + excluded.rejected_rows
"""
# What the log still holds is in the table as well and will be added: it is left out of the count.
_RECOUNT = """
    UPDATE completeness AS old SET landed_rows = old.landed_rows + counted.in_table - counted.in_ledger
    FROM (
        SELECT server_id, "timestamp", max(session) AS session,
               sum(landed_rows) + coalesce(max(waiting.rows), 0) AS in_ledger,
               (SELECT count(*) FROM {table} AS r WHERE r.server_id = wanted.server_id
                    AND r."timestamp" >= wanted."timestamp"
                    AND r."timestamp" < wanted."timestamp" + interval '1 minute') AS in_table
        FROM (SELECT DISTINCT server_id, "timestamp" FROM folding WHERE recount AND family = %(family)s) AS wanted
        JOIN completeness USING (server_id, "timestamp")
        LEFT JOIN (
            SELECT server_id, "timestamp", sum(landed_rows) AS rows FROM completeness_log
            WHERE family = %(family)s GROUP BY 1, 2
        ) AS waiting USING (server_id, "timestamp")
        WHERE completeness.family = %(family)s
        GROUP BY server_id, "timestamp", wanted.server_id, wanted."timestamp"
    ) AS counted
    WHERE old.family = %(family)s AND (old.server_id, old."timestamp", old.session)
        = (counted.server_id, counted."timestamp", counted.session) AND counted.in_table <> counted.in_ledger
"""
# From the minute with numbers before those that were touched to the one after them. A session begins with number 1.
_WINDOWS = """
    INSERT INTO fold_windows
    SELECT span.server_id, span.family, span.session, coalesce(before."timestamp", span.first),
           coalesce(after."timestamp", span.last), before."timestamp" IS NOT NULL,
           before."timestamp" IS NULL AND NOT EXISTS (
               SELECT FROM completeness AS c WHERE c.server_id = span.server_id AND c.family = span.family
                   AND c.session = span.session AND c."timestamp" < span.first)
    FROM (
        SELECT server_id, family, session, min("timestamp") AS first, max("timestamp") AS last
        FROM folding WHERE first_seq IS NOT NULL GROUP BY 1, 2, 3
    ) AS span
    LEFT JOIN LATERAL (
        SELECT c."timestamp" FROM completeness AS c
        WHERE c.server_id = span.server_id AND c.family = span.family AND c.session = span.session
          AND c."timestamp" < span.first AND c."timestamp" >= span.first - %(neighbour)s AND c.landed + c.rejected > 0
        ORDER BY c."timestamp" DESC LIMIT 1
    ) AS before ON true
    LEFT JOIN LATERAL (
        SELECT c."timestamp" FROM completeness AS c
        WHERE c.server_id = span.server_id AND c.family = span.family AND c.session = span.session
          AND c."timestamp" > span.last AND c."timestamp" <= span.last + %(neighbour)s AND c.landed + c.rejected > 0
        ORDER BY c."timestamp" LIMIT 1
    ) AS after ON true
"""
# A gap lies in the minutes between its neighbours, evenly; where there are none, in the later neighbour's minute.
_FIND_MISSING = """
    INSERT INTO fold_missing
    WITH numbered AS (
        SELECT w.server_id, w.family, w.session, c."timestamp", c.missing,
               w.continues, w.first, w.begins OR c."timestamp" > w.first AS judged,
               c.landed_seqs + c.rejected_seqs AS known,
               lag(c."timestamp") OVER earlier AS before,
               coalesce(max(upper(c.landed_seqs + c.rejected_seqs)) OVER (
                   earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 1) AS expected
        FROM fold_windows AS w JOIN completeness AS c
          ON c.server_id = w.server_id AND c.family = w.family AND c.session = w.session
         AND c."timestamp" BETWEEN w.first AND w.last AND c.landed + c.rejected > 0
        WINDOW earlier AS (PARTITION BY w.server_id, w.family, w.session ORDER BY c."timestamp")
    ), gaps AS (
        SELECT *, NOT (continues AND "timestamp" = first) AS concerned,
               greatest(lower(known) - expected, 0) AS gap,
               coalesce(extract(epoch FROM "timestamp" - before)::bigint / 60 - 1, 0) AS between_them
        FROM numbered
    ), found AS (
        SELECT server_id, family, session, "timestamp", missing AS old_missing,
               CASE WHEN judged AND between_them < 1 THEN gap ELSE 0 END
               + upper(known) - lower(known) - completeness_count(known) AS missing
        FROM gaps WHERE concerned
        UNION ALL
        SELECT server_id, family, session, before + interval '1 minute' * step, 0,
               gap * step / between_them - gap * (step - 1) / between_them
        FROM gaps CROSS JOIN LATERAL generate_series(1, between_them) AS step
        WHERE judged AND gap > 0
    )
    SELECT server_id, family, session, "timestamp", missing FROM found WHERE missing <> old_missing
"""
_FORGET_MISSING = """
    WITH gone AS (
        DELETE FROM completeness AS c USING fold_windows AS w
        WHERE c.server_id = w.server_id AND c.family = w.family AND c.session = w.session
          AND c."timestamp" > w.first AND c."timestamp" < w.last
          AND c.landed + c.rejected = 0 AND c.landed_rows = 0 AND c.rejected_rows = 0
        RETURNING c.server_id, c.family, c.session, c."timestamp"
    )
    INSERT INTO fold_missing SELECT *, 0 FROM gone
"""
_SET_MISSING = """
    INSERT INTO completeness AS old (server_id, family, session, "timestamp", missing, collected)
    SELECT server_id, family, session, "timestamp", sum(missing), sum(missing) FROM fold_missing
    GROUP BY 1, 2, 3, 4 HAVING sum(missing) > 0
        OR EXISTS (SELECT FROM completeness AS c WHERE c.server_id = fold_missing.server_id
                   AND c.family = fold_missing.family AND c."timestamp" = fold_missing."timestamp"
                   AND c.session = fold_missing.session)
    ON CONFLICT (server_id, family, "timestamp", session) DO UPDATE SET
        missing = excluded.missing, collected = old.landed + old.rejected + excluded.missing
"""
_HOURS = """
    INSERT INTO completeness_1h
    SELECT family, server_id, hour, sums.* FROM (
        SELECT server_id, family, date_trunc('hour', "timestamp", 'UTC') AS hour FROM folding
        UNION SELECT server_id, family, date_trunc('hour', "timestamp", 'UTC') FROM fold_missing
    ) AS touched
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(collected), 0), coalesce(sum(landed), 0), coalesce(sum(rejected), 0),
               coalesce(sum(missing), 0), coalesce(sum(landed_rows), 0), coalesce(sum(rejected_rows), 0)
        FROM completeness AS c
        WHERE c.server_id = touched.server_id AND c.family = touched.family
          AND c."timestamp" >= hour AND c."timestamp" < hour + interval '1 hour'
    ) AS sums
    ORDER BY server_id, family, hour
    ON CONFLICT (server_id, family, "timestamp") DO UPDATE SET
        collected = excluded.collected, landed = excluded.landed, rejected = excluded.rejected,
        missing = excluded.missing, landed_rows = excluded.landed_rows, rejected_rows = excluded.rejected_rows
"""
# One snapshot: what the log still holds counts as well. An index range for each server, whatever the day's size.
_DIFFERENCES = """
    WITH counted AS (
        SELECT server_id, "timestamp", sum(landed_rows) AS rows FROM (
            SELECT server_id, "timestamp", landed_rows FROM completeness
            WHERE family = %(family)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s
            UNION ALL
            SELECT server_id, "timestamp", landed_rows FROM completeness_log
            WHERE family = %(family)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s
        ) AS both_of_them GROUP BY 1, 2
    ), present AS (
        SELECT server_id, bucket."timestamp", bucket.rows
        FROM (SELECT id AS server_id FROM servers UNION SELECT server_id FROM counted) AS known
        CROSS JOIN LATERAL (
            SELECT date_trunc('minute', r."timestamp", 'UTC') AS "timestamp", count(*) AS rows FROM {table} AS r
            WHERE r.server_id = known.server_id AND r."timestamp" >= %(start)s AND r."timestamp" < %(end)s GROUP BY 1
        ) AS bucket
    )
    SELECT server_id, "timestamp", coalesce(counted.rows, 0)::bigint, coalesce(present.rows, 0)::bigint
    FROM counted FULL JOIN present USING (server_id, "timestamp")
    WHERE coalesce(counted.rows, 0) <> coalesce(present.rows, 0)
    ORDER BY 2, 1 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A minute whose rows in the family's table are not those that landing counted."""

    family: str
    server_id: int
    timestamp: datetime
    counted: int
    in_table: int


def append(conn: Connection[Any], runs: pl.DataFrame) -> None:
    """Adds what one commit saw; `runs` has `LOG_SCHEMA`."""
    if not runs.is_empty():
        copy.send(conn, "completeness_log", list(LOG_SCHEMA), copy.encode(runs.select(list(LOG_SCHEMA))))


def fold(conn: Connection[Any]) -> int:
    """Takes the log into the ledger; how many entries. Call it again until that is 0. Landing is not held up."""
    with conn.transaction():
        conn.execute("SET LOCAL statement_timeout = '10min'")
        conn.execute("SET LOCAL jit = off")
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        conn.execute(_TEMPORARY)
        taken = conn.execute(_TAKE, {"limit": _AT_ONCE}).rowcount
        if not taken:
            return 0
        conn.execute("ANALYZE folding")
        days = conn.execute("SELECT DISTINCT (timestamp AT TIME ZONE 'UTC')::date FROM folding").fetchall()
        partitions.ensure_days(conn, TABLES, [day for (day,) in days])
        conn.execute(_MERGE)
        recounted = conn.execute("SELECT DISTINCT family FROM folding WHERE recount").fetchall()
        for (family,) in recounted:
            conn.execute(sql.SQL(_RECOUNT).format(table=sql.Identifier(f"{family}_metrics")), {"family": family})
        conn.execute(_WINDOWS, {"neighbour": _NEIGHBOUR})
        conn.execute("ANALYZE fold_windows")
        conn.execute(_FORGET_MISSING)
        conn.execute(_FIND_MISSING)
        between = conn.execute("SELECT DISTINCT (timestamp AT TIME ZONE 'UTC')::date FROM fold_missing").fetchall()
        partitions.ensure_days(conn, TABLES, [day for (day,) in between])
        conn.execute(_SET_MISSING)
        conn.execute(_HOURS)
        return taken


def differences(
    conn: Connection[Any], family: Family, start: datetime, end: datetime, *, limit: int = 20
) -> list[Difference]:
    """Minutes in [`start`, `end`) whose rows in the table are not those that were counted, the oldest first."""
    query = sql.SQL(_DIFFERENCES).format(table=sql.Identifier(family.table))
    rows = conn.execute(query, {"family": family.name, "start": start, "end": end, "limit": limit})
    return [Difference(family.name, *row) for row in rows]


def missing(conn: Connection[Any], since: datetime) -> dict[str, int]:
    """Per family how many numbered samples never came, of the hours from `since` on."""
    rows = conn.execute(
        'SELECT family, sum(missing)::bigint FROM completeness_1h WHERE "timestamp" >= %s GROUP BY 1', (since,)
    )
    return dict(rows.fetchall())


def explained(conn: Connection[Any], since: datetime) -> tuple[int, dict[str, int]]:
    """What may be missing since then: messages a collector says it dropped, and per topic offsets that had expired."""
    dropped = conn.execute(
        "SELECT coalesce(sum((details ->> 'messages')::bigint), 0)::bigint FROM collector_events"
        " WHERE kind = 'dropped' AND at >= %s",
        (since,),
    ).fetchone()
    expired = conn.execute(
        "SELECT topic, sum(greatest(next_offset - first_offset, 0))::bigint FROM landing_gaps"
        " WHERE found_at >= %s GROUP BY 1",
        (since,),
    )
    return int(dropped[0]) if dropped else 0, dict(expired.fetchall())


_TABLE = {Grain.MINUTE: "completeness", Grain.HOUR: "completeness_1h"}


def shares(conn: Connection[Any], scope: Scope, width: Width, grain: Grain) -> pl.DataFrame:
    """`server_id` or `tag`, `timestamp` (a bucket's begin) and `completeness`, from 0 to 1, of what was numbered."""
    tagged = sql.SQL(" JOIN unnest(%(tagged)s::bigint[], %(tags)s::text[]) AS g (server_id, tag) USING (server_id)")
    query = sql.SQL("""
        SELECT {line}, {bucket}, sum(landed)::float8 / nullif(sum(collected), 0) FROM {table} AS r{tagged}
        WHERE server_id = ANY(%(ids)s) AND family = %(family)s AND timestamp >= %(from)s AND timestamp < %(end)s
        GROUP BY 1, 2
    """).format(
        line=sql.Identifier(scope.line),
        bucket=width.sql,
        table=sql.Identifier(_TABLE[grain]),
        tagged=tagged if scope.tags is not None else sql.SQL(""),
    )
    # The minute or hour that a range begins in belongs to it.
    begin = scope.start - (scope.start - _EPOCH) % timedelta(seconds=grain.seconds)
    schema: dict[str, pl.DataType] = {
        scope.line: pl.Int64() if scope.tags is None else pl.String(),
        "timestamp": pl.Datetime("ms", "UTC"),
        "completeness": pl.Float64(),
    }
    return reading.frame(conn, query, {**scope.asked, "from": begin}, schema)


def totals(conn: Connection[Any], scope: Scope) -> dict[str, int]:
    """Samples of the hours that a range touches: `collected, landed, rejected, missing`."""
    names = ("collected", "landed", "rejected", "missing")
    row = conn.execute(
        """
        SELECT coalesce(sum(collected), 0), coalesce(sum(landed), 0), coalesce(sum(rejected), 0),
               coalesce(sum(missing), 0)
        FROM completeness_1h
        WHERE server_id = ANY(%(ids)s) AND family = %(family)s
          AND timestamp >= date_trunc('hour', %(start)s::timestamptz) AND timestamp < %(end)s
        """,
        {name: scope.asked[name] for name in ("ids", "family", "start", "end")},
        prepare=False,
    ).fetchone()
    return dict(zip(names, map(int, row or ()), strict=True))
