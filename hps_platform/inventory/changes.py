"""What a file would change in the registry, and changing it: all of it or nothing, and nothing the second time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from hps_platform.errors import HpsError, InvalidInput
from hps_platform.host_keys import KnownHosts, Pins, fingerprint
from hps_platform.inventory.entries import Entry, Reading
from hps_platform.store import logins, servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.server_fields import SECRETS
from hps_platform.store.servers import Server


@dataclass(frozen=True, slots=True)
class Change:
    """One server: what is done (`add`, `change`, `remove`, `same`), and of each field that differs both values.

    Of a secret nothing but words: that there is none, one, or another.
    """

    action: str
    hostname: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def apply(
    db: Database, box: SecretBox, entries: Sequence[Entry], *, remove_missing: bool = False, dry_run: bool = False
) -> list[Change]:
    """Brings the registry to what the entries say, in one transaction; servers they don't speak of stay.

    `remove_missing` takes those away. `dry_run` does all of it and takes it back, so that whatever would be refused is
    refused now. Raises `InvalidInput` with the entry's place.
    """
    with db.connection() as conn, conn.transaction(force_rollback=dry_run):
        known = {server.hostname.lower(): server for server in servers.list_servers(conn)}
        stored = logins.credentials_of(conn, box, [server.id for server in known.values()])
        spelled = {entry.hostname.lower(): entry.hostname for entry in entries}
        spelled |= {name: server.hostname for name, server in known.items()}
        changes: list[Change] = []
        later: list[tuple[Entry, int, dict[str, Any]]] = []
        for entry in entries:
            server = known.get(entry.hostname.lower())
            wanted = _wanted(entry, server, spelled)
            try:
                secrets = _stored(stored[server.id]) if server else {}
                differing = _differing(wanted, server, secrets)
                # Jump hosts may stand further down in the file than who jumps through them.
                now = {name: wanted[name] for name in differing if name not in ("settings", "ssh_jump_credentials")}
                put_off = {name: wanted[name] for name in differing if name not in now}
                if server is None:
                    server_id = servers.add_server(conn, box, now).id
                else:
                    server_id = server.id
                    servers.update_server(conn, box, server_id, now)
            except HpsError as error:
                raise _placed(entry, error) from error
            later.append((entry, server_id, put_off))
            action = "add" if server is None else "change" if differing else "same"
            changes.append(Change(action, spelled[entry.hostname.lower()], differing))
        for entry, server_id, put_off in later:
            try:
                servers.update_server(conn, box, server_id, put_off)
            except HpsError as error:
                raise _placed(entry, error) from error
        if remove_missing:
            gone = [
                server for name, server in known.items() if name not in {entry.hostname.lower() for entry in entries}
            ]
            # They may jump through each other.
            for server in gone:
                servers.update_server(conn, box, server.id, {"settings": {}})
            for server in gone:
                servers.remove_server(conn, server.id)
                changes.append(Change("remove", server.hostname))
    return changes


def known_host_keys(found: Sequence[Server], known: KnownHosts, *, replace: bool = False) -> Reading:
    """The pins that a known_hosts file has for registered servers, as entries to apply.

    A server whose pin says something else than the file keeps it, unless `replace`; a pinned key that the file revokes
    goes in any case, and without another one in the file nobody logs in there any more.
    """
    entries: list[Entry] = []
    notes = list(known.skipped)
    for server in found:
        names = {name for name in (server.hostname, server.ip_address) if name}
        pin = known.pin(names, server.ssh_port)
        revoked = known.revoked(names, server.ssh_port)
        pinned = Pins.read(server.host_key) if server.host_key else Pins()
        if revoked.intersection(pinned.keys + pinned.authorities):
            notes.append(f"{server.hostname}: its pinned key is revoked")
        elif pin is None:
            continue
        elif not replace and not _contains(pin, pinned):
            notes.append(
                f"{server.hostname}: {pinned.described()} is pinned and stays, the file says {_fingerprints(pin)}"
            )
            continue
        entries.append(Entry("known_hosts", {"hostname": server.hostname, "host_key": pin}))
    return Reading(tuple(entries), tuple(notes))


def _contains(pin: str, pinned: Pins) -> bool:
    known = Pins.read(pin)
    fingerprints = {fingerprint(key) for key in known.keys}
    return {fingerprint(key) for key in pinned.keys} <= fingerprints and set(pinned.authorities) <= set(
        known.authorities
    )


def _fingerprints(pin: str) -> str:
    return Pins.read(pin).described()


def _placed(entry: Entry, error: HpsError) -> InvalidInput:
    return InvalidInput(f"{entry.where} ({entry.hostname}): {error}")


def _wanted(entry: Entry, server: Server | None, spelled: Mapping[str, str]) -> dict[str, Any]:
    """The entry's fields; where it only adds (see `Entry.adds`), with what the server has already."""
    wanted = {name: value for name, value in entry.fields.items() if not (name in SECRETS and value is None)}
    wanted["hostname"] = spelled[entry.hostname.lower()]
    if entry.adds and server:
        if "tags" in wanted:
            wanted["tags"] = sorted({*server.tags, *wanted["tags"]})
        if "settings" in wanted:
            wanted["settings"] = {**server.settings, **wanted["settings"]}
    if jump := wanted.get("settings", {}).get("jump"):
        before = server.settings.get("jump", []) if server else []
        keys = {old["address"]: old["host_key"] for old in before if isinstance(old, dict) and "host_key" in old}
        named = [
            spelled.get(jumped.lower(), jumped)
            if isinstance(jumped, str)
            else {
                **({"host_key": keys[jumped["address"]]} if entry.adds and jumped["address"] in keys else {}),
                **jumped,
            }
            for jumped in jump
        ]
        wanted["settings"] = {**wanted["settings"], "jump": named}
    return wanted


def _stored(found: "logins.Credentials | HpsError") -> dict[str, SecretStr | None]:
    if isinstance(found, HpsError):
        raise found
    parts = (found.password, found.private_key, found.passphrase, found.certificate, found.jump)
    return dict(zip(SECRETS, parts, strict=True))


def _differing(
    wanted: Mapping[str, Any], server: Server | None, secrets: Mapping[str, SecretStr | None]
) -> dict[str, tuple[Any, Any]]:
    differing: dict[str, tuple[Any, Any]] = {}
    for name, value in wanted.items():
        if name in SECRETS:
            before = secrets.get(name)
            if before != value:
                differing[name] = ("none" if before is None else "one", "one" if before is None else "another")
        elif server is None:
            differing[name] = (None, value)
        elif getattr(server, name) != value:
            differing[name] = (getattr(server, name), value)
    return differing
