"""DDL of a family's tables, derived from the family: raw samples and the rollups of a minute, an hour and six hours.

Migrations hold frozen text; a new family's migration starts from what `family_ddl` prints, and a test compares the
migrated schema with the families.
"""

from enum import StrEnum

from hps_platform.metrics.family import Column, Family, Summary

PROVENANCE = {"kafka_partition": "smallint", "kafka_offset": "bigint"}
"""Columns of raw tables after the family's own: where the row came from."""


class Grain(StrEnum):
    """A rollup's bucket, as the suffix of its table; the finest first. Begins are aligned to midnight UTC."""

    MINUTE = "1m"
    HOUR = "1h"
    SIX_HOURS = "6h"

    @property
    def seconds(self) -> int:
        return {Grain.MINUTE: 60, Grain.HOUR: 3600, Grain.SIX_HOURS: 21_600}[self]

    def summaries(self, column: Column) -> tuple[Summary, ...]:
        """What this rollup holds of a column: that of six hours is made from hours, which give no percentile."""
        if self is Grain.SIX_HOURS:
            return tuple(part for part in column.summaries if part is not Summary.P95)
        return column.summaries


def rollup_table(family: Family, grain: Grain) -> str:
    return f"{family.table}_{grain}"


def rollup_key(family: Family) -> tuple[str, ...]:
    """Primary key of a rollup table."""
    return ("server_id", "timestamp", family.summary_key) if family.summary_key else ("server_id", "timestamp")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _partitioned(table: str, lines: list[str], key: tuple[str, ...]) -> str:
    body = ",\n".join(f"    {line}" for line in [*lines, f"PRIMARY KEY ({_quoted(key)})"])
    return f'CREATE TABLE {table} (\n{body}\n) PARTITION BY RANGE ("timestamp");'


def _raw_ddl(family: Family) -> str:
    lines = ['"server_id" bigint NOT NULL', '"timestamp" timestamptz NOT NULL']
    for column in family.columns:
        lines.append(f'"{column.name}" {column.sql_type}{" NOT NULL" if column.name == family.key else ""}')
    lines.extend(f'"{name}" {sql_type} NOT NULL' for name, sql_type in PROVENANCE.items())
    return _partitioned(family.table, lines, family.primary_key)


def _rollup_ddl(family: Family, grain: Grain) -> str:
    lines = ['"server_id" bigint NOT NULL', '"timestamp" timestamptz NOT NULL']
    if family.summary_key:
        lines.append(f'"{family.summary_key}" {family.by_name[family.summary_key].sql_type} NOT NULL')
    lines.append('"samples" integer NOT NULL')
    for column in family.rollup_columns:
        lines.append(
            ", ".join(f'"{column.name}_{part}" {column.summary_type(part)}' for part in grain.summaries(column))
        )
    return _partitioned(rollup_table(family, grain), lines, rollup_key(family))


def family_ddl(family: Family) -> list[str]:
    """`CREATE TABLE` of the raw table and its rollups, partitioned by time, without partitions."""
    return [_raw_ddl(family), *(_rollup_ddl(family, grain) for grain in Grain)]
