"""Golden rows of every own fixture, and that no system lacks one for a family."""

import pytest

from hps_platform.dialects import DIALECTS, SYSTEMS, parse
from hps_platform.dialects.dialect import Plan
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.dialects.cases import Case, cases, families_of
from hps_platform_tests.unit.dialects.evidence import contradictions


@pytest.mark.parametrize("case", cases(), ids=str)
def test_golden_rows(case: Case) -> None:
    parsed = parse(case.os, case.command, case.text)

    assert parsed.family == case.family
    assert parsed.outcome == case.outcome
    assert parsed.duplicates == case.duplicates
    assert [{name: value for name, value in row.items() if value is not None} for row in parsed.rows] == case.rows
    assert contradictions(case.family, parsed.rows, case.text, case.command) == []


@pytest.mark.parametrize("case", [case for case in cases() if case.rows], ids=str)
def test_rows_have_every_column_of_their_family(case: Case) -> None:
    columns = {column.name for column in FAMILIES[case.family].columns}

    for row in parse(case.os, case.command, case.text).rows:
        assert columns <= row.keys() <= columns | {"since_boot"}


WAYS = [(os, line) for os, dialect in DIALECTS.items() for line in dialect.plan]


@pytest.mark.parametrize("os", SYSTEMS)
def test_every_system_has_a_way_to_every_family_and_fixtures_of_no_other(os: str) -> None:
    families = {line.family for line in DIALECTS[os].plan}

    assert families == set(families_of(os))
    assert {case.family for case in cases() if case.os == os} == families


@pytest.mark.parametrize(("os", "line"), WAYS, ids=str)
def test_every_way_to_a_family_has_a_fixture_with_rows(os: str, line: Plan) -> None:
    program = line.command.partition(" {interval}")[0]

    assert any(
        case.command.startswith(program) and case.rows
        for case in cases()
        if (case.os, case.family) == (os, line.family)
    )


@pytest.mark.parametrize("case", [case for case in cases() if case.outcome == "rows"], ids=str)
def test_another_systems_table_is_never_taken_for_ones_own(case: Case) -> None:
    """Where another dialect does read it, the layout is the same one and so are the values."""
    if case.family != "vmstat":
        return
    others = [os for os in SYSTEMS if os != case.os]

    assert [parse(os, "vmstat 2", case.text).outcome for os in others] == ["unknown"] * len(others)
