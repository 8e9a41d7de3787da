"""The web application as a whole: a real uvicorn on a real PostgreSQL and Kafka, with a small page in place of ours."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from cryptography.fernet import Fernet
from dash import Dash, Input, Output, dcc, html
from fastapi import FastAPI

from dash_app import session
from dash_app.__main__ import server_config
from dash_app.app import create_app
from dash_app.data import Data
from dash_app.session import current_user
from hps_platform import access, settings, stream
from hps_platform.settings import Settings
from hps_platform.stack.ports import free_port
from hps_platform.store.database import Database
from hps_platform_tests.integration.services import NewDatabase

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Web:
    """A running application and ways in."""

    url: str
    app: FastAPI
    db: Database
    settings: Settings
    admin_token: str
    viewer_token: str
    cookies: dict[str, str] = field(default_factory=dict)

    def client(self, token: str | None = None, **more: Any) -> httpx.Client:
        headers = {"Authorization": f"Token {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers={**headers, **more.pop("headers", {})}, timeout=30, **more)

    @property
    def admin(self) -> httpx.Client:
        return self.client(self.admin_token)

    @property
    def viewer(self) -> httpx.Client:
        return self.client(self.viewer_token)

    @contextmanager
    def signed_in(self, username: str = "admin", *, afresh: bool = False) -> Iterator[httpx.Client]:
        """A browser's client: a session cookie, and what browsers say of where a request comes from.

        The session is shared by the tests of a run, since signing in is slow on purpose; `afresh` opens another.
        """
        with self.client(headers={"Origin": self.url, "Accept": "text/html"}) as client:
            if afresh or username not in self.cookies:
                answer = client.post("/login", data={"username": username, "password": PASSWORD})
                assert answer.status_code == 303, answer.text
                if not afresh:
                    self.cookies[username] = client.cookies[session.COOKIE]
            else:
                client.cookies.set(session.COOKIE, self.cookies[username])
            yield client


def tiny_pages(api: FastAPI, _: Data) -> Dash:
    """A page that says who is there, in a callback over HTTP; Dash serves its socket in any case."""
    dash = Dash("tiny", server=api, assets_folder="none")  # type: ignore[arg-type]  # Flask alone is named there
    dash.layout = html.Div([dcc.Input(id="in", value=""), html.Div(id="out")])

    @dash.callback(Output("out", "children"), Input("in", "value"))
    async def who(value: str) -> str:
        return f"{current_user().username}:{value}"

    return dash


def serve(app: FastAPI, chosen: Settings) -> tuple[uvicorn.Server, threading.Thread]:
    """Runs the application in a thread as `python -m dash_app` does; returns once it answers."""
    server = uvicorn.Server(server_config(app, chosen))
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the application ended"
        assert time.monotonic() < deadline, "the application does not start"
        time.sleep(0.02)
    return server, thread


def settings_for(dsn: str, bootstrap: str, data_dir: Path, **more: Any) -> Settings:
    parts = urlsplit(dsn)
    return settings.load(
        _env_file=None,
        data_dir=data_dir,
        database_host=parts.hostname,
        database_port=parts.port,
        postgres_user=parts.username,
        postgres_password=parts.password and parts.password.replace("%20", " "),
        postgres_db=parts.path.lstrip("/"),
        kafka_bootstrap_servers=bootstrap,
        field_encryption_key=Fernet.generate_key().decode(),
        mlflow_tracking_uri="http://127.0.0.1:9",
        dagster_url="http://127.0.0.1:9",
        **more,
    )


@pytest.fixture(scope="session")
def web(new_migrated: NewDatabase, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One application for the session, with the accounts `admin` and `viewer`."""
    stream.ensure_topics(kafka, partitions=3, replication=1, retention_hours=1)
    port = free_port()
    chosen = settings_for(new_migrated(), kafka, tmp_path_factory.mktemp("web"), app_port=port)
    with Database(chosen.dsn()) as db:
        access.add_user(db, "admin", PASSWORD, is_admin=True)
        access.add_user(db, "viewer", PASSWORD)
        admin_token, viewer_token = (access.issue_token(db, name, name="test") for name in ("admin", "viewer"))
        app = create_app(chosen, mount=tiny_pages)
        server, thread = serve(app, chosen)
        yield Web(f"http://127.0.0.1:{port}", app, db, chosen, admin_token, viewer_token)
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture
def server_id(web: Web) -> Iterator[int]:
    """A registered server, taken off again."""
    fields = {"hostname": f"host-{uuid.uuid4().hex[:8]}", "ssh_username": "monitor", "ip_address": "192.0.2.1"}
    with web.admin as client:
        answer = client.post("/api/servers/", json=fields)
        assert answer.status_code == 201, answer.text
        number: int = answer.json()["id"]
        yield number
        client.delete(f"/api/servers/{number}/")
