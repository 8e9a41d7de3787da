"""A process that lands until it is killed: `python -m … DSN BOOTSTRAP RUN_ID WINDOW_S`."""

import logging
import os
import sys
import threading

from hps_platform.landing import CommitReport, run_window


def _said(report: CommitReport) -> None:
    print(f"commit {report.messages}", flush=True)  # noqa: T201  # the test reads it


def main(dsn: str, bootstrap: str, run_id: str, window_s: str) -> None:
    logging.basicConfig(level=logging.INFO)
    # A test that dies must not leave a lander behind: when the pipe from it closes, this ends.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(3)), daemon=True).start()
    report = run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id=run_id,
        window_s=float(window_s),
        batch_interval_s=0.2,
        max_messages=500,
        on_commit=_said,
        overtime_s=30,
    )
    print(f"outcome {report.outcome}", flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
