"""How long what stays, as the settings say it."""

import pytest

from hps_platform.errors import SettingsError
from hps_platform.metrics import FAMILIES
from hps_platform.retention import Policy, policies
from hps_platform.settings import Settings


def chosen(**values: object) -> dict[str, Policy]:
    return policies(Settings.model_construct(**{**Settings.model_construct().model_dump(), **values}))


def test_the_usual_and_what_a_family_has_of_its_own() -> None:
    found = chosen(family_retention_days="process=7/30/365, vmstat=60")
    assert found["process"] == Policy(7, 30, 365)
    assert found["vmstat"] == Policy(60, 90, 1826)
    assert found["iostat"] == Policy(30, 90, 1826)
    assert set(found) == set(FAMILIES)


@pytest.mark.parametrize("text", ["nosuch=7", "vmstat", "vmstat=", "vmstat=0", "vmstat=7/30/365/9", "vmstat=-1"])
def test_what_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match="HPS_FAMILY_RETENTION_DAYS"):
        chosen(family_retention_days=text)


@pytest.mark.parametrize("text", ["vmstat=91", "vmstat=30/20", "vmstat=30/90/80"])
def test_what_is_coarser_stays_as_long_at_least(text: str) -> None:
    with pytest.raises(SettingsError, match="retention of vmstat"):
        chosen(family_retention_days=text)
