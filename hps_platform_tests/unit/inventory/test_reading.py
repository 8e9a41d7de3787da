"""Lists of servers in every format, and what is said of those that can't be read."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hps_platform import inventory
from hps_platform.errors import InvalidInput
from hps_platform.inventory import Reading

PIN = "SHA256:" + "a" * 43


def read(tmp_path: Path, name: str, text: str, **more: Any) -> Reading:
    (tmp_path / name).write_text(dedent(text))
    return inventory.read(tmp_path / name, **more)


def fields(reading: Reading) -> list[dict[str, Any]]:
    return [dict(entry.fields) for entry in reading.entries]


def test_yaml_takes_a_servers_fields_and_passes_over_what_an_answer_has_beside_them(tmp_path: Path) -> None:
    text = f"""\
        # comment
        servers:
          - hostname: db1
            ssh_username: mon
            ssh_port: 2222
            tags: [prod, db]
            host_key: {PIN}
            id: 7
            status: up
          - {{hostname: db2, ssh_username: mon, settings: {{jump: [db1]}}}}
        """
    reading = read(tmp_path, "fleet.yaml", text)
    assert fields(reading) == [
        {"hostname": "db1", "ssh_username": "mon", "ssh_port": 2222, "tags": ["db", "prod"], "host_key": PIN},
        {"hostname": "db2", "ssh_username": "mon", "settings": {"jump": ["db1"]}},
    ]
    assert [entry.where for entry in reading.entries] == ["line 3", "line 10"]


def test_csv_takes_the_columns_it_has(tmp_path: Path) -> None:
    text = """\
        hostname,ip_address,ssh_port,ssh_username,tags,settings,ssh_password,is_active
        db1,10.0.0.1,2222,mon,prod db,"{""intervals"": {""vmstat"": 5}}",hunter2,no
        db2,,,mon,,,,
        """
    first, second = fields(read(tmp_path, "fleet.csv", text))
    assert first.pop("ssh_password").get_secret_value() == "hunter2"
    assert first == {
        "hostname": "db1",
        "ip_address": "10.0.0.1",
        "ssh_port": 2222,
        "ssh_username": "mon",
        "tags": ["db", "prod"],
        "settings": {"intervals": {"vmstat": 5}},
        "is_active": False,
    }
    assert second == {
        "hostname": "db2",
        "ip_address": None,
        "ssh_port": 22,
        "ssh_username": "mon",
        "tags": [],
        "settings": {},
        "is_active": True,
    }


def test_an_openssh_configuration_gives_hosts_accounts_and_jump_hosts(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("no key")
    text = """\
        Include conf.d/*
        Host gate
            HostName 192.0.2.1
            User ops
        Host db1 db2
            ProxyJump gate,admin@192.0.2.9:2200
        Host db1
            HostName db1.example.com
            Port 2222
        Host *.example.com *
            User mon
            IdentityFile id
        """
    reading = read(tmp_path, "config", text)
    jump = {"jump": ["gate", {"address": "admin@192.0.2.9:2200"}]}
    assert fields(reading) == [
        {"hostname": "gate", "ip_address": "192.0.2.1", "ssh_port": 22, "ssh_username": "ops"},
        {"hostname": "db1.example.com", "ssh_port": 2222, "ssh_username": "mon", "settings": jump},
        {"hostname": "db2", "ssh_port": 22, "ssh_username": "mon", "settings": jump},
    ]
    assert reading.notes == ("line 1: `Include conf.d/*` is not followed; import that file as well",)
    with_keys = inventory.read(tmp_path / "config", with_keys=True)
    assert {entry.fields["ssh_private_key"].get_secret_value() for entry in with_keys.entries} == {"no key"}


def test_an_openssh_configuration_runs_nothing(tmp_path: Path) -> None:
    text = f'Host db1\n  User mon\nMatch exec "touch {tmp_path}/ran"\n  Port 1\n'
    with pytest.raises(InvalidInput, match=r"config, line 3: `Match exec` would run a command"):
        read(tmp_path, "config", text)
    assert not (tmp_path / "ran").exists()


INI = """\
    loose.example.com ansible_user=mon
    here ansible_connection=local
    [gates]
    gate ansible_host=192.0.2.1

    [db]
    db[01:03:2] ansible_port=2222  # two of them
    db-[a:b].example.com
    [db:vars]
    ansible_ssh_common_args='-o ProxyJump=gate'
    [unix:children]
    db
    gates
    [unix:vars]
    ansible_user=mon
    [all:vars]
    ansible_user=nobody
    """
YAML = """\
    all:
      vars: {ansible_user: nobody}
      hosts:
        loose.example.com: {ansible_user: mon}
        here: {ansible_connection: local}
      children:
        unix:
          vars: {ansible_user: mon}
          children:
            gates:
              hosts:
                gate: {ansible_host: 192.0.2.1}
            db:
              vars:
                ansible_ssh_common_args: -J gate
              hosts:
                db[01:03:2]: {ansible_port: 2222}
                db-[a:b].example.com:
    """


@pytest.mark.parametrize(("name", "text"), [("hosts", INI), ("hosts.ini", INI), ("hosts.yml", YAML)])
def test_an_ansible_inventory_gives_hosts_with_groups_as_tags(tmp_path: Path, name: str, text: str) -> None:
    reading = read(tmp_path, name, text)
    found = {entry.hostname: dict(entry.fields) for entry in reading.entries}
    jump = {"tags": ["db", "unix"], "settings": {"jump": ["gate"]}, "ssh_username": "mon"}
    assert found == {
        "loose.example.com": {"hostname": "loose.example.com", "ssh_username": "mon", "tags": []},
        "gate": {"hostname": "gate", "ip_address": "192.0.2.1", "ssh_username": "mon", "tags": ["gates", "unix"]},
        "db01": {"hostname": "db01", "ssh_port": 2222, **jump},
        "db03": {"hostname": "db03", "ssh_port": 2222, **jump},
        "db-a.example.com": {"hostname": "db-a.example.com", **jump},
        "db-b.example.com": {"hostname": "db-b.example.com", **jump},
    }
    assert "here is not reached by SSH (local)" in reading.notes[0]
    assert all(entry.adds for entry in reading.entries)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.yaml",
            "servers:\n  - hostname: db1\n    ssh_port: 0\n",
            r"a\.yaml, line 2 \(db1\): ssh_port must be from 1",
        ),
        ("a.yaml", "- hostname: db1\n- hostname: DB1\n", r"line 2 \(DB1\): it stands in line 1 already"),
        ("a.yaml", "- hostname: db1\n  hostname: db2\n", "line 2: 'hostname' stands there twice"),
        ("a.yaml", "- hostname: db1\n  colour: red\n", "no field 'colour'"),
        ("a.yaml", "- ssh_username: mon\n", "line 1: hostname is missing"),
        ("a.yaml", "- db1\n", "entry 1: it must be an object"),
        ("a.yaml", "- hostname: [\n", "line 2: not YAML"),
        ("a.yaml", "- !!python/object/apply:os.system ['true']\n", "line 1: not YAML"),
        ("a.yaml", "12", "must be a list of servers"),
        ("a.csv", "name\ndb1\n", "line 1: there is no column hostname"),
        ("a.csv", "hostname,colour\ndb1,red\n", "line 1: a server has no field 'colour'"),
        ("a.csv", "hostname,ssh_port\ndb1,22\ndb2,x\n", r"line 3 \(db2\): ssh_port must be a whole number"),
        ("a.csv", "hostname,ssh_port\ndb1\n", "line 2: 1 cells for 2 columns"),
        ("a.csv", "hostname,settings\ndb1,{\n", "line 2: settings is not JSON"),
        ("a.csv", "hostname,is_active\ndb1,maybe\n", "is_active must be true or false"),
        ("config", "Host db1\n  Port x\n", r"line 1 \(db1\): ssh_port must be a whole number"),
        ("config", "Host db1\n  ProxyJump gate\n", r"line 1 \(db1\): the jump host gate has no account"),
        ("hosts", "[db]\ndb[9-1]\n", "line 2"),
        ("hosts", "[db]\ndb1 ansible_port\n", "line 2: 'ansible_port' is not `name=value`"),
        ("hosts", "[db]\ndb1 ansible_host='{{ x }}'\n", "the address is a template"),
        ("hosts", "[db\ndb1\n", r"line 1: \[db is no section"),
        ("hosts.yml", "all:\n  hosts: [db1]\n", "hosts of the group all must be an object"),
        ("what", "???", "its format is not to be seen: name it with --format"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_field(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refusal:
        read(tmp_path, name, text)
    assert str(refusal.value).startswith(str(tmp_path / name))


def test_all_problems_are_told_at_once_and_no_secret_is_quoted(tmp_path: Path) -> None:
    text = "hostname,ssh_port,ssh_password,ssh_private_key\ndb1,0,hunter2,\ndb2,x,hunter2,\n"
    with pytest.raises(InvalidInput) as refusal:
        read(tmp_path, "a.csv", text)
    assert len(str(refusal.value).splitlines()) == 2
    assert "hunter2" not in str(refusal.value)
