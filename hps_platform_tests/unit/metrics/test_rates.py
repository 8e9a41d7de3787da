"""Rates of counters: never negative, wraps bridged, reboots recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.metrics.rates import counter_rates, interval_rates
from hps_platform.metrics.sample import Row


def rated(before: Row | None, now: Row, elapsed_s: float = 10.0) -> Row:
    known = {"en0": {"interface": "en0", **before}} if before is not None else None
    return counter_rates([{"interface": "en0", **now}], known, elapsed_s)[0]


def test_growth_over_time() -> None:
    row = rated({"ipkts": 100, "opkts": 50}, {"ipkts": 350, "opkts": 50})
    assert row["ipkts_s"] == 25.0
    assert row["opkts_s"] == 0.0
    assert row["ibytes_s"] is None


def test_nothing_before_gives_no_rate() -> None:
    assert rated(None, {"ipkts": 350})["ipkts_s"] is None


def test_a_32_bit_wrap_is_bridged() -> None:
    assert rated({"ipkts": 2**32 - 100}, {"ipkts": 400})["ipkts_s"] == 50.0


def test_a_64_bit_counter_that_shrinks_is_a_reset() -> None:
    assert rated({"ibytes": 2**40}, {"ibytes": 5})["ibytes_s"] is None


def test_several_counters_that_shrink_are_a_reboot() -> None:
    row = rated({"ipkts": 2**32 - 9, "opkts": 2**32 - 9, "ierrs": 0}, {"ipkts": 3, "opkts": 4, "ierrs": 0})
    assert row["ipkts_s"] is None
    assert row["opkts_s"] is None
    assert row["ierrs_s"] is None


@pytest.mark.parametrize("elapsed_s", [0.0, -3.0])
def test_a_clock_that_stands_or_jumps_back_gives_no_rate(elapsed_s: float) -> None:
    assert rated({"ipkts": 1}, {"ipkts": 2}, elapsed_s)["ipkts_s"] is None


@given(st.integers(0, 2**64), st.integers(0, 2**64), st.floats(0.001, 1e6))
def test_a_rate_is_never_negative(before: int, now: int, elapsed_s: float) -> None:
    rate = rated({"ipkts": before}, {"ipkts": now}, elapsed_s)["ipkts_s"]
    assert rate is None or rate >= 0


def test_interval_totals_become_rates_where_none_is_printed() -> None:
    rows = interval_rates([{"disk": "a", "kb_read": 20, "kb_wrtn": 5, "kb_wrtn_s": 9.0}, {"disk": "b"}], 2.0)
    assert rows[0]["kb_read_s"] == 10.0
    assert rows[0]["kb_wrtn_s"] == 9.0
    assert "kb_read_s" not in rows[1]
