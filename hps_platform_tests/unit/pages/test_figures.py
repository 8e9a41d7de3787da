"""Charts: units on axes, gaps that stay gaps, anomalies marked, colours that can be told apart."""

import math
import re
from datetime import timedelta

import plotly.graph_objects as go
import polars as pl
import pytest

from dash_app import figures
from dash_app.figures import Mark
from dash_app.series import Series, series_of
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import AIX, LINUX, NOW, samples

VMSTAT, IOSTAT = FAMILIES["vmstat"], FAMILIES["iostat"]
NAMES = {AIX: "aix01", LINUX: "lnx01"}


def cpu_lines() -> list[Series]:
    frame = pl.concat(
        [samples("vmstat", {"us": [10.0, 20.0, 30.0]}), samples("vmstat", {"us": [5.0, None, 7.0]}, server_id=LINUX)]
    )
    return series_of(frame, VMSTAT.by_name["us"], VMSTAT, NAMES)


def lines(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data if "lines" in trace.mode}


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [([100.0, 900.0], "KiB/s", 900.0), ([1024.0, 4096.0], "MiB/s", 4.0), ([0.0, 3.0 * 1024**3], "TiB/s", 3.0)],
)
def test_an_axis_says_its_unit_and_the_values_are_in_it(values: list[float], unit: str, shown: float) -> None:
    column = IOSTAT.by_name["kb_s"]
    series = series_of(samples("iostat", {"kb_s": values}, keys=("hdisk0",)), column, IOSTAT, NAMES)
    figure = figures.chart(column, series, "light")
    assert figure.layout.yaxis.title.text == unit
    assert figure.data[0].y[-1] == pytest.approx(shown)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_numeric_column_has_an_axis_title(family: object) -> None:
    for column in FAMILIES[family.name].rollup_columns:  # type: ignore[attr-defined]
        series = [Series("aix01", AIX, samples("vmstat", {"us": [1.0]}).select("timestamp", value="us"), 2.0)]
        assert figures.chart(column, series, "dark").layout.yaxis.title.text


def test_time_axis_shows_utc() -> None:
    figure = figures.chart(VMSTAT.by_name["us"], cpu_lines(), "light")
    assert figure.layout.template.layout.xaxis.type == "date"
    assert figure.layout.template.layout.xaxis.hoverformat.endswith("UTC")
    assert figure.data[0].x[-1] == NOW.timestamp() * 1000


def test_missing_samples_are_a_gap_in_the_line() -> None:
    frame = samples("vmstat", {"us": [1.0] * 10}).with_row_index().filter(~pl.col("index").is_between(3, 6))
    (one,) = series_of(frame, VMSTAT.by_name["us"], VMSTAT, NAMES)
    figure = figures.chart(VMSTAT.by_name["us"], [one], "light")
    trace = figure.data[0]
    assert trace.connectgaps is False
    assert [math.isnan(value) for value in trace.y] == [False, False, False, True, False, False, False]


def test_one_late_sample_is_no_gap() -> None:
    frame = samples("vmstat", {"us": [1.0] * 10}).with_row_index().filter(pl.col("index") != 4)
    (one,) = series_of(frame, VMSTAT.by_name["us"], VMSTAT, NAMES)
    assert len(one.with_gaps()) == 9


def test_a_server_that_is_asked_less_often_has_no_gaps() -> None:
    (one,) = series_of(samples("vmstat", {"us": [1.0] * 9}, step_s=30), VMSTAT.by_name["us"], VMSTAT, NAMES)
    assert one.step_s == 30.0
    assert one.with_gaps()["value"].null_count() == 0


def test_a_server_that_is_asked_more_often_from_now_on_has_no_gaps() -> None:
    seldom = samples("vmstat", {"us": [1.0] * 6}, step_s=60, end=NOW - timedelta(seconds=2))
    often = samples("vmstat", {"us": [2.0] * 60}, end=NOW + timedelta(seconds=118))
    (one,) = series_of(pl.concat([seldom, often]), VMSTAT.by_name["us"], VMSTAT, NAMES)
    assert one.step_s == 2.0
    assert one.with_gaps()["value"].null_count() == 0


def test_a_streaming_chart_can_be_appended_to() -> None:
    figure = figures.chart(VMSTAT.by_name["us"], cpu_lines(), "dark", streaming=True).to_plotly_json()
    assert [(trace["meta"], type(trace["x"]), type(trace["y"])) for trace in figure["data"]] == [
        (AIX, list, list),
        (LINUX, list, list),
    ]


def test_a_chart_for_reading_is_sent_compactly() -> None:
    text = figures.chart(VMSTAT.by_name["us"], cpu_lines(), "dark").to_json()
    assert '"bdata"' in text


def test_anomalies_are_shaded_and_ringed_on_the_line_of_their_server() -> None:
    start = NOW - timedelta(seconds=3)
    mark = Mark(LINUX, start, NOW, NOW, "lnx01: CPU busy")
    figure = figures.chart(VMSTAT.by_name["us"], cpu_lines(), "light", marks=[mark])
    ring = next(trace for trace in figure.data if trace.name == "Anomaly")
    assert list(ring.x) == [NOW.timestamp() * 1000]
    assert list(ring.y) == [7.0]
    assert ring.text == ("lnx01: CPU busy",)
    (shade,) = figure.layout.shapes
    assert (shade.x0, shade.x1) == (start.timestamp() * 1000, NOW.timestamp() * 1000 + 60_000)


def test_an_anomaly_without_a_sample_nearby_is_not_drawn_somewhere_else() -> None:
    long_ago = NOW - timedelta(hours=1)
    mark = Mark(LINUX, long_ago, long_ago, long_ago)
    figure = figures.chart(VMSTAT.by_name["us"], cpu_lines(), "light", marks=[mark])
    assert "Anomaly" not in {trace.name for trace in figure.data}
    assert not figure.layout.shapes


def test_a_band_lies_behind_its_line_and_in_its_colour() -> None:
    series = cpu_lines()[:1]
    band = series[0].frame.select("timestamp", low=pl.col("value") - 1, high=pl.col("value") + 1)
    figure = figures.chart(VMSTAT.by_name["us"], series, "light", bands={"aix01": band})
    assert [trace.fill for trace in figure.data] == [None, "tonexty", None]
    assert list(figure.data[0].y) == [9.0, 19.0, 29.0]
    assert list(figure.data[1].y) == [11.0, 21.0, 31.0]
    red, green, blue = (int(figures.PALETTES["light"][0][at : at + 2], 16) for at in (1, 3, 5))
    assert figure.data[1].fillcolor == f"rgba({red},{green},{blue},0.18)"


def test_score_chart_marks_anomalies_and_the_moment() -> None:
    scores = pl.DataFrame(
        {
            "timestamp": [NOW - timedelta(minutes=1), NOW],
            "anomaly_score": [-0.05, -0.6],
            "is_anomaly": [False, True],
        },
        schema_overrides={"timestamp": pl.Datetime("ms", "UTC")},
    )
    figure = figures.score_chart(scores, "dark", at=NOW, threshold=-0.3)
    assert list(figure.data[1].y) == [-0.6]
    assert len(figure.layout.shapes) == 2
    assert "lower" in figure.layout.yaxis.title.text


def test_observed_chart_shades_what_is_usual_at_that_hour_only() -> None:
    values = samples("vmstat", {"us": [10.0, 90.0]}, step_s=60).select("timestamp", value="us")
    figure = figures.observed_chart(values, "CPU busy", "%", "light", at=NOW + timedelta(minutes=5), usual=(5.0, 20.0))
    usual = figure.data[0]
    assert (min(usual.y), max(usual.y)) == (5.0, 20.0)
    assert max(usual.x) - min(usual.x) == 3_600_000
    assert figure.layout.yaxis.title.text == "%"


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#18202a")])
def test_lines_stand_out_from_the_ground(theme: figures.Theme, ground: str) -> None:
    for color in (*figures.PALETTES[theme], figures.ALARM[theme]):
        assert re.fullmatch(r"#[0-9a-f]{6}", color)
        light, dark = sorted((luminance(color), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3.0, color


def test_no_two_of_many_lines_look_alike() -> None:
    looks = {tuple(sorted(figures.style(index, "dark").items())) for index in range(24)}
    assert len(looks) == 24
