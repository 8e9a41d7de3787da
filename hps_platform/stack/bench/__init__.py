"""Benchmarks: each measures real parts of the platform and gives one report, a JSON object.

One module a benchmark; what they start stands in `ground`. How a report is printed belongs to `hps_platform.cli`.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import psutil

Report = dict[str, Any]
Tell = Callable[[str], None]
"""Takes a line about how far a benchmark is."""

_PACKAGES = ("hps-platform", "paramiko", "cryptography", "confluent-kafka", "polars", "orjson", "numpy", "scikit-learn")


def report(name: str, parameters: Mapping[str, Any], started: float, measured: Mapping[str, Any]) -> Report:
    """What was measured, with what it was measured on. `started` is of the monotonic clock."""
    return {
        "bench": name,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        "parameters": dict(parameters),
        "duration": round(time.monotonic() - started, 1),
        **measured,
    }


def machine() -> dict[str, Any]:
    """What this machine is, and how busy it is."""
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  a kernel's file
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
