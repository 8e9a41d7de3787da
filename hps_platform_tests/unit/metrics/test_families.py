"""What families declare holds together."""

import pytest

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import CAPACITY, Column, Kind, Summary


@pytest.mark.parametrize("name", FAMILIES)
def test_percentiles_are_few_and_order_columns_have_means(name: str) -> None:
    family = FAMILIES[name]
    peaks = [column.name for column in family.rollup_columns if Summary.P95 in column.summaries]
    assert len(peaks) <= 4
    assert bool(family.rollup_top) == bool(family.rollup_by)
    assert all(Summary.MEAN in family.by_name[name].summaries for name in family.rollup_by)
    for column in family.columns:
        if column.kind in (Kind.TEXT, Kind.ID, Kind.COUNTER):
            assert column.summaries == ()


def test_a_capacity_answers_for_all_but_is_stored_once_and_exactly() -> None:
    size = Column("size_kb", "KiB", "Size.", Kind.WHOLE, rollup=CAPACITY)
    assert [size.summary_for(wanted) for wanted in (Summary.MEAN, Summary.MAX)] == [Summary.LAST] * 2
    assert size.summary_type(Summary.LAST) == "bigint"


def test_what_is_not_kept_can_not_be_answered() -> None:
    usual = Column("us", "%", "CPU time in user mode.")
    assert usual.summary_for(Summary.P95) is None
    assert usual.summary_for(Summary.MAX) is Summary.MAX
    assert Column("pid", "", "Process id.", Kind.ID).summary_for(Summary.MEAN) is None
