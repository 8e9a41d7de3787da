"""The table that the choice of members rests on: each alone, what was not chosen, and the shipped mean of all.

Whatever judges, calibration, smoothing and alert budget are the same; only the seed's design brings its own.
"""

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.analysis import detector, evaluation
from hps_platform.analysis.features import Floats, median_step_s
from hps_platform.analysis.members import MEMBERS, WINDOW, Member, State, View, own_rows

SHIPPED = "mean of the four"
SEEDS_DESIGN = "seed's design"
FIGURES = ("vus_pr", "f1", "fc1", "false_alarms_per_day", "normal_time_alarmed", "median_delay_min")


def _fit_autoencoder(view: View, rows: NDArray[np.int64], seed: int) -> State:
    """A network that must pass windows of five rows through a narrow middle, and learns to bring them back."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 6_000)).astype(np.int64)]
    data = view.windows()[some]
    middle = max(2, view.value.shape[1] // 4)
    network = MLPRegressor(
        hidden_layer_sizes=(64, middle, 64), activation="tanh", max_iter=60, random_state=seed, early_stopping=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # sixty rounds are what it gets
        return {"network": network.fit(data, data)}


def _score_autoencoder(state: State, view: View) -> Floats:
    data = view.windows()
    lost: Floats = np.sqrt(((state["network"].predict(data) - data) ** 2).mean(axis=1))
    return lost


AUTOENCODER = Member("autoencoder", _fit_autoencoder, _score_autoencoder, partial(own_rows, WINDOW))


def rate(
    train: pl.DataFrame, test: pl.DataFrame, labels: pl.DataFrame, *, alarms_per_day: float, seed: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each way of judging one server with its `FIGURES`, the seed's design first and the shipped one last."""
    yield SEEDS_DESIGN, _seeds_design(train, test, labels, seed)
    alone = {member.name: (member,) for member in (*MEMBERS, AUTOENCODER)}
    for name, judges in {**alone, "mean with autoencoder": (*MEMBERS, AUTOENCODER), SHIPPED: MEMBERS}.items():
        done = evaluation.evaluate(train, test, labels, alarms_per_day=alarms_per_day, seed=seed, judges=judges)
        yield name, done.report["labels"]


def _seeds_design(train: pl.DataFrame, test: pl.DataFrame, labels: pl.DataFrame, seed: int) -> dict[str, Any]:
    """StandardScaler and an Isolation Forest with `contamination="auto"`, row by row; missing values are 0."""
    from sklearn.ensemble import IsolationForest
    from sklearn.preprocessing import StandardScaler

    columns = detector.usable_columns(train)
    known, new = (detector.plain(part, columns).drop("timestamp").fill_null(0.0).to_numpy() for part in (train, test))
    scaler = StandardScaler().fit(known)
    forest = IsolationForest(random_state=seed).fit(scaler.transform(known))
    scores = -forest.score_samples(scaler.transform(new))
    flags = scores > -forest.offset_
    return evaluation.compared(test, labels, scores, flags, step_s=median_step_s(train), first=columns[0])


def means(rated: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """Each way of judging with the mean of its figures over servers; what a server lacks does not count."""
    table: dict[str, dict[str, float | None]] = {}
    for name in rated[0] if rated else ():
        found = {figure: [one[name][figure] for one in rated if one[name][figure] is not None] for figure in FIGURES}
        table[name] = {figure: round(float(np.mean(values)), 4) if values else None for figure, values in found.items()}
    return table
