"""`hps detect scorecard`: the shipped detector beside what was not chosen."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
from typer.testing import CliRunner

from hps_platform.analysis.ablation import AUTOENCODER, FIGURES, SEEDS_DESIGN, SHIPPED
from hps_platform.analysis.members import MEMBERS
from hps_platform.cli.detect import app
from hps_platform_tests.unit.analysis.series import START, metrics, with_hog

STEP_S = 600.0
HOG = (70, 80)


def test_each_way_of_judging_is_rated_on_a_folder_of_servers(tmp_path: Path) -> None:
    train = metrics(3, step_s=STEP_S)
    test = with_hog(metrics(1, seed=4, start=START + timedelta(days=3), step_s=STEP_S), *HOG)
    row = pl.int_range(pl.len())
    labels = test.select("timestamp", label=((row >= HOG[0]) & (row < HOG[1])).cast(pl.Int8))
    (tmp_path / "one").mkdir()
    for name, frame in {"train": train, "test": test, "labels": labels}.items():
        frame.write_parquet(tmp_path / "one" / f"{name}.parquet")
    done = CliRunner().invoke(app, ["scorecard", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    alone = [member.name for member in (*MEMBERS, AUTOENCODER)]
    assert list(told["means"]) == [SEEDS_DESIGN, *alone, "mean with autoencoder", SHIPPED]
    assert all(set(figures) == set(FIGURES) for figures in told["means"].values())
    assert told["means"][SHIPPED]["vus_pr"] > 0.5
    assert told["means"][SEEDS_DESIGN]["normal_time_alarmed"] > told["means"][SHIPPED]["normal_time_alarmed"]
