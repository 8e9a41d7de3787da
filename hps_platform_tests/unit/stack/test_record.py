"""What a stack remembers, and which services count as somebody else's."""

import json
import shutil
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from hps_platform import settings as settings_module
from hps_platform.errors import SettingsError, StackError
from hps_platform.settings import Settings
from hps_platform.stack import services
from hps_platform.stack.record import DAGSTER, Record, external, remember


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(settings_module.variable(name), raising=False)
        monkeypatch.delenv(f"HPS_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def started(data_dir: Path, **chosen: object) -> tuple[Settings, Record]:
    """Settings and record after a first start."""
    settings, record = settings_module.load(data_dir=data_dir, **chosen), Record(data_dir)
    settings = remember(settings, record, external(settings, record))
    record.save()
    return settings, record


def test_another_process_finds_addresses_and_secrets_in_the_record(tmp_path: Path) -> None:
    settings, _ = started(tmp_path, postgres_port=6001, kafka_port=6002, mlflow_port=6003, dagster_port=6004)
    found = settings_module.load(data_dir=tmp_path)
    assert found.dsn() == settings.dsn()
    assert f":{settings.postgres_password.get_secret_value()}@127.0.0.1:6001/hps" in found.dsn()
    assert found.bootstrap == "127.0.0.1:6002"
    assert found.tracking_uri == "http://127.0.0.1:6003"
    assert found.dagster_address == "http://127.0.0.1:6004"
    assert found.secret_key.get_secret_value()
    Fernet(found.field_encryption_key.get_secret_value())


def test_only_the_owner_can_read_the_record(tmp_path: Path) -> None:
    started(tmp_path)
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_keeps_secrets_ports_and_identity(tmp_path: Path) -> None:
    first, record = started(tmp_path, app_port=6005)
    again = Record.load(tmp_path)
    assert again is not None
    settings = settings_module.load(data_dir=tmp_path)
    second = remember(settings, again, external(settings, again))
    assert second.postgres_password == first.postgres_password
    assert second.field_encryption_key == first.field_encryption_key
    assert second.app_port == 6005
    assert again.identity == record.identity


def test_exporting_the_embedded_addresses_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = started(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000/")
    monkeypatch.setenv("DATABASE_HOST", "localhost")
    monkeypatch.setenv("DATABASE_PORT", "5433")
    monkeypatch.setenv("HPS_DAGSTER_URL", "http://127.0.0.1:3000")
    assert external(settings_module.load(data_dir=tmp_path), record) == frozenset()


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"DATABASE_HOST": "db.example.org"}, {"postgres"}),
        ({"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": "5432"}, {"postgres"}),
        ({"KAFKA_BOOTSTRAP_SERVERS": "k1:9092,k2:9092"}, {"kafka"}),
        ({"MLFLOW_TRACKING_URI": "https://mlflow.example.org"}, {"mlflow"}),
        ({"HPS_DAGSTER_URL": "https://dagster.example.org"}, set(DAGSTER)),
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["after a start", "before any start"])
def test_another_address_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: set[str], before: bool
) -> None:
    record = started(tmp_path)[1] if before else None
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert external(settings_module.load(data_dir=tmp_path), record) == names


def test_an_external_server_gets_its_own_password_after_an_embedded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = started(tmp_path)
    monkeypatch.setenv("DATABASE_HOST", "db.example.org")
    monkeypatch.setenv("POSTGRES_PASSWORD", "theirs")
    given = settings_module.load(data_dir=tmp_path)
    remember(given, record, external(given, record))
    environment = services.base_environment(given, record)
    assert environment["DATABASE_HOST"] == "db.example.org"
    assert environment["POSTGRES_PASSWORD"] == "theirs"
    assert "database_host" not in record.settings


def test_changing_a_port_moves_the_recorded_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = started(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    monkeypatch.setenv("HPS_KAFKA_PORT", "6010")
    given = settings_module.load(data_dir=tmp_path)
    settings = remember(given, record, external(given, record))
    assert settings.bootstrap == "127.0.0.1:6010"
    assert "KAFKA_BOOTSTRAP_SERVERS" not in services.base_environment(given, record)


def test_another_password_for_the_embedded_server_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = started(tmp_path)
    monkeypatch.setenv("POSTGRES_PASSWORD", "new")
    given = settings_module.load(data_dir=tmp_path)
    with pytest.raises(SettingsError, match="POSTGRES_PASSWORD is not the password"):
        remember(given, record, frozenset())


def test_keys_of_the_operators_own_are_used_and_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", key)
    settings, record = started(tmp_path)
    assert settings.field_encryption_key.get_secret_value() == key
    assert key not in (tmp_path / "stack.json").read_text()
    assert services.base_environment(settings, record)["FIELD_ENCRYPTION_KEY"] == key


def test_processes_get_what_was_set_and_not_the_first_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("HPS_ALERT_BUDGET=0.5\n")
    monkeypatch.setenv("HPS_ADMIN_PASSWORD", "only once")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    settings, record = started(tmp_path, session_hours=3)
    environment = services.base_environment(settings, record)
    assert environment["HPS_ALERT_BUDGET"] == "0.5"
    assert environment["HPS_SESSION_HOURS"] == "3"
    assert environment["HPS_DATA_DIR"] == str(tmp_path)
    assert "only once" not in environment.values()
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(SettingsError, match=r"stack\.json is damaged"):
        Record.load(tmp_path)


def test_a_record_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(StackError, match="--data-dir or HPS_DATA_DIR"):
        Record(gone).save()


def test_unnamed_ports_stay_while_they_are_free(tmp_path: Path) -> None:
    record = Record(tmp_path)
    port = record.port("kafka_controller")
    assert record.port("kafka_controller") == port
    record.save()
    assert json.loads((tmp_path / "stack.json").read_text())["ports"] == {"kafka_controller": port}


@pytest.mark.parametrize(
    ("bind", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3"), ("::1", "[::1]")],  # noqa: S104
)
def test_services_are_asked_where_they_listen(tmp_path: Path, bind: str, reached: str) -> None:
    settings, record = started(tmp_path, bind_address=bind)
    assert settings.tracking_uri == f"http://{reached}:5000"
    assert services.mlflow(settings).health.target == f"http://{reached}:5000/health"
    assert services.dagster(settings, record)[2].health.target == f"http://{reached}:3000/server_info"


def test_a_copied_data_directory_is_another_stack(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    record = Record(tmp_path / "one")
    record.save()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    copy, link = Record.load(tmp_path / "two"), Record.load(tmp_path / "link")
    assert copy is not None
    assert link is not None
    assert copy.mark != record.mark
    assert link.mark == record.mark
