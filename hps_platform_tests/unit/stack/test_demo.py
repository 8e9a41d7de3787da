"""The demo's steps: each once, also after an interruption."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hps_platform import settings
from hps_platform.errors import StackError
from hps_platform.stack import demo


class Dagster(ThreadingHTTPServer):
    """Takes every launch, and remembers the jobs; refuses all while `away`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.jobs: list[str] = []
        self.away = False


class _Requests(BaseHTTPRequestHandler):
    server: Dagster

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"__typename": "PythonError", "message": "away"}
        if not self.server.away:
            self.server.jobs.append(asked["variables"]["params"]["selector"]["jobName"])
            answer = {"__typename": "LaunchRunSuccess", "run": {"runId": "1"}}  # type: ignore[dict-item]
        body = json.dumps({"data": {"launchRun": answer}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    with Dagster() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_forecasts_are_begun_once(dagster: Dagster, tmp_path: Path) -> None:
    loaded = settings.load(data_dir=tmp_path, dagster_port=dagster.server_port)
    state = demo.State(1, 14, "2026-03-02T00:00:00+00:00", done=["scored"])
    dagster.away = True
    with pytest.raises(StackError, match="did not start make_forecasts"):
        demo._forecast(loaded, state)
    dagster.away = False
    demo._forecast(loaded, state)
    again = demo.load(tmp_path)
    assert again is not None
    assert again.complete
    demo._forecast(loaded, again)
    assert dagster.jobs == ["make_forecasts"]
