"""What assets are given to work with: the platform's settings, database and model registry, opened for one run."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import PrivateAttr

from hps_platform import settings
from hps_platform.model_registry import ModelRegistry
from hps_platform.store.database import Database


class Platform(dg.ConfigurableResource["Platform"]):
    """Opens nothing until it is asked; a run closes the database when it ends."""

    _settings: settings.Settings | None = PrivateAttr(default=None)
    _database: Database | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Platform"]:
        try:
            yield self
        finally:
            if self._database is not None:
                self._database.close()
                self._database = None

    @property
    def settings(self) -> settings.Settings:
        if self._settings is None:
            self._settings = settings.load()
        return self._settings

    @property
    def database(self) -> Database:
        if self._database is None:
            self._database = Database(self.settings.dsn())
        return self._database

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.settings.tracking_uri, cache_dir=self.settings.data_dir / "models")


@dg.definitions
def defs() -> dg.Definitions:
    return dg.Definitions(resources={"platform": Platform()}, executor=dg.in_process_executor)
