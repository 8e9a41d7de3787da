"""All routes of an application, for tests that try each of them."""

from collections.abc import Iterator

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute


def flat(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    """Routes, also those inside of included routers."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from flat(included.routes)
        else:
            yield route


def methods_and_paths(app: FastAPI) -> set[tuple[str, str]]:
    """`SOCKET` stands for WebSocket; a mounted folder for one file in it."""
    found: set[tuple[str, str]] = set()
    for route in flat(app.router.routes):
        if isinstance(route, WebSocketRoute):
            found.add(("SOCKET", route.path))
        elif isinstance(route, Route):
            found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
        elif isinstance(route, Mount):
            found.add(("GET", f"{route.path}/x"))
    return found


def concrete(path: str) -> str:
    """A path that the route with these placeholders takes."""
    for name, value in (
        ("{server_id}", "1"),
        ("{family}", "vmstat"),
        ("{timestamp}", "2026-03-01T00:00:00Z"),
        ("{threshold_id}", "1"),
        ("{letter_id}", "1"),
        ("{incident_id}", "1"),
        ("{learnt_id}", "1"),
        ("{name}", "start.js"),
        ("{rest:path}", "nothing"),
        ("{path:path}", "some/page"),
        ("{package_name}", "dash"),
        ("{fingerprinted_path:path}", "x.js"),
    ):
        path = path.replace(name, value)
    return path if path.startswith("/") else f"/{path}"
