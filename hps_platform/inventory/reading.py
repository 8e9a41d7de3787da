"""Which format a file has, and its servers in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hps_platform.errors import InvalidInput
from hps_platform.inventory.documents import load_yaml, read_csv, read_yaml
from hps_platform.inventory.entries import Collecting, Reading
from hps_platform.inventory.foreign import read_ansible_ini, read_ansible_yaml, read_ssh_config

FORMATS = ("yaml", "csv", "ssh-config", "ansible")


def read(path: Path, kind: str | None = None, *, username: str | None = None, with_keys: bool = False) -> Reading:
    """The servers of a file. `kind`: one of `FORMATS`, found by name and content when left out.

    `username` is the account of those for which the file names none. `with_keys` reads the files of private keys that
    an OpenSSH configuration or an Ansible inventory names. Raises `InvalidInput`, one line for each problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not text in UTF-8") from None
    collecting = Collecting({"ssh_username": username} if username else {})
    try:
        _read(kind or _kind(path, text), text, collecting, path.parent if with_keys else None)
        return collecting.done()
    except InvalidInput as error:
        raise InvalidInput("\n".join(f"{path}, {line}" for line in str(error).splitlines())) from None


def _read(kind: str, text: str, collecting: Collecting, folder: Path | None) -> None:
    if kind == "csv":
        read_csv(text, collecting)
    elif kind == "ssh-config":
        read_ssh_config(text, collecting, folder)
    elif kind == "ansible" and not _looks_like_yaml(text):
        read_ansible_ini(text, collecting, folder)
    elif kind in ("yaml", "ansible"):
        document = load_yaml(text)
        if isinstance(document, Mapping) and "servers" not in document:
            read_ansible_yaml(document, collecting, folder)
        elif kind == "ansible":
            raise InvalidInput("an inventory in YAML is an object with groups as names")
        else:
            read_yaml(document, collecting)
    else:
        raise InvalidInput(f"there is no format {kind!r}: choose of {', '.join(FORMATS)}")


def _kind(path: Path, text: str) -> str:
    if path.suffix.lower() in (".yaml", ".yml"):
        return "yaml"
    if path.suffix.lower() == ".csv":
        return "csv"
    if re.search(r"^\s*(?:Host|Match)\s+\S", text, re.MULTILINE | re.IGNORECASE) and not re.search(r"^\[", text, re.M):
        return "ssh-config"
    if path.suffix.lower() in (".ini", ".cfg") or re.search(r"^\[|\bansible_\w+=", text, re.MULTILINE):
        return "ansible"
    if _looks_like_yaml(text):
        return "yaml"
    if "hostname" in text.split("\n", 1)[0].split(","):
        return "csv"
    raise InvalidInput(f"its format is not to be seen: name it with --format, one of {', '.join(FORMATS)}")


def _looks_like_yaml(text: str) -> bool:
    lines: list[Any] = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and bool(re.match(r"---|- |[\w.-]+:(\s|$)", lines[0]))
