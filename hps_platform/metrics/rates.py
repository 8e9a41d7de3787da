"""What a row needs its interval or its predecessor for: rates of counters, and interval totals turned into rates.

Pure. The collector calls `settle` after parsing; landing never does.
"""

from collections.abc import Mapping, Sequence

from hps_platform.metrics.sample import Row

_COUNTERS = ("ipkts", "ierrs", "opkts", "oerrs", "ibytes", "obytes")
_WRAP_32 = 2**32
_WRAP_GUARD = 2**31


def _difference(before: int, after: int, rebooted: bool) -> int | None:
    """Growth of a counter; a 32-bit wrap is bridged, anything else that shrinks is a reset: `None`."""
    if after >= before:
        return after - before
    if rebooted or before >= _WRAP_32 or before < _WRAP_GUARD:
        return None
    return after + _WRAP_32 - before


def counter_rates(rows: Sequence[Row], before: Mapping[str, Row] | None, elapsed_s: float) -> list[Row]:
    """`rows` of netstat with `<counter>_s`; null without a predecessor, after a reset, or when no time has passed.

    Several counters of an interface that shrink at once are a reboot: then this sample has no rates for it.
    """
    out: list[Row] = []
    for row in rows:
        rated = dict(row)
        previous = before.get(row["interface"]) if before else None
        rates: dict[str, float | None] = dict.fromkeys((f"{name}_s" for name in _COUNTERS), None)
        if previous is not None and elapsed_s > 0:
            shrunk = sum(
                1
                for name in _COUNTERS
                if row.get(name) is not None and previous.get(name) is not None and row[name] < previous[name]
            )
            # One counter may wrap between two samples; several at once is a reboot.
            rebooted = shrunk > 1
            for name in _COUNTERS:
                now, then = row.get(name), previous.get(name)
                if now is None or then is None:
                    continue
                grown = _difference(then, now, rebooted)
                rates[f"{name}_s"] = None if grown is None else round(grown / elapsed_s, 3)
            if rebooted:
                rates = dict.fromkeys(rates, None)
        rated.update(rates)
        out.append(rated)
    return out


def interval_rates(rows: Sequence[Row], interval_s: float) -> list[Row]:
    """`rows` of iostat with `kb_read_s`/`kb_wrtn_s` from the interval's totals where only those are printed."""
    out: list[Row] = []
    for row in rows:
        rated = row
        for total, rate in (("kb_read", "kb_read_s"), ("kb_wrtn", "kb_wrtn_s")):
            if row.get(rate) is None and row.get(total) is not None and interval_s > 0:
                rated = {**rated, rate: round(row[total] / interval_s, 3)}
        out.append(rated)
    return out
