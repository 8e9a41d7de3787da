"""What a running stack costs: CPU share of a core and memory of each service, over some minutes.

CPU is that of the process tree with everything it has waited for, so short-lived Dagster runs count. Memory is the
proportional set size at the end. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time

import psutil


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(pid: int) -> float:
    total = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _pss_mb(pid: int) -> float:
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1e6


def _pids() -> dict[str, int]:
    command = [sys.executable, "-m", "hps_platform.cli", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"hps status printed nothing: {done.stderr.strip()}")
    return {entry["name"]: entry["pid"] for entry in json.loads(done.stdout)["services"] if entry["pid"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    pids = _pids()
    before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    started = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    services = {
        name: {
            "cpu_share": round((_cpu_seconds(pid) - before[name]) / elapsed, 4),
            "pss_mb": round(_pss_mb(pid), 1),
        }
        for name, pid in pids.items()
    }
    print(
        json.dumps(
            {
                "seconds": round(elapsed, 1),
                "cpu_share": round(sum(entry["cpu_share"] for entry in services.values()), 4),
                "pss_mb": round(sum(entry["pss_mb"] for entry in services.values()), 1),
                "services": services,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
