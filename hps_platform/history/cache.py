"""Answers out of the cache where there are any; the one way in which app and API ask."""

import hashlib
import io
from dataclasses import replace

import orjson
import polars as pl

from hps_platform.history import intervals
from hps_platform.history.query import Answer, Question, answer
from hps_platform.store import query_cache
from hps_platform.store.database import Database
from hps_platform.store.series import Width


def cached(queries: Database, cache: Database, question: Question) -> Answer:
    """`answer`, or the same from up to five minutes ago when its range has not changed since.

    `queries` may be a replica; `cache` is the primary database.
    """
    key = _key(question)
    with cache.connection() as conn:
        found = query_cache.find(conn, key)
    if found is not None:
        return _unpacked(found)
    fresh = answer(queries, question)
    width = Width(1) if fresh.interval is None else question.width(intervals.seconds(fresh.interval))
    start, end = intervals.whole_buckets(question.start, question.end, width)
    with cache.connection() as conn:
        settled = query_cache.keep(
            conn,
            key,
            _packed(fresh),
            family=question.family.name,
            server_ids=question.server_ids,
            start=start,
            end=end,
        )
    return replace(fresh, settled=settled)


def _key(question: Question) -> bytes:
    parts = (
        (question.family.schema, question.server_ids, question.start, question.end, question.columns),
        (
            question.interval_s,
            question.agg,
            question.points,
            question.zone.key,
            question.envelope,
            question.completeness,
        ),
        sorted((server, list(tags)) for server, tags in question.tags.items()) if question.tags is not None else None,
    )
    return hashlib.blake2b(orjson.dumps(parts), digest_size=32).digest()


def _packed(fresh: Answer) -> bytes:
    about = (fresh.metric, fresh.interval, fresh.units, fresh.step_s)
    frame = io.BytesIO()
    fresh.frame.write_ipc(frame, compression="zstd")
    return orjson.dumps(about) + b"\n" + frame.getvalue()


def _unpacked(found: bytes) -> Answer:
    about, _, frame = bytes(found).partition(b"\n")
    metric, interval, units, step_s = orjson.loads(about)
    return Answer(metric, interval, units, pl.read_ipc(frame), step_s, settled=True)
