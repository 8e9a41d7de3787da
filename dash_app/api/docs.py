"""`/api/docs`: Swagger UI on the schema of this API, all from this server; what the schema says of credentials."""

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse

from dash_app.guard import OPEN
from dash_app.session import COOKIE
from hps_platform.errors import NotFound

router = APIRouter(include_in_schema=False)

# Swagger UI's own files come from a package that holds them for use without a content delivery network.
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_FILES = {
    "swagger-ui-bundle.js": (_SWAGGER, "text/javascript"),
    "swagger-ui.css": (_SWAGGER, "text/css"),
    "start.js": (Path(__file__).parent / "swagger", "text/javascript"),
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · HPS Platform</title>
<link rel="icon" href="/login/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
</head>
<body>
<div id="swagger"></div>
<noscript>The schema itself is at <a href="/api/openapi.json">/api/openapi.json</a>.</noscript>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""


@router.get("/api/docs")
async def page() -> Response:
    return HTMLResponse(_PAGE)


@router.get("/api/docs/{name}")
async def asset(name: str) -> Response:
    if name not in _FILES:
        raise NotFound(f"there is no {name[:60]!r} here")
    folder, media_type = _FILES[name]
    return FileResponse(folder / name, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


def describe(api: FastAPI) -> None:
    """Makes the schema say which requests need credentials, and that errors are problem details."""

    def schema() -> dict[str, Any]:
        if api.openapi_schema is None:
            made = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
            made["components"]["securitySchemes"] = {
                "Token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "Write `Token`, a blank, and the token.",
                },
                "Session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            made["security"] = [{"Token": []}, {"Session": []}]
            for method, path in OPEN:
                operation = made["paths"].get(path, {}).get(method.lower())
                if operation is not None:
                    operation["security"] = []
            _as_problems(made)
            api.openapi_schema = made
        return api.openapi_schema

    api.openapi = schema  # type: ignore[method-assign]  # FastAPI's own way to extend a schema


def _as_problems(schema: dict[str, Any]) -> None:
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, answer in operation.get("responses", {}).items():
                content = answer.get("content", {})
                if status >= "400" and "Problem" in str(content.get("application/json", "")):
                    answer["content"] = {"application/problem+json": content["application/json"]}
