"""Our own formats: YAML and CSV with a server's fields under the names they have in the API.

YAML: a list of servers, or one under `servers:`. CSV: a column for each field, tags separated by blanks, `settings` as
JSON; an empty cell empties the field, but leaves a secret as it is. What an answer of the API has beside the fields is
passed over, so that an export can be read back.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hps_platform.errors import InvalidInput
from hps_platform.inventory.entries import Collecting
from hps_platform.store.server_fields import FIELDS, SECRETS
from hps_platform.store.servers import Server

_COLUMNS = [name for name in FIELDS if name not in SECRETS]
_PASSED_OVER = frozenset(
    {
        *("id", "has_password", "has_private_key", "has_certificate", "has_jump_credentials", "os_version", "status"),
        *("status_message", "last_seen_at", "created_at", "updated_at"),
    }
)


class Placed(dict[str, Any]):
    """A mapping of a YAML document that knows its line."""

    line = 0


class _Loader(yaml.SafeLoader):
    """Mappings know their line, and a key that stands there twice is refused."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Placed]:
    made = Placed()
    made.line = node.start_mark.line + 1
    yield made
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in made:
            raise InvalidInput(f"line {key_node.start_mark.line + 1}: {key!r} stands there twice")
        made[str(key)] = loader.construct_object(value_node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_yaml(text: str) -> Any:
    """A document whose mappings are `Placed`. Raises `InvalidInput` with the line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidInput(f"{line}not YAML: {error.problem}") from error
    except (yaml.YAMLError, TypeError) as error:
        raise InvalidInput(f"not YAML: {str(error).splitlines()[0]}") from error


def read_yaml(document: Any, collecting: Collecting) -> None:
    if isinstance(document, Mapping):
        document = document.get("servers")
    if not isinstance(document, list):
        raise InvalidInput("it must be a list of servers, or have one under `servers:`")
    for number, entry in enumerate(document, 1):
        if isinstance(entry, Placed):
            collecting.add(f"line {entry.line}", _settable(entry))
        else:
            collecting.problems.append(f"entry {number}: it must be an object with a server's fields")


def read_csv(text: str, collecting: Collecting) -> None:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [column.strip().lstrip("\ufeff") for column in next(rows, [])]
        if "hostname" not in columns:
            raise InvalidInput(f"line 1: there is no column hostname among {', '.join(columns) or 'nothing'}")
        if strange := [column for column in columns if column not in FIELDS and column not in _PASSED_OVER]:
            raise InvalidInput(f"line 1: a server has no field {strange[0]!r}: it has {', '.join(FIELDS)}")
        for row in rows:
            where = f"line {rows.line_num}"
            if not any(row):
                continue
            if len(row) != len(columns):
                collecting.problems.append(f"{where}: {len(row)} cells for {len(columns)} columns")
                continue
            try:
                cells = _settable(dict(zip(columns, row, strict=True)))
                fields = {name: value for name, text in cells.items() if (value := _cell(name, text)) is not _LEAVE}
            except InvalidInput as error:
                collecting.problems.append(f"{where}: {error}")
            else:
                collecting.add(where, fields)
    except csv.Error as error:
        raise InvalidInput(f"line {rows.line_num}: not CSV: {error}") from error


_LEAVE = object()


def _cell(name: str, text: str) -> Any:
    text = text.strip() if name not in SECRETS else text
    if name == "tags":
        return text.split()
    if name == "settings":
        try:
            return json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            raise InvalidInput(f"settings is not JSON: {error}") from error
    if name == "is_active":
        try:
            return {"true": True, "yes": True, "1": True, "": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        except KeyError:
            raise InvalidInput(f"is_active must be true or false, not {text!r}") from None
    if not text:
        return {"ssh_port": 22, "ssh_username": _LEAVE}.get(name, _LEAVE if name in SECRETS else None)
    return text


def _settable(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _PASSED_OVER}


def write(servers: Sequence[Server], kind: str) -> str:
    """The servers as `yaml` or `csv`, without secrets."""
    rows = [{name: getattr(server, name) for name in _COLUMNS} for server in servers]
    if kind == "yaml":
        text: str = yaml.safe_dump({"servers": rows}, sort_keys=False, allow_unicode=True, width=120)
        return text
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                **row,
                "tags": " ".join(row["tags"]),
                "settings": json.dumps(row["settings"]) if row["settings"] else "",
                "is_active": str(row["is_active"]).lower(),
            }
        )
    return made.getvalue()
