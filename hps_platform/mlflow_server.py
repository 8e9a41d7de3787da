"""MLflow's server in one process.

`mlflow server` loads all of MLflow, and then starts uvicorn, which loads it again: twice the seconds of CPU, and 290 MB
for a process that only waits. Here the stores are opened as that command does, and uvicorn serves in the same process.
"""

import argparse
import os
import uuid
from pathlib import Path

ARTIFACT_ROOT = "mlflow-artifacts:/"
"""Clients send and fetch files through the server."""


def main() -> None:
    """`python -m hps_platform.mlflow_server --host H --port P --artifacts-destination URI`; the database is named by
    `MLFLOW_BACKEND_STORE_URI`, because a command line is read by everybody on the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--artifacts-destination", required=True)
    options = parser.parse_args()
    database = os.environ["MLFLOW_BACKEND_STORE_URI"]

    import mlflow.server
    import uvicorn
    from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
    from mlflow.server import constants, handlers

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: ARTIFACT_ROOT,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: options.artifacts_destination,
        # With it MLflow knows that it is a server: it must not run code that comes with what it is sent.
        _MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
    }
    handlers.initialize_backend_stores(database, database, ARTIFACT_ROOT)
    uvicorn.run(
        "mlflow.server.fastapi_app:app",
        host=options.host,
        port=options.port,
        log_config=str(Path(mlflow.server.__file__).with_name("uvicorn_log_config.yaml")),
    )


if __name__ == "__main__":
    main()
