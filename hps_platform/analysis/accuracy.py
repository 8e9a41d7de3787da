"""How good scores and alarms are against labels: VUS-PR, events, false alarms, delay, causes.

Never point-adjusted: with that, random noise scores 0.86 on server data (Kim et al., AAAI 2022). Choosing thresholds
belongs to `hps_platform.analysis.budget`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hps_platform.analysis.features import Floats

Bools = NDArray[np.bool_]


def runs(flags: Bools, gap: int = 0) -> list[tuple[int, int]]:
    """Runs of true as (first, last), both inclusive; runs with at most `gap` rows between them count as one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    merged: list[tuple[int, int]] = []
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if merged and first - merged[-1][1] - 1 <= gap:
            merged[-1] = (merged[-1][0], after - 1)
        else:
            merged.append((first, after - 1))
    return merged


def period(series: Floats) -> int:
    """The series' own window for VUS: the lag (3 to 300) of its autocorrelation's highest local maximum, or 125."""
    data = np.asarray(series[:20_000], dtype=np.float64)
    data = data - data.mean()
    size = 1 << (2 * len(data) - 1).bit_length()
    spectrum = np.fft.rfft(data, size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum), size)[: min(401, len(data))]
    if correlation.size < 6 or correlation[0] <= 0:
        return 125
    tail = correlation[3:] / correlation[0]
    peaks = np.flatnonzero((tail[1:-1] > tail[:-2]) & (tail[1:-1] > tail[2:])) + 1
    if not peaks.size:
        return 125
    lag = int(peaks[np.argmax(tail[peaks])])
    return lag + 3 if 3 <= lag <= 300 else 125


def vus_pr(score: Floats, label: Bools, window: int, thresholds: int = 250) -> float:
    """Volume under the precision-recall surface over label edges widened by 0 to `window` rows.

    Paparrizos et al., PVLDB 2022 (definition), with recall scaled by the share of events seen and half of the soft
    labels counted. `score` is higher for stranger rows. NaN without events.
    """
    events = runs(label)
    if not events:
        return float("nan")
    n, positives = len(score), float(label.sum())
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    cuts = ranked[np.linspace(0, n - 1, thresholds).astype(np.int64)]
    predicted = np.searchsorted(-ranked, -cuts, side="right")
    inside = label[order]
    volume = 0.0
    for width in range(window + 1):
        soft = _widened(label, events, width)
        regions = _regions(events, width // 2, n)
        hits = np.concatenate([[0.0], np.cumsum(soft[order])])[predicted]
        outside = np.concatenate([[0.0], np.cumsum(np.where(inside, 0.0, soft[order]))])[predicted]
        peaks = np.array([score[first : last + 1].max() for first, last in regions])
        seen = (peaks[None, :] >= cuts[:, None]).mean(axis=1)
        recall = np.minimum(hits / ((2 * positives + outside) / 2), 1.0) * seen
        volume += float(np.dot(np.diff(recall, prepend=0.0), hits / predicted))
    return volume / (window + 1)


def _widened(label: Bools, events: Sequence[tuple[int, int]], width: int) -> Floats:
    soft = label.astype(np.float64)
    n = len(soft)
    for first, last in events:
        after = np.arange(last + 1, min(last + width // 2 + 1, n))
        soft[after] += np.sqrt(1 - (after - last) / max(width, 1))
        before = np.arange(max(first - width // 2, 0), first)
        soft[before] += np.sqrt(1 - (first - before) / max(width, 1))
    return np.minimum(soft, 1.0)


def _regions(events: Sequence[tuple[int, int]], half: int, n: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in events:
        start, end = max(first - half, 0), min(last + half, n - 1)
        if merged and merged[-1][1] >= start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


@dataclass(frozen=True, slots=True)
class Alarms:
    """What alarm episodes were worth; shares are NaN where there was nothing to take a share of."""

    events: int
    episodes: int
    precision: float
    recall: float
    f1: float
    fc1: float
    false_alarms_per_day: float
    normal_time_alarmed: float
    median_delay_min: float


def alarms(flags: Bools, label: Bools, *, step_s: float, gap: int) -> Alarms:
    """Score alarm episodes (runs of `flags`, merged over `gap` rows) against labelled events, touch by touch.

    `fc1` is the harmonic mean of event recall and point precision (Garg et al., TNNLS 2021).
    """
    events, episodes = runs(label), runs(flags, gap)
    delays = [hit[0] for first, last in events if (hit := np.flatnonzero(flags[first : last + 1])).size]
    true_episodes = sum(bool(label[first : last + 1].any()) for first, last in episodes)
    precision = true_episodes / len(episodes) if episodes else 0.0
    recall = len(delays) / len(events) if events else float("nan")
    points = float(label[flags].mean()) if flags.any() else 0.0
    days = len(flags) * step_s / 86_400
    return Alarms(
        events=len(events),
        episodes=len(episodes),
        precision=precision,
        recall=recall,
        f1=_harmonic(precision, recall),
        fc1=_harmonic(points, recall),
        false_alarms_per_day=(len(episodes) - true_episodes) / days if days else float("nan"),
        normal_time_alarmed=float(flags[~label].mean()) if (~label).any() else float("nan"),
        median_delay_min=float(np.median(delays)) * step_s / 60 if delays else float("nan"),
    )


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
