"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const cycles = data.cycles;
  const [SENT, SIDE, OUTCOME, LIMIT, SIZE, OWNER, ANSWER, DEPTH, MID, RESULT, FILLS] = Array(11).keys();
  const byId = (id) => document.getElementById(id);
  const known = (value) => value !== null && value !== undefined;

  // ------------------------------------------------------------ numbers, times and texts

  // A row of differences is what its sums are.
  const sums = (steps, factor = 1, first = 0) => {
    let value = first;
    return steps.map((step) => (value += step * factor));
  };
  const usd = (value) => (known(value) ? value.toFixed(2) : "–");
  const figure = (value) => (known(value) ? String(value) : "–");
  const two = (value) => String(value).padStart(2, "0");
  const clock = (ms) => {
    const at = new Date(ms);
    return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  };
  const moment = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 10)} ${clock(seconds * 1000).slice(0, 5)}`;
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const upPrice = (outcome, price) => (outcome === "Up" ? price : 1 - price);

  // ------------------------------------------------------------ charts

  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const layout = (more) => {
    const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("soft"), automargin: true };
    const made = {
      font: { color: colour("text"), family: "system-ui, sans-serif", size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 12, t: 30, b: 36 }, hovermode: "closest", showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("accent") },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } },
      ...more,
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) {
      if (name !== "yaxis2" || more[name]) made[name] = { ...axis, ...(more[name] || {}) };
    }
    return made;
  };
  const options = () => ({
    displaylogo: false, responsive: true,
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
    // A narrow chart needs its width for the legend.
    displayModeBar: innerWidth < 700 ? false : "hover",
  });
  const draw = (id, make) => {
    drawn.set(id, make);
    const place = byId(id);
    const made = make();
    place.classList.toggle("empty", typeof made === "string");
    if (typeof made === "string") {
      Plotly.purge(place);
      place.textContent = made;
      place.classList.add("note");
      return;
    }
    if (!place.querySelector(".plot-container")) place.textContent = "";
    place.classList.remove("note");
    Plotly.react(place, made.traces, layout(made.layout), options());
  };
  const money = { title: { text: "USD" } };
  const run = () => ({ type: "date", range: [cycles[0].start * 1000, Math.max(...cycles.map((cycle) => cycle.end)) * 1000] });

  const traded = cycles.map((cycle, at) => ({ ...cycle, at })).filter((cycle) => cycle.counts[1]);
  const ended = traded.filter((cycle) => known(cycle.profit));

  const nothing = traded.length ? "No traded cycle has a result yet." : "No cycle traded.";

  const equity = () => {
    if (!ended.length) return nothing;
    const byEnd = [...ended].sort((one, other) => one.end - other.end);
    const traces = [{
      type: "scatter", mode: "lines", name: "when cycles end", line: { shape: "hv", color: colour("accent"), width: 2 },
      x: [byEnd[0].start * 1000, ...byEnd.map((cycle) => cycle.end * 1000)],
      y: [0, ...sums(byEnd.map((cycle) => cycle.profit))],
      hovertemplate: "%{x|%Y-%m-%d %H:%M} %{y:.2f} USD<extra></extra>",
    }];
    if (data.curve.length) {
      traces.unshift({
        type: "scatter", mode: "lines", name: "what is held valued at the bids", line: { shape: "hv", color: colour("soft"), width: 1 },
        x: sums(data.curve[0], 100), y: sums(data.curve[1]).map((cents) => cents / 100),
        hovertemplate: "%{x|%Y-%m-%d %H:%M:%S} %{y:.2f} USD<extra></extra>",
      });
    }
    return { traces, layout: { xaxis: run(), yaxis: money, showlegend: traces.length > 1 } };
  };

  const profits = () => {
    if (!ended.length) return nothing;
    return {
      traces: [{
        type: "bar", customdata: ended.map((cycle) => cycle.at),
        x: ended.map((cycle) => cycle.start * 1000), y: ended.map((cycle) => cycle.profit),
        width: ended.map((cycle) => (cycle.end - cycle.start) * (cycles.length > 150 ? 1000 : 800)), offset: 0,
        marker: { color: ended.map((cycle) => colour(cycle.profit > 0 ? "good" : "bad")), line: { width: 0 } },
        text: ended.map((cycle) => plain(cycle.slug)), textposition: "none",
        hovertemplate: "%{text}<br>%{y:.2f} USD<extra></extra>",
      }],
      layout: { xaxis: run(), yaxis: money },
    };
  };

  const results = () => {
    if (!ended.length) return nothing;
    const values = ended.map((cycle) => cycle.profit);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return {
      traces: [{
        type: "histogram", x: values, nbinsx: Math.min(40, Math.max(10, Math.ceil(Math.sqrt(values.length) * 2))),
        marker: { color: colour("accent"), line: { color: colour("card"), width: 1 } },
        hovertemplate: "%{x} USD: %{y} cycles<extra></extra>",
      }],
      layout: {
        xaxis: { title: { text: "profit of a cycle, USD" } }, yaxis: { title: { text: "cycles" } },
        shapes: [{ type: "line", x0: mean, x1: mean, y0: 0, y1: 1, yref: "paper", line: { color: colour("text"), dash: "dot" } }],
        annotations: [{ x: mean, y: 1, yref: "paper", yanchor: "top", bgcolor: colour("card"), showarrow: false, text: `mean ${mean.toFixed(2)}` }],
        margin: { l: 48, r: 12, t: 30, b: 44 },
      },
    };
  };

  const depth = () => {
    const seen = cycles.flatMap((cycle) => cycle.orders.filter((order) => order[DEPTH]).map((order) => [cycle, order]));
    if (!seen.length) return cycles.some((cycle) => cycle.orders.length) ? "What books showed at decisions was not recorded." : "No order was sent.";
    const step = Math.ceil(seen.length / 3000);
    const shown = seen.filter((_, at) => at % step === 0);
    const traces = [[true, "filled", "good", "circle"], [false, "not filled", "bad", "x"]].map(([filled, name, shade, symbol]) => {
      const part = shown.filter(([, order]) => (order[FILLS].length > 0) === filled);
      return {
        type: "scatter", mode: "markers", name, marker: { color: colour(shade), symbol, size: 7, opacity: .7 },
        x: part.map(([cycle, order]) => cycle.end - cycle.start - order[SENT] / 1000),
        // A logarithm has no place for what is not there.
        y: part.map(([, order]) => Math.max(order[DEPTH][1] / order[SIZE], .01)),
        text: part.map(([cycle, order]) => `${plain(cycle.slug)}<br>${order[SIDE]} ${order[OUTCOME]} ${order[SIZE]} @ ${order[LIMIT] / 10000}<br>${order[DEPTH][0]} at the best price, ${order[DEPTH][1]} to the limit`),
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    return {
      traces,
      layout: {
        xaxis: { title: { text: "seconds left" }, range: [Math.max(...cycles.map((cycle) => cycle.end - cycle.start)), 0] },
        yaxis: { type: "log", title: { text: "shares there ÷ wanted" } },
        shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("soft"), dash: "dot" } }],
        showlegend: true, margin: { l: 56, r: 12, t: 30, b: 44 },
      },
    };
  };

  const refusals = () => {
    if (!data.refusals.length) return "Nothing was refused.";
    const rows = [...data.refusals].sort((one, other) => one[1] - other[1]).slice(-20);
    return {
      traces: [{
        type: "bar", orientation: "h", x: rows.map((row) => row[1]), y: rows.map((row) => plain(row[0])),
        marker: { color: colour("down") }, hovertemplate: "%{y}: %{x}<extra></extra>",
      }],
      layout: { yaxis: { type: "category", tickfont: { size: 11 }, range: [-.5, Math.max(rows.length, 5) - .5] }, xaxis: { rangemode: "tozero" } },
    };
  };

  // ------------------------------------------------------------ one cycle

  let chosen = -1;
  const fillTraces = (cycle) => ["BUY", "SELL"].flatMap((side) => ["Up", "Down"].map((outcome) => {
    const start = cycle.start * 1000;
    const fills = cycle.orders.filter((order) => order[SIDE] === side && order[OUTCOME] === outcome)
      .flatMap((order) => order[FILLS].map((fill) => [order, fill]));
    return {
      type: "scatter", mode: "markers", name: `${side === "BUY" ? "buy" : "sell"} ${outcome}`,
      x: fills.map(([, fill]) => start + fill[0]), y: fills.map(([, fill]) => upPrice(outcome, fill[1])),
      marker: {
        symbol: side === "BUY" ? "triangle-up" : "triangle-down", size: 12, color: colour(outcome === "Up" ? "up" : "down"),
        line: { color: colour("card"), width: 1 },
      },
      text: fills.map(([order, fill]) => `${side} ${outcome} ${fill[2]} @ ${fill[1]}, fee ${fill[3]}, ${fill[4] ? "taker" : "maker"}<br>${plain(data.strategies[order[OWNER]])}`),
      hovertemplate: "%{x|%H:%M:%S.%L} %{text}<extra></extra>",
    };
  })).filter((trace) => trace.x.length);

  const oneCycle = () => {
    if (chosen < 0) return "No cycle was lived.";
    const cycle = cycles[chosen];
    const start = cycle.start * 1000;
    const traces = [];
    if (cycle.path) {
      // The last prices hold until the end.
      const held = (values) => [...values, values[values.length - 1]];
      const x = [...sums(cycle.path[0], 100, start), cycle.end * 1000];
      const price = (units) => (units < 0 ? null : units / 10000);
      const line = { shape: "hv", color: colour("up"), width: 1 };
      traces.push(
        { type: "scatter", mode: "lines", name: "bid of Up", x, y: held(sums(cycle.path[1]).map(price)), line, hovertemplate: "%{x|%H:%M:%S} bid %{y}<extra></extra>" },
        { type: "scatter", mode: "lines", name: "ask of Up", x, y: held(sums(cycle.path[2]).map(price)), line, fill: "tonexty", fillcolor: colour("band"), hovertemplate: "%{x|%H:%M:%S} ask %{y}<extra></extra>" },
      );
    }
    const missed = cycle.orders.filter((order) => !order[FILLS].length);
    if (missed.length) {
      traces.push({
        type: "scatter", mode: "markers", name: "not filled", marker: { symbol: "x-thin-open", size: 7, color: colour("soft") },
        x: missed.map((order) => start + order[SENT]), y: missed.map((order) => upPrice(order[OUTCOME], order[LIMIT] / 10000)),
        text: missed.map((order) => `${order[SIDE]} ${order[OUTCOME]} ${order[SIZE]} @ ${order[LIMIT] / 10000}: ${plain(order[ANSWER])}`),
        hovertemplate: "%{x|%H:%M:%S.%L} %{text}<extra></extra>",
      });
    }
    traces.push(...fillTraces(cycle));
    const axes = {
      xaxis: { type: "date", range: [start, cycle.end * 1000], anchor: cycle.marks ? "y2" : "y" },
      yaxis: { title: { text: "price of Up" }, domain: cycle.marks ? [.34, 1] : [0, 1] },
    };
    if (!cycle.path) axes.yaxis.range = [0, 1];
    if (cycle.marks) {
      traces.push({
        type: "scatter", mode: "lines", name: "profit at the bids", yaxis: "y2", line: { color: colour("soft"), width: 1.5, shape: "hv" },
        x: sums(cycle.marks[0], 100, start), y: sums(cycle.marks[1]).map((cents) => cents / 100),
        hovertemplate: "%{x|%H:%M:%S} %{y:.2f} USD<extra></extra>",
      });
      axes.yaxis2 = { title: { text: "USD" }, domain: [0, .26] };
    }
    return { traces, layout: { ...axes, showlegend: true } };
  };

  const cell = (row, text, kind) => {
    const made = row.insertCell();
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const showOrders = (cycle) => {
    const body = byId("orders").tBodies[0];
    body.replaceChildren();
    for (const order of cycle.orders) {
      const row = body.insertRow();
      const got = order[FILLS].reduce((sum, fill) => sum + fill[2], 0);
      const paid = order[FILLS].reduce((sum, fill) => sum + fill[1] * fill[2], 0);
      cell(row, clock(cycle.start * 1000 + order[SENT]));
      cell(row, data.strategies[order[OWNER]], "text");
      cell(row, `${order[SIDE]} ${order[OUTCOME]}`, "text");
      cell(row, `${order[SIZE]} @ ${order[LIMIT] / 10000}`);
      cell(row, got ? `${+got.toFixed(6)} @ ${+(paid / got).toFixed(4)}` : order[ANSWER]);
      cell(row, known(order[MID]) ? +order[MID].toFixed(5) : "–");
      cell(row, order[DEPTH] ? order[DEPTH][1] : "–");
      cell(row, usd(order[RESULT]), order[RESULT] < 0 ? "bad" : order[RESULT] > 0 ? "good" : "");
    }
    const notes = [];
    if (cycle.left_out) notes.push(`${cycle.left_out} more orders are in the tables that are exported, not on this page.`);
    if (!cycle.path) notes.push("The prices of this cycle were not recorded.");
    byId("cycle-note").textContent = notes.join(" ");
    byId("orders").parentElement.hidden = !cycle.orders.length;
  };
  const choose = (at) => {
    chosen = at;
    const cycle = cycles[at];
    byId("pick").value = String(at);
    byId("before").disabled = at === 0;
    byId("after").disabled = at === cycles.length - 1;
    byId("cycle-facts").textContent = `${cycle.winner ? `${cycle.winner} won` : "not resolved"} · orders ${cycle.counts[0]}, filled ${cycle.counts[1]} · ${known(cycle.profit) ? `${usd(cycle.profit)} USD` : "profit not known yet"}`;
    for (const row of byId("cycles").tBodies[0].rows) row.classList.toggle("chosen", row.dataset.at === String(at));
    draw("cycle", oneCycle);
    showOrders(cycle);
  };

  // ------------------------------------------------------------ the table of cycles

  const columns = [
    (cycle) => cycle.slug, (cycle) => cycle.start, (cycle) => cycle.winner, (cycle) => cycle.counts[0], (cycle) => cycle.counts[1],
    (cycle) => cycle.usd[0], (cycle) => cycle.usd[1], (cycle) => cycle.usd[2], (cycle) => cycle.fall, (cycle) => cycle.profit,
  ];
  const showCycles = (order) => {
    const body = byId("cycles").tBodies[0];
    const rows = order.map((at) => {
      const cycle = cycles[at];
      const row = document.createElement("tr");
      row.className = at === chosen ? "pick chosen" : "pick";
      row.dataset.at = String(at);
      cell(row, cycle.slug, "text");
      cell(row, moment(cycle.start));
      cell(row, cycle.winner || "–", "text");
      cell(row, cycle.counts[0]);
      cell(row, cycle.counts[1]);
      for (const value of cycle.usd) cell(row, usd(value));
      cell(row, usd(cycle.fall));
      cell(row, usd(cycle.profit), cycle.profit < 0 ? "bad" : cycle.profit > 0 ? "good" : "");
      return row;
    });
    body.replaceChildren(...rows);
  };
  const sortBy = (at) => {
    const heads = [...byId("cycles").tHead.rows[0].cells];
    const falling = heads[at].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[at].setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = columns[at];
    const order = cycles.map((_, place) => place).sort((one, other) => {
      const [a, b] = [value(cycles[one]), value(cycles[other])];
      if (!known(a) || !known(b)) return known(b) - known(a);
      const difference = a < b ? -1 : a > b ? 1 : one - other;
      return falling ? -difference : difference;
    });
    showCycles(order);
  };

  // ------------------------------------------------------------ begin

  const pick = byId("pick");
  cycles.forEach((cycle, at) => {
    const made = document.createElement("option");
    made.value = String(at);
    made.textContent = `${cycle.slug}${cycle.counts[1] ? ` · ${cycle.counts[1]} filled · ${usd(cycle.profit)} USD` : ""}`;
    pick.append(made);
  });
  byId("cycles").tHead.querySelectorAll("button").forEach((button, at) => button.addEventListener("click", () => sortBy(at)));
  byId("cycles").tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    choose(Number(row.dataset.at));
    byId("one").scrollIntoView({ behavior: "smooth" });
  });
  pick.addEventListener("change", () => choose(Number(pick.value)));
  byId("before").addEventListener("click", () => choose(Math.max(chosen - 1, 0)));
  byId("after").addEventListener("click", () => choose(Math.min(chosen + 1, cycles.length - 1)));

  draw("equity", equity);
  draw("profits", profits);
  showCycles(cycles.map((_, at) => at));
  if (cycles.length) choose(traded.length ? traded[0].at : 0);
  else {
    draw("cycle", oneCycle);
    pick.parentElement.hidden = true;
    for (const id of ["orders", "cycles"]) byId(id).parentElement.hidden = true;
  }
  draw("results", results);
  draw("depth", depth);
  draw("refusals", refusals);
  if (ended.length) byId("profits").on("plotly_click", (event) => {
    choose(event.points[0].customdata);
    byId("one").scrollIntoView({ behavior: "smooth" });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((make, id) => draw(id, make)));
  // Milliseconds since the page was asked for, for those who measure.
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
