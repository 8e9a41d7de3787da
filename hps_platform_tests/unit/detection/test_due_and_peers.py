"""Which servers are trained, and whose model one without history gets."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hps_platform.detection import peers, training
from hps_platform.store.model_files import ModelFile

NOW = datetime(2026, 3, 20, tzinfo=UTC)


def server(number: int, system: str | None, *tags: str) -> Any:
    return SimpleNamespace(id=number, operating_system=system, tags=list(tags))


@pytest.mark.parametrize(
    ("age_days", "history_days", "drifted", "borrowed_from", "due"),
    [
        (1, 20, False, None, False),
        (7, 20, False, None, True),
        (1, 20, True, None, True),
        (0.5, 20, True, None, False),
        (1, 3, False, None, True),
        (0.1, 0.5, False, 7, False),
        (0.1, 1.0, False, 7, True),
    ],
)
def test_when_a_server_is_due(
    age_days: float, history_days: float, drifted: bool, borrowed_from: int | None, due: bool
) -> None:
    model = ModelFile("hps.1", 1, "0" * 64, NOW - timedelta(days=age_days), borrowed_from=borrowed_from)
    oldest = NOW - timedelta(days=history_days)
    assert training._due(model, oldest, NOW, drifted=drifted) is due
    assert training._due(None, oldest, NOW)


def test_the_closest_peer_has_the_rarest_tags_in_common_and_the_same_system() -> None:
    new = server(1, "AIX", "database", "production")
    others = [
        server(2, "AIX", "production"),
        server(3, "Linux", "database", "production"),
        server(4, "AIX", "database", "test"),
        server(5, "AIX", "web", "production"),
        server(6, "AIX", "database", "production"),
    ]
    assert [peer.id for peer in peers.closest(new, [new, *others])] == [6, 4, 2, 5]
    assert peers.closest(server(1, None, "database"), others) == []
