"""From anomalous minutes to incidents: what belongs together, on one server and across the fleet, and how bad it is.

Pure functions on minutes. Where incidents are kept, and what people do with them, is in `hps_platform.store.incidents`
and `hps_platform.detection.incidents`; how one is put into words in `words`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hps_platform.analysis import words
from hps_platform.analysis.explain import Contribution
from hps_platform.analysis.maintenance import Span, united

GAP = timedelta(minutes=15)
"""Anomalous minutes of a server with at most so much between them are one episode."""
TOGETHER = timedelta(minutes=5)
"""Episodes of several servers that begin within so much time of the first one may be one incident."""
FLEET_SHARE = 0.02
"""The share of all active servers that an incident of the fleet takes, and never fewer than two of them: of many
servers some are always odd in the same five minutes by chance."""
ECHO = timedelta(hours=1)
"""How long scores and what they are made of remember an incident: both look back for an hour."""
UNLEARNT = timedelta(days=1)
"""Of an incident, how much at most is kept from training: what goes on longer may be the server's new life."""
UNLEARNT_SHARE = 0.25
"""Of the minutes to learn from, how much all incidents together may take."""
SEVERITIES = ("low", "medium", "high", "critical")
_MINUTE = timedelta(minutes=1)
_BY_SCORE = ((-0.6, "high"), (-0.3, "medium"))


@dataclass(frozen=True, slots=True)
class Minute:
    """One anomalous minute; `causes` best first."""

    server_id: int
    at: datetime
    score: float
    causes: tuple[Contribution, ...] = ()

    @property
    def head(self) -> str:
        """The metric that heads the causes; empty where none is named."""
        return self.causes[0].column if self.causes else ""


@dataclass(frozen=True, slots=True)
class Episode:
    """Anomalous minutes of one server close to each other. `end` is where its last minute ends, `peak` its strangest
    minute, `heads` the metrics that headed its minutes, the most frequent first."""

    server_id: int
    start: datetime
    end: datetime
    minutes: int
    peak: Minute
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """One episode, or episodes of several servers at the same time; in the order of their starts."""

    episodes: tuple[Episode, ...]

    @property
    def start(self) -> datetime:
        return self.episodes[0].start

    @property
    def end(self) -> datetime:
        return max(one.end for one in self.episodes)

    @property
    def minutes(self) -> int:
        return sum(one.minutes for one in self.episodes)

    @property
    def peak(self) -> Minute:
        """The strangest minute of all its servers."""
        return min((one.peak for one in self.episodes), key=lambda minute: (minute.score, minute.at, minute.server_id))


def episodes(minutes: Iterable[Minute]) -> list[Episode]:
    """By start, then by server."""
    found: list[Episode] = []
    current: dict[int, list[Minute]] = {}
    for minute in sorted(minutes, key=lambda one: one.at):
        run = current.setdefault(minute.server_id, [])
        if run and minute.at - run[-1].at - _MINUTE > GAP:
            found.append(_episode(run))
            run.clear()
        run.append(minute)
    found += [_episode(run) for run in current.values()]
    return sorted(found, key=lambda one: (one.start, one.server_id))


def _episode(run: Sequence[Minute]) -> Episode:
    heads = Counter(minute.head for minute in run if minute.head)
    return Episode(
        server_id=run[0].server_id,
        start=run[0].at,
        end=run[-1].at + _MINUTE,
        minutes=len(run),
        peak=min(run, key=lambda minute: minute.score),
        heads=tuple(name for name, _ in heads.most_common()),
    )


def needed(servers: int) -> int:
    """How many of so many active servers it takes for an incident of the fleet."""
    return max(2, math.ceil(FLEET_SHARE * servers))


def incidents(found: Sequence[Episode], servers: int) -> list[Incident]:
    """Episodes put together to incidents, by start. `found` is as from `episodes`, `servers` counts the active ones.

    Episodes that begin within five minutes of the first of them, and whose peaks are of the same kind (cpu, memory,
    disk, network), are one incident if they are on enough servers (`needed`); otherwise each is one by itself.
    """
    clusters: list[list[Episode]] = []
    newest: dict[str, list[Episode]] = {}
    for episode in found:
        kind = words.kind(episode.peak.head)
        cluster = newest.get(kind)
        if cluster is None or not kind or episode.start - cluster[0].start > TOGETHER:
            cluster = newest[kind] = []
            clusters.append(cluster)
        cluster.append(episode)
    together = []
    for cluster in clusters:
        parts = [tuple(cluster)] if len(cluster) >= needed(servers) else [(one,) for one in cluster]
        together += [Incident(part) for part in parts]
    return sorted(together, key=lambda one: (one.start, one.episodes[0].server_id))


def unlearnt(spans: Sequence[Span], start: datetime, end: datetime) -> list[Span]:
    """What of [`start`, `end`) is nothing to learn from because of these incidents, in order and united.

    Of each its first day at most, with the quarter of an hour before it, which may have led to it, and the hour after
    it, which looks strange because of it. Of all together, the oldest first, a quarter of the range at most: a server
    whose incidents never end must learn its new life.
    """
    first_days = [(begin - GAP, min(until, begin + UNLEARNT) + ECHO) for begin, until in spans]
    within = [(max(begin, start), min(until, end)) for begin, until in first_days if begin < end and until > start]
    left = UNLEARNT_SHARE * (end - start)
    found: list[Span] = []
    for begin, until in united(sorted(within)):
        if left > timedelta():
            found.append((begin, min(until, begin + left)))
            left -= until - begin
    return found


def severity(incident: Incident, set_by: Mapping[int, Mapping[str, str]]) -> str:
    """The gravest of its episodes'; an incident of the fleet is at least high.

    `set_by` holds, by server, the severity that people set for a metric or for `*`; where they set none the peak's
    score decides: high from -0.6 down, medium from -0.3 down.
    """
    found = [_severity(one.peak, set_by.get(one.server_id, {})) for one in incident.episodes]
    if len(found) > 1:
        found.append("high")
    return max(found, key=SEVERITIES.index)


def _severity(peak: Minute, set_by: Mapping[str, str]) -> str:
    chosen = set_by.get(peak.head) or set_by.get("*")
    return chosen or next((name for score, name in _BY_SCORE if peak.score <= score), "low")


def sentence(incident: Incident, hostname: str, culprit: str | None = None, absent: Sequence[str] = ()) -> str:
    """What a person reads of it; `hostname` is the server of its peak, for `culprit` and `absent` see
    `words.sentence`."""
    told = words.sentence(incident.peak.causes, culprit, absent)
    if len(incident.episodes) == 1:
        return told
    return f"{len(incident.episodes)} servers at the same time, {hostname} the strangest: {told}"
