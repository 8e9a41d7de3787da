"""Choosing servers, families, columns and times: the controls and what they offer, derived from the families."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc

from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES, Column, Family

if TYPE_CHECKING:
    from hps_platform.store.servers import Server

RANGES: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Presets that end now; the query parameter `range` holds their name."""


def servers(id: str, known: "Iterable[Server]", chosen: Collection[int], *, limit: int = 12) -> Any:
    return dmc.MultiSelect(
        id=id,
        label="Servers",
        data=[{"value": str(server.id), "label": server.hostname} for server in known],
        value=[str(server) for server in chosen],
        placeholder=None if chosen else "Choose servers",
        searchable=True,
        clearable=True,
        maxValues=limit,
        hidePickedOptions=True,
        nothingFoundMessage="No server of that name",
        maxDropdownHeight=320,
        comboboxProps={"shadow": "md"},
    )


def server(id: str, known: "Iterable[Server]", chosen: int | None) -> Any:
    return dmc.Select(
        id=id,
        label="Server",
        data=[{"value": str(one.id), "label": one.hostname} for one in known],
        value=None if chosen is None else str(chosen),
        placeholder="All servers",
        searchable=True,
        clearable=True,
        nothingFoundMessage="No server of that name",
        comboboxProps={"shadow": "md"},
    )


def families(id: str, chosen: str) -> Any:
    return dmc.Select(
        id=id,
        label="Family",
        data=[{"value": family.name, "label": family.title} for family in FAMILIES.values()],
        value=chosen,
        allowDeselect=False,
        checkIconPosition="right",
        comboboxProps={"shadow": "md"},
    )


def column_options(family: Family) -> list[dict[str, str]]:
    """Columns a chart can show; counters since boot are left out, their rates are there."""
    return [{"value": column.name, "label": column.title} for column in family.rollup_columns]


def columns(id: str, family: Family, chosen: Collection[str]) -> Any:
    return dmc.MultiSelect(
        id=id,
        label="Columns",
        data=column_options(family),
        value=list(chosen),
        searchable=True,
        hidePickedOptions=True,
        maxValues=8,
        maxDropdownHeight=320,
        comboboxProps={"shadow": "md"},
    )


def metrics(id: str, chosen: Collection[str]) -> Any:
    """Columns of every family in one list, grouped; values such as "vmstat.us"."""
    return dmc.MultiSelect(
        id=id,
        label="Metrics",
        data=[
            {
                "group": family.title,
                "items": [
                    {"value": f"{family.name}.{column.name}", "label": column.title} for column in family.rollup_columns
                ],
            }
            for family in FAMILIES.values()
        ],
        value=list(chosen),
        searchable=True,
        clearable=True,
        hidePickedOptions=True,
        maxValues=8,
        maxDropdownHeight=320,
        comboboxProps={"shadow": "md"},
    )


def metric(name: str) -> tuple[Family, Column]:
    """The family and column of "vmstat.us"; `InvalidInput` for anything else."""
    family, _, column = name.partition(".")
    found = FAMILIES.get(family)
    if found is None or column not in found.by_name:
        raise InvalidInput(f"there is no metric {name!r}")
    return found, found.by_name[column]


def default_columns(family: Family) -> list[str]:
    """The headline and the column after it of the same unit, so that a first look shows a little context."""
    names = [column.name for column in family.rollup_columns]
    head = family.headline if family.headline in names else names[0]
    after = [name for name in names[names.index(head) + 1 :] if family.by_name[name].unit == family.by_name[head].unit]
    return [head, *after[:1]]


def known_ids(text: str | None, known: "Iterable[Server]") -> list[int]:
    """Server ids of a query parameter ("1,4") that exist, in their order; what is no id is passed over."""
    there = {server.id for server in known}
    wanted = [int(part) for part in (text or "").split(",") if part.strip().isdecimal()]
    return [one for one in dict.fromkeys(wanted) if one in there]


def words(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


def moment(text: str | float | int | None) -> datetime | None:
    """A time of a control, of an address or of a chart's axis as UTC; None for nothing, `InvalidInput` for nonsense."""
    if text is None or text == "":
        return None
    if isinstance(text, int | float):
        return datetime.fromtimestamp(text / 1000, UTC)
    # Charts write "2026-11-24 14:03:07.1234", which Python reads with up to six decimals.
    shortened = re.sub(r"(\.\d{6})\d+", r"\1", text.strip())
    try:
        found = datetime.fromisoformat(shortened)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time: write 2026-11-24 14:03") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def window(query: Mapping[str, str | None], now: datetime, *, preset: str = "24h") -> tuple[datetime, datetime]:
    """Start and end by `from` and `to`, else by `range` or the preset, ending now. `InvalidInput` when upside down."""
    start, end = moment(query.get("from")), moment(query.get("to"))
    if start is None:
        span = RANGES.get(query.get("range") or preset, RANGES[preset])
        return now - span, now
    end = end or now
    if end <= start:
        raise InvalidInput("End time must be after start time")
    return start, end


def iso(when: datetime) -> str:
    """As an address carries it: to the second, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
