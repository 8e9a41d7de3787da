"""The model registry: the only owner of MLflow.

`registry` knows versions, aliases, hashes and the cache; `rest` speaks MLflow's REST API, which starts quicker than
its library; `folder` says what the files of a logged model are, `charts` draws what is logged with it. What is in a
model belongs to `hps_platform.analysis.detector`.
"""

from hps_platform.model_registry import charts
from hps_platform.model_registry.folder import FILE, load_pyfunc, maker
from hps_platform.model_registry.registry import CHALLENGER, CHAMPION, Card, ModelRegistry, Version

_load_pyfunc = load_pyfunc
"""The name under which MLflow's `loader_module` looks for it."""

__all__ = ["CHALLENGER", "CHAMPION", "FILE", "Card", "ModelRegistry", "Version", "charts", "maker"]
