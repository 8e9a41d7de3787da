"""From the moment a simulated host prints a vmstat report to the point in the browser: p50 and p95 in milliseconds.

Needs a running `hps demo` that was started with HPS_SIMULATOR_TRACE=FILE, which is given here too. Opens Live for
three servers in Chromium and notes when each point is in the chart; the collector's timestamp tells which report it
is. Prints one JSON object.
"""

import argparse
import bisect
import json
import shutil
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

_WATCH = """
() => {
  window.arrivals = []; window.newest = {};
  const look = () => {
    const plot = document.querySelector('#page .js-plotly-plot');
    if (plot && plot.data) for (const line of plot.data) {
      const x = line.x && line.x.length ? line.x[line.x.length - 1] : undefined;
      if (x !== undefined && window.newest[line.name] !== x) {
        if (window.newest[line.name] !== undefined) window.arrivals.push([line.name, x, Date.now()]);
        window.newest[line.name] = x;
      }
    }
    setTimeout(look, 5);
  };
  look();
}
"""


def _servers(url: str, user: str, password: str, printed: set[str]) -> dict[int, str]:
    with httpx.Client(base_url=url, timeout=30) as client:
        token = client.post("/api/auth/token/", json={"username": user, "password": password}).raise_for_status()
        headers = {"Authorization": f"Token {token.json()['token']}"}
        found = client.get("/api/servers/", params={"page_size": 100}, headers=headers).raise_for_status()
    return {one["id"]: one["hostname"] for one in found.json()["results"] if one["hostname"] in printed}


def _arrivals(
    page: Page, url: str, user: str, password: str, chosen: list[int], seconds: float
) -> list[tuple[str, float, float]]:
    page.goto(f"{url}/login")
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    page.goto(f"{url}/live?servers={','.join(map(str, chosen))}&metrics=vmstat.us")
    page.wait_for_function("() => { const p = document.querySelector('#page .js-plotly-plot'); return p && p.data; }")
    page.evaluate(_WATCH)
    page.wait_for_timeout(seconds * 1000)
    found: list[tuple[str, float, float]] = page.evaluate("() => window.arrivals")
    return found


def _prints(trace: Path) -> dict[str, list[int]]:
    printed: dict[str, list[int]] = defaultdict(list)
    for line in trace.read_text().splitlines():
        moment, host = line.split()
        printed[host].append(int(moment))
    return printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8050")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", required=True)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    servers = _servers(given.url, given.user, given.password, set(_prints(given.trace)))
    chosen = list(servers)[:3]
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        arrivals = _arrivals(browser.new_page(), given.url, given.user, given.password, chosen, given.seconds)
        browser.close()
    printed = _prints(given.trace)
    to_browser, to_collector = [], []
    for host, stamp, seen_ms in arrivals:
        place = bisect.bisect_right(printed[host], stamp + 1) - 1
        if place >= 0 and stamp - printed[host][place] < 2000:
            to_browser.append(seen_ms - printed[host][place])
            to_collector.append(stamp - printed[host][place])
    if len(to_browser) < 20:
        sys.exit(f"only {len(to_browser)} points arrived in {given.seconds:g} s: is the demo running with this trace?")
    figures = {"points": len(to_browser), "servers": len(chosen), "seconds": given.seconds}
    for name, values in (("host_to_browser_ms", to_browser), ("host_to_collector_ms", to_collector)):
        cuts = statistics.quantiles(values, n=20)
        figures |= {f"{name}_p50": round(cuts[9], 1), f"{name}_p95": round(cuts[18], 1)}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
