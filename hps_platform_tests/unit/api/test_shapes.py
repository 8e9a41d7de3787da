"""Moments, ranges, and samples as bytes."""

import json
import math
from datetime import UTC, datetime

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from dash_app.api.shapes import Instant, moment, names, samples_response, span
from hps_platform.errors import InvalidInput

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00",
        "2024-01-01T14:00:00+02:00",
        "2024-01-01T14:00:00 02:00",
        "2024-01-01T12:00:00.000Z",
    ],
)
def test_moments_are_read_as_utc(text: str) -> None:
    assert _INSTANT.validate_python(text) == NOON


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _INSTANT.validate_python(text)


def test_moments_are_written_with_milliseconds_only_where_there_are_any() -> None:
    assert moment(NOON) == "2024-01-01T12:00:00Z"
    assert moment(NOON.replace(microsecond=250_000)) == "2024-01-01T12:00:00.250Z"


def test_a_range_ends_after_its_start() -> None:
    for start in (NOON, NOON.replace(hour=13)):
        with pytest.raises(InvalidInput, match=r"^End time must be after start time$"):
            span(start, NOON)


def test_a_range_without_moments_is_the_last_hour() -> None:
    start, end = span(None, NOON)
    assert (end - start).total_seconds() == 3600
    start, end = span(None, None)
    assert (end - start).total_seconds() == 3600
    assert abs((datetime.now(UTC) - end).total_seconds()) < 5


def test_comma_lists() -> None:
    assert names("us, sy,,") == ["us", "sy"]
    assert names("") is None
    assert names(None) is None
    assert names(",") is None


FRAME = pl.DataFrame(
    {
        "server_id": [1, 1],
        "timestamp": [NOON, NOON.replace(microsecond=500_000)],
        "us": [math.nan, 1.5],
        "command": ['say "ä"', None],
    },
    schema_overrides={"timestamp": pl.Datetime("ms", "UTC")},
)


def test_samples_are_json_without_nan() -> None:
    answer = json.loads(bytes(samples_response("vmstat", "1m", {"us": "%"}, FRAME).body))
    assert answer == {
        "metric": "vmstat",
        "interval": "1m",
        "units": {"us": "%"},
        "results": [
            {"server_id": 1, "timestamp": "2024-01-01T12:00:00Z", "us": None, "command": 'say "ä"'},
            {"server_id": 1, "timestamp": "2024-01-01T12:00:00.500Z", "us": 1.5, "command": None},
        ],
    }


def test_no_samples_are_an_empty_list() -> None:
    answer = json.loads(bytes(samples_response("vmstat", None, {}, FRAME.clear()).body))
    assert answer == {"metric": "vmstat", "interval": None, "units": {}, "results": []}


def test_samples_as_csv() -> None:
    answer = samples_response("vmstat", None, {}, FRAME, "csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="vmstat.csv"'
    lines = bytes(answer.body).decode().splitlines()
    assert lines[0] == "server_id,timestamp,us,command"
    assert lines[1] == '1,2024-01-01T12:00:00Z,,"say ""ä"""'
    assert len(lines) == 3
