"""`hps server` and `hps collect` as a person types them, on a real database and a host that answers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
from cryptography.fernet import Fernet
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from hps_platform.cli import collect, export, keys, server
from hps_platform.errors import Conflict, DatabaseUnavailable, InvalidInput, NotFound, SettingsError
from hps_platform.stack.ports import free_port
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.ssh.hosts import PASSWORD, ScriptedHost, scripted_host

Hps = Callable[..., Result]


@pytest.fixture
def hps(migrated_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hps:
    """Runs `hps` with these arguments, `text` on its stdin; an error of ours is raised as it is."""
    dsn = conninfo_to_dict(migrated_dsn)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HPS_DATA_DIR": str(tmp_path),
        "DATABASE_HOST": str(dsn["host"]),
        "DATABASE_PORT": str(dsn["port"]),
        "POSTGRES_USER": str(dsn["user"]),
        "POSTGRES_PASSWORD": str(dsn["password"]),
        "POSTGRES_DB": str(dsn["dbname"]),
        "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }.items():
        monkeypatch.setenv(name, value)

    topics = {"server": server.app, "collect": collect.app, "keys": keys.app, "export": export.app}

    def run(topic: str, *arguments: str, text: str = "") -> Result:
        result = CliRunner().invoke(topics[topic], arguments, input=text)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def host() -> Iterator[ScriptedHost]:
    with scripted_host(linux()) as scripted:
        yield scripted


def test_a_server_from_its_first_entry_to_its_removal(hps: Hps, host: ScriptedHost) -> None:
    added = hps(
        "server", "add", "lin1", "--address", "localhost", "--port", str(host.port), "--user", "mon",
        "--password-stdin", "--tag", "prod", "--tag", "web", text=f"{PASSWORD}\n",
    )  # fmt: skip
    assert "pending_host_key" in added.stdout
    assert "--host-key" in added.stdout

    tried = hps("server", "test", "lin1")
    assert tried.exit_code == 1
    assert host.fingerprint in tried.stdout
    assert host.logins == 0

    hps("server", "update", "lin1", "--host-key", host.fingerprint)
    tried = hps("server", "test", "LIN1", "--json")
    report = json.loads(tried.stdout)
    assert (report["host_key_state"], report["login_ok"], report["operating_system"]) == ("pinned", True, "linux")
    assert report["families"]["vmstat"]["ok"]

    (listed,) = json.loads(hps("server", "list", "--json").stdout)
    assert (listed["hostname"], listed["tags"], listed["has_password"]) == ("lin1", ["prod", "web"], True)
    assert PASSWORD not in hps("server", "show", "lin1", "--json").stdout
    assert "lin1" in hps("server", "list").stdout

    hps("server", "update", "lin1", "--inactive", "--settings", '{"intervals": {"vmstat": 5}}')
    shown = json.loads(hps("server", "show", "lin1", "--json").stdout)
    assert (shown["status"], shown["settings"]) == ("paused", {"intervals": {"vmstat": 5}})

    assert hps("server", "remove", "lin1", text="n\n").exit_code == 1
    assert "removed" in hps("server", "remove", "lin1", "--yes").stdout
    assert "no servers" in hps("server", "list").stdout


def test_a_private_key_is_read_from_its_file_and_checked(hps: Hps, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text(asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh", "sesame").decode())
    add = ("server", "add", "lin1", "--user", "mon", "--key", str(key))
    with pytest.raises(InvalidInput, match="ssh_key_passphrase is needed"):
        hps(*add)
    hps(*add, "--passphrase-stdin", text="sesame\n")
    assert json.loads(hps("server", "show", "lin1", "--json").stdout)["has_private_key"]
    hps("server", "update", "lin1", "--key", "")
    assert not json.loads(hps("server", "show", "lin1", "--json").stdout)["has_private_key"]


def test_each_mistake_is_a_sentence(hps: Hps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hps("server", "add", "lin1", "--user", "mon")
    with pytest.raises(Conflict, match="already"):
        hps("server", "add", "lin1", "--user", "mon")
    with pytest.raises(NotFound, match="hps server list"):
        hps("server", "show", "lin2")
    with pytest.raises(NotFound, match="'lin2'"):
        hps("collect", "--once", "--server", "lin2")
    with pytest.raises(InvalidInput, match="1 to 65535"):
        hps("server", "update", "lin1", "--port", "70000")
    with pytest.raises(InvalidInput, match="No such file"):
        hps("server", "update", "lin1", "--key", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="nothing to change"):
        hps("server", "update", "lin1")
    with pytest.raises(InvalidInput, match="not JSON"):
        hps("server", "update", "lin1", "--settings", "{")
    with pytest.raises(InvalidInput, match=r"no-such-host\.invalid"):
        hps("server", "update", "lin1", "--address", "no-such-host.invalid")
    with monkeypatch.context() as stopped:
        stopped.setenv("DATABASE_PORT", str(free_port()))
        with pytest.raises(DatabaseUnavailable, match="`hps up`"):
            hps("server", "list")
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", "short")
    with pytest.raises(SettingsError, match="FIELD_ENCRYPTION_KEY"):
        hps("server", "update", "lin1", "--password-stdin", text="x\n")


def test_export_writes_a_file_or_stdout(hps: Hps, tmp_path: Path) -> None:
    hps("server", "add", "db1", "--address", "127.0.0.1", "--user", "mon")
    asked = ("--family", "vmstat", "--server", "db1", "--from", "2026-03-01", "--to", "2026-03-02T00:00:00Z")
    printed = hps("export", *asked, "--columns", "us,sy", "--format", "json")
    assert json.loads(printed.stdout)["query"]["columns"] == ["us", "sy"]
    assert json.loads(printed.stdout)["results"] == []
    target = tmp_path / "out.csv"
    hps("export", *asked, "--output", str(target))
    assert target.read_text().startswith("# query: {")
    with pytest.raises(InvalidInput, match="no server 'nobody'"):
        hps("export", "--family", "vmstat", "--server", "nobody")
    with pytest.raises(InvalidInput, match="--from 'noon'"):
        hps("export", "--family", "vmstat", "--from", "noon")


def test_a_fleet_is_imported_after_its_diff_was_shown_and_exported_without_secrets(hps: Hps, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "- {hostname: db1, ssh_username: mon, ssh_password: hunter2}\n- {hostname: gate, ssh_username: mon}\n"
    )
    shown = hps("server", "import", str(file), "--dry-run")
    assert shown.stdout.splitlines() == [
        "+ db1: ssh_username mon, ssh_password one",
        "+ gate: ssh_username mon",
        "2 to add, 0 to change, 0 to remove, 0 the same",
    ]
    asked = hps("server", "import", str(file))
    assert asked.exit_code == 1
    assert "--yes" in asked.stdout
    assert "no servers" in hps("server", "list").stdout
    assert "applied" in hps("server", "import", str(file), "--yes").stdout
    again = hps("server", "import", str(file), "--yes")
    assert again.exit_code == 0
    assert again.stdout == "0 to add, 0 to change, 0 to remove, 2 the same\n"

    hps("server", "update", "db1", "--jump", "gate", "--jump", "ops@192.0.2.9:2200=SHA256:" + "b" * 43)
    exported = hps("server", "export", "--format", "csv").stdout
    assert "hunter2" not in exported
    assert exported.startswith("hostname,ip_address,ssh_port,ssh_username,host_key,")
    (tmp_path / "known_hosts").write_text(f"gate {'ssh-ed25519 ' + 'A' * 3}\n")
    assert "note: line 1" in hps("server", "import-known-hosts", str(tmp_path / "known_hosts"), "--yes").output
    hps("server", "export", str(tmp_path / "out.yaml"))
    file.write_text("[x]\ngate\n")
    removed = hps("server", "import", str(file), "--format", "ansible", "--remove-missing", "--user", "mon", "--yes")
    assert "- db1" in removed.stdout
    hps("server", "import", str(tmp_path / "out.yaml"), "--yes")
    (db1,) = [one for one in json.loads(hps("server", "list", "--json").stdout) if one["hostname"] == "db1"]
    assert db1["settings"]["jump"] == ["gate", {"address": "ops@192.0.2.9:2200", "host_key": "SHA256:" + "b" * 43}]


def test_stored_secrets_move_to_a_new_key(hps: Hps, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    hps("server", "add", "lin1", "--user", "mon", "--password-stdin", text="hunter2\n")
    with pytest.raises(SettingsError, match="set by you: put a new key in front"):
        hps("keys", "new")
    new = Fernet.generate_key().decode()
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", f"{new},{os.environ['FIELD_ENCRYPTION_KEY']}")
    assert "1 of 1 secrets" in hps("keys", "rotate").stdout
    assert "0 of 1 secrets" in hps("keys", "rotate").stdout
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", new)
    assert hps("keys", "rotate").stdout == "0 of 1 secrets encrypted anew, all are under the first key now\n"


def test_discovery_is_a_table_or_json(hps: Hps, host: ScriptedHost) -> None:
    hps("server", "add", "lin1", "--address", "127.0.0.1", "--port", str(host.port), "--user", "mon")
    (found,) = json.loads(hps("server", "discover", "127.0.0.1/32", "--port", str(host.port), "--json").stdout)
    assert (found["address"], found["registered"], found["host_keys"]) == ("127.0.0.1", "lin1", [])
    shown = hps("server", "discover", "127.0.0.1/32", "--port", str(host.port), "--host-keys").stdout
    assert host.fingerprint in shown
    assert host.logins == 0
    with pytest.raises(InvalidInput, match="16,777,216 addresses"):
        hps("server", "discover", "10.0.0.0/8")
