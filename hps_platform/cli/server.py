"""`hps server`: the registry of servers from the command line.

Secrets come from a file or from stdin, never from an argument, which other users of the machine could read.
"""

import ipaddress
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hps_platform.cli import server_files
from hps_platform.cli.database import database, secret_box
from hps_platform.errors import InvalidInput

if TYPE_CHECKING:
    from hps_platform.collector import ConnectionReport
    from hps_platform.store.servers import Server

app = typer.Typer(no_args_is_help=True)
app.command("import")(server_files.import_servers)
app.command("import-known-hosts")(server_files.import_known_hosts)
app.command("export")(server_files.export_servers)
app.command("discover")(server_files.discover_servers)

_ADDRESS = typer.Option(None, "--address", metavar="ADDRESS", help="IP address, or a name to resolve now.")
_PORT = typer.Option(None, "--port", metavar="PORT", help="SSH port.  [default: 22]")
_USER = typer.Option(None, "--user", metavar="USER", help="Account to log in with.")
_KEY = typer.Option(None, "--key", metavar="FILE", help="Private key; an empty name removes the stored one.")
_PASSPHRASE = typer.Option(False, "--passphrase-stdin", help="Read the key's passphrase from the next line of stdin.")
_PASSWORD = typer.Option(False, "--password-stdin", help="Read the password from the first line of stdin.")
_CERTIFICATE = typer.Option(None, "--certificate", metavar="FILE", help="OpenSSH certificate of the private key.")
_JUMP = typer.Option(
    None, "--jump", metavar="HOST", help="Jump host: a server's name, or user@host:port=KEY; repeat it in their order."
)
_JUMP_CREDENTIALS = typer.Option(
    None, "--jump-credentials", metavar="FILE", help="JSON: password, private_key, … by user@host:port of a jump host."
)
_HOST_KEY = typer.Option(
    None, "--host-key", metavar="KEY", help="Pins the host key: SHA256:… or `type base64`; several with commas between."
)
_OS = typer.Option(None, "--os", metavar="OS", help="aix, linux, solaris, hpux, freebsd; recognised when left out.")
_TAG = typer.Option(None, "--tag", metavar="TAG", help="May be given several times.")
_SETTINGS = typer.Option(
    None,
    "--settings",
    metavar="JSON",
    help='As in {"intervals": {"process": 30}, "commands": {}, "disabled": [], "jump": [], "timeouts": {}}.',
)
_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")


@contextmanager
def _connection() -> Iterator[Any]:
    with database("hps server") as db, db.connection() as conn:
        yield conn


def _resolved(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise InvalidInput(f"--address {address}: {error.strerror}") from error


def _fields(
    address: str | None,
    port: int | None,
    user: str | None,
    key: Path | None,
    certificate: Path | None,
    jump: list[str] | None,
    jump_credentials: Path | None,
    host_key: str | None,
    operating_system: str | None,
    tags: list[str] | None,
    settings: str | None,
    *,
    password: bool,
    passphrase: bool,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields that were given, and no others; jump hosts come to the settings that were there `before`."""
    fields: dict[str, Any] = {
        "ip_address": _resolved(address) if address else address,
        "ssh_port": port,
        "ssh_username": user,
        "host_key": host_key,
        "operating_system": operating_system,
        "tags": tags,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    for option, path, name in (
        ("--key", key, "ssh_private_key"),
        ("--certificate", certificate, "ssh_certificate"),
        ("--jump-credentials", jump_credentials, "ssh_jump_credentials"),
    ):
        if path is not None:
            fields[name] = _text_of(option, path)
    if settings is not None:
        try:
            fields["settings"] = json.loads(settings)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"--settings is not JSON: {error}") from error
    if jump:
        fields["settings"] = {**fields.get("settings", before), "jump": [_jump_host(word) for word in jump if word]}
    for wanted, name in ((password, "ssh_password"), (passphrase, "ssh_key_passphrase")):
        if wanted:
            fields[name] = sys.stdin.readline().rstrip("\r\n")
    return fields


def _text_of(option: str, path: Path) -> str:
    """The file's text; none for an empty name."""
    try:
        return path.read_text() if str(path) != "." else ""
    except OSError as error:
        raise InvalidInput(f"{option} {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidInput(f"{option} {path} is not a text file") from None


def _jump_host(word: str) -> str | dict[str, str]:
    if "@" not in word:
        return word
    address, _, host_key = word.partition("=")
    return {"address": address, "host_key": host_key}


def as_dict(server: "Server") -> dict[str, Any]:
    """A server as JSON has it."""
    return {
        "id": server.id,
        "hostname": server.hostname,
        "ip_address": server.ip_address,
        "ssh_port": server.ssh_port,
        "ssh_username": server.ssh_username,
        "has_password": server.has_password,
        "has_private_key": server.has_private_key,
        "has_certificate": server.has_certificate,
        "has_jump_credentials": server.has_jump_credentials,
        "host_key": server.host_key,
        "operating_system": server.operating_system,
        "os_version": server.os_version,
        "architecture": server.architecture,
        "is_active": server.is_active,
        "owner": server.owner,
        "organisation": server.organisation,
        "tags": server.tags,
        "settings": server.settings,
        "facts": server.facts,
        "clock_offset_s": server.clock_offset_s,
        "plan": server.plan,
        "status": server.status,
        "status_message": server.status_message,
        "last_seen_at": server.last_seen_at.isoformat() if server.last_seen_at else None,
        "created_at": server.created_at.isoformat(),
        "updated_at": server.updated_at.isoformat(),
    }


@app.command("add")
def add(
    hostname: str = typer.Argument(..., metavar="HOSTNAME"),
    address: str | None = _ADDRESS,
    port: int | None = _PORT,
    user: str = typer.Option(..., "--user", metavar="USER", help="Account to log in with."),
    key: Path | None = _KEY,
    password_stdin: bool = _PASSWORD,
    passphrase_stdin: bool = _PASSPHRASE,
    certificate: Path | None = _CERTIFICATE,
    jump: list[str] | None = _JUMP,
    jump_credentials: Path | None = _JUMP_CREDENTIALS,
    host_key: str | None = _HOST_KEY,
    operating_system: str | None = _OS,
    tag: list[str] | None = _TAG,
    settings: str | None = _SETTINGS,
) -> None:
    """Add a server; without --host-key nobody logs in until one is pinned."""
    from hps_platform.store import servers

    fields = _fields(
        address, port, user, key, certificate, jump, jump_credentials, host_key, operating_system, tag or None,
        settings, password=password_stdin, passphrase=passphrase_stdin, before={},
    )  # fmt: skip
    with _connection() as conn:
        server = servers.add_server(conn, secret_box(), {"hostname": hostname, **fields})
    typer.echo(f"added {server.hostname} as server {server.id}: {server.status}")
    if server.host_key is None:
        typer.echo(
            f"see its fingerprints with `hps server test {server.hostname}`, compare them on the host, then pin:"
        )
        typer.echo(f"  hps server update {server.hostname} --host-key SHA256:…")


@app.command("update")
def update(
    hostname: str = typer.Argument(..., metavar="HOSTNAME"),
    rename: str | None = typer.Option(None, "--hostname", metavar="NAME", help="A new name."),
    address: str | None = _ADDRESS,
    port: int | None = _PORT,
    user: str | None = _USER,
    key: Path | None = _KEY,
    password_stdin: bool = _PASSWORD,
    passphrase_stdin: bool = _PASSPHRASE,
    certificate: Path | None = _CERTIFICATE,
    jump: list[str] | None = _JUMP,
    jump_credentials: Path | None = _JUMP_CREDENTIALS,
    host_key: str | None = _HOST_KEY,
    operating_system: str | None = _OS,
    tag: list[str] | None = _TAG,
    settings: str | None = _SETTINGS,
    active: bool | None = typer.Option(None, "--active/--inactive", help="Whether to collect from it."),
) -> None:
    """Change what is given, and nothing else; running collectors follow within seconds."""
    from hps_platform.store import servers

    before: Mapping[str, Any] = {}
    if jump and settings is None:
        with _connection() as conn:
            before = servers.find_server(conn, hostname).settings
    fields = _fields(
        address, port, user, key, certificate, jump, jump_credentials, host_key, operating_system, tag or None,
        settings, password=password_stdin, passphrase=passphrase_stdin, before=before,
    )  # fmt: skip
    if rename is not None:
        fields["hostname"] = rename
    if active is not None:
        fields["is_active"] = active
    if not fields:
        raise InvalidInput("nothing to change was given; see `hps server update --help`")
    with _connection() as conn:
        found = servers.find_server(conn, hostname)
        server = servers.update_server(conn, secret_box(), found.id, fields)
    typer.echo(f"{server.hostname}: changed {', '.join(fields)}; it is {server.status}")


@app.command("list")
def list_servers(as_json: bool = _JSON) -> None:
    """Show all servers and their states."""
    from rich.console import Console
    from rich.table import Table

    from hps_platform.store import servers

    with _connection() as conn:
        rows = servers.list_servers(conn)
    if as_json:
        typer.echo(json.dumps([as_dict(server) for server in rows], indent=2))
        return
    if not rows:
        typer.echo("no servers yet: add one with `hps server add`")
        return
    table = Table("id", "hostname", "address", "system", "status", "last seen", "tags", box=None, pad_edge=False)
    for server in rows:
        table.add_row(
            str(server.id),
            server.hostname,
            f"{server.address}:{server.ssh_port}",
            server.operating_system or "?",
            server.status,
            f"{server.last_seen_at:%Y-%m-%d %H:%M:%S}Z" if server.last_seen_at else "never",
            " ".join(server.tags),
        )
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@app.command("show")
def show(hostname: str = typer.Argument(..., metavar="HOSTNAME"), as_json: bool = _JSON) -> None:
    """Show one server with what is run on it and its last events."""
    from hps_platform.store import events, servers

    with _connection() as conn:
        server = servers.find_server(conn, hostname)
        happened = events.list_events(conn, server_id=server.id, limit=10)
    fields = as_dict(server)
    if as_json:
        last = [{"at": event.at.isoformat(), "kind": event.kind, "message": event.message} for event in happened]
        typer.echo(json.dumps({**fields, "events": last}, indent=2))
        return
    plan = fields.pop("plan")
    for name, value in fields.items():
        shown = json.dumps(value) if isinstance(value, dict | list | bool) else value
        typer.echo(f"{name:<20} {'' if shown is None else shown}".rstrip())
    for line in plan:
        typer.echo(f"{line['family']:<11} {line['state']:<11} every {line['interval_s']:g} s: `{line['command']}`")
        for told in (line["reason"], *line["first_lines"].splitlines()):
            if told:
                typer.echo(f"{'':<11} {told}")
    for event in happened:
        typer.echo(f"{event.at:%Y-%m-%d %H:%M:%S}Z {event.message}")


@app.command("remove")
def remove(
    hostname: str = typer.Argument(..., metavar="HOSTNAME"),
    yes: bool = typer.Option(False, "--yes", "-y", help="Don't ask."),
) -> None:
    """Remove a server from the registry; its samples stay."""
    from hps_platform.store import servers

    with _connection() as conn:
        server = servers.find_server(conn, hostname)
        if not yes and not typer.confirm(f"remove {server.hostname} (server {server.id})?"):
            raise typer.Exit(1)
        servers.remove_server(conn, server.id)
    typer.echo(f"removed {server.hostname}")


@app.command("test")
def try_server(hostname: str = typer.Argument(..., metavar="HOSTNAME"), as_json: bool = _JSON) -> None:
    """Try to connect, log in and read every family; exit 1 when something is in the way."""
    from dataclasses import asdict

    from hps_platform.collector import target_of, test_connection
    from hps_platform.store import logins, servers

    with _connection() as conn:
        server = servers.find_server(conn, hostname)
        login = logins.login_to(conn, secret_box(), server)
    report = test_connection(
        target_of(server, login), operating_system=server.operating_system, settings=server.settings
    )
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, **asdict(report)}, indent=2))
    else:
        _print(server, report)
    if not report.ok:
        raise typer.Exit(1)


def _print(server: "Server", report: "ConnectionReport") -> None:
    def line(name: str, value: object) -> None:
        typer.echo(f"{name:<12} {value}")

    line("reachable", f"{'yes' if report.reachable else 'no'}, {server.address}:{server.ssh_port}")
    for key in report.host_keys:
        line("host key", f"{key.sha256} ({key.type})")
    line("pinned key", report.host_key_state.replace("_", " "))
    line("login", "ok" if report.login_ok else "no")
    if report.login_ok:
        cpus = f", {report.cpus} processors" if report.cpus else ""
        line("system", f"{report.operating_system or '?'} {report.version} {report.architecture}{cpus}")
        line("clock", "unknown" if report.clock_offset_s is None else f"{report.clock_offset_s:+.1f} s against ours")
    for name, family in report.families.items():
        line(name, f"{'ok' if family.ok else 'NO'}  {family.message}  `{family.command}`")
    typer.echo(report.message)
