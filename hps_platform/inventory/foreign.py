"""Other programs' lists of hosts: OpenSSH client configurations, Ansible inventories in INI and in YAML.

What they say of how to reach a host is taken over, groups become tags. Nothing is run: templates, plugins and scripts
are told as not followed. Files of private keys are read only when asked for.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hps_platform.errors import InvalidInput
from hps_platform.inventory.documents import Placed
from hps_platform.inventory.entries import Collecting, jump_hosts, placed, secret_file
from hps_platform.ssh.config import configured_hosts

_MOST_HOSTS = 100_000
_OWN_GROUPS = frozenset({"all", "ungrouped"})


def read_ssh_config(text: str, collecting: Collecting, folder: Path | None) -> None:
    """`folder`: where named key files are looked for; None leaves them alone."""
    collecting.adds = True
    hosts, notes = configured_hosts(text)
    collecting.notes += notes
    names = {host.name: str(placed(host.name, host.address)["hostname"]) for host in hosts}
    for host in hosts:
        where = f"line {host.line}"
        fields: dict[str, Any] = {**placed(host.name, host.address), "ssh_port": host.port}
        if host.username:
            fields["ssh_username"] = host.username
        try:
            if host.jumps:
                fields["settings"] = {"jump": jump_hosts(host.jumps, names, host.username)}
            if folder and host.key_files:
                fields["ssh_private_key"] = secret_file(host.key_files[0], folder, "IdentityFile")
            if folder and host.certificate_file:
                fields["ssh_certificate"] = secret_file(host.certificate_file, folder, "CertificateFile")
        except InvalidInput as error:
            collecting.problems.append(f"{where} ({host.name}): {error}")
        else:
            collecting.add(where, fields)


# Ansible ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Inventory:
    """Groups by name, and of each host its own variables and its line."""

    groups: dict[str, _Group] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def group(self, name: str) -> _Group:
        return self.groups.setdefault(name, _Group())

    def host(self, name: str, line: int, variables: Mapping[str, Any], group: str) -> None:
        self.lines.setdefault(name, line)
        self.hosts.setdefault(name, {}).update(variables)
        self.group(group).hosts[name] = None
        if len(self.hosts) > _MOST_HOSTS:
            raise InvalidInput(f"line {line}: more than {_MOST_HOSTS} hosts")

    def groups_of(self, host: str) -> list[str]:
        """All groups that a host is in, the outermost first, so that what is nearer to the host wins."""
        found = [name for name, group in self.groups.items() if host in group.hosts]
        for name in found:  # grows while it is walked
            found += [outer for outer, group in self.groups.items() if name in group.children and outer not in found]
        return list(reversed(found))


def read_ansible_ini(text: str, collecting: Collecting, folder: Path | None) -> None:
    inventory = _Inventory()
    section, kind = "ungrouped", ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if header := re.fullmatch(r"\[([^\]:]+)(?::(vars|children))?\]\s*(?:#.*)?", stripped):
            section, kind = header[1].strip(), header[2] or ""
            inventory.group(section)
        elif stripped[0] == "[":
            raise InvalidInput(f"line {number}: {stripped} is no section of an inventory")
        elif kind == "vars":
            name, found, value = stripped.partition("=")
            if not found:
                raise InvalidInput(f"line {number}: {stripped!r} is not `name=value`")
            inventory.group(section).variables[name.strip()] = value.strip().strip("'\"")
        elif kind == "children":
            inventory.group(section).children[stripped.split()[0]] = None
        else:
            try:
                pattern, *words = shlex.split(stripped, comments=True)
            except ValueError as error:
                raise InvalidInput(f"line {number}: {error}") from error
            variables = dict(_assignment(number, word) for word in words)
            for name in _expanded(pattern, number):
                inventory.host(name, number, variables, section)
    _take(inventory, collecting, folder)


def _assignment(number: int, word: str) -> tuple[str, str]:
    name, found, value = word.partition("=")
    if not found:
        raise InvalidInput(f"line {number}: {word!r} is not `name=value`")
    return name, value


def _expanded(pattern: str, number: int) -> Iterator[str]:
    """`web[01:20:2].example.com`, `db-[a:c]`, also several in one pattern; a port after a colon stays."""
    found = re.search(r"\[(\w+):(\w+)(?::(\d+))?\]", pattern)
    if found is None:
        yield pattern
        return
    first, last, step = found[1], found[2], int(found[3] or 1)
    if first.isdecimal() and last.isdecimal() and step > 0 and int(last) - int(first) < _MOST_HOSTS:
        width = len(first) if first.startswith("0") else 0
        parts = [f"{value:0{width}}" for value in range(int(first), int(last) + 1, step)]
    elif len(first) == len(last) == 1 and first.isalpha() and last.isalpha() and step > 0:
        parts = [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    else:
        raise InvalidInput(f"line {number}: {found[0]} is no range of hosts")
    for part in parts:
        yield from _expanded(pattern[: found.start()] + part + pattern[found.end() :], number)


def read_ansible_yaml(document: Mapping[str, Any], collecting: Collecting, folder: Path | None) -> None:
    inventory = _Inventory()
    for name, content in document.items():
        _walk(inventory, name, content)
    _take(inventory, collecting, folder)


def _walk(inventory: _Inventory, name: str, content: Any) -> None:
    group = inventory.group(name)
    if content is None:
        return
    where = f"line {content.line}: " if isinstance(content, Placed) else ""
    if not isinstance(content, Placed) or set(content) - {"hosts", "children", "vars"}:
        raise InvalidInput(f"{where}the group {name} may have hosts, children and vars, and nothing else")
    parts = {key: content.get(key) or Placed() for key in ("hosts", "children", "vars")}
    for key, part in parts.items():
        if not isinstance(part, Placed):
            raise InvalidInput(f"{where}{key} of the group {name} must be an object")
    group.variables.update(parts["vars"])
    line = parts["hosts"].line or content.line
    for pattern, variables in parts["hosts"].items():
        if variables is not None and not isinstance(variables, Placed):
            raise InvalidInput(f"line {line}: the variables of {pattern} must be an object")
        at = variables.line - 1 if variables else line
        for host in _expanded(pattern, at):
            inventory.host(host, at, variables or {}, name)
    for child, below in parts["children"].items():
        group.children[child] = None
        _walk(inventory, child, below)


_VARIABLES = {
    "address": ("ansible_host", "ansible_ssh_host"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "password": ("ansible_password", "ansible_ssh_password", "ansible_ssh_pass"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "passphrase": ("ansible_ssh_private_key_passphrase", "ansible_private_key_passphrase"),
    "connection": ("ansible_connection",),
    "arguments": ("ansible_ssh_common_args",),
}
_JUMP = re.compile(r"(?:-J\s*|-o\s*[\"']?ProxyJump[= ]\s*)([^\s\"']+)")


def _take(inventory: _Inventory, collecting: Collecting, folder: Path | None) -> None:
    collecting.adds = True
    told = {host: _told(inventory, host) for host in inventory.hosts}
    names = {host: str(placed(host, said.get("address"))["hostname"]) for host, said in told.items()}
    for host, said in told.items():
        where = f"line {inventory.lines[host]}"
        if said.get("connection", "ssh") not in ("ssh", "paramiko", "smart"):
            collecting.notes.append(f"{where}: {host} is not reached by SSH ({said['connection']}), passed over")
            continue
        if templates := [name for name, value in said.items() if "{{" in value]:
            collecting.problems.append(
                f"{where} ({host}): the {templates[0]} is a template, which is not filled in here"
            )
            continue
        try:
            collecting.add(where, _fields(inventory, host, said, names, folder))
        except InvalidInput as error:
            collecting.problems.append(f"{where} ({host}): {error}")


def _told(inventory: _Inventory, host: str) -> dict[str, str]:
    variables: dict[str, Any] = dict(inventory.groups["all"].variables) if "all" in inventory.groups else {}
    for name in inventory.groups_of(host):
        if name != "all":
            variables |= inventory.groups[name].variables
    variables |= inventory.hosts[host]
    found = {}
    for name, spellings in _VARIABLES.items():
        value = next((variables[spelling] for spelling in spellings if variables.get(spelling) not in (None, "")), None)
        if value is not None:
            found[name] = str(value)
    return found


def _fields(
    inventory: _Inventory, host: str, said: Mapping[str, str], names: Mapping[str, str], folder: Path | None
) -> dict[str, Any]:
    fields: dict[str, Any] = placed(host, said.get("address"))
    fields["tags"] = [name for name in inventory.groups_of(host) if name not in _OWN_GROUPS]
    for name, source in (("ssh_port", "port"), ("ssh_username", "user"), ("ssh_password", "password")):
        if source in said:
            fields[name] = said[source]
    if jump := _JUMP.search(said.get("arguments", "")):
        fields["settings"] = {"jump": jump_hosts(jump[1].split(","), names, said.get("user"))}
    if folder and "key" in said:
        fields["ssh_private_key"] = secret_file(said["key"], folder, "the private key")
        if "passphrase" in said:
            fields["ssh_key_passphrase"] = said["passphrase"]
    return fields
