"""Jump hosts in the registry: names, circles, who depends on whom, and with what to log in there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from psycopg import Connection

from hps_platform.errors import Conflict, InvalidInput
from hps_platform.store import logins, servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server

PIN = "SHA256:" + "a" * 43
GATE = {"address": "ops@gate.example.com:2200", "host_key": PIN}


@pytest.fixture
def conn(migrated_dsn: str) -> Iterator[Connection[Any]]:
    with Database(migrated_dsn) as database, database.connection() as connection:
        yield connection


@pytest.fixture(scope="module")
def box() -> SecretBox:
    return SecretBox(Fernet.generate_key().decode())


def add(conn: Connection[Any], box: SecretBox, name: str, *jump: Any, **more: Any) -> Server:
    fields = {"hostname": name, "ssh_username": "mon", "ssh_password": f"of {name}", "host_key": PIN, **more}
    return servers.add_server(conn, box, {**fields, "settings": {"jump": list(jump)}} if jump else fields)


def way(conn: Connection[Any], box: SecretBox, server: Server) -> list[tuple[str, str]]:
    """Of each jump host its address and the password there."""
    return [
        (f"{hop.username}@{hop.host}:{hop.port}", hop.credentials.password.get_secret_value())
        for hop in logins.login_to(conn, box, server).hops
        if hop.credentials.password
    ]


def test_the_way_to_the_first_jump_host_may_lead_through_others(conn: Connection[Any], box: SecretBox) -> None:
    add(conn, box, "outer", ip_address="192.0.2.1")
    add(conn, box, "inner", "OUTER", ssh_port=2222)
    last = add(conn, box, "last", "inner", GATE, ssh_jump_credentials={"ops@gate.example.com:2200": {"password": "g"}})
    assert last.settings["jump"] == ["inner", GATE]
    assert last.has_jump_credentials
    assert way(conn, box, last) == [
        ("mon@192.0.2.1:22", "of outer"),
        ("mon@inner:2222", "of inner"),
        ("ops@gate.example.com:2200", "g"),
    ]
    bare = add(conn, box, "bare", {"address": "ops@[fe80::1]"})
    assert way(conn, box, bare) == [("ops@fe80::1:22", "of bare")]
    assert logins.login_to(conn, box, bare).hops[0].host_key is None


def test_unknown_names_and_circles_are_refused(conn: Connection[Any], box: SecretBox) -> None:
    outer = add(conn, box, "outer")
    inner = add(conn, box, "inner", "outer")
    for jump, words in (
        (["nowhere"], "no server 'nowhere'"),
        (["inner"], "in a circle"),
        (["outer"], "in a circle"),
        ([GATE, "outer"], "passes a host twice"),
        ([GATE, "inner", "inner"], "passes a host twice"),
        (["a@b"], "is given with its key"),
        ([{"address": "gate"}], "user@host:port"),
        ([{"address": "a@b", "password": "x"}], "the name of a server or"),
    ):
        with pytest.raises(InvalidInput, match=words):
            servers.update_server(conn, box, outer.id, {"settings": {"jump": jump}})
    with pytest.raises(InvalidInput, match=r"for x@y:22, which settings\.jump does not name"):
        servers.update_server(conn, box, inner.id, {"ssh_jump_credentials": {"x@y": {"password": "p"}}})


def test_who_jumps_through_a_changed_server_gets_a_new_revision(conn: Connection[Any], box: SecretBox) -> None:
    outer = add(conn, box, "outer")
    names = ["inner", "last", "other"]
    add(conn, box, "inner", "outer")
    add(conn, box, "last", "inner")
    add(conn, box, "other")
    before = {name: servers.find_server(conn, name).revision for name in names}
    servers.update_server(conn, box, outer.id, {"hostname": "edge", "ssh_port": 2022})
    after = {name: servers.find_server(conn, name) for name in names}
    assert {name: server.revision - before[name] for name, server in after.items()} == {
        "inner": 1,
        "last": 1,
        "other": 0,
    }
    assert after["inner"].settings == {"jump": ["edge"]}
    assert [hop.port for hop in logins.login_to(conn, box, after["last"]).hops] == [2022, 22]
    with pytest.raises(Conflict, match="edge is a jump host of inner"):
        servers.remove_server(conn, outer.id)
    servers.update_server(conn, box, after["inner"].id, {"settings": {}})
    servers.remove_server(conn, outer.id)


def test_rotation_encrypts_every_secret_anew_once_and_changes_no_revision(conn: Connection[Any]) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    first = add(
        conn, SecretBox(old), "first", GATE, ssh_jump_credentials=json.dumps({GATE["address"]: {"password": "g"}})
    )
    add(conn, SecretBox(new), "second")
    version = servers.registry_version(conn)
    both = SecretBox(f"{new},{old}")
    assert logins.rotate(conn, both) == (2, 3)
    assert logins.rotate(conn, both) == (0, 3)
    assert servers.registry_version(conn) == version
    found = logins.login_to(conn, SecretBox(new), first)
    assert found.credentials.password
    assert found.credentials.password.get_secret_value() == "of first"
    assert way(conn, SecretBox(new), first) == [("ops@gate.example.com:2200", "g")]


def test_a_rotation_that_can_not_read_a_secret_changes_nothing(conn: Connection[Any]) -> None:
    from hps_platform.errors import SettingsError

    old, lost, new = (Fernet.generate_key().decode() for _ in range(3))
    readable = add(conn, SecretBox(old), "a-readable")
    add(conn, SecretBox(lost), "b-lost")
    before = servers.stored_secrets(conn, readable.id)
    with pytest.raises(SettingsError, match="b-lost"):
        logins.rotate(conn, SecretBox(f"{new},{old}"))
    assert servers.stored_secrets(conn, readable.id) == before
