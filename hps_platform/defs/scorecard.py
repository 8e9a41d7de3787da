"""How good the detector is on servers whose anomalies are known; run by hand, on a folder of one's own choice."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from hps_platform.detection import labelled


class LabelledServers(dg.Config):
    """Where the files are, and how to judge them."""

    folder: str = Field(description="A folder a server: train.parquet, test.parquet, labels.parquet.")
    budget: float = Field(default=0.5, gt=0, description="Alarms allowed a day.")
    columns: list[str] = Field(default=[], description="Metrics; all without it.")


@dg.asset(
    key=["detection", "scorecard"],
    group_name="scorecard",
    kinds={"scikitlearn"},
    description="The seed's design, each member alone, an autoencoder and the shipped detector on labelled servers.",
)
def scorecard(context: dg.AssetExecutionContext, config: LabelledServers) -> dg.MaterializeResult[None]:
    rated = labelled.rate(Path(config.folder), budget=config.budget, columns=config.columns, tell=context.log.info)
    table = dg.MetadataValue.md(rated.markdown())
    return dg.MaterializeResult(metadata={"servers": rated.servers, "alarms_per_day": rated.budget, "means": table})


rate_detector = dg.define_asset_job("rate_detector", selection=dg.AssetSelection.assets(scorecard))
