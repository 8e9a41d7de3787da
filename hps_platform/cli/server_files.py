"""`hps server import`, `import-known-hosts`, `export` and `discover`: the registry and lists of servers elsewhere."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hps_platform.cli.database import database, secret_box
from hps_platform.errors import InvalidInput

if TYPE_CHECKING:
    from hps_platform.inventory import Change

_FILE = typer.Argument(..., metavar="FILE", help="The file to read.")
_YES = typer.Option(False, "--yes", "-y", help="Apply it without asking.")
_DRY_RUN = typer.Option(False, "--dry-run", help="Only show what would change.")
_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")


class _Format(StrEnum):
    yaml = "yaml"
    csv = "csv"
    ssh_config = "ssh-config"
    ansible = "ansible"


class _Written(StrEnum):
    yaml = "yaml"
    csv = "csv"


def import_servers(
    file: Path = _FILE,
    kind: _Format | None = typer.Option(None, "--format", help="Found by name and content when left out."),
    user: str | None = typer.Option(None, "--user", metavar="USER", help="Account where the file names none."),
    keys: bool = typer.Option(False, "--keys", help="Read the private keys that the file names, and store them."),
    remove_missing: bool = typer.Option(False, "--remove-missing", help="Remove servers that the file doesn't name."),
    yes: bool = _YES,
    dry_run: bool = _DRY_RUN,
) -> None:
    """Bring the registry to what a file says: YAML, CSV, an OpenSSH configuration or an Ansible inventory.

    What would change is shown first. The same file again changes nothing.
    """
    from hps_platform import inventory

    reading = inventory.read(file, kind.value if kind else None, username=user, with_keys=keys)
    _tell(reading.notes)
    with database("hps server") as db:
        box = secret_box()

        def change(*, pretend: bool) -> "list[Change]":
            return inventory.apply(db, box, reading.entries, remove_missing=remove_missing, dry_run=pretend)

        _show_and_apply(change, yes=yes, dry_run=dry_run)


def import_known_hosts(
    file: Path = _FILE,
    replace: bool = typer.Option(False, "--replace", help="Also where another key is pinned."),
    yes: bool = _YES,
    dry_run: bool = _DRY_RUN,
) -> None:
    """Pin host keys of registered servers from a known_hosts file: hashed names, @cert-authority and @revoked alike."""
    from hps_platform import inventory
    from hps_platform.host_keys import KnownHosts
    from hps_platform.store import servers

    try:
        known = KnownHosts.read(file.read_text())
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not text in UTF-8") from None
    with database("hps server") as db:
        with db.connection() as conn:
            reading = inventory.known_host_keys(servers.list_servers(conn), known, replace=replace)
        box = secret_box()
        _tell(reading.notes)
        _show_and_apply(
            lambda *, pretend: inventory.apply(db, box, reading.entries, dry_run=pretend), yes=yes, dry_run=dry_run
        )


def export_servers(
    file: Path | None = typer.Argument(None, metavar="[FILE]", help="Where to; stdout when left out."),
    kind: _Written | None = typer.Option(None, "--format", help="By the file's name when left out, else yaml."),
) -> None:
    """Write all servers as YAML or CSV, without secrets; `import` reads it back."""
    from hps_platform import inventory
    from hps_platform.store import servers

    chosen = kind.value if kind else "csv" if file and file.suffix.lower() == ".csv" else "yaml"
    with database("hps server") as db, db.connection() as conn:
        found = servers.list_servers(conn)
    text = inventory.write(found, chosen)
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text)
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from error
    typer.echo(f"{len(found)} servers written to {file}, without secrets")


def discover_servers(
    network: str = typer.Argument(..., metavar="CIDR", help="As in 10.0.4.0/24; at most 4,096 addresses."),
    port: int = typer.Option(22, "--port", min=1, max=65535, help="Where SSH servers listen."),
    host_keys: bool = typer.Option(False, "--host-keys", help="Show their keys' fingerprints as well."),
    rate: float = typer.Option(100.0, "--rate", min=0.1, max=1000, help="Connections a second at most."),
    as_json: bool = _JSON,
) -> None:
    """Propose hosts of a network that answer with an SSH greeting; nobody logs in and nothing is stored."""
    from rich.console import Console
    from rich.table import Table

    from hps_platform import inventory

    with database("hps server") as db:
        found = inventory.discover(db, network, port=port, with_host_keys=host_keys, connections_per_s=rate)
    if as_json:
        typer.echo(json.dumps([asdict(host) for host in found], indent=2))
        return
    if not found:
        typer.echo(f"nothing in {network} greets as an SSH server on port {port}")
        return
    table = Table("address", "name", "system", "greeting", "registered as", box=None, pad_edge=False)
    for host in found:
        table.add_row(
            f"{host.address}:{host.port}", host.name or "", host.operating_system or "?", host.greeting, host.registered
        )
        for key in host.host_keys:
            table.add_row("", "", "", f"{key.type} {key.sha256}", "")
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)
    if new := [host for host in found if not host.registered]:
        typer.echo(f"{len(new)} of {len(found)} are not registered; add one with:")
        typer.echo(
            f"  hps server add {new[0].name or 'NAME'} --address {new[0].address} --port {port} --user USER --key FILE"
        )


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _show_and_apply(change: "Callable[..., list[Change]]", *, yes: bool, dry_run: bool) -> None:
    changes = change(pretend=True)
    counts = {action: sum(one.action == action for one in changes) for action in ("add", "change", "remove", "same")}
    for one in changes:
        if one.action != "same":
            typer.echo(f"{ {'add': '+', 'change': '~', 'remove': '-'}[one.action] } {one.hostname}{_fields(one)}")
    words = (
        f"{counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove, {counts['same']} the same"
    )
    typer.echo(words)
    if dry_run or counts["same"] == len(changes):
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("apply this?")):
        typer.echo("nothing was changed; --yes applies it")
        raise typer.Exit(1)
    change(pretend=False)
    typer.echo("applied")


def _fields(change: "Change") -> str:
    parts = []
    for name, (before, after) in change.fields.items():
        if name != "hostname" and (change.action == "change" or after not in (None, [], {})):
            parts.append(
                f"{name} {_word(after)}" if change.action == "add" else f"{name} {_word(before)} → {_word(after)}"
            )
    return ": " + ", ".join(parts) if parts else ""


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value or "none")
