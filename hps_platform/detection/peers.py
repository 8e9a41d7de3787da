"""Peers: whose model a server starts with while it has too little history for its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hps_platform.model_registry import Card, Version
from hps_platform.store import model_files
from hps_platform.store.servers import Server

if TYPE_CHECKING:
    from hps_platform.analysis.detector import Detector


def closest(server: Server, others: Sequence[Server]) -> list[Server]:
    """Servers of the same operating system with a tag in common, closest first: a tag that few servers have says more
    of a role than one that all have."""
    spread = {tag: sum(tag in other.tags for other in others) for tag in server.tags}

    def closeness(other: Server) -> float:
        return sum(1.0 / spread[tag] for tag in server.tags if tag in other.tags)

    system = server.operating_system
    same = [other for other in others if system and other.operating_system == system and other.id != server.id]
    return sorted((other for other in same if closeness(other) > 0), key=lambda other: (-closeness(other), other.id))


def card(server: Server, peer: Server, model: "Detector", lent: Version) -> Card:
    """Of a copy: what the peer's version was made of, and that it is a copy."""
    own = {"server_id": str(server.id), "borrowed_from": peer.hostname, "gate": model_files.BORROWED}
    kept = {key: value for key, value in lent.tags.items() if key not in ("hostname", "sha256", "gate_reason")}
    schema = {"timestamp": pl.Datetime("us", "UTC"), **dict.fromkeys(model.columns, pl.Float64())}
    return Card(
        hostname=server.hostname,
        parameters={**model.parameters, "borrowed_from": f"{peer.hostname}: {lent.name} version {lent.version}"},
        metrics={},
        tags={**kept, **own},
        example=pl.DataFrame(schema=schema),
    )
