"""A secret in every field, through everything that handles one: then nothing that was written anywhere has it in clear.

Host that accepts, host that refuses, host behind a jump host, refused input, import, export, rotation; then the logs of
each process and its command line, all topics, all tables, PostgreSQL's files and every answer are searched.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest
from psycopg import sql

from hps_platform import stream
from hps_platform.stack.postgres import Postgres
from hps_platform_tests.integration.api.conftest import Web
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.collector.running import Platform, eventually
from hps_platform_tests.integration.ssh.hosts import ACCOUNT, PASSWORD, OpenSsh, new_key, open_ssh, scripted_host, sign

REFUSED = "planted-refused-password-7741"
PASSPHRASE = "planted-passphrase-5523"
OF_JUMP = "planted-jump-password-9918"
BROKEN = "planted-broken-key-6604"


@contextmanager
def process(tmp_path: Path, environment: dict[str, str], *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`hps` with these words, in its most talkative mode; what it says goes to a file of its own."""
    with (tmp_path / f"{words[0]}-{len(list(tmp_path.glob('*.log')))}.log").open("wb") as log:
        command = [sys.executable, "-m", "hps_platform.cli", "--debug", *words]
        running = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        try:
            yield running
        finally:
            running.terminate()
            running.wait(20)


def run(tmp_path: Path, environment: dict[str, str], *words: str, text: str = "") -> None:
    with process(tmp_path, environment, *words) as running:
        running.communicate(text.encode(), timeout=60)


def environment_of(web: Web, tmp_path: Path) -> dict[str, str]:
    chosen = web.settings
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HPS_")},
        "HPS_DATA_DIR": str(tmp_path / "data"),
        "DATABASE_HOST": chosen.database_host,
        "DATABASE_PORT": str(chosen.database_port),
        "POSTGRES_USER": chosen.postgres_user,
        "POSTGRES_PASSWORD": chosen.postgres_password.get_secret_value(),
        "POSTGRES_DB": chosen.postgres_db,
        "KAFKA_BOOTSTRAP_SERVERS": chosen.kafka_bootstrap_servers,
        "FIELD_ENCRYPTION_KEY": chosen.field_encryption_key.get_secret_value(),
    }


def command_lines() -> str:
    """Of every process of this machine that can be seen."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue  # it has ended meanwhile
    return "\n".join(found)


def tables(web: Web) -> str:
    """Every row of every table, as text: also what PostgreSQL compresses in its files."""
    with web.db.connection() as conn:
        names = conn.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        rows: list[str] = []
        for name in names:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(*name))
            rows += [text for (text,) in conn.execute(query).fetchall()]
    return "\n".join(rows)


@pytest.fixture
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    """One that takes certificates of the authority beside its keys."""

    def prepare(folder: Path) -> None:
        new_key(folder / "authority")
        sign(folder / "authority", folder / "client", ACCOUNT)

    more = "TrustedUserCAKeys {folder}/authority.pub"
    with open_ssh(tmp_path_factory.mktemp("sshd"), more=more, prepare=prepare) as server:
        yield server


def test_a_planted_secret_is_found_nowhere_in_clear(
    web: Web, postgres_server: Postgres, kafka: str, sshd: OpenSsh, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    locked = asyncssh.import_private_key(sshd.client_key).export_private_key("openssh", PASSPHRASE).decode()
    certificate = (sshd.folder / "client-cert.pub").read_text()
    key = web.settings.field_encryption_key.get_secret_value()
    platform = Platform(web.db, kafka, key)
    environment = environment_of(web, tmp_path)
    answers: list[str] = []

    def say(answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        answers.append(answer.text)
        return answer.json() if answer.content else None

    with scripted_host(linux()) as accepting, scripted_host(linux()) as refusing, web.admin as client:

        def shows(path: str, states: str) -> bool:
            return client.get(path).json()["status"] in states.split()

        gate = f"mon@127.0.0.1:{accepting.port}"
        of_host = {"ip_address": "127.0.0.1", "ssh_username": "mon"}
        planted = [
            {**of_host, "hostname": "plant-in", "ssh_port": accepting.port, "ssh_password": PASSWORD,
             "host_key": accepting.public_key},
            {**of_host, "hostname": "plant-out", "ssh_port": refusing.port, "ssh_password": REFUSED,
             "host_key": refusing.public_key},
            {**of_host, "hostname": "plant-key", "ssh_port": sshd.port, "ssh_username": ACCOUNT,
             "ssh_private_key": locked, "ssh_key_passphrase": PASSPHRASE, "ssh_certificate": certificate,
             "host_key": sshd.public_keys["ssh-ed25519"]},
            {**of_host, "hostname": "plant-jump", "ssh_port": sshd.port, "ssh_password": REFUSED,
             "host_key": sshd.public_keys["ssh-ed25519"], "ssh_jump_credentials": {gate: {"password": OF_JUMP}},
             "settings": {"jump": [{"address": gate, "host_key": accepting.public_key}]}},
        ]  # fmt: skip
        servers = {fields["hostname"]: say(client.post("/api/servers/", json=fields), 201) for fields in planted}
        for fields in (
            {"ssh_private_key": BROKEN},
            {"ssh_private_key": locked, "ssh_key_passphrase": BROKEN},
            {"ssh_password": [BROKEN]},
            {"ssh_certificate": BROKEN, "ssh_private_key": locked, "ssh_key_passphrase": PASSPHRASE},
            {"ssh_jump_credentials": {"x@y": {"private_key": BROKEN}}},
            {"ssh_jump_credentials": BROKEN},
        ):
            say(client.post("/api/servers/", json={"hostname": "never", "ssh_username": "mon", **fields}), 422)
        with process(tmp_path, environment, "collect"):
            for name, states in (
                ("plant-in", "up degraded"),
                ("plant-out", "auth_failed"),
                ("plant-key", "up degraded"),
                ("plant-jump", "auth_failed"),
            ):
                eventually(partial(shows, f"/api/servers/{servers[name]['id']}/", states), within_s=60)
            seen_command_lines = command_lines()
            for server in servers.values():
                for path in ("", "health/"):
                    say(client.get(f"/api/servers/{server['id']}/{path}"), 200)
                say(client.post(f"/api/servers/{server['id']}/test-connection/"), 200)
        say(client.get("/api/servers/?page_size=1000"), 200)
        file = tmp_path / "fleet.yaml"
        file.write_text(json.dumps({"servers": [{**planted[1], "hostname": "plant-file"}, planted[0]]}))
        run(tmp_path, environment, "server", "import", str(file), "--yes")
        run(tmp_path, environment, "server", "import", str(file).replace(".yaml", ".none"))
        run(tmp_path, environment, "server", "add", "plant-bad", "--user", "m", "--key", str(file))
        run(tmp_path, environment, "server", "update", "plant-in", "--password-stdin", text=f"{PASSWORD}\n")
        run(tmp_path, environment, "server", "test", "plant-out")
        run(tmp_path, environment, "server", "show", "plant-jump")
        run(tmp_path, environment, "server", "export", "--format", "csv")
        run(tmp_path, {**environment, "FIELD_ENCRYPTION_KEY": "bad-" + key}, "keys", "rotate")
        run(tmp_path, environment, "keys", "rotate")
        listed = say(client.get("/api/servers/?page_size=1000"), 200)["results"]
        written = tables(web)
        assert "plant-file" in written
        records = [record for topic in stream.topics() for record in platform.records(topic)]
        for server in listed:
            if server["hostname"].startswith("plant"):
                client.delete(f"/api/servers/{server['id']}/")
    platform.close()
    assert any(b"plant-out" in record.value for record in records), "the health topic speaks of the host"

    body = [line for line in sshd.client_key.splitlines() + locked.splitlines() if len(line) > 40 and "KEY" not in line]
    secrets = [REFUSED, PASSWORD, PASSPHRASE, OF_JUMP, BROKEN, key, certificate.split()[1], *body]
    places = {
        "answers": "\n".join(answers),
        "the app's log": caplog.text,
        "command lines": seen_command_lines,
        "tables": written,
        "topics": "\n".join(repr((record.value, record.headers)) for record in records),
        **{path.name: path.read_text() for path in tmp_path.glob("*.log")},
    }
    assert "Traceback" in "".join(places[name] for name in places if name.endswith(".log")), "exceptions are among them"
    found = [(where, secret) for where, text in places.items() for secret in secrets if secret in text]
    assert found == []
    (tmp_path / "secrets").write_text("\n".join(secret for secret in secrets if secret != key))
    searched = subprocess.run(
        ["grep", "-raFl", "-f", tmp_path / "secrets", postgres_server.data_dir],
        capture_output=True,
        text=True,
        check=False,
    )
    assert searched.stdout == ""
