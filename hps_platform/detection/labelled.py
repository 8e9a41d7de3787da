"""The detector on servers whose anomalies are known: a folder of files, rated beside the seed's design and each member.

How one server is rated is `hps_platform.analysis.ablation`'s business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import polars as pl

from hps_platform.errors import InvalidInput

if TYPE_CHECKING:  # scikit-learn takes seconds
    from hps_platform.analysis.evaluation import Cause

FILES = ("train", "test", "labels")
CAUSES = "causes.json"
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
            " | ".join([judge, *(_shown(value) for value in figures.values())]) for judge, figures in self.means.items()
        ]
        head = [" | ".join(["what judges", *names]), "|".join(["---"] * (len(names) + 1))]
        return "".join(f"| {row} |\n" for row in [*head, *rows])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 1_000 else f"{value:,.0f}"


def rate(
    folder: Path, *, budget: float, columns: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None
) -> Rated:
    """Rates every server of `folder`, which has a folder for each with `train`, `test` and `labels` as Parquet, and
    perhaps with `causes.json`.

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
        known = causes(server / CAUSES, train) if (server / CAUSES).exists() else []
        if columns:
            unknown = [name for name in columns if name not in train.columns or name not in test.columns]
            if unknown:
                raise InvalidInput(f"{server.name} has no column {', '.join(unknown)}")
            train, test = train.select("timestamp", *columns), test.select("timestamp", *columns)
        rated.append(dict(ablation.rate(train, test, labels, alarms_per_day=budget, causes=known)))
    return Rated(len(rated), budget, ablation.means(rated))


def parquet(path: Path) -> pl.DataFrame:
    """The file; `InvalidInput` when it can't be read."""
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(f"{path} is no readable Parquet file: {first}") from error


def causes(path: Path, frame: pl.DataFrame) -> "list[Cause]":
    """What labelled events show in, from JSON: `[{"start": 246, "end": 252, "columns_1_based": [1, 6]}, …]`.

    `start` and `end` are rows of the test, both inclusive, columns are counted from 1 among the numeric ones of `frame`
    in its order. Raises `InvalidInput` for anything else.
    """
    from hps_platform.analysis.evaluation import Cause

    names = dict(enumerate((name for name in frame.columns if name != "timestamp"), start=1))
    try:
        return [
            Cause(entry["start"], entry["end"], frozenset(names[number] for number in entry["columns_1_based"]))
            for entry in orjson.loads(path.read_bytes())
        ]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} can't be read as causes: {error!r}; it is to be a list of objects with start, end (rows of the"
            f" test) and columns_1_based (1 to {len(names)})"
        ) from error
