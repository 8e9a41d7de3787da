"""VUS-PR and alarms against labels."""

import numpy as np
import pytest

from hps_platform.analysis import accuracy


def labelled(
    n: int = 2_000, events: tuple[tuple[int, int], ...] = ((300, 320), (900, 960), (1500, 1505))
) -> accuracy.Bools:
    label = np.zeros(n, dtype=bool)
    for first, last in events:
        label[first : last + 1] = True
    return label


def by_the_definition(score: np.ndarray, label: accuracy.Bools, window: int, thresholds: int = 250) -> float:
    """VUS-PR step by step as its authors wrote it, without any shortcut."""
    n, events = len(score), accuracy.runs(label)
    ranked = -np.sort(-score)
    total = 0.0
    for width in range(window + 1):
        half = width // 2
        soft = label.astype(float)
        for first, last in events:
            for place in range(last + 1, min(last + half + 1, n)):
                soft[place] += np.sqrt(1 - (place - last) / width)
            for place in range(max(first - half, 0), first):
                soft[place] += np.sqrt(1 - (first - place) / width)
        soft = np.minimum(soft, 1)
        regions: list[tuple[int, int]] = []
        for first, last in events:
            span = (max(first - half, 0), min(last + half, n - 1))
            if regions and regions[-1][1] >= span[0]:
                regions[-1] = (regions[-1][0], span[1])
            else:
                regions.append(span)
        area, recall_before = 0.0, 0.0
        for place in np.linspace(0, n - 1, thresholds).astype(int):
            predicted = score >= ranked[place]
            hits = float((soft * predicted).sum())
            weights = np.where(label, 1.0, soft * predicted).sum()
            recall = min(hits / ((label.sum() + weights) / 2), 1.0)
            recall *= np.mean([predicted[a : b + 1].any() for a, b in regions])
            area += (recall - recall_before) * hits / predicted.sum()
            recall_before = recall
        total += area
    return total / (window + 1)


@pytest.mark.parametrize("window", [0, 7, 30])
def test_the_quick_way_is_the_definition(window: int) -> None:
    random = np.random.default_rng(5)
    label = labelled()
    score = random.random(len(label)) + 0.4 * label
    score[500:510] = score[500]  # ties
    assert accuracy.vus_pr(score, label, window) == pytest.approx(by_the_definition(score, label, window), abs=1e-12)


def test_good_scores_are_near_one_and_noise_near_the_share_of_events() -> None:
    label = labelled()
    assert accuracy.vus_pr(label.astype(float), label, 20) > 0.9
    noise = accuracy.vus_pr(np.random.default_rng(6).random(len(label)), label, 20)
    assert noise < 3 * label.mean()
    assert np.isnan(accuracy.vus_pr(np.zeros(100), np.zeros(100, dtype=bool), 20))


def test_the_window_is_the_series_own_period() -> None:
    assert accuracy.period(np.sin(np.arange(5_000) * 2 * np.pi / 60)) == pytest.approx(60, abs=1)
    assert accuracy.period(np.zeros(5_000)) == 125


def test_alarms_are_counted_by_episode() -> None:
    label, flags = labelled(), np.zeros(2_000, dtype=bool)
    flags[[305, 306, 910]] = True  # two events, five minutes and ten minutes late
    flags[[700, 705, 1_200]] = True  # two false episodes
    found = accuracy.alarms(flags, label, step_s=60, gap=10)
    assert (found.events, found.episodes) == (3, 4)
    assert found.precision == 0.5
    assert found.recall == pytest.approx(2 / 3)
    assert found.median_delay_min == 7.5
    assert found.false_alarms_per_day == pytest.approx(2 / (2_000 / 1_440))
    assert found.normal_time_alarmed == pytest.approx(3 / (~label).sum())
    assert found.f1 == pytest.approx(4 / 7)


def test_no_alarms_and_no_events_are_answered() -> None:
    nothing = np.zeros(100, dtype=bool)
    quiet = accuracy.alarms(nothing, nothing, step_s=60, gap=10)
    assert quiet.episodes == 0
    assert np.isnan(quiet.recall)
    assert np.isnan(quiet.median_delay_min)
