"""What a metric family is: columns with units, from which topic, table, schema and labels are derived.

Values only. How a family is read off a Unix belongs to `hps_platform.dialects`, how it is stored to
`hps_platform.store`, its bytes on the wire to `hps_platform.metrics.wire`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import polars as pl


class Kind(StrEnum):
    """How a column's values behave, and with that its types and which summaries of it mean something."""

    REAL = "real"  # a measured number with a fraction: a share, a rate, a time
    WHOLE = "whole"  # a measured integer: a size in KiB, a number of threads
    COUNTER = "counter"  # cumulative since boot; only its rate is summarised
    TEXT = "text"
    ID = "id"  # an integer that names something: never summed, averaged or charted


_SQL_TYPES = {
    Kind.REAL: "double precision",
    Kind.WHOLE: "bigint",
    Kind.COUNTER: "bigint",
    Kind.TEXT: "text",
    Kind.ID: "bigint",
}
_POLARS_TYPES: dict[Kind, pl.DataType] = {
    Kind.REAL: pl.Float64(),
    Kind.WHOLE: pl.Int64(),
    Kind.COUNTER: pl.Int64(),
    Kind.TEXT: pl.String(),
    Kind.ID: pl.Int64(),
}


class Summary(StrEnum):
    """What rollups can hold of a column's values in a bucket, as the suffix of the rollup's column."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    P95 = "p95"
    LAST = "last"


USUAL = (Summary.MEAN, Summary.MIN, Summary.MAX)
PEAKS = (*USUAL, Summary.P95)
"""For the few columns of a family, four at most, that people compare by: no percentile can be had of means."""
CAPACITY = (Summary.LAST,)
"""For what changes when somebody changes it, such as a disk's size: kept exactly, and once."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its unit as shown to people (`""` for text), and a sentence that says what it means.

    `rollup` says what rollups hold of it; `None` is the usual for its kind.
    """

    name: str
    unit: str
    help: str
    kind: Kind = Kind.REAL
    label: str = ""
    rollup: tuple[Summary, ...] | None = None

    @property
    def sql_type(self) -> str:
        return _SQL_TYPES[self.kind]

    @property
    def polars_type(self) -> pl.DataType:
        return _POLARS_TYPES[self.kind]

    @property
    def title(self) -> str:
        """The label for charts: "Disk busy (%)"."""
        label = self.label or self.name
        return f"{label} ({self.unit})" if self.unit else label

    @property
    def numeric(self) -> bool:
        return self.kind not in (Kind.TEXT, Kind.ID)

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """What rollups hold of it, each as `<name>_<summary>`."""
        if self.rollup is not None:
            return self.rollup
        return USUAL if self.kind in (Kind.REAL, Kind.WHOLE) else ()

    def summary_for(self, wanted: Summary) -> Summary | None:
        """The summary that answers for `wanted`: itself, or the last value of what hardly ever changes."""
        if wanted in self.summaries:
            return wanted
        return Summary.LAST if self.summaries == CAPACITY else None

    def summary_type(self, summary: Summary) -> str:
        """The SQL type of `<name>_<summary>`."""
        return self.sql_type if summary is Summary.LAST else "real"


@dataclass(frozen=True)
class Family:
    """One metric family. `key` is the column that tells rows of one sample apart (`None`: one row a sample).

    Where rollups would have too many rows, each bucket of a server keeps the `rollup_top` that are first in turn by
    the sums of the columns `rollup_by`.
    """

    name: str
    title: str
    help: str
    columns: tuple[Column, ...]
    key: str | None = None
    rollup_key: str | None = None
    rollup_top: int | None = None
    rollup_by: tuple[str, ...] = ()
    interval_s: float = 60.0
    headline: str = ""  # the column a chart shows when nobody chose one
    everywhere: bool = True  # whether every operating system has it: else no samples may be nothing amiss
    version: int = 1

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def rounded(self) -> dict[str, bool]:
        """Of each column whether it holds whole numbers."""
        return {column.name: column.kind in (Kind.WHOLE, Kind.COUNTER, Kind.ID) for column in self.columns}

    @cached_property
    def has_texts(self) -> bool:
        return any(column.kind is Kind.TEXT for column in self.columns)

    @property
    def topic(self) -> str:
        return f"hps.{self.name}"

    @property
    def table(self) -> str:
        return f"{self.name}_metrics"

    @property
    def schema(self) -> str:
        """The wire schema's name, as sent in the `schema` header."""
        return f"{self.name}.v{self.version}"

    @property
    def primary_key(self) -> tuple[str, ...]:
        return ("server_id", "timestamp", self.key) if self.key else ("server_id", "timestamp")

    @property
    def summary_key(self) -> str | None:
        """The key of rollup rows: a process is summed up by its command, all else by its own key."""
        return self.rollup_key or self.key

    @cached_property
    def numeric_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.numeric and column.name != self.key)

    @cached_property
    def rollup_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.summaries and column.name != self.key)

    @cached_property
    def wire_schema(self) -> dict[str, pl.DataType]:
        """Polars types of one NDJSON row: `timestamp` in epoch milliseconds, then the columns."""
        return {
            "server_id": pl.Int64(),
            "timestamp": pl.Int64(),
            **{column.name: column.polars_type for column in self.columns},
        }

    @cached_property
    def frame_schema(self) -> dict[str, pl.DataType]:
        """Polars types of rows as everything behind the wire sees them: `timestamp` is UTC with milliseconds."""
        return {**self.wire_schema, "timestamp": pl.Datetime("ms", "UTC")}

    @cached_property
    def rates(self) -> tuple[Column, ...]:
        """Columns taken from two samples: the growth per second of a counter."""
        counters = {f"{column.name}_s" for column in self.columns if column.kind is Kind.COUNTER}
        return tuple(column for column in self.columns if column.name in counters)

    @property
    def units(self) -> dict[str, str]:
        return {column.name: column.unit for column in self.numeric_columns}
