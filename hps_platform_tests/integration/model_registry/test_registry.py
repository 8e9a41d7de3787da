"""Models in a real MLflow server."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import detector
from hps_platform.analysis.detector import Detector
from hps_platform.errors import ModelNotFound, ModelUntrusted, RegistryUnavailable
from hps_platform.model_registry import FILE, Card, ModelRegistry
from hps_platform_tests.unit.analysis.series import metrics

NAME = "hps.4242"


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return metrics(1.2)


@pytest.fixture(scope="module")
def learnt(train: pl.DataFrame) -> Detector:
    return detector.fit(train)


def card(train: pl.DataFrame, learnt: Detector) -> Card:
    return Card(
        hostname="aix1",
        parameters={**learnt.parameters, "features": "cpu,packets"},
        metrics={"training_rows": float(len(train))},
        tags={"training_rows": str(len(train))},
        example=train.select("timestamp", *learnt.columns).head(3),
        files={"drawing.svg": b"<svg/>"},
    )


def test_register_promote_load(mlflow_uri: str, tmp_path: Path, train: pl.DataFrame, learnt: Detector) -> None:
    registry = ModelRegistry(mlflow_uri, cache_dir=tmp_path / "one")
    first, digest = registry.register(NAME, learnt, card(train, learnt))
    assert registry.champions().get(NAME) is None
    registry.promote(NAME, first)
    second, same_digest = registry.register(NAME, learnt, card(train, learnt))
    assert (second, same_digest) == (first + 1, digest)
    assert registry.champions()[NAME] == first
    registry.challenge(NAME, second)
    assert registry.version(NAME, second).aliases == ("challenger",)
    registry.promote(NAME, second)
    assert registry.champions()[NAME] == second == registry.last_champions()[NAME]
    newest, older = registry.versions(NAME)
    assert (newest.version, newest.aliases, older.aliases) == (second, ("champion",), ())
    assert newest.tags == {"hostname": "aix1", "training_rows": str(len(train)), "sha256": digest}
    assert registry.version(NAME, first).version == first
    parameters, numbers = registry.run(newest.run_id)
    assert parameters["seed"] == "0"
    assert numbers == {"training_rows": float(len(train))}

    elsewhere = ModelRegistry(mlflow_uri, cache_dir=tmp_path / "two")
    loaded = elsewhere.load(NAME, second, digest)
    assert np.array_equal(loaded.score(train).score, learnt.score(train).score, equal_nan=True)
    assert elsewhere.load(NAME, second, digest) is loaded
    assert (tmp_path / "two" / NAME / str(second) / FILE).exists()

    away = ModelRegistry("http://127.0.0.1:9", cache_dir=tmp_path / "two", timeout_s=1)
    assert away.last_champions() == {}
    assert away.load(NAME, second, digest).columns == learnt.columns

    (tmp_path / "two" / NAME / str(second) / FILE).write_bytes(b"damaged")
    assert ModelRegistry(mlflow_uri, cache_dir=tmp_path / "two").load(NAME, second, digest).columns == learnt.columns
    elsewhere.verify(NAME, second, digest)
    (tmp_path / "two" / NAME / str(second) / FILE).unlink()
    again = ModelRegistry(mlflow_uri, cache_dir=tmp_path / "two")
    again.verify(NAME, second, digest)
    with pytest.raises(ModelUntrusted, match="not the one that was registered"):
        again.verify(NAME, second, "0" * 64)
    with pytest.raises(ModelUntrusted, match="not the one that was registered"):
        elsewhere.load(NAME, first, "f" * 64)


def test_what_is_not_there_is_not_found(mlflow_uri: str, tmp_path: Path) -> None:
    registry = ModelRegistry(mlflow_uri, cache_dir=tmp_path)
    with pytest.raises(ModelNotFound):
        registry.versions("hps.31337")
    with pytest.raises(ModelNotFound):
        registry.promote("hps.31337", 1)
    with pytest.raises(ModelNotFound):
        registry.load("hps.31337", 1, "0" * 64)


def test_anyone_with_mlflow_can_score_with_it(
    mlflow_uri: str, tmp_path: Path, train: pl.DataFrame, learnt: Detector
) -> None:
    import mlflow

    name = "hps.4243"
    registry = ModelRegistry(mlflow_uri, cache_dir=tmp_path)
    version, _ = registry.register(name, learnt, card(train, learnt))
    registry.promote(name, version)
    mlflow.set_tracking_uri(mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    rows = train.with_columns(pl.col("timestamp").dt.replace_time_zone(None)).to_pandas()
    told = model.predict(rows)
    assert np.allclose(told["anomaly_score"], learnt.score(train).anomaly_score, equal_nan=True)
    info = mlflow.models.get_model_info(f"models:/{name}@champion")
    assert [column.name for column in info.signature.inputs] == ["timestamp", *learnt.columns]
    assert info.saved_input_example_info is not None
    assert list(model.input_example.columns) == ["timestamp", *learnt.columns]
    assert mlflow.artifacts.load_text(f"runs:/{info.run_id}/drawing.svg") == "<svg/>"
    run = mlflow.get_run(info.run_id)
    assert (run.info.status, run.data.params["seed"]) == ("FINISHED", "0")
    assert run.outputs is not None
    assert [one.model_id for one in run.outputs.model_outputs] == [info.model_id]
    assert "scikit-learn==" in Path(mlflow.pyfunc.get_model_dependencies(f"models:/{name}@champion")).read_text()


def test_a_run_without_a_model_is_noted(mlflow_uri: str, tmp_path: Path) -> None:
    registry = ModelRegistry(mlflow_uri, cache_dir=tmp_path)
    run_id = registry.log_run("hps-notes", "tonight", parameters={"origins": (1, 2)}, metrics={"7d_mase_24": 0.7})
    assert registry.run(run_id) == ({"origins": "(1, 2)"}, {"7d_mase_24": 0.7})
    with pytest.raises(RegistryUnavailable):
        ModelRegistry("http://127.0.0.1:9", cache_dir=tmp_path).log_run("x", "y", parameters={}, metrics={})
