"""Searches for garbage: rare inside, as before outside."""

import gc

from hps_platform.memory import seldom_searched


def test_it_is_rare_inside_and_as_before_afterwards() -> None:
    before = gc.get_threshold()
    searched: list[str] = []
    gc.callbacks.append(lambda phase, _: searched.append(phase))
    try:
        with seldom_searched(1_000_000, whole=1_000):
            assert gc.get_threshold() == (1_000_000, 20, 50)
            assert gc.get_freeze_count() > 0
            kept = [[] for _ in range(50_000)]  # type: ignore[var-annotated]
            assert (len(kept), searched) == (50_000, [])
    finally:
        gc.callbacks.pop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
