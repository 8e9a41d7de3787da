"""The files of a logged model, in the layout that `mlflow.pyfunc` loads (MLflow's "MLmodel" storage format).

A model is one file, `data/model.joblib`, of arrays and scikit-learn objects, with the package as its loader. The rest
says how to open it. All is written here, because `mlflow.pyfunc.log_model` takes longer than fitting the model: it
imports half of MLflow and loads and runs what it has just saved.
"""

import io
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hps_platform import __version__
from hps_platform.analysis import detector as detectors
from hps_platform.analysis.detector import Detector, restore
from hps_platform.errors import ModelUntrusted

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

FILE = "model.joblib"
DATA = f"data/{FILE}"
_LOADER = "hps_platform.model_registry"
_PACKAGES = ("mlflow", "joblib", "numpy", "polars", "scikit-learn", "scipy")
_BUILD_PACKAGES = ("pip", "setuptools", "wheel")


def maker() -> str:
    """Which program writes files like these: another one of the same name can open them."""
    return f"format {detectors.FORMAT}, scikit-learn {version('scikit-learn')}"


def dump(detector: Detector) -> bytes:
    """The content of `FILE`. Lightly compressed: half the size for a tenth of a second."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(detector.state(), buffer, compress=("zlib", 1))
    return buffer.getvalue()


def parse(content: bytes) -> Detector:
    """The detector of a file that is known to be ours: opening any other would run what it says.

    `ModelUntrusted` for one that another release, or another scikit-learn, has written and this one can't open.
    """
    import joblib

    try:
        state = joblib.load(io.BytesIO(content))
    except Exception as error:  # unpickling fails in as many ways as there are classes
        raise ModelUntrusted(
            f"the model's file can't be opened ({type(error).__name__}: {error}): train anew"
        ) from error
    return restore(state)


def files(
    content: bytes, columns: Sequence[str], example: "pl.DataFrame", *, model_id: str, run_id: str, artifact_uri: str
) -> dict[str, bytes]:
    """Every file of the folder by its path in it; `example` is a few rows as the model reads them."""
    rows = _example(example, columns)
    described = {
        "artifact_path": artifact_uri,
        "flavors": {
            "python_function": {
                "data": DATA,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": _LOADER,
                "python_version": platform.python_version(),
                "streamable": False,
            }
        },
        "mlflow_version": version("mlflow"),
        "model_id": model_id,
        "model_size_bytes": len(content),
        "model_uuid": model_id,
        "run_id": run_id,
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
        },
        "signature": signature(columns),
        "utc_time_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }
    # JSON is YAML.
    return {
        **_environment(),
        "MLmodel": json.dumps(described, indent=1).encode(),
        "input_example.json": json.dumps(rows).encode(),
        "serving_input_example.json": json.dumps({"dataframe_split": rows}).encode(),
        DATA: content,
    }


def signature(columns: Sequence[str]) -> dict[str, str | None]:
    """What goes in and comes out; a metric may be missing."""
    stamp = {"type": "datetime", "name": "timestamp", "required": True}
    metrics = [{"type": "double", "name": name, "required": False} for name in columns]
    scores = [{"type": "double", "name": name, "required": True} for name in ("anomaly_score", "forest_score")]
    return {"inputs": json.dumps([stamp, *metrics]), "outputs": json.dumps([stamp, *scores]), "params": None}


def _example(frame: "pl.DataFrame", columns: Sequence[str]) -> dict[str, list[Any]]:
    """Rows as MLflow's schema wants them: times without a zone (they are UTC), metrics in double precision."""
    import polars as pl

    plain = frame.select(
        pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S"), *(pl.col(name).cast(pl.Float64) for name in columns)
    )
    return {"columns": plain.columns, "data": [list(row) for row in plain.rows()]}


@cache
def _environment() -> Mapping[str, bytes]:
    """Which Python and packages open the model; the same for every model of a process."""
    python = platform.python_version()
    packages = [f"hps-platform=={__version__}", *(f"{name}=={version(name)}" for name in _PACKAGES)]
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": packages}],
    }
    virtual = {
        "python": python,
        "build_dependencies": list(_BUILD_PACKAGES),
        "dependencies": ["-r requirements.txt"],
    }
    return {
        "conda.yaml": json.dumps(conda, indent=1).encode(),
        "python_env.yaml": json.dumps(virtual, indent=1).encode(),
        "requirements.txt": "\n".join(packages).encode(),
    }


class _Predictor:
    """What `mlflow.pyfunc.load_model` gives: scores a pandas frame of `timestamp` and metrics."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def predict(self, frame: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        import polars as pl

        rows = pl.from_pandas(frame).with_columns(
            pl.col("timestamp").dt.replace_time_zone("UTC").dt.cast_time_unit("us")
        )
        scores = self._detector.score(rows)
        return pl.DataFrame(
            {
                "timestamp": rows["timestamp"].dt.replace_time_zone(None),
                "anomaly_score": scores.anomaly_score,
                "forest_score": scores.forest_score,
            }
        ).to_pandas()


def load_pyfunc(data_path: str) -> _Predictor:
    """MLflow's entry into a logged model."""
    return _Predictor(parse(Path(data_path).read_bytes()))
