"""How good forecasts are on data at hand: MASE at 24 and 168 hours against the seasonal naive, and the band's coverage.

Each folder is a server; its Parquet files (`timestamp` and numbers) are put together by time and averaged by the hour.
Forecasts are made at the given origins from what came before, by the code that production runs. One JSON object on
stdout, progress on stderr.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hps_platform.analysis.forecasting import DAY, HORIZON, Floats, forecast, naive_scale

_ALIKE = 1e-9


def series(folder: Path, files: Sequence[str]) -> Iterator[tuple[str, Floats]]:
    """The folder's numeric columns that are not constant, as hourly means with NaN for hours without a row."""
    frame = pl.concat([pl.read_parquet(folder / file) for file in files]).sort("timestamp")
    hours = (
        frame.group_by_dynamic("timestamp", every="1h").agg(pl.exclude("timestamp").cast(pl.Float64).mean())
    ).upsample("timestamp", every="1h")
    for name in hours.columns[1:]:
        values = hours[name].fill_null(np.nan).to_numpy()
        if np.nanmax(values) > np.nanmin(values):
            yield name, values


def judged(values: Floats, origin: int) -> dict[str, float] | None:
    """What a forecast from `origin` was worth; None where what came before gives MASE no scale."""
    known, came = values[:origin], values[origin : origin + HORIZON]
    scale = naive_scale(known)
    if np.isnan(scale):
        return None
    bands = forecast(known).bands
    naive = np.tile(known[-DAY:], HORIZON // DAY)
    found: dict[str, float] = {}
    for hours in (DAY, HORIZON):
        if len(came) >= hours:
            for name, ahead in (("ours", bands.p50), ("naive", naive)):
                found[f"{name}_{hours}"] = float(np.nanmean(np.abs(came[:hours] - ahead[:hours]))) / scale
    inside = (came >= bands.p10[: len(came)] - _ALIKE) & (came <= bands.p90[: len(came)] + _ALIKE)
    return {**found, "coverage": float(inside[~np.isnan(came)].mean())}


def summary(found: pl.DataFrame, hours: int) -> dict[str, Any]:
    """Over all series and origins, and over series by the mean of their origins."""
    ours, naive = f"ours_{hours}", f"naive_{hours}"
    told: dict[str, Any] = {}
    pairs = found.drop_nulls([ours, naive])
    for what, frame in (
        ("pairs", pairs),
        ("series", pairs.group_by("server", "column").agg(pl.col(ours, naive).mean())),
    ):
        medians = [float(np.median(frame[name].to_numpy())) for name in (ours, naive)]
        told[what] = {
            "count": len(frame),
            "median_mase": round(medians[0], 4),
            "naive_median_mase": round(medians[1], 4),
            "ratio": round(medians[0] / medians[1], 4),
            "better": round(float((frame[ours] < frame[naive]).to_numpy().mean()), 4),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="one a server")
    parser.add_argument("--files", default="train.parquet,test.parquet", help="what to read in each")
    parser.add_argument("--origins", default="744,912", help="hours from the beginning at which to forecast")
    chosen = parser.parse_args()
    rows, left_out, began = [], 0, time.process_time()
    for folder in chosen.folders:
        for name, values in series(folder, chosen.files.split(",")):
            for origin in map(int, chosen.origins.split(",")):
                found = judged(values, origin) if origin < len(values) else None
                left_out += found is None
                rows += [{"server": folder.name, "column": name, "origin": origin, **found}] if found else []
        print(f"{folder.name}: {len(rows)} forecasts so far", file=sys.stderr)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    seconds = time.process_time() - began
    report = {
        "forecasts": len(frame),
        "without_scale": left_out,
        "coverage": round(float(frame["coverage"].to_numpy().mean()), 4),
        **{f"h{hours}": summary(frame, hours) for hours in (DAY, HORIZON)},
        "cpu_s_per_1000_series": round(1000 * seconds / max(len(frame), 1), 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
