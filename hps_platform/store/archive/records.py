"""The table `archived_days`: where each archived day's files are, and whether its partition is still there."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from hps_platform.store.archive.files import StoredFile
from hps_platform.store.schema import Grain


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """One family's day. `rows` in the file; `messages` they came from, of which `raw_messages` have their text kept.

    `dropped_at` `None`: the rows are in the tables too; so do the other two say it of the rollups, `hours_dropped_at`
    of those by hour and by six hours, which go together. `keep_until`:
    restored, and not dropped before that day.
    """

    family: str
    day: date
    url: str
    bytes: int
    sha256: str
    rows: int
    messages: int
    raw_url: str | None
    raw_bytes: int
    raw_sha256: str | None
    raw_messages: int
    archived_at: datetime
    verified_at: datetime | None
    damage: str | None
    dropped_at: datetime | None
    minutes_dropped_at: datetime | None
    hours_dropped_at: datetime | None
    keep_until: date | None

    @property
    def file(self) -> StoredFile:
        return StoredFile(self.url, self.bytes, self.sha256)

    def lacks(self, grain: Grain | None) -> bool:
        """Whether its rollup of that grain (`None`: its samples) is no longer in the tables."""
        if grain is None:
            return self.dropped_at is not None
        return (self.minutes_dropped_at if grain is Grain.MINUTE else self.hours_dropped_at) is not None

    @property
    def raw_file(self) -> StoredFile | None:
        if self.raw_url is None or self.raw_sha256 is None:
            return None
        return StoredFile(self.raw_url, self.raw_bytes, self.raw_sha256)


def _select(conn: Connection[Any], condition: str, values: dict[str, Any]) -> list[ArchivedDay]:
    columns = ", ".join(ArchivedDay.__slots__)
    with conn.cursor(row_factory=class_row(ArchivedDay)) as cursor:
        statement = f"SELECT {columns} FROM archived_days {condition}"  # noqa: S608  # literals of this module
        cursor.execute(statement.encode(), values)
        return cursor.fetchall()


def listing(conn: Connection[Any], family: str | None = None) -> list[ArchivedDay]:
    """Every archived day, by family and day."""
    condition = "WHERE %(family)s::text IS NULL OR family = %(family)s ORDER BY family, day"
    return _select(conn, condition, {"family": family})


def find(conn: Connection[Any], family: str, day: date) -> ArchivedDay | None:
    found = _select(conn, "WHERE family = %(family)s AND day = %(day)s", {"family": family, "day": day})
    return found[0] if found else None


def dropped(conn: Connection[Any], family: str, first: date, last: date) -> list[ArchivedDay]:
    """Days in `first` … `last` whose rows are only in the archive, ascending."""
    condition = """WHERE family = %(family)s AND day BETWEEN %(first)s AND %(last)s AND dropped_at IS NOT NULL
                   ORDER BY day"""
    return _select(conn, condition, {"family": family, "first": first, "last": last})


def least_verified(conn: Connection[Any], limit: int) -> list[ArchivedDay]:
    """The days whose files have not been looked at for longest."""
    return _select(conn, "ORDER BY verified_at NULLS FIRST, day LIMIT %(limit)s", {"limit": limit})


def damaged(conn: Connection[Any]) -> list[ArchivedDay]:
    """The days whose files were found wrong when they were last looked at."""
    return _select(conn, "WHERE damage IS NOT NULL ORDER BY family, day", {})


def save(
    conn: Connection[Any],
    family: str,
    day: date,
    rows: tuple[StoredFile, int],
    messages: int,
    raw: tuple[StoredFile, int] | None,
) -> None:
    """Records new files of a day: rows and raw texts, each with how many there are."""
    file, count = rows
    raw_file, raw_count = raw or (None, 0)
    conn.execute(
        """
        INSERT INTO archived_days (family, day, url, bytes, sha256, rows, messages,
                                   raw_url, raw_bytes, raw_sha256, raw_messages)
        VALUES (%(family)s, %(day)s, %(url)s, %(bytes)s, %(sha256)s, %(rows)s, %(messages)s,
                %(raw_url)s, %(raw_bytes)s, %(raw_sha256)s, %(raw_messages)s)
        ON CONFLICT (family, day) DO UPDATE SET
            url = excluded.url, bytes = excluded.bytes, sha256 = excluded.sha256, rows = excluded.rows,
            messages = excluded.messages, raw_url = excluded.raw_url, raw_bytes = excluded.raw_bytes,
            raw_sha256 = excluded.raw_sha256, raw_messages = excluded.raw_messages,
            archived_at = now(), verified_at = NULL, damage = NULL
        """,
        {
            "family": family,
            "day": day,
            "url": file.url,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "rows": count,
            "messages": messages,
            "raw_url": raw_file.url if raw_file else None,
            "raw_bytes": raw_file.bytes if raw_file else 0,
            "raw_sha256": raw_file.sha256 if raw_file else None,
            "raw_messages": raw_count,
        },
    )


def note_verified(conn: Connection[Any], one: ArchivedDay, damage: str | None) -> None:
    conn.execute(
        "UPDATE archived_days SET verified_at = now(), damage = %s WHERE family = %s AND day = %s",
        (damage, one.family, one.day),
    )


def note_dropped(conn: Connection[Any], family: str, day: date) -> None:
    conn.execute(
        "UPDATE archived_days SET dropped_at = now(), keep_until = NULL WHERE family = %s AND day = %s", (family, day)
    )


def note_rollup_dropped(conn: Connection[Any], family: str, grain: Grain, start: date, end: date) -> None:
    """Of the days from `start` to before `end`."""
    column = "minutes_dropped_at" if grain is Grain.MINUTE else "hours_dropped_at"
    conn.execute(
        f"UPDATE archived_days SET {column} = now() WHERE family = %s AND day >= %s AND day < %s".encode(),  # noqa: S608  # of two names
        (family, start, end),
    )


def note_restored(conn: Connection[Any], family: str, day: date, keep_until: date | None) -> None:
    """With its rollups, or marked for them."""
    conn.execute(
        "UPDATE archived_days SET dropped_at = NULL, minutes_dropped_at = NULL, hours_dropped_at = NULL,"
        " keep_until = %s WHERE family = %s AND day = %s",
        (keep_until, family, day),
    )
