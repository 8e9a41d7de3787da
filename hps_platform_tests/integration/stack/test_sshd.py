"""This machine as a host: the private OpenSSH server lets in one key and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hps_platform.settings import Settings
from hps_platform.stack import health, sshd
from hps_platform.stack.ports import free_port
from hps_platform_tests.waiting import until


@pytest.fixture
def local(tmp_path: Path) -> Iterator[sshd.LocalSsh]:
    made = sshd.prepare(tmp_path / "sshd", free_port())
    assert made is not None, "these tests need an OpenSSH server: apt-get install openssh-server"
    with (tmp_path / "sshd.log").open("wb") as log:
        process = subprocess.Popen(made.service.command, stdout=log, stderr=log)
    until(lambda: health.ask(made.service.health, Settings())[0], 60, "sshd answers")
    yield made
    process.terminate()
    process.wait(20)


def ssh(local: sshd.LocalSsh, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{local.port} {local.host_key}\n")
    strict = ["-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
    strict += ["-o", "BatchMode=yes"]
    where = ["-p", str(local.port), f"{local.username}@127.0.0.1"]
    return subprocess.run(
        ["ssh", *strict, *options, *where, "uname -s"], check=False, capture_output=True, text=True, timeout=60
    )


def test_the_key_opens_and_the_host_key_is_the_one_that_was_told(local: sshd.LocalSsh, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(local.private_key)
    done = ssh(local, tmp_path, "-o", "IdentitiesOnly=yes", "-i", str(key))
    assert (done.returncode, done.stdout) == (0, os.uname().sysname + "\n"), done.stderr


def test_no_other_key_and_no_password_opens(local: sshd.LocalSsh, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    done = ssh(local, tmp_path, "-o", "IdentitiesOnly=yes", "-i", str(other))
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_keys_stay_the_same(tmp_path: Path) -> None:
    first, second = (sshd.prepare(tmp_path, 1) for _ in range(2))
    assert first is not None
    assert first == second
    assert (tmp_path / "client_key").stat().st_mode & 0o777 == 0o600


def test_without_an_openssh_server_this_machine_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sshd, "find_sshd", lambda: None)
    assert sshd.prepare(tmp_path / "sshd", 1) is None
    assert not (tmp_path / "sshd").exists()
