"""The detector on servers whose anomalies are known: a folder of files, rated beside the seed's design and each member.

How one server is rated is `hps_platform.analysis.ablation`'s business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hps_platform.errors import InvalidInput

FILES = ("train", "test", "labels")
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Rated:
    """Means over `servers`: by what judges, by figure; None where a figure could not be had."""

    servers: int
    budget: float
    means: Mapping[str, Figures]

    def markdown(self) -> str:
        """The table, a row for each that judges."""
        names = list(next(iter(self.means.values())))
        rows = [
            " | ".join([judge, *("-" if value is None else f"{value:.3f}" for value in figures.values())])
            for judge, figures in self.means.items()
        ]
        head = [" | ".join(["what judges", *names]), "|".join(["---"] * (len(names) + 1))]
        return "".join(f"| {row} |\n" for row in [*head, *rows])


def rate(
    folder: Path, *, budget: float, columns: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None
) -> Rated:
    """Rates every server of `folder`, which has a folder for each with `train`, `test` and `labels` as Parquet.

    `columns` chooses metrics, none all of them. Raises `InvalidInput` for a folder or a file that can't be used.
    """
    from hps_platform.analysis import ablation

    servers = sorted(found.parent for found in folder.glob("*/train.parquet"))
    if not servers:
        raise InvalidInput(f"{folder} holds no folder with a train.parquet")
    rated = []
    for server in servers:
        tell(server.name)
        train, test, labels = (parquet(server / f"{name}.parquet") for name in FILES)
        if columns:
            unknown = [name for name in columns if name not in train.columns or name not in test.columns]
            if unknown:
                raise InvalidInput(f"{server.name} has no column {', '.join(unknown)}")
            train, test = train.select("timestamp", *columns), test.select("timestamp", *columns)
        rated.append(dict(ablation.rate(train, test, labels, alarms_per_day=budget)))
    return Rated(len(rated), budget, ablation.means(rated))


def parquet(path: Path) -> pl.DataFrame:
    """The file; `InvalidInput` when it can't be read."""
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(f"{path} is no readable Parquet file: {first}") from error
