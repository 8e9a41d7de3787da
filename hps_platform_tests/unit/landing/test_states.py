"""Freshness of a family: what has to be there, and what need not be."""

from datetime import UTC, datetime, timedelta

import pytest

from hps_platform.landing.states import FamilyState
from hps_platform.metrics import FAMILIES

_NOW = datetime(2026, 3, 14, 10, 20, tzinfo=UTC)


def _state(family: str, newest: datetime | None, active: int = 3) -> FamilyState:
    return FamilyState(FAMILIES[family], newest, active, landed=0, behind=0, expired=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_that_came_and_ended_are_missed(name: str) -> None:
    assert _state(name, _NOW - timedelta(seconds=5)).fresh(_NOW)
    assert not _state(name, _NOW - timedelta(hours=1)).fresh(_NOW)
    assert _state(name, None, active=0).fresh(_NOW)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_that_not_every_system_has_need_not_be_there(name: str) -> None:
    assert _state(name, None).fresh(_NOW) == (name == "lpar")
