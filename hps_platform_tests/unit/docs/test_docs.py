"""Documents hold what they say: links lead somewhere, commands exist, settings are named right."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hps_platform import cli, settings

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OLD_NAMES = {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD", "DATABASE_HOST", "DATABASE_PORT", "SECRET_KEY"}


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_settings_named_in_documents_exist(page: Path) -> None:
    known = {settings.variable(name) for name in settings.Settings.model_fields} | OLD_NAMES
    named = set(re.findall(r"\bHPS_[A-Z_]+[A-Z]\b", page.read_text()))
    assert named - known - {"HPS_URL", "HPS_DAGSTER_URL", "HPS_SIMULATOR_TRACE"} == set()


def test_commands_named_in_documents_exist() -> None:
    known = cli.commands()
    for page in PAGES:
        named = set(re.findall(r"`hps ([a-z]+)", page.read_text()))
        assert named <= known, page


def test_make_targets_named_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)`", page.read_text())) <= targets, page


@pytest.mark.parametrize("command", sorted(cli.commands()))
def test_every_command_has_help(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = cli.application(command)
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
