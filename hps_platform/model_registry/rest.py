"""MLflow over REST: requests, their errors, and files through the tracking server or its own artefact store.

Every method raises `RegistryUnavailable` where the server does not answer, `ModelNotFound`, `Conflict` for what exists
already, and `InvalidInput` for what it refuses.
"""

import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from hps_platform.errors import Conflict, HpsError, InvalidInput, ModelNotFound, RegistryUnavailable

_API = "/api/2.0/mlflow"
_PROXIED = "mlflow-artifacts:/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts/"
_WRITES_WITHIN_S = 60.0
"""Longer than questions may take: giving up on what the server may still do would leave half a version."""
_IDLE_S = 2.0
"""Less than the five seconds after which the server hangs up."""
_ERRORS: Mapping[str, type[HpsError]] = {
    "RESOURCE_DOES_NOT_EXIST": ModelNotFound,
    "RESOURCE_ALREADY_EXISTS": Conflict,
}


class Rest:
    """One keep-alive client for all threads; opened at the first request."""

    def __init__(self, tracking_uri: str, timeout_s: float) -> None:
        self.uri = tracking_uri.rstrip("/")
        self._timeout_s = timeout_s
        self._opened: httpx.Client | None = None
        self._lock = threading.Lock()

    def ping(self) -> None:
        self._request("GET", "/health")

    def get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        return self._json(self._request("GET", f"{_API}/{path}", params=dict(parameters)))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json(self._request("POST", f"{_API}/{path}", json=dict(body)))

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json(self._request("PATCH", f"{_API}/{path}", json=dict(body)))

    def delete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json(self._request("DELETE", f"{_API}/{path}", json=dict(body)))

    def pages(self, path: str, what: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """The rows under `what` of every page."""
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.get(path, {**parameters, "max_results": "1000"} | ({"page_token": token} if token else {}))
            rows += page.get(what, [])
            token = page.get("next_page_token", "")
            if not token:
                return rows

    def upload(self, artifact_uri: str, files: Mapping[str, bytes]) -> None:
        """Files by their path below the URI. A store that the tracking server does not stand before is written to by
        MLflow's library, which knows S3 and the like."""
        if artifact_uri.startswith(_PROXIED):
            for path, content in files.items():
                self._request("PUT", f"{_FILES}{artifact_uri.removeprefix(_PROXIED)}/{path}", content=content)
            return
        with tempfile.TemporaryDirectory(prefix="hps-model-") as folder:
            for path, content in files.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            try:
                _repository(artifact_uri).log_artifacts(folder)
            except Exception as error:  # each kind of store raises its own
                raise _store_failed(artifact_uri, error) from error

    def download(self, artifact_uri: str, path: str) -> bytes:
        """One file below the URI."""
        if artifact_uri.startswith(_PROXIED):
            return self._request("GET", f"{_FILES}{artifact_uri.removeprefix(_PROXIED)}/{path}").content
        with tempfile.TemporaryDirectory(prefix="hps-model-") as folder:
            try:
                return Path(_repository(artifact_uri).download_artifacts(path, folder)).read_bytes()
            except Exception as error:  # each kind of store raises its own
                raise _store_failed(artifact_uri, error) from error

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._opened is None:
                # Reading the certificate store takes longer than a request; plain HTTP needs none.
                self._opened = httpx.Client(
                    base_url=self.uri,
                    timeout=self._timeout_s,
                    verify=self.uri.startswith("https:"),
                    limits=httpx.Limits(keepalive_expiry=_IDLE_S),
                )
            return self._opened

    def _request(self, method: str, path: str, **given: Any) -> httpx.Response:
        if method != "GET":
            given["timeout"] = httpx.Timeout(_WRITES_WITHIN_S, connect=self._timeout_s)
        try:
            answer = self._client().request(method, path, **given)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise RegistryUnavailable(f"MLflow at {self.uri} does not answer ({reason})") from error
        if answer.is_success:
            return answer
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        message = problem.get("message") or f"HTTP status {answer.status_code}"
        known = _ERRORS.get(problem.get("error_code", ""))
        if known:
            raise known(f"the model registry says: {message}")
        if answer.is_server_error or not problem:
            raise RegistryUnavailable(f"MLflow at {self.uri} failed: {message}")
        raise InvalidInput(f"the model registry refused: {message}")

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found: dict[str, Any] = answer.json()
        except ValueError as error:
            raise RegistryUnavailable(f"what answers at {self.uri} is no MLflow server") from error
        return found


def _repository(artifact_uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(artifact_uri)


def _store_failed(artifact_uri: str, error: Exception) -> RegistryUnavailable:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return RegistryUnavailable(f"the artefact store of MLflow, {artifact_uri}, failed: {reason}")
