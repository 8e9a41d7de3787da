"""Family tables: assets partitioned by day, filled by long landing runs, re-landed by materialising a day.

The landing run is a job, not a materialisation: it lasts some minutes, commits about every two seconds and reports
what it landed at most once a minute for each family and day. A sensor keeps exactly one such run alive for each group
of partitions, of which there is one unless `HPS_LANDING_GROUPS` says otherwise; it reads the lease in PostgreSQL, never
a run's status, because a run whose worker died can look started for long.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from hps_platform import landing
from hps_platform.defs.resources import Platform
from hps_platform.landing import CommitReport
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", timezone="UTC", end_offset=1)
REPORT_EVERY_S = 60.0
LAUNCH_GRACE_S = 12.0  # a launched run needs up to this long to write its lease


def samples_key(family: Family) -> dg.AssetKey:
    return dg.AssetKey(["samples", family.name])


class Relanding(dg.Config):
    """`reparse`: make the rows anew from the kept raw text with today's dialects."""

    reparse: bool = False


def _table(family: Family) -> dg.AssetsDefinition:
    @dg.asset(
        key=samples_key(family),
        deps=[dg.AssetKey(["kafka", family.topic])],
        partitions_def=DAYS,
        group_name="samples",
        kinds={"postgres"},
        description=f"{family.help} Table `{family.table}`; materialising a day lands it again from Kafka.",
        metadata={"table": family.table},
    )
    def table(context: dg.AssetExecutionContext, platform: Platform, config: Relanding) -> dg.MaterializeResult[None]:
        day = datetime.fromisoformat(context.partition_key).replace(tzinfo=UTC)
        report = landing.replay(
            platform.settings.dsn(),
            platform.settings.bootstrap,
            family.name,
            day,
            day + timedelta(days=1),
            reparse=config.reparse,
        )
        return dg.MaterializeResult(metadata=dict(report.metadata()))

    return table


tables = [_table(family) for family in FAMILIES.values()]


class Reporter:
    """Sums commits up and tells Dagster at most once a minute for each family and day."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context
        self._rows: dict[tuple[str, str], int] = defaultdict(int)
        self._offsets: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
        self._lag_ms = 0
        self._rejected = 0
        self._told_at = time.monotonic()

    def __call__(self, commit: CommitReport) -> None:
        for (family, day), rows in commit.rows.items():
            self._rows[family, day.isoformat()] += rows
        for topic, offsets in commit.offsets.items():
            spans = self._offsets[topic]
            for partition, (first, end) in offsets.items():
                spans[partition] = (min(first, spans.get(partition, (first, end))[0]), end)
        self._rejected += commit.rejected
        self._lag_ms = commit.lag_ms
        if time.monotonic() - self._told_at >= REPORT_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Logs one materialisation for each family and day that got rows since the last time."""
        for (family, day), rows in self._rows.items():
            spans = self._offsets[FAMILIES[family].topic]
            self._context.log_event(
                dg.AssetMaterialization(
                    asset_key=samples_key(FAMILIES[family]),
                    partition=day,
                    metadata={
                        "dagster/row_count": rows,
                        "offsets": {str(p): f"{first}-{end}" for p, (first, end) in sorted(spans.items())},
                        "rejected": self._rejected,
                        "lag_ms": self._lag_ms,
                    },
                )
            )
        self._rows.clear()
        self._offsets.clear()
        self._rejected = 0
        self._told_at = time.monotonic()


class Share(dg.Config):
    """The part of the partitions that a run lands."""

    number: int = 0
    of: int = 1


@dg.op(description="Drains every family's new offsets until its window ends or a successor takes over.")
def land_window(context: dg.OpExecutionContext, platform: Platform, config: Share) -> Iterator[dg.Output[None]]:
    reporter = Reporter(context)
    report = landing.run_window(
        dsn=platform.settings.dsn(),
        bootstrap=platform.settings.bootstrap,
        group=landing.Group(config.number, config.of),
        window_s=platform.settings.landing_window_minutes * 60,
        batch_interval_s=platform.settings.kafka_consumer_batch_interval,
        max_messages=platform.settings.kafka_consumer_max_buffer_size,
        run_id=context.run_id,
        stop=lambda: False,
        on_commit=reporter,
    )
    reporter.tell()
    yield dg.Output(None, metadata=dict(report.metadata()))


@dg.job(description="One landing window; the sensor keep_landing starts the next one before it ends.")
def landing_window() -> None:
    land_window()


@dg.sensor(
    job=landing_window,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps exactly one landing run alive a group: starts one when its lease is stale or about to end.",
)
def keep_landing(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    now = datetime.now(UTC).timestamp()
    told = json.loads(context.cursor) if context.cursor else {}
    launched: dict[str, float] = told if isinstance(told, dict) else {}  # once it was a single time
    with platform.database.connection() as conn:
        due = [
            group
            for group in landing.groups(platform.settings.landing_groups)
            if now - launched.get(group.name, 0.0) >= LAUNCH_GRACE_S and landing.should_start(conn, group)
        ]
    if not due:
        return dg.SkipReason("every group has a landing run, or one was started a moment ago")
    requests = [
        dg.RunRequest(
            run_config=dg.RunConfig(ops={"land_window": Share(number=group.number, of=group.of)}),
            tags={"landing_group": group.name},
        )
        for group in due
    ]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(launched | {group.name: now for group in due}))
