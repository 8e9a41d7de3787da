"""What each metric has to do with the Isolation Forest's score of one row: exact Shapley values.

The forest's `decision_function` is taken apart into one value a metric; they add up to its distance from the mean over
the background rows. A metric that is left out has the value of a background row (the "interventional" game of SHAP:
Lundberg and Lee, NeurIPS 2017; Janzing, Minorics and Blöbaum, AISTATS 2020), with all five views of it together. All
2^n coalitions are evaluated, so nothing is sampled and nothing estimated; the formula is Shapley's (1953).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.analysis import detector as detecting
from hps_platform.analysis import features
from hps_platform.analysis.detector import Detector
from hps_platform.analysis.features import CONTEXTS, Floats
from hps_platform.analysis.members import FOREST
from hps_platform.errors import InvalidInput, NotEnoughData

BACKGROUND = 48
"""Background rows at most, evenly chosen."""
LEAST_BACKGROUND = 10
MOST_METRICS = 12
"""2^12 coalitions of 48 rows take some seconds; each metric more doubles that."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """`forest_score` of the row, `expected` over the background, and by column its part of the difference: what is
    negative made the row more anomalous. `background` is how many rows stood in."""

    forest_score: float
    expected: float
    values: dict[str, float]
    background: int


def attribute(model: Detector, frame: pl.DataFrame, background: Sequence[bool]) -> Attribution:
    """Of the last row of `frame`; the rows before it give it context.

    `background` marks those of them that may stand for the usual; `NotEnoughData` where fewer than ten of these, or
    the row itself, have context enough to be judged. `InvalidInput` for a model of more than twelve metrics.
    """
    count = len(model.columns)
    if count > MOST_METRICS:
        raise InvalidInput(
            f"a model of {count} metrics has too many coalitions: at most {MOST_METRICS} are taken apart"
        )
    grid = features.to_grid(detecting.plain(frame, model.columns), model.columns, model.step_s)
    judged = features.warm(grid)[grid.slots]
    usual = np.flatnonzero(np.asarray(background, dtype=bool) & judged)
    if not len(judged) or not judged[-1] or len(usual) < LEAST_BACKGROUND:
        raise NotEnoughData(f"{len(usual)} usual minutes before it, and {LEAST_BACKGROUND} are needed to compare with")
    usual = usual[np.linspace(0, len(usual) - 1, min(BACKGROUND, len(usual))).astype(np.int64)]
    context = model.view(grid).context[grid.slots]
    forest = model.members[FOREST.name]["forest"]
    worth = _coalitions(forest, context[-1], context[usual], count)
    return Attribution(
        forest_score=float(worth[-1]),
        expected=float(worth[0]),
        values=dict(zip(model.columns, _shapley(worth, count).tolist(), strict=True)),
        background=len(usual),
    )


def _coalitions(forest: object, row: Floats, background: Floats, count: int) -> Floats:
    """The mean score with the row's values for the metrics in each coalition, the background's for all others.

    Coalition number c holds metric i where bit i of c is set.
    """
    members: NDArray[np.bool_] = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    own = np.tile(members, len(CONTEXTS))
    mixed = np.where(own[:, None, :], row, background).reshape(-1, len(row))
    scores: Floats = forest.decision_function(mixed)  # type: ignore[attr-defined]  # scikit-learn has no types
    means: Floats = scores.reshape(2**count, len(background)).mean(axis=1)
    return means


def _shapley(worth: Floats, count: int) -> Floats:
    """Shapley's value of each of `count` players in the game whose coalitions are worth so much."""
    coalitions = np.arange(2**count)
    sizes = np.array([bin(number).count("1") for number in coalitions.tolist()])
    weight = np.array([1.0 / (count * comb(count - 1, size)) for size in range(count)])
    found = np.empty(count)
    for player in range(count):
        without = coalitions[(coalitions >> player) & 1 == 0]
        found[player] = (weight[sizes[without]] * (worth[without | (1 << player)] - worth[without])).sum()
    return found
