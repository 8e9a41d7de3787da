"""The application with its real pages refuses strangers everywhere, without asking the database."""

import asyncio
from pathlib import Path

import httpx

from dash_app.app import create_app
from dash_app.guard import OPEN
from hps_platform import settings
from hps_platform_tests.unit.api.routes import concrete, methods_and_paths


def test_every_route_of_the_pages_refuses_strangers(tmp_path: Path) -> None:
    nowhere = settings.load(_env_file=None, data_dir=tmp_path, database_host="127.0.0.1", database_port=9)
    app = create_app(nowhere)
    routes = {(method, path) for method, path in methods_and_paths(app) if method != "SOCKET"} - OPEN
    routes |= {("GET", "/history"), ("GET", "/assets/app.css"), ("POST", "/_dash-update-component")}

    async def attempt() -> dict[tuple[str, str], int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as stranger:
            return {
                (method, path): (await stranger.request(method, concrete(path))).status_code for method, path in routes
            }

    answers = asyncio.run(attempt())
    assert {route: status for route, status in answers.items() if status != 401} == {}
    assert {"/", "/_dash-layout", "/_dash-dependencies"} <= {path for _, path in routes}
