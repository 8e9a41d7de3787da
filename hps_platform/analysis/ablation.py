"""The table that the choice of members rests on: each alone, what was not chosen, and the shipped mean of all.

Whatever judges, calibration, smoothing and alert budget are the same; only the seed's design brings its own.
"""

import importlib.util
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.analysis import detector, evaluation
from hps_platform.analysis.features import Floats, median_step_s
from hps_platform.analysis.members import MEMBERS, WINDOW, Member, State, View, own_rows

SHIPPED = "mean of the five"
SEEDS_DESIGN = "seed's design"
SEQUENCE = 30
"""Rows that the LSTM reads before it says what comes next."""
SPEED = ("train_seconds", "rows_per_s")
FIGURES = (
    *("vus_pr", "f1", "fc1", "false_alarms_per_day", "normal_time_alarmed", "median_delay_min", "cause_first"),
    *SPEED,
)


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


def _sequences(view: View, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    """The `SEQUENCE` rows before each slot, oldest first (slots x rows x metrics), the first held before its start."""
    before: NDArray[np.float32] = view.value.astype(np.float32)[np.maximum(slots[:, None] + np.arange(-SEQUENCE, 0), 0)]
    return before


def _fit_lstm(view: View, rows: NDArray[np.int64], seed: int) -> State:
    """One layer of 32 cells that learns to say the next row, as in Malhotra et al. 2015 (LSTM-AD)."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # else it tells of each accelerator that it lacks
    import keras  # type: ignore[import-untyped]  # it publishes no types

    keras.utils.set_random_seed(seed)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 6_000)).astype(np.int64)]
    metrics = view.value.shape[1]
    network = keras.Sequential(
        [keras.layers.Input((SEQUENCE, metrics)), keras.layers.LSTM(32), keras.layers.Dense(metrics)]
    )
    network.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
    network.fit(_sequences(view, some), view.value[some].astype(np.float32), batch_size=64, epochs=10, verbose=0)
    return {"network": network}


def _score_lstm(state: State, view: View) -> Floats:
    """How far each row is from what was said: the root of the mean square."""
    said = [
        state["network"].predict(_sequences(view, slots), batch_size=1024, verbose=0)
        for slots in np.array_split(np.arange(len(view.value)), max(1, len(view.value) // 8192))
    ]
    lost: Floats = np.sqrt(((np.concatenate(said) - view.value) ** 2).mean(axis=1))
    return lost


LSTM = Member("lstm", _fit_lstm, _score_lstm, partial(own_rows, SEQUENCE + 1))
"""Rated where the extra `lstm` (Keras on JAX) is installed; nothing that ships needs it."""


def not_chosen() -> tuple[Member, ...]:
    """What is rated beside the shipped members, as far as it is installed."""
    there = all(importlib.util.find_spec(package) for package in ("keras", "jax"))
    return (AUTOENCODER, LSTM) if there else (AUTOENCODER,)


def rate(
    train: pl.DataFrame,
    test: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    alarms_per_day: float,
    seed: int = 0,
    causes: Sequence[evaluation.Cause] = (),
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each way of judging one server with its `FIGURES`, the seed's design first and the shipped one last.

    The seed's design names no causes.
    """
    yield SEEDS_DESIGN, _seeds_design(train, test, labels, seed)
    others = not_chosen()
    alone = {member.name: (member,) for member in (*MEMBERS, *others)}
    with_one_more = {f"mean with {member.name}": (*MEMBERS, member) for member in others}
    for name, judges in {**alone, **with_one_more, SHIPPED: MEMBERS}.items():
        done = evaluation.evaluate(
            train, test, labels, alarms_per_day=alarms_per_day, seed=seed, judges=judges, causes=causes
        )
        yield name, {**done.report["labels"], **{figure: done.report[figure] for figure in SPEED}}


def _seeds_design(train: pl.DataFrame, test: pl.DataFrame, labels: pl.DataFrame, seed: int) -> dict[str, Any]:
    """StandardScaler and an Isolation Forest with `contamination="auto"`, row by row; missing values are 0."""
    from sklearn.ensemble import IsolationForest
    from sklearn.preprocessing import StandardScaler

    columns = detector.usable_columns(train)
    known, new = (detector.plain(part, columns).drop("timestamp").fill_null(0.0).to_numpy() for part in (train, test))
    began = time.perf_counter()
    scaler = StandardScaler().fit(known)
    forest = IsolationForest(random_state=seed).fit(scaler.transform(known))
    fitted = time.perf_counter()
    scores = -forest.score_samples(scaler.transform(new))
    scored = time.perf_counter()
    found = evaluation.compared(
        test, labels, scores, scores > -forest.offset_, step_s=median_step_s(train), first=columns[0]
    )
    return {**found, "cause_first": None, **evaluation.speed(began, fitted, scored, len(test))}


def means(rated: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """Each way of judging with the mean of its figures over servers; what a server lacks does not count."""
    table: dict[str, dict[str, float | None]] = {}
    for name in rated[0] if rated else ():
        found = {figure: [one[name][figure] for one in rated if one[name][figure] is not None] for figure in FIGURES}
        table[name] = {figure: round(float(np.mean(values)), 4) if values else None for figure, values in found.items()}
    return table
