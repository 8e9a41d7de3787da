"""Files against the registry: what changes, that nothing changes twice, that all or nothing is applied."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hps_platform import inventory
from hps_platform.errors import InvalidInput
from hps_platform.host_keys import KnownHosts, fingerprint
from hps_platform.inventory import Change
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server

PIN = "SHA256:" + "a" * 43


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        yield database


@pytest.fixture(scope="module")
def box() -> SecretBox:
    return SecretBox(Fernet.generate_key().decode())


def registered(db: Database) -> dict[str, Server]:
    with db.connection() as conn:
        return {server.hostname: server for server in servers.list_servers(conn)}


def apply(db: Database, box: SecretBox, path: Path, text: str, **more: Any) -> list[Change]:
    path.write_text(text)
    return inventory.apply(db, box, inventory.read(path, username="mon").entries, **more)


def actions(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.action, change.hostname) for change in changes]


FLEET = f"""\
servers:
  - {{hostname: db1, ssh_port: 2222, ssh_password: hunter2, host_key: {PIN}, settings: {{jump: [Gate]}}}}
  - {{hostname: gate, ip_address: 192.0.2.1, tags: [edge]}}
"""


def test_a_file_is_applied_once_and_says_the_second_time_that_nothing_changes(
    db: Database, box: SecretBox, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    assert actions(apply(db, box, path, FLEET, dry_run=True)) == [("add", "db1"), ("add", "gate")]
    assert registered(db) == {}
    first = apply(db, box, path, FLEET)
    assert first[0].fields["ssh_password"] == ("none", "one")
    assert "hunter2" not in repr(first)
    before = registered(db)
    assert before["db1"].settings == {"jump": ["gate"]}
    assert actions(apply(db, box, path, FLEET)) == [("same", "db1"), ("same", "gate")]
    assert registered(db) == before

    changed = apply(db, box, path, FLEET.replace("2222", "2200").replace("hunter2", "hunter3"))
    assert actions(changed) == [("change", "db1"), ("same", "gate")]
    assert changed[0].fields == {"ssh_port": (2222, 2200), "ssh_password": ("one", "another")}
    assert registered(db)["db1"].revision == before["db1"].revision + 1


def test_nothing_is_removed_unless_asked(db: Database, box: SecretBox, tmp_path: Path) -> None:
    apply(db, box, tmp_path / "fleet.yaml", FLEET)
    other = "- {hostname: web1}\n"
    assert actions(apply(db, box, tmp_path / "other.yaml", other)) == [("add", "web1")]
    assert set(registered(db)) == {"db1", "gate", "web1"}
    removed = apply(db, box, tmp_path / "other.yaml", other, remove_missing=True, dry_run=True)
    assert sorted(actions(removed)) == [("remove", "db1"), ("remove", "gate"), ("same", "web1")]
    assert set(registered(db)) == {"db1", "gate", "web1"}
    apply(db, box, tmp_path / "other.yaml", other, remove_missing=True)
    assert set(registered(db)) == {"web1"}


def test_a_mistake_is_placed_and_nothing_of_the_file_is_applied(db: Database, box: SecretBox, tmp_path: Path) -> None:
    text = "- {hostname: web1}\n- {hostname: web2, settings: {jump: [nowhere]}}\n"
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match=r"line 2 \(web2\): settings\.jump: there is no server 'nowhere'"):
            apply(db, box, tmp_path / "fleet.yaml", text, dry_run=dry_run)
    circle = "- {hostname: a, settings: {jump: [b]}}\n- {hostname: b, settings: {jump: [a]}}\n"
    with pytest.raises(InvalidInput, match=r"line 2 \(b\): .* circle"):
        apply(db, box, tmp_path / "fleet.yaml", circle)
    assert registered(db) == {}


@pytest.mark.parametrize("kind", ["yaml", "csv"])
def test_an_export_has_no_secret_and_reads_back_as_the_same(
    db: Database, box: SecretBox, tmp_path: Path, kind: str
) -> None:
    apply(db, box, tmp_path / "fleet.yaml", FLEET)
    before = registered(db)
    text = inventory.write(list(before.values()), kind)
    assert "hunter2" not in text
    assert "password" not in text
    assert actions(apply(db, box, tmp_path / f"again.{kind}", text)) == [("same", "db1"), ("same", "gate")]
    with db.connection() as conn:
        for server in (before["db1"], before["gate"]):
            servers.remove_server(conn, server.id)
    apply(db, box, tmp_path / f"again.{kind}", text)
    anew = registered(db)["db1"]
    assert (anew.ssh_port, anew.host_key, anew.settings, anew.has_password) == (2222, PIN, {"jump": ["gate"]}, False)


def test_other_programs_lists_add_to_what_people_have_set(db: Database, box: SecretBox, tmp_path: Path) -> None:
    text = "[db]\ndb1 ansible_ssh_common_args='-J ops@192.0.2.9'\n"
    apply(db, box, tmp_path / "hosts", text)
    server = registered(db)["db1"]
    jump = [{"address": "ops@192.0.2.9:22", "host_key": PIN}]
    with db.connection() as conn:
        servers.update_server(
            conn, box, server.id, {"tags": ["db", "mine"], "settings": {"jump": jump, "intervals": {"vmstat": 5}}}
        )
    before = registered(db)["db1"]
    assert actions(apply(db, box, tmp_path / "hosts", text)) == [("same", "db1")]
    assert registered(db)["db1"] == before


def test_host_keys_come_from_known_hosts(db: Database, box: SecretBox, tmp_path: Path) -> None:
    def key() -> str:
        public = ed25519.Ed25519PrivateKey.generate().public_key()
        return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    of_db1, of_web1, other, authority = (key() for _ in range(4))
    text = f"""\
servers:
  - {{hostname: db1, host_key: "{fingerprint(of_db1)}"}}
  - {{hostname: web1, host_key: "{other}"}}
  - {{hostname: web2, host_key: "{of_web1}"}}
  - {{hostname: app.corp}}
  - {{hostname: none}}
"""
    apply(db, box, tmp_path / "fleet.yaml", text)
    known = KnownHosts.read(
        f"db1 {of_db1}\nweb1 {of_web1}\n@revoked web2 {of_web1}\n@cert-authority *.corp {authority}\nbroken\n"
    )

    def imported(*, replace: bool = False) -> tuple[list[Change], tuple[str, ...]]:
        reading = inventory.known_host_keys(list(registered(db).values()), known, replace=replace)
        return inventory.apply(db, box, reading.entries), reading.notes

    changes, notes = imported()
    assert sorted(actions(changes)) == [("change", "app.corp"), ("change", "db1"), ("change", "web2")]
    assert notes[0].startswith("line 5")
    assert any("web1" in note and fingerprint(other) in note and fingerprint(of_web1) in note for note in notes)
    assert "web2: its pinned key is revoked" in notes
    pins = {name: server.host_key for name, server in registered(db).items()}
    assert pins == {
        "db1": of_db1, "web1": other, "web2": None, "app.corp": f"@cert-authority {authority}", "none": None
    }  # fmt: skip
    assert registered(db)["web2"].status == "pending_host_key"
    assert {change.action for change in imported()[0]} == {"same"}
    assert actions(imported(replace=True)[0]).count(("change", "web1")) == 1
    assert registered(db)["web1"].host_key == of_web1
