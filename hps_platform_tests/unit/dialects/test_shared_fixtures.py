"""Captured outputs of real machines, where their folder stands beside the project.

`shared_outcomes.tsv` says what each file of a command that we read is, checked by reading it: name, outcome, number of
rows. All others give no rows, and `shared_left_out.tsv` says why.
"""

import csv
from pathlib import Path

import pytest

from hps_platform.dialects import SYSTEMS, parse
from hps_platform_tests.unit.dialects.evidence import contradictions

_FOLDER = Path(__file__).parents[4] / "shared" / "fixtures"
_EXPECTED = Path(__file__).with_name("shared_outcomes.tsv")
_LEFT_OUT = Path(__file__).with_name("shared_left_out.tsv")


def _expected() -> dict[str, tuple[str, int]]:
    with _EXPECTED.open(encoding="utf-8", newline="") as file:
        return {row["path"]: (row["outcome"], int(row["rows"])) for row in csv.DictReader(file, delimiter="\t")}


def _index() -> list[dict[str, str]]:
    index = _FOLDER / "INDEX.tsv"
    if not index.exists():
        return []
    with index.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _text(path: str) -> str:
    return (_FOLDER / path).read_bytes().decode(errors="replace")


def _captured() -> list[tuple[str, str, str, str]]:
    """Path, system, command and text of every file of our systems."""
    return [(row["path"], row["os"], row["command"], _text(row["path"])) for row in _index() if row["os"] in SYSTEMS]


@pytest.mark.shared_fixtures
def test_every_file_has_the_outcome_that_a_reader_gave_it() -> None:
    expected = _expected()
    found: dict[str, tuple[str, int]] = {}
    for path, os, command, text in _captured():
        parsed = parse(os, command, text)
        if parsed.family is None:
            assert parsed.rows == [], path
        else:
            found[path] = (parsed.outcome.value, len(parsed.rows))

    assert {path: outcome for path, outcome in found.items() if outcome != expected.get(path)} == {}
    assert not found or found.keys() == {path for path in expected if not path.startswith("generic/")}
    assert expected


@pytest.mark.shared_fixtures
@pytest.mark.parametrize("os", SYSTEMS)
def test_what_shells_say_is_the_same_on_every_system(os: str) -> None:
    expected = _expected()
    for row in _index():
        if row["os"] == "generic":
            command = "vmstat 2" if row["command"] == "any" else row["command"]
            parsed = parse(os, command, _text(row["path"]))

            assert (parsed.outcome.value, len(parsed.rows)) == expected[row["path"]], row["path"]


@pytest.mark.shared_fixtures
def test_every_file_has_an_outcome_or_a_reason_to_be_left_out() -> None:
    with _LEFT_OUT.open(encoding="utf-8", newline="") as file:
        left_out = {row["path"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}
    captured = {row["path"] for row in _index()}

    assert all(left_out.values())
    assert not left_out.keys() & _expected().keys()
    assert not captured or captured == left_out.keys() | _expected().keys()


@pytest.mark.shared_fixtures
def test_every_value_stands_in_its_text() -> None:
    problems: dict[str, list[str]] = {}
    for path, os, command, text in _captured():
        parsed = parse(os, command, text)
        if parsed.family is not None:
            said = contradictions(parsed.family, parsed.rows, text, command)
            if said:
                problems[path] = said[:3]

    assert problems == {}
