// Browser-side callbacks: what would be slow or impossible from the server. No data is fetched here.
window.dash_clientside = window.dash_clientside || {};
(function () {
  const skip = () => window.dash_clientside.no_update;
  const outputs = () => window.dash_clientside.callback_context.outputs_list;

  // Whoever isn't signed in any more goes to the sign-in page and comes back here.
  const signInAgain = function (response) {
    if (response.status === 401) {
      const here = window.location.pathname + window.location.search;
      window.location.assign("/login?next=" + encodeURIComponent(here));
    }
    return response;
  };
  const fetched = window.fetch.bind(window);
  window.fetch = (...request) => fetched(...request).then(signInAgain);

  // The live stream's last signs of life, on this page load.
  const live = { beatAt: 0, startedAt: 0, asked: false, waiting: {} };
  window.hpsLive = live;

  // A choice with a number of its own, so that the same one again is a change too.
  const begin = function (wanted) {
    live.startedAt = Date.now();
    live.count = (live.count || 0) + 1;
    return wanted ? { ...wanted, n: live.count } : null;
  };

  // Appends what is newer than each line's last point, drops what left the window, and moves the window on. Points
  // belong to one figure of the server's (`fill`): until it is drawn, they wait.
  const append = function (metric, from, to) {
    const chart = document.getElementById(JSON.stringify({ metric: metric, type: "live-chart" }));
    const plot = chart && chart.querySelector(".js-plotly-plot");
    const drawn = plot && plot.layout && plot.layout.meta && plot.layout.meta.fill;
    if (!drawn) return;
    const ready = live.waiting[metric].filter((part) => part.fill === drawn);
    live.waiting[metric] = live.waiting[metric].filter((part) => part.fill > drawn);
    for (const trace of plot.data) {
      for (const part of ready) {
        for (const [x, y] of part.lines[trace.meta] || []) {
          if (trace.x.length && x <= trace.x[trace.x.length - 1]) continue;
          trace.x.push(x);
          trace.y.push(y);
        }
      }
      const old = trace.x.findIndex((x) => x >= from);
      const gone = old < 0 ? trace.x.length : old;
      trace.x.splice(0, gone);
      trace.y.splice(0, gone);
    }
    // Somebody who zoomed in keeps what they look at, until a double click lets the window follow again.
    const axis = plot.layout.xaxis;
    const followed = plot.hpsFollowed;
    const zoomed = followed && followed.fill === drawn && !axis.autorange && axis.range[0] !== followed.from;
    const xaxis = zoomed ? axis : { ...axis, range: [from, to], autorange: false };
    if (!zoomed) plot.hpsFollowed = { fill: drawn, from: from };
    const layout = { ...plot.layout, datarevision: to, xaxis: xaxis };
    window.Plotly.react(plot, plot.data, layout);
  };

  window.dash_clientside.hps = {
    // A new page: its link is marked, the small screen's menu closes, the reader starts at the top.
    arrived: function (pathname) {
      const path = "/" + (pathname || "").replace(/^\/+|\/+$/g, "");
      const name = "nav" + path.replaceAll("/", "-");
      window.scrollTo(0, 0);
      return outputs().map(function (output) {
        if (output.id === "page") return path;
        if (output.id === "burger") return false;
        return output.id === name;
      });
    },

    // Light or dark as it is on the screen, now and whenever somebody switches it.
    scheme: function () {
      const root = document.documentElement;
      const now = () => (root.getAttribute("data-mantine-color-scheme") === "dark" ? "dark" : "light");
      let told = now();
      new MutationObserver(function () {
        if (now() === told) return;
        told = now();
        window.dash_clientside.set_props("scheme", { data: told });
      }).observe(root, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });
      return told;
    },

    navigation: function (opened, navbar) {
      return { ...navbar, collapsed: { mobile: !opened } };
    },

    // The page's choices go into the address without a new entry in the browser's history.
    remember: function (state) {
      if (!state || state.path !== window.location.pathname) return skip();
      const query = new URLSearchParams(Object.entries(state.query).filter(([, value]) => value));
      const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
      window.history.replaceState(window.history.state, "", state.path + (text ? "?" + text : ""));
      return skip();
    },

    // A chart was zoomed or set back: the range to fetch, once for each movement.
    zoomed: function () {
      const moved = window.dash_clientside.callback_context.triggered[0];
      const relayout = moved && moved.value;
      if (!relayout) return skip();
      const keys = Object.keys(relayout);
      const at = (end) => keys.find((key) => /^xaxis\d*\.range/.test(key) && key.endsWith("[" + end + "]"));
      if (at(0) && at(1)) return { from: relayout[at(0)], to: relayout[at(1)] };
      const whole = keys.find((key) => /^xaxis\d*\.range$/.test(key));
      if (whole) return { from: relayout[whole][0], to: relayout[whole][1] };
      if (keys.some((key) => /^xaxis\d*\.autorange$/.test(key))) return { from: null, to: null };
      return skip();
    },

    // A point of a chart was clicked: whose it is and when, in epoch milliseconds.
    clicked: function () {
      const clicked = window.dash_clientside.callback_context.triggered[0];
      const point = clicked && clicked.value && clicked.value.points[0];
      const holder = point && document.getElementById(clicked.prop_id.replace(/\.clickData$/, ""));
      const plot = holder && holder.querySelector(".js-plotly-plot");
      const server = plot && plot.data[point.curveNumber].meta;
      if (!server) return skip();
      const at = typeof point.x === "number" ? point.x : Date.parse(point.x.replace(" ", "T") + "Z");
      return { server: server, at: at };
    },

    // What the page Live wants to see starts a stream. The store that says so outlives the page.
    want: function (wanted) {
      if (window.location.pathname === "/live") window.dash_clientside.set_props("live-choice", { data: begin(wanted) });
      return skip();
    },

    // Leaving Live ends its stream; coming back to a broken connection starts it anew.
    keep: function (_pathname, _connected, _tick, choice) {
      if (!choice) return skip();
      if (window.location.pathname !== "/live") return null;
      const why = window.dash_clientside.callback_context.triggered.map((one) => one.prop_id);
      const now = Date.now();
      if (why.includes("live-connected.data")) return now - live.startedAt > 2000 ? begin(choice) : skip();
      if (live.asked) return begin(choice);
      // No sign of life for long: a stream that the server gave up, or a socket that went away unnoticed.
      if (now - Math.max(live.beatAt, live.startedAt) < 30000) return skip();
      window.fetch("/api/servers/?page_size=1").catch(() => null); // a socket can't tell that a session has ended
      return begin(choice);
    },

    push: function (push) {
      if (!push) return skip();
      live.beatAt = Date.now();
      live.asked = push.asked;
      for (const [metric, part] of Object.entries(push.charts)) {
        (live.waiting[metric] = live.waiting[metric] || []).push(part);
        append(metric, push.newest - push.window, push.newest);
      }
      return skip();
    },

    // A button of a row in Servers. Rows are drawn anew all the time, which is no click.
    serverAsked: function () {
      const pressed = window.dash_clientside.callback_context.triggered.find((one) => one.value);
      if (!pressed) return outputs().map(skip);
      const id = JSON.parse(pressed.prop_id.slice(0, pressed.prop_id.lastIndexOf(".")));
      const asked = { id: id.id, at: Date.now() };
      return outputs().map(function (output) {
        if (output.property === "opened") return id.do === "test" ? true : skip();
        return output.id === "server-" + id.do ? asked : skip();
      });
    },

    open: () => true,

    close: () => false,

    // Once a second: how old the newest sample is, in words and as a dot.
    pulse: function (_n, push, choice) {
      if (!choice) return ["off", "Choose servers and metrics"];
      if (!push) return ["late", "Waiting for the first sample…"];
      const silent = (Date.now() - live.beatAt) / 1000;
      const time = new Date(push.newest).toISOString().slice(11, 19);
      if (live.asked) return ["late", "No shared workers in this browser: renewed every 5 s. Last sample " + time + " UTC"];
      if (silent > 10) return ["lost", "No push for " + Math.round(silent) + " s, reconnecting. Last sample " + time + " UTC"];
      if (silent > 5) return ["late", "Last sample " + time + " UTC, " + Math.round(silent) + " s ago"];
      return ["live", "Live, last sample " + time + " UTC"];
    },
  };
})();
