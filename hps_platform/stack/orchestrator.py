"""Dagster from outside: launch a job and wait for it, over its HTTP API (GraphQL).

The command line never opens Dagster's instance: the address is enough, so it works against a Dagster elsewhere too.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx

from hps_platform.errors import StackError, Unavailable

LOCATION = "hps_platform"
REPOSITORY = "__repository__"
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PipelineNotFoundError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_STATUS = """
query Status($id: ID!) {
  runOrError(runId: $id) {
    __typename
    ... on Run { status }
    ... on RunNotFoundError { message }
    ... on PythonError { message }
  }
}
"""
_FAILURE = """
query Failure($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection {
      events {
        __typename
        ... on ExecutionStepFailureEvent { error { message cause { message } } }
        ... on RunFailureEvent { message }
      }
    }
  }
}
"""
_LOADED = """
query Loaded {
  workspaceOrError {
    ... on Workspace {
      locationEntries { name loadStatus locationOrLoadError { __typename ... on PythonError { message } } }
    }
  }
}
"""


class Orchestrator:
    """One Dagster webserver. Raises `Unavailable` when it does not answer, `StackError` when it refuses."""

    def __init__(self, address: str, *, timeout_s: float = 30.0) -> None:
        self._client = httpx.Client(base_url=address.rstrip("/"), timeout=timeout_s)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> "Orchestrator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The `data` of one GraphQL request."""
        try:
            answer = self._client.post("/graphql", json={"query": text, "variables": variables})
            answer.raise_for_status()
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"Dagster at {self._client.base_url} does not answer: {error}") from error
        if body.get("errors"):
            raise StackError(f"Dagster refused a request: {body['errors'][0]['message']}")
        data: dict[str, Any] = body["data"]
        return data

    def loaded(self) -> bool:
        """Whether the code location is loaded; `StackError` with Dagster's words when it can't be."""
        entries = self.query(_LOADED)["workspaceOrError"].get("locationEntries", [])
        for entry in entries:
            problem = entry["locationOrLoadError"] or {}
            if problem.get("__typename") == "PythonError":
                raise StackError(f"Dagster can't load the code location: {problem['message'].splitlines()[0]}")
            if entry["name"] == LOCATION and entry["loadStatus"] == "LOADED":
                return True
        return False

    def launch(self, job: str, config: dict[str, Any] | None = None) -> str:
        """Starts a job; returns its run id. `config`: run configuration by op name."""
        params = {
            "selector": {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job},
            "runConfigData": {"ops": {op: {"config": values} for op, values in (config or {}).items()}},
            "mode": "default",
        }
        answer = self.query(_LAUNCH, params=params)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            reasons = [entry["message"] for entry in answer.get("errors", [])] or [answer.get("message", "")]
            raise StackError(f"Dagster did not start {job}: {answer['__typename']} {' '.join(reasons)}".strip())
        run_id: str = answer["run"]["runId"]
        return run_id

    def wait(self, run_id: str, *, timeout_s: float, progress: Callable[[str], None] | None = None) -> None:
        """Returns when the run succeeded; `StackError` with its reason when it did not, or not in time."""
        ends_at = time.monotonic() + timeout_s
        while time.monotonic() < ends_at:
            status = self.query(_STATUS, id=run_id)["runOrError"].get("status", "NOT_FOUND")
            if status == "SUCCESS":
                return
            if status in _ENDED:
                raise StackError(f"Dagster run {run_id} ended as {status}: {self._reason(run_id)}")
            if progress is not None:
                progress(status)
            time.sleep(0.5)
        raise StackError(f"Dagster run {run_id} did not end within {timeout_s:.0f} s: look at it in the Dagster UI")

    def run(self, job: str, config: dict[str, Any] | None = None, *, timeout_s: float = 600.0) -> str:
        """Launches a job and waits for its success; returns the run id."""
        run_id = self.launch(job, config)
        self.wait(run_id, timeout_s=timeout_s)
        return run_id

    def _reason(self, run_id: str) -> str:
        events = self.query(_FAILURE, id=run_id)["logsForRun"].get("events", [])
        for event in events:
            if error := event.get("error"):
                cause = (error.get("cause") or {}).get("message")
                return str(cause or error["message"]).strip().splitlines()[0]
        return next((str(event["message"]) for event in events if event.get("message")), "no reason was recorded")
