"""A memory row put together from what one or several commands print."""

from hps_platform.dialects.text import LARGEST_SIZE, Number, scaled, within
from hps_platform.metrics.memory import FAMILY
from hps_platform.metrics.sample import Row


def share(part: Number | None, whole: Number | None) -> float | None:
    """`part` of `whole` in percent, with two decimals; `None` where there is nothing to divide."""
    if part is None or whole is None or whole <= 0:
        return None
    return round(100 * part / whole, 2)


def row(
    *,
    total_kb: Number | None = None,
    used_kb: Number | None = None,
    available_kb: Number | None = None,
    cached_kb: Number | None = None,
    paging_total_kb: Number | None = None,
    paging_used_kb: Number | None = None,
    paging_used_pct: Number | None = None,
) -> Row:
    """The row. Used is total less available where available is known; percentages are worked out where not printed."""
    if total_kb is not None and available_kb is not None:
        used_kb = round(total_kb - available_kb, 6)
    if paging_used_pct is None:
        paging_used_pct = share(paging_used_kb, paging_total_kb)
    values: dict[str, Number | None] = {
        "total_kb": total_kb,
        "used_kb": used_kb,
        "available_kb": available_kb,
        "cached_kb": cached_kb,
        "paging_total_kb": paging_total_kb,
        "paging_used_kb": paging_used_kb,
    }
    sizes = {name: _size(value) for name, value in values.items()}
    complete: Row = {column.name: sizes.get(column.name) for column in FAMILY.columns}
    complete["used_pct"] = share(sizes["used_kb"], sizes["total_kb"])
    complete["paging_used_pct"] = paging_used_pct
    return complete


def _size(value: Number | None) -> Number | None:
    return within(None if value is None else scaled(value, 1), 0, LARGEST_SIZE)
