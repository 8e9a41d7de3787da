"""Damaged output: cut, interleaved with messages, dressed in escape sequences. Never a crash, never a wrong row."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.dialects import SYSTEMS, Outcome, parse
from hps_platform_tests.unit.dialects.cases import Case, cases
from hps_platform_tests.unit.dialects.evidence import contradictions

# Of JSON every number is in its place or nowhere; escape sequences inside it are no business of ours.
_ALL = st.sampled_from(cases())
_TABLES = st.sampled_from([case for case in cases() if case.rows and case.name != "json"])

_BANNERS = st.lists(
    st.sampled_from(
        (
            "Last login: yesterday from gateway",
            "*** maintenance tonight ***",
            "[1] + Done(2) sleep &",
            "ksh: warning: here document delimited by end of file",
            "You have mail.",
            "",
            "   ",
        )
    ),
    min_size=1,
    max_size=4,
)
_ESCAPES = st.lists(
    st.sampled_from(("\x1b[0m", "\x1b[1;31m", "\x1b[K", "\x1b[?25l", "\x1b]0;host\x07", "\x00", "\r")),
    min_size=1,
    max_size=8,
)


def _checked(case: Case, text: str) -> list[dict[str, object]]:
    parsed = parse(case.os, case.command, text)
    assert (parsed.outcome is Outcome.ROWS) == bool(parsed.rows)
    assert contradictions(case.family, parsed.rows, text, case.command) == []
    return parsed.rows


@given(_ALL, st.data())
def test_output_cut_at_any_place(case: Case, data: st.DataObject) -> None:
    text = case.text[: data.draw(st.integers(0, len(case.text)))]

    rows = _checked(case, text)

    assert len(rows) <= len(case.rows) + case.duplicates


@given(_TABLES, st.data())
def test_a_piece_is_missing(case: Case, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(case.text)))
    length = data.draw(st.integers(1, 200))

    _checked(case, case.text[:start] + case.text[start + length :])


@given(_TABLES, _BANNERS, st.data())
def test_messages_between_lines_change_nothing(case: Case, banners: list[str], data: st.DataObject) -> None:
    lines = case.text.split("\n")
    # The last line stays the last one: behind it a cut row can't be told from a complete one.
    for banner in banners:
        lines.insert(data.draw(st.integers(0, len(lines) - 1)), banner)
    wrapped = case.family == "filesystem"

    rows = parse(case.os, case.command, "\n".join(lines)).rows

    golden = parse(case.os, case.command, case.text).rows
    if wrapped:  # a message inside a wrapped row takes its device away, nothing else
        rows = [{**row, "device": ""} for row in rows]
        golden = [{**row, "device": ""} for row in golden]
    assert rows == golden


@given(_TABLES, _ESCAPES, st.data())
def test_escape_sequences_change_nothing(case: Case, escapes: list[str], data: st.DataObject) -> None:
    text = case.text
    for escape in escapes:
        at = data.draw(st.integers(0, len(case.text)))
        # Not inside another sequence: that would be another sequence.
        if "\x1b" in text[max(0, at - 12) : at + 12]:
            continue
        text = text[:at] + escape + text[at:]

    assert parse(case.os, case.command, text).rows == parse(case.os, case.command, case.text).rows


@given(_TABLES, st.data())
def test_swapped_and_repeated_lines(case: Case, data: st.DataObject) -> None:
    lines = case.text.split("\n")
    order = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=2 * len(lines)))

    _checked(case, "\n".join(lines[index] for index in order))


@given(_TABLES, st.data())
def test_a_number_that_grew_into_its_neighbour(case: Case, data: st.DataObject) -> None:
    blanks = [index for index, char in enumerate(case.text) if char == " " and case.text[index - 1 : index].isdigit()]
    if not blanks:
        return
    at = data.draw(st.sampled_from(blanks))

    _checked(case, case.text[:at] + "7" + case.text[at + 1 :])


@given(st.sampled_from(SYSTEMS), st.sampled_from([case.command for case in cases()]), st.text(max_size=300))
@settings(max_examples=200)
def test_any_text(os: str, command: str, text: str) -> None:
    parsed = parse(os, command, text)

    assert (parsed.outcome is Outcome.ROWS) == bool(parsed.rows)
    assert parsed.rows or parsed.message


@given(st.sampled_from(SYSTEMS), st.text(max_size=60), _ALL)
def test_any_command_line(os: str, command: str, case: Case) -> None:
    parsed = parse(os, command, case.text)

    assert (parsed.outcome is Outcome.ROWS) == bool(parsed.rows)
