"""`python -m dash_app`: the web application in one process (the live hub is in its memory)."""

import logging
import sys

import uvicorn
from fastapi import FastAPI

from dash_app.app import create_app
from hps_platform import settings
from hps_platform.errors import HpsError
from hps_platform.settings import Settings
from hps_platform.stack import ports


def main() -> int:
    try:
        chosen = settings.load()
        logging.basicConfig(
            level=chosen.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        if not chosen.debug:
            logging.getLogger("httpx").setLevel(logging.WARNING)
        if ":" not in chosen.bind_address:
            ports.require_free(chosen.app_port, "the web app", "HPS_APP_PORT", chosen.bind_address)
        app = create_app(chosen)
    except HpsError as error:
        sys.stderr.write(f"app: {error}\n")
        return 1
    uvicorn.Server(server_config(app, chosen)).run()
    return 0


def server_config(app: FastAPI, chosen: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=chosen.bind_address,
        port=chosen.app_port,
        access_log=False,
        log_config=None,
        server_header=False,
        # A client's address is taken from a proxy's header only where there is said to be a proxy.
        proxy_headers=bool(chosen.public_url),
        timeout_graceful_shutdown=5,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
    )


if __name__ == "__main__":
    sys.exit(main())
