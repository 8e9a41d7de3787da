"""Settings that lead a command line to a test's servers."""

from urllib.parse import unquote, urlsplit

import pytest


def lead_to(monkeypatch: pytest.MonkeyPatch, dsn: str, **more: str) -> None:
    """Sets the variables that name this database, and `more`."""
    parts = urlsplit(dsn)
    named = {
        "DATABASE_HOST": parts.hostname,
        "DATABASE_PORT": str(parts.port),
        "POSTGRES_DB": parts.path.lstrip("/"),
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
    }
    for name, value in {**named, **more}.items():
        monkeypatch.setenv(name, value or "")
