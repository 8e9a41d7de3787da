"""Versions, aliases and files of the models: what is champion, what is challenger, and which file may be opened.

A file is only ever loaded when its SHA-256 is the one that the caller got from the database. Files are cached in the
data directory, so that scoring goes on while MLflow is away.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hps_platform.analysis.detector import Detector
from hps_platform.errors import Conflict, HpsError, InvalidInput, ModelNotFound, ModelUntrusted
from hps_platform.model_registry import folder
from hps_platform.model_registry.folder import FILE
from hps_platform.model_registry.rest import Rest

if TYPE_CHECKING:
    import polars as pl

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "hps-anomaly-detection"
_IN_MEMORY = 64


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
    """What is recorded with a model. `example` is a few rows as it reads them, `timestamp` first; `files` are logged
    with the run, by their path."""

    hostname: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    example: "pl.DataFrame"
    files: Mapping[str, bytes] = field(default_factory=dict)


class ModelRegistry:
    """Models of an MLflow server; every method raises `RegistryUnavailable` where that server does not answer."""

    def __init__(self, tracking_uri: str, *, cache_dir: Path, timeout_s: float = 10.0) -> None:
        self.tracking_uri = tracking_uri.rstrip("/")
        self._cache = cache_dir
        self._rest = Rest(tracking_uri, timeout_s)
        self._experiments: dict[str, str] = {}
        self._loaded: dict[tuple[str, int, str], Detector] = {}
        self._lock = threading.Lock()

    # Versions and aliases -----------------------------------------------------------------------------------------

    def champions(self) -> dict[str, int]:
        """Version under the alias champion, by model name, of every model that has one."""
        found: dict[str, int] = {}
        for model in self._rest.pages("registered-models/search", "registered_models", {}):
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
        aliases: dict[int, list[str]] = {}
        for alias, version in self._aliases(name).items():
            aliases.setdefault(version, []).append(alias)
        rows = self._rest.pages("model-versions/search", "model_versions", {"filter": f"name = '{_plain(name)}'"})
        versions = [_version(row, tuple(aliases.get(int(row["version"]), ()))) for row in rows]
        return sorted(versions, key=lambda one: one.version, reverse=True)

    def version(self, name: str, version: int) -> Version:
        row = self._rest.get("model-versions/get", {"name": name, "version": str(version)})["model_version"]
        return _version(row, tuple(row.get("aliases", ())))

    def run(self, run_id: str) -> tuple[dict[str, str], dict[str, float]]:
        """Parameters and metrics of the run that made a version."""
        data = self._rest.get("runs/get", {"run_id": run_id})["run"]["data"]
        parameters = {one["key"]: one["value"] for one in data.get("params", [])}
        return parameters, {one["key"]: float(one["value"]) for one in data.get("metrics", [])}

    def promote(self, name: str, version: int) -> None:
        """Makes a version the champion; a challenger up to it has had its day."""
        self._alias(name, CHAMPION, version)
        with self._lock:
            self._remember({**self.last_champions(), name: version})
        if self._aliases(name).get(CHALLENGER, version + 1) <= version:
            self._rest.delete("registered-models/alias", {"name": name, "alias": CHALLENGER})

    def challenge(self, name: str, version: int) -> None:
        """Makes a version the challenger."""
        self._alias(name, CHALLENGER, version)

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        for key, value in tags.items():
            self._rest.post(
                "model-versions/set-tag", {"name": name, "version": str(version), "key": key, "value": value}
            )

    def _aliases(self, name: str) -> dict[str, int]:
        model = self._rest.get("registered-models/get", {"name": name})["registered_model"]
        return {alias["alias"]: int(alias["version"]) for alias in model.get("aliases", [])}

    def _alias(self, name: str, alias: str, version: int) -> None:
        self._rest.post("registered-models/alias", {"name": name, "alias": alias, "version": str(version)})

    def log_run(
        self, experiment: str, name: str, *, parameters: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> str:
        """Notes what was tried and how it did as a run of an experiment, which is made where it is missing; its id.

        Metrics that are no finite number are left out: JSON has none.
        """
        stamp = _now_ms()
        asked = {"experiment_id": self._experiment(experiment), "run_name": name, "start_time": stamp}
        run_id: str = self._rest.post("runs/create", {**asked, "tags": _pairs(_source())})["run"]["info"]["run_id"]
        noted = {
            "run_id": run_id,
            "params": _pairs({key: str(value) for key, value in parameters.items()}),
            "metrics": [
                {"key": key, "value": value, "timestamp": stamp, "step": 0}
                for key, value in metrics.items()
                if math.isfinite(value)
            ],
        }
        self._rest.post("runs/log-batch", noted)
        self._rest.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": _now_ms()})
        return run_id

    # Files --------------------------------------------------------------------------------------------------------

    def register(self, name: str, detector: Detector, card: Card) -> tuple[int, str]:
        """Logs and registers a detector; returns its version and the SHA-256 of its file.

        It becomes nobody's champion yet: first its hash has to be kept where only the platform writes.
        """
        content = folder.dump(detector)
        digest = hashlib.sha256(content).hexdigest()
        version = self._log(name, detector, card, content, digest)
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
        detector = folder.parse(content)
        with self._lock:
            while len(self._loaded) >= _IN_MEMORY:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[key] = detector
        return detector

    def verify(self, name: str, version: int, sha256: str) -> None:
        """Raises what `load` would of a file that is gone or another one; a thousandth of its work."""
        if (name, version, sha256) not in self._loaded and self._cached(name, version, sha256) is None:
            self._download(name, version, sha256)

    def ping(self) -> None:
        """Raises `RegistryUnavailable` unless the server answers."""
        self._rest.ping()

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
        asked = {"name": _plain(name), "version": str(version)}
        where = self._rest.get("model-versions/get-download-uri", asked)["artifact_uri"]
        content = self._rest.download(where, folder.DATA)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelUntrusted(f"the file of {name} version {version} is not the one that was registered: train anew")
        path = self._path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
        return content

    def _log(self, name: str, detector: Detector, card: Card, content: bytes, digest: str) -> int:
        """One run with everything about the model, the model itself, and a registered version of it."""
        tags = {**card.tags, "hostname": card.hostname, "sha256": digest}
        experiment = self._experiment(EXPERIMENT)
        run = self._rest.post(
            "runs/create",
            {
                "experiment_id": experiment,
                "run_name": f"{_plain(name)} {card.hostname}",
                "start_time": _now_ms(),
                "tags": _pairs({**tags, **_source()}),
            },
        )["run"]["info"]
        run_id = run["run_id"]
        try:
            version = self._log_model(name, detector, card, content, tags, experiment, run)
        except HpsError:
            with suppress(HpsError):  # what stopped the registration is what counts
                self._rest.post("runs/update", {"run_id": run_id, "status": "FAILED", "end_time": _now_ms()})
            raise
        self._rest.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": _now_ms()})
        return version

    def _log_model(
        self,
        name: str,
        detector: Detector,
        card: Card,
        content: bytes,
        tags: Mapping[str, str],
        experiment: str,
        run: Mapping[str, str],
    ) -> int:
        run_id, parameters = run["run_id"], _pairs({key: str(value) for key, value in card.parameters.items()})
        model = self._rest.post(
            "logged-models",
            {
                "experiment_id": experiment,
                "name": "model",
                "source_run_id": run_id,
                "params": parameters,
                "tags": _pairs(tags),
            },
        )["model"]["info"]
        model_id, uri = model["model_id"], model["artifact_uri"]
        stamp = _now_ms()
        metrics = [
            {"key": key, "value": value, "timestamp": stamp, "step": 0, "model_id": model_id, "run_id": run_id}
            for key, value in card.metrics.items()
        ]
        self._rest.post("runs/log-batch", {"run_id": run_id, "params": parameters, "metrics": metrics})
        written = folder.files(
            content, detector.columns, card.example, model_id=model_id, run_id=run_id, artifact_uri=uri
        )
        self._rest.upload(uri, written)
        if card.files:
            self._rest.upload(run["artifact_uri"], card.files)
        self._rest.patch(f"logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"})
        self._rest.post("runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]})
        try:
            self._rest.post("registered-models/create", {"name": name, "tags": _pairs({"hostname": card.hostname})})
        except Conflict:  # it has versions; the host may have got another name since
            self._rest.post("registered-models/set-tag", {"name": name, "key": "hostname", "value": card.hostname})
        made = self._rest.post(
            "model-versions/create",
            {
                "name": name,
                "source": f"models:/{model_id}",
                "run_id": run_id,
                "model_id": model_id,
                "tags": _pairs(tags),
            },
        )
        return int(made["model_version"]["version"])

    def _experiment(self, name: str) -> str:
        """The id of an experiment, which is made where it is missing."""
        if name not in self._experiments:
            try:
                found = self._rest.get("experiments/get-by-name", {"experiment_name": name})
                self._experiments[name] = found["experiment"]["experiment_id"]
            except ModelNotFound:
                try:
                    self._experiments[name] = self._rest.post("experiments/create", {"name": name})["experiment_id"]
                except Conflict:  # another process was quicker
                    return self._experiment(name)
        return self._experiments[name]

    def _remember(self, champions: Mapping[str, int]) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        _write(self._cache / "champions.json", json.dumps(dict(champions)).encode())


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _now_ms() -> int:
    return int(time.time() * 1000)


@cache
def _source() -> Mapping[str, str]:
    """MLflow's own tags: what made the run, and the revision of the checkout it came from, where there is one."""
    tags = {"mlflow.source.name": "hps_platform", "mlflow.source.type": "JOB"}
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            tags["mlflow.source.git.commit"] = asked.stdout.strip()
    return tags


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
