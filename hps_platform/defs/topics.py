"""The Kafka topics that the collectors write: external assets, so that lineage starts where the data does."""

import dagster as dg

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.metrics.wire import DEAD_LETTER_TOPIC


def _topic(family: Family) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=["kafka", family.topic],
        group_name="topics",
        kinds={"kafka"},
        description=f"{family.help} One message is one sample of one host; written by the collectors.",
        metadata={"topic": family.topic, "schema": family.schema},
    )


topics = [_topic(family) for family in FAMILIES.values()]
dead_letter_topic = dg.AssetSpec(
    key=["kafka", DEAD_LETTER_TOPIC],
    group_name="topics",
    kinds={"kafka"},
    description="Output that no parser understood, whole, with the reason.",
)
