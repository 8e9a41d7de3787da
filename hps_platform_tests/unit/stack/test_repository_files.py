"""The files at the repository's top level that describe a deployment, held against the code."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for
from pydantic import SecretStr

from hps_platform.settings import Settings, variable
from hps_platform.stack import services
from hps_platform.stack.__main__ import NAMES, find
from hps_platform.stack.record import Record

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"
OTHERS = {"DAGSTER_CODE_HOST", "DAGSTER_CODE_PORT", "MLFLOW_SERVER_ALLOWED_HOSTS"}
"""Variables of Dagster's and MLflow's files and programs, not of `Settings`."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


def compose_schema() -> Any:
    """A validator with the schema of the compose specification, which check-jsonschema ships."""
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = json.loads((Path(package.origin).parent / "builtin_schemas/vendor/compose-spec.json").read_text())
    return validator_for(schema)(schema)


def names_of_settings() -> set[str]:
    return {variable(name) for name in Settings.model_fields}


def test_env_example_lists_every_variable_with_its_default() -> None:
    lines = re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    listed = dict(lines)
    assert len(lines) == len(listed)
    assert set(listed) == names_of_settings()
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        if name == "data_dir":
            assert listed[variable(name)] == "~/.local/share/hps-platform"
        elif isinstance(default, bool):
            assert listed[variable(name)] == str(default).lower()
        else:
            assert listed[variable(name)] == ("" if default is None else str(default))


def test_env_example_explains_each_variable() -> None:
    text = (ROOT / ".env.example").read_text()
    for name, field in Settings.model_fields.items():
        assert f"# {field.description}.\n#{variable(name)}=" in text


def test_compose_file_follows_the_compose_schema(compose: dict[str, Any]) -> None:
    assert [f"{list(error.path)}: {error.message}" for error in compose_schema().iter_errors(compose)] == []


def test_compose_schema_would_notice_a_mistake(compose: dict[str, Any]) -> None:
    broken = compose | {"services": compose["services"] | {"app": {"imagee": "x"}}}
    assert list(compose_schema().iter_errors(broken))


def test_every_variable_of_the_compose_file_is_a_setting(compose: dict[str, Any]) -> None:
    for name in ("migrate", *NAMES):
        unknown = set(compose["services"][name]["environment"]) - names_of_settings() - OTHERS
        assert unknown == set(), name
    interpolated = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert interpolated <= names_of_settings()


def test_the_compose_file_runs_every_service_of_the_stack(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "kafka", "migrate", *NAMES}
    for name in NAMES:
        assert compose["services"][name]["command"] == ["python", "-m", "hps_platform.stack", name]


def test_what_the_compose_file_waits_for_exists_and_can_be_waited_for(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, how in service.get("depends_on", {}).items():
            assert other in compose["services"], name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][other], (name, other)


def test_the_compose_file_publishes_on_loopback_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_settings_of_a_container_lead_to_the_other_containers(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = compose["services"]["app"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?[^}]*\}", "pass word", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)))
    monkeypatch.setenv("HPS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.dsn() == "postgresql://hps:pass%20word@postgres:5432/hps"
    assert settings.bootstrap == "kafka:9092"
    record = Record(tmp_path)
    code = find("dagster-code", settings, record)
    assert code.command[code.command.index("--host") + 1] == "0.0.0.0"  # noqa: S104 - inside a container
    assert code.command[code.command.index("--port") + 1] == "4000"
    assert find("dagster-daemon", settings, record).environment["DAGSTER_CODE_HOST"] == "dagster-code"
    assert (
        find("mlflow", settings, record).environment["MLFLOW_BACKEND_STORE_URI"].endswith("@postgres:5432/hps_mlflow")
    )


def test_dagster_files_name_only_variables_that_services_set(tmp_path: Path) -> None:
    named = set()
    for file in ("dagster.yaml", "workspace.yaml"):
        named |= set(re.findall(r"env: (\w+)", (ROOT / file).read_text()))
    given = services.dagster_environment(Settings(data_dir=tmp_path), Record(tmp_path))
    assert named == {"DAGSTER_POSTGRES_URL", "DAGSTER_CODE_HOST", "DAGSTER_CODE_PORT"}
    assert named <= set(given)
    assert given["DAGSTER_POSTGRES_URL"].startswith("postgresql+psycopg2://")


def test_the_image_contains_what_services_read(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    assert {"dagster.yaml", "workspace.yaml", "hps_platform", "dash_app", "requirements.lock"} <= sources
    assert all((ROOT / source).exists() for source in sources)
    services.write_dagster_home(Settings(data_dir=tmp_path))
    assert (tmp_path / "dagster/dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()
