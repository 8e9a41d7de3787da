"""The registry of metric families: what the platform can measure.

A new family is one module beside this file and its name in `_MODULES`; tables, topics, API columns, chart labels and
`docs/metrics.md` follow from it.
"""

from hps_platform.errors import InvalidInput
from hps_platform.metrics import filesystem, iostat, lpar, memory, netstat, process, vmstat
from hps_platform.metrics.family import Column, Family, Kind

_MODULES = (vmstat, iostat, netstat, process, filesystem, memory, lpar)

FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _MODULES}


def family(name: str) -> Family:
    """The family of that name; `InvalidInput` names the ones there are."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise InvalidInput(f"no metric family {name!r}: choose one of {', '.join(FAMILIES)}") from None


__all__ = ["FAMILIES", "Column", "Family", "Kind", "family"]
