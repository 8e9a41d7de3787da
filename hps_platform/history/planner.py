"""Which source and which width of buckets a chart is read from. Pure.

A chart has a number of points a line. Finer sources are read where they hold at most some times as many, and thinned;
wider ranges come from the finest rollup that does; and ranges between two rollups are put into buckets. Which rollup
these are then made from, `store.series` knows: the coarsest that their width allows.
"""

from collections.abc import Iterator

from hps_platform.history.intervals import at_least
from hps_platform.store.schema import Grain

FINER = 10
"""A source is read as it is when it has at most so many times the points asked for: thinning keeps its peaks."""
_COARSER = 2
"""A rollup is fine enough when it has at least one point for so many asked for."""


def widths(
    span_s: float, points: int, sample_s: float, *, finest: Grain | None = None, rate: bool = False
) -> Iterator[int | None]:
    """Widths in seconds to try, the best first, until an answer is short enough; `None` = samples as they were taken.

    `finest` is the finest rollup that keeps all of the range (`None`: raw samples do). Rates are of buckets only.
    """
    if finest is None and not rate and span_s / sample_s <= points * FINER:
        yield None
    chosen = at_least(max(span_s / points, finest.seconds if finest else 0))
    for grain in Grain:
        held = span_s / grain.seconds
        if held * _COARSER >= points and held <= points * FINER:
            chosen = grain.seconds if finest is None else max(grain.seconds, finest.seconds)
            break
    while True:
        yield chosen
        chosen = at_least(chosen + 1)
