"""Settings: sources, older names, and errors that name the variable."""

import json
from pathlib import Path

import pytest

from hps_platform import settings
from hps_platform.errors import SettingsError


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(settings.variable(name), raising=False)
    monkeypatch.setenv("HPS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def record(tmp_path: Path, **values: object) -> None:
    (tmp_path / settings.RECORD).write_text(json.dumps({"settings": values}))


def test_environment_wins_over_dotenv_wins_over_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, app_port=7001, dagster_port=7002, mlflow_port=7003)
    (tmp_path / ".env").write_text("HPS_APP_PORT=7101\nHPS_DAGSTER_PORT=7102\n")
    monkeypatch.setenv("HPS_APP_PORT", "7201")
    loaded = settings.load()
    assert (loaded.app_port, loaded.dagster_port, loaded.mlflow_port) == (7201, 7102, 7003)


def test_older_names_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_HOST", "db.example.org")
    monkeypatch.setenv("DATABASE_PORT", "6432")
    monkeypatch.setenv("POSTGRES_PASSWORD", "p@ss/word")
    monkeypatch.setenv("KAFKA_CONSUMER_BATCH_INTERVAL", "1.5")
    loaded = settings.load()
    assert loaded.dsn() == "postgresql://hps:p%40ss%2Fword@db.example.org:6432/hps"
    assert loaded.dsn("hps_dagster", driver="psycopg2").startswith("postgresql+psycopg2://")
    assert loaded.kafka_consumer_batch_interval == 1.5


def test_a_database_of_ones_own_takes_nothing_from_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, database_host="127.0.0.1", database_port=5433, postgres_password="embedded")
    assert settings.load().dsn() == "postgresql://hps:embedded@127.0.0.1:5433/hps"
    monkeypatch.setenv("DATABASE_HOST", "db.example.org")
    assert settings.load().dsn() == "postgresql://hps:@db.example.org:5432/hps"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HPS_APP_PORT", "http"), ("DATABASE_PORT", "70000"), ("HPS_LOG_LEVEL", "LOUD"), ("HPS_ALERT_BUDGET", "-1")],
)
def test_a_bad_value_is_one_line_that_names_the_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value).startswith(f"{variable}=")
    assert "\n" not in str(caught.value)


def test_a_damaged_record_says_which_file(tmp_path: Path) -> None:
    (tmp_path / settings.RECORD).write_text("{")
    with pytest.raises(SettingsError, match=r"stack\.json is damaged"):
        settings.load()


def test_secrets_do_not_show() -> None:
    shown = repr(settings.load(postgres_password="planted", secret_key="planted"))
    assert "planted" not in shown
