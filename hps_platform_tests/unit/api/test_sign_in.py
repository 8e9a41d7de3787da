"""Where one is led after signing in, and the content security policy."""

import pytest

from dash_app.guard import content_security_policy
from dash_app.sign_in import local_path


@pytest.mark.parametrize("path", ["/", "/history", "/history?server=1&from=2024-01-01", "/anomalies/1#top"])
def test_paths_of_ours_are_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "history",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/login",
        "/login?next=/login",
        "/logout",
        "/x\r\nSet-Cookie: a=b",
    ],
)
def test_everything_else_leads_to_the_start(path: str) -> None:
    assert local_path(path) == "/"


def test_scripts_come_from_here_or_are_known_by_their_hash() -> None:
    policy = content_security_policy(["'sha256-abc='"])
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == "script-src 'self' 'sha256-abc='"
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
