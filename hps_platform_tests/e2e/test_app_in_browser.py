"""The app as people use it: Chromium against a running demo. No page may leave an error in the console."""

import itertools
import json
import re
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from hps_platform_tests.e2e.browser import NARROW, PATIENCE_MS, WIDE, OpenPage
from hps_platform_tests.e2e.demo import DemoApp
from hps_platform_tests.waiting import until

expect.set_options(timeout=PATIENCE_MS)

# Lines of a chart with their times, in the order of the screen.
_LINES = """
() => [...document.querySelectorAll("#page .js-plotly-plot")].map((plot) =>
  (plot._fullData || []).filter((trace) => trace.x && trace.x.length)
    .map((trace) => ({name: trace.name, x: Array.from(trace.x)})))
"""


def lines(page: Page) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = page.evaluate(_LINES)
    return found


def newest_ms(page: Page, chart: int = 0) -> dict[str, float]:
    return {line["name"]: line["x"][-1] for line in lines(page)[chart]}


def three_servers(app: DemoApp) -> dict[int, str]:
    """Servers that are up and sampled over SSH all the time."""
    with closing(app.client()) as client:
        found = client.get("/api/servers/", params={"page_size": 100}).json()["results"]
    up = [one for one in found if one["is_active"]][:3]
    assert len(up) == 3
    return {one["id"]: one["hostname"] for one in up}


def wait_for(page: Page, what: str, condition: str, argument: Any = None) -> None:
    """Until the JavaScript expression holds; fails with `what` otherwise."""
    try:
        page.wait_for_function(condition, arg=argument, timeout=PATIENCE_MS)
    except Exception as error:
        raise AssertionError(f"not on the screen in time: {what}") from error


def live(open_page: OpenPage, app: DemoApp, metrics: str = "vmstat.us,iostat.busy_pct") -> tuple[Page, dict[int, str]]:
    servers = three_servers(app)
    page = open_page(f"/live?servers={','.join(map(str, servers))}&metrics={metrics}")
    wait_for(
        page,
        "a line for each of three servers",
        "() => { const plot = document.querySelector('#page .js-plotly-plot');"
        " return plot && plot.data && plot.data.filter((trace) => trace.x && trace.x.length > 1).length === 3; }",
    )
    return page, servers


def test_a_stranger_gets_the_sign_in_page(chromium: Browser, demo_app: DemoApp) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{demo_app.url}/servers")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.get_by_label("User name").fill(demo_app.username)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert "/servers" not in page.url.split("?")[0]
    context.close()


def test_overview_shows_the_whole_fleet(open_page: OpenPage, demo_app: DemoApp) -> None:
    page = open_page("/")
    with closing(demo_app.client()) as client:
        count = client.get("/api/servers/").json()["count"]
    expect(page.locator("#overview-body table").first.locator("tbody tr")).to_have_count(count)
    before = page.get_by_text("As of").inner_text()
    expect(page.get_by_text("As of")).not_to_have_text(before, timeout=PATIENCE_MS)  # it renews itself


def test_forecasts_are_made_without_waiting_for_the_night(demo_app: DemoApp) -> None:
    """Two days of history are too short, and each series says so."""
    server = next(iter(three_servers(demo_app)))
    with closing(demo_app.client()) as client:

        def made() -> list[dict[str, Any]]:
            answer = client.get("/api/forecasts/", params={"server_id": server})
            answer.raise_for_status()
            return [one for one in answer.json()["results"] if one["made_at"]]

        until(made, 300, "forecasts of a server", every_s=1)
        assert any("of history: a forecast needs 8 days" in one["reason"] for one in made())


def test_live_points_arrive_every_two_seconds_for_three_servers(open_page: OpenPage, demo_app: DemoApp) -> None:
    page, servers = live(open_page, demo_app)
    start, began = newest_ms(page), time.monotonic()
    assert set(start) == set(servers.values())
    wait_for(
        page,
        "20 s of new points on every line",
        "(start) => { const plot = document.querySelector('#page .js-plotly-plot');"
        " return plot.data.every((trace) => trace.x[trace.x.length - 1] >= start[trace.name] + 20000); }",
        start,
    )
    assert time.monotonic() - began < 60
    for chart in lines(page):
        for line in chart:
            steps = [later - sooner for sooner, later in itertools.pairwise(line["x"])]
            assert min(steps) > 0, f"{line['name']}: a point twice, or one out of order"
    for line in lines(page)[0]:
        new = [x for x in line["x"] if x > start[line["name"]]]
        assert 8 <= len(new) <= 40, f"{line['name']}: {len(new)} points in 20 s"
    expect(page.locator("#live-pulse")).to_contain_text("Live, last sample")


def test_live_keeps_its_choice_in_the_address_and_ends_with_the_page(open_page: OpenPage, demo_app: DemoApp) -> None:
    page, servers = live(open_page, demo_app, metrics="vmstat.us")
    page.get_by_text("15m", exact=True).click()
    page.wait_for_url(re.compile(r"window=15m"))
    assert f"servers={','.join(map(str, servers))}" in page.url
    page.get_by_role("link", name="Servers", exact=True).click()
    page.wait_for_url(re.compile(r"/servers$"))
    wait_for(page, "the end of the stream", "() => document.querySelectorAll('.js-plotly-plot').length === 0")


def test_live_survives_a_restart_of_the_app_without_points_twice(open_page: OpenPage, demo_app: DemoApp) -> None:
    page, _ = live(open_page, demo_app, metrics="vmstat.us")
    before = demo_app.status()["app"]["pid"]
    psutil.Process(before).kill()
    killed_at = time.time() * 1000
    wait_for(
        page,
        "new points after the restart",
        "(at) => { const plot = document.querySelector('#page .js-plotly-plot');"
        " return plot.data.every((trace) => trace.x[trace.x.length - 1] > at + 10000); }",
        killed_at,
    )
    assert demo_app.status()["app"]["pid"] != before
    for line in lines(page)[0]:
        assert len(set(line["x"])) == len(line["x"])
        assert line["x"] == sorted(line["x"])


def _span_ms(page: Page) -> float:
    return float(
        page.evaluate(
            "() => { const axis = document.querySelector('#history-body .js-plotly-plot')._fullLayout.xaxis;"
            " return axis.r2l(axis.range[1]) - axis.r2l(axis.range[0]); }"
        )
    )


def _median_step_ms(page: Page) -> float:
    times = max((line["x"] for chart in lines(page) for line in chart if line["name"] != "Anomaly"), key=len)
    steps = sorted(later - sooner for sooner, later in itertools.pairwise(times))
    return float(steps[len(steps) // 2])


def test_zooming_into_history_fetches_finer_data(open_page: OpenPage, demo_app: DemoApp) -> None:
    server = next(iter(three_servers(demo_app)))
    page = open_page(f"/history?servers={server}&family=vmstat&columns=us&range=24h")
    drag = page.locator("#history-body .nsewdrag").first
    drag.wait_for()
    coarse, whole = _median_step_ms(page), _span_ms(page)
    box = drag.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.62, middle, steps=4)
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"from=.*to="))
    wait_for(
        page,
        "a tenth of the range in finer steps",
        "([whole, coarse]) => { const plot = document.querySelector('#history-body .js-plotly-plot');"
        " if (!plot || !plot._fullLayout) return false; const axis = plot._fullLayout.xaxis;"
        " const x = plot._fullData[0].x;"
        " const steps = Array.from(x).slice(1).map((to, index) => to - x[index]).sort((a, b) => a - b);"
        " return steps.length > 2 && steps[steps.length >> 1] < coarse"
        " && axis.r2l(axis.range[1]) - axis.r2l(axis.range[0]) < whole / 5; }",
        [whole, coarse],
    )
    for _ in range(5):  # two clicks are a double one only if a busy browser comes to both within half a second
        box = page.locator("#history-body .nsewdrag").first.bounding_box()
        assert box is not None
        page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        with suppress(PlaywrightTimeout):
            page.wait_for_url(re.compile(r"range=24h"), timeout=10_000)
            break
        page.keyboard.press("Escape")  # two single ones were on a point, and what opens then lies over the chart
        expect(page.get_by_text("Where this point comes from")).to_be_hidden()
    page.wait_for_url(re.compile(r"range=24h"))


def test_history_tells_why_a_range_is_empty(open_page: OpenPage, demo_app: DemoApp) -> None:
    server, hostname = next(iter(three_servers(demo_app).items()))
    page = open_page(f"/history?servers={server}&family=memory&from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z")
    expect(page.get_by_text("No samples of memory in this range")).to_be_visible()
    expect(page.get_by_text(f"The collector last saw {hostname}")).to_be_visible()


def test_an_anomaly_can_be_opened_and_followed_to_history(open_page: OpenPage, demo_app: DemoApp) -> None:
    page = open_page("/anomalies?range=7d")
    page.locator("#anomalies-list tbody a").first.click()
    page.wait_for_url(re.compile(r"/anomalies\?.*at="))
    titles = ("What stood out", "What was measured", "Score, two hours to both sides", "What ran at its peak")
    for title in titles:
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"\w+.*\."))
    expect(page.get_by_role("link", name=re.compile(r"hps\.\d+, version \d+"))).to_have_attribute(
        "href", re.compile(r"/#/models/hps\.\d+/versions/\d+$")
    )
    page.get_by_role("link", name="History at that moment").click()
    page.wait_for_url(re.compile(r"/history\?.*from="))
    expect(page.locator("#history-body .js-plotly-plot").first).to_be_visible()


def test_a_server_is_added_confirmed_changed_and_removed(open_page: OpenPage, demo_app: DemoApp) -> None:
    model = next(iter(three_servers(demo_app)))
    with closing(demo_app.client()) as client:
        known = client.get(f"/api/servers/{model}/").json()
    page = open_page("/servers")
    page.get_by_role("button", name="Add server").click()
    page.locator("#form-hostname").fill(known["hostname"])
    page.locator("#form-ssh_username").fill("nobody")
    page.locator("#form-save").click()
    expect(page.locator("#form-error")).to_contain_text("already")
    page.locator("#form-hostname").fill("second-login")
    page.locator("#form-ip_address").fill(known["ip_address"])
    page.locator("#form-ssh_port").fill(str(known["ssh_port"]))
    page.locator("#form-ssh_password").fill("wrong on purpose")
    page.locator("#form-save").click()
    expect(page.get_by_role("heading", name="Is this the host?")).to_be_visible()
    expect(page.locator("#connection-report")).to_contain_text("SHA256:")
    page.get_by_role("button", name=re.compile("^Confirm the")).first.click()
    expect(page.locator("#connection-report")).to_contain_text("Login as nobody refused")
    page.locator("#connection-close").click()
    page.get_by_role("button", name="Change: second-login").click()
    expect(page.locator("#form-ssh_password")).to_have_value("")
    page.locator("#form-cancel").click()
    page.get_by_role("button", name="Remove: second-login").click()
    page.locator("#removal-go").click()
    expect(page.get_by_role("button", name="Remove: second-login")).to_have_count(0)


@pytest.mark.parametrize(("theme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
def test_every_page_fits_in_both_themes(
    open_page: OpenPage, demo_app: DemoApp, screenshots: Path, theme: str, size: tuple[int, int]
) -> None:
    servers = ",".join(map(str, three_servers(demo_app)))
    page = open_page("/", theme=theme, size=size)
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == theme
    shots = {
        "overview": ("/", "#overview-body table"),
        "live": (f"/live?servers={servers}", "#live-charts .js-plotly-plot .scatterlayer .trace"),
        "history": (f"/history?servers={servers}&range=24h", "#history-body .js-plotly-plot .scatterlayer .trace"),
        "anomalies": ("/anomalies", "#anomalies-list table, #anomalies-list .hps-empty"),
        "servers": ("/servers", "#servers-table table"),
    }
    for name, (path, there) in shots.items():
        page.goto(demo_app.url + path)
        page.locator(there).first.wait_for(state="attached")
        page.wait_for_timeout(1500)  # charts draw themselves in steps; a picture is all that waits for it
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{name} is {wide} pixels wide"
        page.screenshot(path=screenshots / f"{name}-{theme}-{size[0]}.png", full_page=True)


def test_the_menu_of_a_small_screen_opens_and_closes(open_page: OpenPage) -> None:
    page = open_page("/", size=NARROW)
    page.get_by_role("button", name="Navigation").click()
    page.get_by_role("link", name="Anomalies", exact=True).click()
    page.wait_for_url(re.compile("/anomalies$"))
    expect(page.get_by_role("heading", name="Anomalies", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Servers", exact=True)).not_to_be_in_viewport()


def test_the_theme_is_kept(open_page: OpenPage) -> None:
    page = open_page("/", alone=True)
    page.get_by_role("button", name="Dark or light").click()
    wait_for(page, "the dark theme", "() => document.documentElement.dataset.mantineColorScheme === 'dark'")
    page.reload()
    page.wait_for_selector("#page[data-path]")
    assert json.loads(page.evaluate("JSON.stringify(document.documentElement.dataset)"))["mantineColorScheme"] == "dark"


def test_signing_out_closes_the_door(open_page: OpenPage, demo_app: DemoApp) -> None:
    page = open_page("/", alone=True)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/login"))
    page.goto(f"{demo_app.url}/history")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
