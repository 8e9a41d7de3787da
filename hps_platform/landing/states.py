"""How far landing has come, per family: for checks and health pages."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.store import completeness, fleet, landing
from hps_platform.store.database import Connection
from hps_platform.stream import offsets_at

SETTLED_S = 30.0
"""What was produced within so long may still be on its way."""


@dataclass(frozen=True, slots=True)
class FamilyState:
    """`landed`, `behind` and `expired` count messages; `newest` is the newest sample of the active servers."""

    family: Family
    newest: datetime | None
    active_servers: int
    landed: int
    behind: int
    expired: int

    def fresh(self, now: datetime) -> bool:
        """Whether the newest sample is no older than three intervals and the time a commit takes."""
        if not self.active_servers or (self.newest is None and not self.family.everywhere):
            return True
        allowed = timedelta(seconds=3 * self.family.interval_s + SETTLED_S)
        return self.newest is not None and now - self.newest <= allowed

    @property
    def complete(self) -> bool:
        """Whether every message up to `SETTLED_S` ago is landed or a dead letter."""
        return self.behind == 0 and self.expired == 0


def family_states(conn: Connection, bootstrap: str) -> dict[str, FamilyState]:
    """The state of each family's topic and table; raises `KafkaUnavailable`."""
    settled_ms = round((time.time() - SETTLED_S) * 1000)
    due = offsets_at(bootstrap, [family.topic for family in FAMILIES.values()], settled_ms)
    ledger = {place: offset for place, (offset, _) in landing.ledger(conn).items()}
    expired = landing.expired(conn)
    active = fleet.server_ids(conn, active_only=True)
    states = {}
    for name, family in FAMILIES.items():
        places = [place for place in due if place[0] == family.topic]
        states[name] = FamilyState(
            family=family,
            newest=fleet.newest(conn, family, active),
            active_servers=len(active),
            landed=sum(ledger.get(place, 0) for place in places),
            behind=sum(max(0, due[place] - ledger.get(place, 0)) for place in places),
            expired=expired.get(family.topic, 0),
        )
    return states


_JUDGED = timedelta(minutes=30)
_FOLDED = timedelta(minutes=10)
_REMEMBERED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Conservation:
    """`differences`: minutes whose rows in the table are not those that landing counted.

    `missing`: samples of the last day that were numbered and never came; `unexplained`: how many of them neither a
    collector's own account of what it dropped nor an expired range of the topic accounts for.
    """

    differences: list[completeness.Difference]
    missing: int
    unexplained: int

    @property
    def holds(self) -> bool:
        return not self.differences and self.unexplained == 0


def conservation(conn: Connection, now: datetime) -> dict[str, Conservation]:
    """Sequenced = landed + rejected + explained, per family; rows of the last half hour that has settled."""
    since = now - _REMEMBERED
    missing = completeness.missing(conn, since)
    dropped, expired = completeness.explained(conn, since)
    open_ones = {name: max(0, missing.get(name, 0) - expired.get(family.topic, 0)) for name, family in FAMILIES.items()}
    if sum(open_ones.values()) <= dropped:
        open_ones = dict.fromkeys(open_ones, 0)
    end = (now - _FOLDED).replace(second=0, microsecond=0)
    return {
        name: Conservation(
            completeness.differences(conn, family, end - _JUDGED, end), missing.get(name, 0), open_ones[name]
        )
        for name, family in FAMILIES.items()
    }
