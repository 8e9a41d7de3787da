"""The scorecard, by command and as an asset: the shipped detector beside what was not chosen."""

import json
from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from hps_platform.analysis import ablation
from hps_platform.analysis.ablation import AUTOENCODER, FIGURES, LSTM, SEEDS_DESIGN, SHIPPED
from hps_platform.analysis.members import MEMBERS, View
from hps_platform.cli.detect import app
from hps_platform.defs.scorecard import scorecard
from hps_platform.detection import labelled
from hps_platform.errors import InvalidInput
from hps_platform_tests.unit.analysis.series import START, metrics, with_hog

STEP_S = 600.0
HOG = (70, 80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One labelled server."""
    found = tmp_path_factory.mktemp("labelled")
    train = metrics(3, step_s=STEP_S)
    test = with_hog(metrics(1, seed=4, start=START + timedelta(days=3), step_s=STEP_S), *HOG)
    row = pl.int_range(pl.len())
    labels = test.select("timestamp", label=((row >= HOG[0]) & (row < HOG[1])).cast(pl.Int8))
    (found / "one").mkdir()
    for name, frame in {"train": train, "test": test, "labels": labels}.items():
        frame.write_parquet(found / "one" / f"{name}.parquet")
    named = [{"start": HOG[0], "end": HOG[1] - 1, "columns_1_based": [1]}]
    (found / "one" / "causes.json").write_text(json.dumps(named))
    return found


@pytest.fixture
def _without_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed; compiling its networks takes minutes."""
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)


@pytest.mark.usefixtures("_without_lstm")
def test_each_way_of_judging_is_rated_on_a_folder_of_servers(folder: Path) -> None:
    done = CliRunner().invoke(app, ["scorecard", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    alone = [member.name for member in (*MEMBERS, AUTOENCODER)]
    assert list(told["means"]) == [SEEDS_DESIGN, *alone, "mean with autoencoder", SHIPPED]
    assert all(set(figures) == set(FIGURES) for figures in told["means"].values())
    assert told["means"][SHIPPED]["vus_pr"] > 0.5
    assert told["means"][SEEDS_DESIGN]["normal_time_alarmed"] > told["means"][SHIPPED]["normal_time_alarmed"]
    assert (told["means"][SEEDS_DESIGN]["cause_first"], told["means"][SHIPPED]["cause_first"]) == (None, 1.0)
    assert all(figures["rows_per_s"] > 0 for figures in told["means"].values())


def test_causes_are_judged_with_labels_and_must_make_sense(folder: Path, tmp_path: Path) -> None:
    one = folder / "one"
    files = [f"--train={one / 'train.parquet'}", f"--test={one / 'test.parquet'}", f"--causes={one / 'causes.json'}"]
    done = CliRunner().invoke(app, ["evaluate", *files, f"--labels={one / 'labels.parquet'}", "--json"])
    assert json.loads(done.stdout)["labels"]["cause_first"] == 1.0
    without = CliRunner().invoke(app, ["evaluate", *files])
    assert isinstance(without.exception, InvalidInput)
    assert "--labels" in str(without.exception)
    wrong = tmp_path / "causes.json"
    wrong.write_text('[{"start": 1, "end": 2, "columns_1_based": [99]}]')
    with pytest.raises(InvalidInput, match="columns_1_based"):
        labelled.causes(wrong, pl.read_parquet(one / "train.parquet"))


@pytest.mark.usefixtures("_without_lstm")
def test_dagster_keeps_the_table(folder: Path) -> None:
    chosen = {"folder": str(folder), "columns": ["cpu", "packets"]}
    done = dg.materialize([scorecard], run_config={"ops": {"detection__scorecard": {"config": chosen}}})
    [event] = done.asset_materializations_for_node("detection__scorecard")
    table = str(event.metadata["means"].value)
    assert event.metadata["servers"].value == 1
    assert table.count("\n") == 2 + 1 + len(MEMBERS) + 3
    assert SHIPPED in table


def test_the_lstm_says_what_comes_next_and_is_rated_where_it_is_installed() -> None:
    assert ablation.not_chosen() == (AUTOENCODER, LSTM)
    wave = np.sin(np.arange(1_200) * 2 * np.pi / 24)
    value = np.column_stack([wave, -wave])
    value[1_150] = 0.0, 3.0
    view = View(value, value, np.zeros(value.shape, dtype=bool), STEP_S)
    scores = LSTM.score(LSTM.fit(view, np.arange(ablation.SEQUENCE, 1_100), 0), view)
    assert scores.shape == (1_200,)
    assert int(np.argmax(scores)) == 1_150
    assert np.median(scores[ablation.SEQUENCE :]) < scores[1_150] / 5


def test_a_folder_without_servers_and_a_metric_nobody_has(folder: Path, tmp_path: Path) -> None:
    for place, columns in ((tmp_path, []), (folder, ["nonsense"])):
        chosen = {"folder": str(place), "columns": columns}
        with pytest.raises(InvalidInput, match=r"no folder with a train|no column nonsense"):
            dg.materialize([scorecard], run_config={"ops": {"detection__scorecard": {"config": chosen}}})
