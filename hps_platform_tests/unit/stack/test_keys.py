"""`hps keys new` on an embedded stack: both keys are known afterwards, the new one encrypts."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from typer.testing import CliRunner

from hps_platform import settings
from hps_platform.cli import keys
from hps_platform.stack.record import Record
from hps_platform.store.secrets import SecretBox


def test_a_new_key_stands_in_front_of_those_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Fernet.generate_key().decode()
    Record(tmp_path, settings={"field_encryption_key": old}).save()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPS_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY", raising=False)
    token = SecretBox(old).encrypt(SecretStr("hunter2"))
    result = CliRunner().invoke(keys.app, ["new"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 keys are known")
    box = SecretBox(settings.load().field_encryption_key)
    assert box.decrypt(token).get_secret_value() == "hunter2"
    assert not box.is_newest(token)
    assert box.is_newest(box.rotate(token))
    assert old not in result.output
    assert (tmp_path / settings.RECORD).stat().st_mode & 0o077 == 0
