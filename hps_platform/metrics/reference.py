"""`docs/metrics.md`, written from the families: `python -m hps_platform.metrics.reference > docs/metrics.md`."""

import sys
from collections.abc import Iterator

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family

_HEAD = """# Metric families

Written by `python -m hps_platform.metrics.reference` from `hps_platform/metrics/`; a test keeps it fresh.

Every row also carries `server_id` and `timestamp` (UTC, the moment the sample describes, on the collector's clock).
A value that a system does not print is null, never 0. One message on a topic is one sample of one host.

Rollups by minute (`<table>_1m`) and hour (`<table>_1h`) hold `<column>_mean`, `_min` and `_max` as `real`; `_p95` where
the last column below says so; of capacities, which change only when somebody changes them, the exact `_last`. Those by
six hours (`<table>_6h`, from midnight UTC) are made from hours, weighed by their samples, and have no `_p95`.
"""


def _section(family: Family) -> Iterator[str]:
    yield f"\n## {family.name}: {family.title}\n"
    yield family.help + "\n"
    key = ", ".join(f"`{name}`" for name in family.primary_key)
    yield (
        f"Topic `{family.topic}`, schema `{family.schema}`, table `{family.table}`, key {key}, "
        f"every {family.interval_s:g} s unless set otherwise.\n"
    )
    if family.rollup_top:
        yield (
            f"Rollups are per {family.rollup_key} and keep {family.rollup_top} a bucket: the first in turn by "
            f"{' and '.join(family.rollup_by)}; six hours all that their hours keep.\n"
        )
    yield "| column | unit | type | meaning | rollups |"
    yield "|---|---|---|---|---|"
    for column in family.columns:
        kept = " ".join(column.summaries) if column in family.rollup_columns else ""
        yield f"| `{column.name}` | {column.unit} | {column.sql_type} | {column.help} | {kept} |"


def reference() -> str:
    """The whole page."""
    lines = [_HEAD.rstrip("\n")]
    for family in FAMILIES.values():
        lines.extend(_section(family))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
