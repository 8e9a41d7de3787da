"""The model registry: the only owner of MLflow.

A model is kept as `mlflow.pyfunc` with this module as its loader and one file, `model.joblib`, of arrays and
scikit-learn objects. A file is only ever loaded when its SHA-256 is the one that the caller got from the database.
Looking up which version is the champion goes over MLflow's REST API and imports nothing heavy; files are cached in the
data directory, so that scoring goes on while MLflow is away. What is in a model belongs to
`hps_platform.analysis.detector`.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from hps_platform import __version__
from hps_platform.analysis.detector import Detector, restore
from hps_platform.errors import InvalidInput, ModelNotFound, ModelUntrusted, RegistryUnavailable

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

logger = logging.getLogger(__name__)

CHAMPION = "champion"
EXPERIMENT = "hps-anomaly-detection"
FILE = "model.joblib"
_API = "/api/2.0/mlflow"
_IN_MEMORY = 64
_PACKAGES = ("joblib", "numpy", "polars", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version of a model; `tags` carry hostname, training range, rows and data fingerprint."""

    name: str
    version: int
    created_at: datetime
    run_id: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """What is recorded with a model. `example` is a few rows as it reads them, `timestamp` first."""

    hostname: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    example: "pl.DataFrame"


class ModelRegistry:
    """Models of an MLflow server; every method raises `RegistryUnavailable` where that server does not answer."""

    def __init__(self, tracking_uri: str, *, cache_dir: Path, timeout_s: float = 10.0) -> None:
        self.tracking_uri = tracking_uri.rstrip("/")
        self._cache = cache_dir
        self._timeout_s = timeout_s
        self._loaded: dict[tuple[str, int, str], Detector] = {}
        self._lock = threading.Lock()

    # Versions and aliases -----------------------------------------------------------------------------------------

    def champions(self) -> dict[str, int]:
        """Version under the alias champion, by model name, of every model that has one."""
        found: dict[str, int] = {}
        for model in self._pages("registered-models/search", "registered_models", {}):
            for alias in model.get("aliases", []):
                if alias["alias"] == CHAMPION:
                    found[model["name"]] = int(alias["version"])
        self._remember(found)
        return found

    def last_champions(self) -> dict[str, int]:
        """What `champions` last answered on this machine; empty when it never did."""
        try:
            known: dict[str, int] = json.loads((self._cache / "champions.json").read_text())
        except FileNotFoundError:
            return {}
        return known

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, newest first; `ModelNotFound` when there is no such model."""
        model = self._get("registered-models/get", {"name": name})["registered_model"]
        aliases: dict[int, list[str]] = {}
        for alias in model.get("aliases", []):
            aliases.setdefault(int(alias["version"]), []).append(alias["alias"])
        rows = self._pages("model-versions/search", "model_versions", {"filter": f"name = '{_plain(name)}'"})
        versions = [_version(row, tuple(aliases.get(int(row["version"]), ()))) for row in rows]
        return sorted(versions, key=lambda one: one.version, reverse=True)

    def version(self, name: str, version: int) -> Version:
        row = self._get("model-versions/get", {"name": name, "version": str(version)})["model_version"]
        return _version(row, tuple(row.get("aliases", ())))

    def run(self, run_id: str) -> tuple[dict[str, str], dict[str, float]]:
        """Parameters and metrics of the run that made a version."""
        data = self._get("runs/get", {"run_id": run_id})["run"]["data"]
        parameters = {one["key"]: one["value"] for one in data.get("params", [])}
        return parameters, {one["key"]: float(one["value"]) for one in data.get("metrics", [])}

    def promote(self, name: str, version: int) -> None:
        """Makes a version the champion."""
        self._send("POST", "registered-models/alias", {"name": name, "alias": CHAMPION, "version": str(version)})
        self._remember({**self.last_champions(), name: version})

    # Files --------------------------------------------------------------------------------------------------------

    def register(self, name: str, detector: Detector, card: Card) -> tuple[int, str]:
        """Logs and registers a detector; returns its version and the SHA-256 of its file.

        It becomes nobody's champion yet: first its hash has to be kept where only the platform writes.
        """
        self.ping()
        content = _dump(detector)
        digest = hashlib.sha256(content).hexdigest()
        with tempfile.TemporaryDirectory(prefix="hps-model-") as folder:
            path = Path(folder) / FILE
            path.write_bytes(content)
            version = self._log(name, detector.columns, card, path, digest)
        cached = self._path(name, version)
        cached.parent.mkdir(parents=True, exist_ok=True)
        _write(cached, content)
        return version, digest

    def load(self, name: str, version: int, sha256: str) -> Detector:
        """The detector of a version, from memory, the cache, or MLflow, in that order.

        `ModelUntrusted` when the file is not the one with that hash; a damaged cached copy is fetched again.
        """
        key = (name, version, sha256)
        with self._lock:
            if key in self._loaded:
                return self._loaded[key]
        content = self._cached(name, version, sha256) or self._download(name, version, sha256)
        detector = _parse(content)
        with self._lock:
            while len(self._loaded) >= _IN_MEMORY:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[key] = detector
        return detector

    def ping(self) -> None:
        """Raises `RegistryUnavailable` unless the server answers."""
        try:
            httpx.get(f"{self.tracking_uri}/health", timeout=self._timeout_s).raise_for_status()
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error

    def _path(self, name: str, version: int) -> Path:
        return self._cache / _plain(name) / str(version) / FILE

    def _cached(self, name: str, version: int, sha256: str) -> bytes | None:
        path = self._path(name, version)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            logger.warning("cached file of %s version %d is not the registered one: fetching it again", name, version)
            return None
        return content

    def _download(self, name: str, version: int, sha256: str) -> bytes:
        self.ping()
        mlflow = self._mlflow()
        with tempfile.TemporaryDirectory(prefix="hps-model-") as folder:
            try:
                where = mlflow.artifacts.download_artifacts(f"models:/{_plain(name)}/{version}", dst_path=folder)
            except mlflow.exceptions.MlflowException as error:
                raise self._explained(error) from error
            files = sorted(Path(where).rglob(FILE))
            content = files[0].read_bytes() if files else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelUntrusted(f"the file of {name} version {version} is not the one that was registered: train anew")
        path = self._path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
        return content

    def _log(self, name: str, columns: Sequence[str], card: Card, path: Path, digest: str) -> int:
        mlflow = self._mlflow()
        try:
            with self._lock:
                mlflow.set_tracking_uri(self.tracking_uri)
                mlflow.set_registry_uri(self.tracking_uri)
                mlflow.set_experiment(EXPERIMENT)
                with mlflow.start_run(run_name=f"{name} {card.hostname}"):
                    mlflow.log_params(dict(card.parameters))
                    mlflow.log_metrics(dict(card.metrics))
                    mlflow.set_tags({**card.tags, "hostname": card.hostname, "sha256": digest})
                    logged = mlflow.pyfunc.log_model(
                        name="model",
                        loader_module=__name__,
                        data_path=str(path),
                        signature=_signature(columns),
                        input_example=_example(card.example, columns),
                        pip_requirements=_requirements(),
                        registered_model_name=name,
                    )
            version = int(logged.registered_model_version)
        except mlflow.exceptions.MlflowException as error:
            raise self._explained(error) from error
        for key, value in {**card.tags, "hostname": card.hostname, "sha256": digest}.items():
            self._send(
                "POST",
                "model-versions/set-tag",
                {"name": name, "version": str(version), "key": key, "value": value},
            )
        self._send("POST", "registered-models/set-tag", {"name": name, "key": "hostname", "value": card.hostname})
        return version

    def _mlflow(self) -> Any:
        """MLflow itself, quiet, and giving up within seconds where its server went away."""
        for variable, value in {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "GIT_PYTHON_REFRESH": "quiet",
        }.items():
            os.environ.setdefault(variable, value)
        import mlflow
        import mlflow.artifacts
        import mlflow.exceptions
        import mlflow.pyfunc

        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow

    # REST ---------------------------------------------------------------------------------------------------------

    def _pages(self, path: str, what: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self._get(path, {**parameters, "max_results": "1000"} | ({"page_token": token} if token else {}))
            rows += page.get(what, [])
            token = page.get("next_page_token", "")
            if not token:
                return rows

    def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        return self._send("GET", path, parameters)

    def _send(self, method: str, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        given = {"params": dict(parameters)} if method == "GET" else {"json": dict(parameters)}
        try:
            answer = httpx.request(method, f"{self.tracking_uri}{_API}/{path}", timeout=self._timeout_s, **given)  # type: ignore[arg-type]  # one of two keywords
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
        try:
            problem: dict[str, str] = answer.json()
        except ValueError:
            problem = {}
        message = problem.get("message") or f"HTTP status {answer.status_code}"
        if problem.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            raise ModelNotFound(f"the model registry says: {message}")
        if answer.is_server_error or not problem:
            raise RegistryUnavailable(f"MLflow at {self.tracking_uri} failed: {message}")
        raise InvalidInput(f"the model registry refused: {message}")

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        reason = str(error) or type(error).__name__
        return RegistryUnavailable(f"MLflow at {self.tracking_uri} does not answer ({reason})")

    def _explained(self, error: Exception) -> RegistryUnavailable | ModelNotFound:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return ModelNotFound(f"the model registry says: {error}")
        return RegistryUnavailable(f"MLflow at {self.tracking_uri} failed: {str(error).splitlines()[0]}")

    def _remember(self, champions: Mapping[str, int]) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        _write(self._cache / "champions.json", json.dumps(dict(champions)).encode())

    # Runs without a model -----------------------------------------------------------------------------------------

    def log_run(
        self, experiment: str, name: str, *, parameters: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> str:
        """Notes what was tried and how it did as a run of an experiment, which is made where it is missing; its id."""
        self.ping()
        mlflow = self._mlflow()
        try:
            with self._lock:
                mlflow.set_experiment(experiment)
                with mlflow.start_run(run_name=name) as run:
                    mlflow.log_params(dict(parameters))
                    mlflow.log_metrics(dict(metrics))
                    run_id: str = run.info.run_id
        except mlflow.exceptions.MlflowException as error:
            raise self._explained(error) from error
        return run_id


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


def _load_pyfunc(data_path: str) -> _Predictor:
    """MLflow's entry into a logged model."""
    return _Predictor(_parse(Path(data_path).read_bytes()))


def _dump(detector: Detector) -> bytes:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(detector.state(), buffer, compress=("zlib", 3))
    return buffer.getvalue()


def _parse(content: bytes) -> Detector:
    import joblib

    return restore(joblib.load(io.BytesIO(content)))


def _signature(columns: Sequence[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    metrics = [ColSpec("double", name, required=False) for name in columns]
    scores = [ColSpec("double", name) for name in ("anomaly_score", "forest_score")]
    return ModelSignature(
        inputs=Schema([ColSpec("datetime", "timestamp"), *metrics]),
        outputs=Schema([ColSpec("datetime", "timestamp"), *scores]),
    )


def _example(frame: "pl.DataFrame", columns: Sequence[str]) -> "pd.DataFrame":
    """Rows as MLflow's schema wants them: times without a zone (they are UTC), metrics in double precision."""
    import polars as pl

    naive = pl.col("timestamp").dt.replace_time_zone(None).cast(pl.Datetime("us"))
    return frame.select(naive, *(pl.col(name).cast(pl.Float64) for name in columns)).to_pandas()


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"hps-platform=={__version__}", *(f"{name}=={version(name)}" for name in _PACKAGES)]


def _version(row: Mapping[str, Any], aliases: tuple[str, ...]) -> Version:
    return Version(
        name=row["name"],
        version=int(row["version"]),
        created_at=datetime.fromtimestamp(int(row["creation_timestamp"]) / 1000, UTC),
        run_id=row.get("run_id", ""),
        aliases=aliases,
        tags={tag["key"]: tag["value"] for tag in row.get("tags", [])},
    )


def _plain(name: str) -> str:
    """The name, refused unless it is one of ours: it becomes part of a path and of a filter."""
    if not name.removeprefix("hps.").isalnum():
        raise InvalidInput(f"{name!r} is no model of this platform: they are called hps.<server id>")
    return name


def _write(path: Path, content: bytes) -> None:
    """Replaces a file whole: a reader never sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        shutil.move(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
