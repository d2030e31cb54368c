"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const board = document.getElementById("board");
  const byNumber = new Map(data.trials.map(trial => [String(trial.number), trial]));
  const objective = data.objectives[0];
  const brushes = new Map();
  let marked = null;

  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const shortNumber = value => Math.abs(value) >= 1e6 ? String(Number(value.toPrecision(3)).toExponential()) : String(Number(value.toPrecision(4)));
  const short = value => typeof value === "number" ? shortNumber(value) : value === null ? "null" : String(value);
  const isNumber = value => typeof value === "number";

  // --- the table ---
  const compare = (one, other) => {
    if (one === other) return 0;
    if (one === "") return 1;
    if (other === "") return -1;
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, undefined, {numeric: true}) : a - b;
  };
  const sortBy = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = board.tBodies[0];
    const key = row => row.cells[column].dataset.v;
    const rows = [...body.rows].map((row, place) => [row, place]);
    rows.sort(([one, i], [other, j]) => {
      const isTrial = row => row.dataset.trial !== undefined;
      if (isTrial(one) !== isTrial(other)) return isTrial(one) ? -1 : 1; // the base model stays last
      const [a, b] = [key(one), key(other)];
      const order = compare(a, b);
      return (a === "" || b === "" || !down ? order : -order) || i - j;
    });
    body.append(...rows.map(([row]) => row));
  };
  if (board) {
    board.querySelectorAll("thead th button").forEach((button, column) => {
      button.addEventListener("click", () => sortBy(button.parentNode, column));
    });
    const choose = event => {
      const row = event.target.closest("tr[data-trial]");
      if (row && !event.target.closest("a")) mark(marked === row.dataset.trial ? null : row.dataset.trial);
    };
    board.addEventListener("click", choose);
    board.addEventListener("keydown", event => { if (event.key === "Enter" && event.target.tagName === "TR") choose(event); });
  }

  // --- what is marked, and what the axes keep ---
  const kept = trial => [...brushes.values()].every(brush => brush.holds(trial));
  const said = trial => {
    const values = data.objectives.map((name, place) => `${name} ${trial.values.length ? short(trial.values[place]) : trial.state}`);
    return `trial ${trial.number}: ${[...values, trial.name].filter(Boolean).join(" · ")}`;
  };
  const read = (where, text) => { document.getElementById(where).textContent = text || "\u00a0"; };
  const restyle = () => {
    document.querySelectorAll("[data-trial]").forEach(node => {
      const trial = byNumber.get(node.dataset.trial);
      node.classList.toggle("marked", node.dataset.trial === marked);
      node.classList.toggle("dropped", !kept(trial));
    });
    const top = document.querySelectorAll("path.marked");
    top.forEach(path => path.parentNode.appendChild(path));
  };
  const mark = number => {
    marked = number;
    const text = number === null ? "" : said(byNumber.get(number));
    read("reading", text);
    read("course-reading", text);
    restyle();
  };

  // --- colours: dark is good ---
  const ranked = data.trials.filter(trial => trial.values.length).map(trial => trial.values[0]).sort((a, b) => a - b);
  const colour = trial => {
    if (!trial.values.length) return "#b5bdc2";
    const share = ranked.length > 1 ? ranked.indexOf(trial.values[0]) / (ranked.length - 1) : 0;
    return `hsl(${Math.round(205 - 150 * share)} ${Math.round(62 - 12 * share)}% ${Math.round(32 + 33 * share)}%)`;
  };
  const listen = (path, trial, where) => {
    path.dataset.trial = String(trial.number);
    path.addEventListener("pointerenter", () => { if (marked === null) read(where, said(trial)); path.classList.add("marked"); });
    path.addEventListener("pointerleave", () => { if (marked === null) read(where, ""); restyle(); });
    path.addEventListener("click", () => mark(marked === path.dataset.trial ? null : path.dataset.trial));
  };
  const numbersScale = (values, from, to, log) => {
    const f = log ? Math.log10 : value => value;
    const [low, high] = [f(Math.min(...values)), f(Math.max(...values))];
    return value => high === low ? (from + to) / 2 : from + (f(value) - low) / (high - low) * (to - from);
  };
  const isLog = (values, span = 10) => Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= span;

  // --- parallel coordinates ---
  const HEIGHT = 330, TOP = 44, BOTTOM = HEIGHT - 22;
  const axisOf = (name, valueOf, limit = null) => {
    const all = data.trials.map(valueOf).filter(value => value !== undefined);
    const isBeyond = value => value === Infinity || limit !== null && isNumber(value) && value > limit;
    const beyond = all.filter(isBeyond);
    const values = all.filter(value => !isBeyond(value));
    const unique = [...new Set(values)];
    if (values.length && values.every(isNumber)) {
      const log = unique.length > 2 && isLog(values, 8);
      const scale = numbersScale(values, BOTTOM, beyond.length ? TOP + 30 : TOP, log);
      const place = value => isBeyond(value) ? TOP : scale(value);
      const ends = [Math.min(...values), Math.max(...values)];
      const ticks = [...new Set([...ends, ...(unique.length <= 8 ? unique : [])])];
      return {name: log ? `${name} (log)` : name, place, valueOf, ticks, edge: edgeOf(beyond, limit)};
    }
    const sorted = unique.sort((a, b) => compare(String(a), String(b)));
    const step = (BOTTOM - TOP) / Math.max(1, sorted.length - 1);
    return {name, valueOf, ticks: sorted, place: value => sorted.length > 1 ? BOTTOM - sorted.indexOf(value) * step : (TOP + BOTTOM) / 2};
  };
  const edgeOf = (beyond, limit) => [
    beyond.includes(Infinity) ? "diverged" : "", beyond.some(Number.isFinite) ? `above ${short(limit)}` : "",
  ].filter(Boolean).join(", ");
  const drawAxis = (svg, axis, x, anchor) => {
    make("text", {x, y: 18, "text-anchor": anchor, class: "name"}, svg, axis.name);
    make("line", {x1: x, x2: x, y1: TOP, y2: BOTTOM, class: "axis"}, svg);
    const label = (y, text) => make("text", {x: x + (anchor === "end" ? -8 : 8), y: y + 4, "text-anchor": anchor === "end" ? "end" : "start"}, svg, text);
    const labelled = [];
    if (axis.edge) { labelled.push(TOP); label(TOP, axis.edge); }
    for (const tick of axis.ticks) {
      const y = axis.place(tick);
      if (labelled.every(other => Math.abs(other - y) >= 13)) { labelled.push(y); label(y, short(tick)); }
    }
    const box = make("rect", {x: x - 7, width: 14, y: TOP, height: 0, class: "brush"}, svg);
    const area = make("rect", {
      x: x - 16, width: 32, y: TOP - 12, height: BOTTOM - TOP + 24, class: "range", tabindex: 0, role: "slider", "aria-label": axis.name,
      "aria-orientation": "vertical", "aria-valuetext": "all", "aria-valuemin": 0, "aria-valuenow": 0,
    }, svg);
    const values = [...new Set(data.trials.map(axis.valueOf).filter(value => value !== undefined))]
      .sort((one, other) => axis.place(other) - axis.place(one));
    area.setAttribute("aria-valuemax", values.length - 1);
    let start = null, lowest = null, highest = null; // places among the values, from the lowest on the axis to the highest
    const at = event => {
      const frame = svg.getBoundingClientRect();
      return Math.max(TOP - 10, Math.min(BOTTOM + 10, (event.clientY - frame.top) * HEIGHT / frame.height));
    };
    const set = (from, to) => {
      const [low, high] = [Math.min(from, to), Math.max(from, to)];
      box.setAttribute("y", low);
      box.setAttribute("height", high - low);
      brushes.set(axis.name, {holds: trial => {
        const value = axis.valueOf(trial);
        return value !== undefined && axis.place(value) >= low && axis.place(value) <= high;
      }});
      restyle();
    };
    const lift = () => {
      brushes.delete(axis.name);
      box.setAttribute("height", 0);
      area.setAttribute("aria-valuetext", "all");
      lowest = highest = null;
      restyle();
    };
    const step = (by, more) => {
      const last = values.length - 1, within = place => Math.max(0, Math.min(last, place));
      if (lowest === null) lowest = highest = by > 0 ? 0 : last;
      else if (more) [lowest, highest] = by > 0 ? [lowest, within(highest + 1)] : [within(lowest - 1), highest];
      else lowest = highest = within((by > 0 ? highest : lowest) + by);
      set(axis.place(values[lowest]) + 1, axis.place(values[highest]) - 1);
      const kept = [...new Set([lowest, highest])].map(place => short(values[place])).join(" to ");
      area.setAttribute("aria-valuetext", kept);
      area.setAttribute("aria-valuenow", lowest);
      read("reading", `${axis.name}: ${kept}`);
    };
    area.addEventListener("keydown", event => {
      if (event.key === "ArrowUp" || event.key === "ArrowDown") step(event.key === "ArrowUp" ? 1 : -1, event.shiftKey);
      else if (event.key === "Escape") { lift(); read("reading", ""); }
      else return;
      event.preventDefault();
    });
    area.addEventListener("pointerdown", event => { start = at(event); area.setPointerCapture(event.pointerId); });
    area.addEventListener("pointermove", event => { if (start !== null && Math.abs(at(event) - start) > 3) set(start, at(event)); });
    area.addEventListener("pointerup", event => {
      if (Math.abs(at(event) - start) <= 3) lift();
      else lowest = highest = null;
      start = null;
    });
  };
  const drawParallel = () => {
    const holder = document.getElementById("parallel");
    const axes = data.keys.map(key => axisOf(key, trial => trial.params[key]));
    const ended = place => trial => trial.state === "diverged" ? Infinity : trial.values[place];
    data.objectives.forEach((name, place) => axes.push(axisOf(name, ended(place), data.ends[place])));
    if (data.trials.length < 2 || axes.length < 2) { holder.textContent = "Two trials that differ are needed."; return; }
    const width = Math.max(700, Math.min(1450, holder.clientWidth || 1200));
    const svg = make("svg", {viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "parallel coordinates of all trials"}, null);
    const x = place => 70 + place * (width - 140) / (axes.length - 1);
    const lines = make("g", {}, svg);
    for (const trial of [...data.trials].reverse()) {
      const points = axes.map((axis, place) => [x(place), axis.valueOf(trial)])
        .map(([at, value], place) => value === undefined ? null : `${at.toFixed(1)} ${axes[place].place(value).toFixed(1)}`);
      const known = points.filter(point => point !== null);
      if (known.length < 2) continue;
      const path = make("path", {d: `M${known.join("L")}`, stroke: colour(trial), class: "trial"}, lines);
      if (!trial.values.length) path.setAttribute("stroke-dasharray", "4 3");
      listen(path, trial, "reading");
    }
    axes.forEach((axis, place) => drawAxis(svg, axis, x(place), place === 0 ? "start" : place === axes.length - 1 ? "end" : "middle"));
    holder.replaceChildren(svg);
  };

  // --- losses over the steps ---
  const lastStep = trial => Math.max(...Object.values(trial.lines).flat().map(point => point[0]));
  const listed = trials => trials.length > 12 ? `${trials.length} trials`
    : `trial${trials.length > 1 ? "s" : ""} ${trials.map(trial => trial.number).sort((a, b) => a - b).join(", ")}`;
  const noteOf = (diverged, above, key, limit) => {
    const told = diverged.length ? [`${listed(diverged)} diverged (a cross at the upper edge)`] : [];
    const highest = Math.max(...above.flatMap(trial => trial.lines[key].map(point => point[1])));
    if (above.length) told.push(`values above ${short(limit)} are drawn along the edge: ${listed(above)}, up to ${short(highest)}`);
    return told.length ? `Not to scale: ${told.join("; ")}.` : "";
  };
  const drawLines = key => {
    const holder = document.getElementById("courses");
    const having = data.trials.filter(trial => trial.lines[key] && trial.lines[key].length);
    const points = having.flatMap(trial => trial.lines[key]);
    if (!points.length) { holder.textContent = "Nothing was measured yet."; return; }
    const width = Math.max(700, Math.min(1450, holder.clientWidth || 1200)), height = 380, left = 64;
    const svg = make("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${key} over the steps`}, null);
    const limit = data.limits[key];
    const isAbove = value => limit !== null && value > limit;
    const values = points.map(point => point[1]).filter(value => !isAbove(value));
    const hasBase = key === objective && data.base !== null;
    if (hasBase && !isAbove(data.base)) values.push(data.base);
    const above = having.filter(trial => trial.lines[key].some(point => isAbove(point[1])));
    const diverged = having.filter(trial => trial.state === "diverged");
    const EDGE = 12, top = above.length || diverged.length ? EDGE + 24 : 14;
    const log = isLog(values);
    const x = numbersScale(points.map(point => point[0]), left, width - 16, false);
    const scale = numbersScale(values, height - 34, top, log);
    const y = value => isAbove(value) ? EDGE : scale(value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    for (let place = 0; place <= 4; place += 1) {
      const share = place / 4;
      const value = log ? low * (high / low) ** share : low + (high - low) * share;
      make("line", {x1: left, x2: width - 16, y1: y(value), y2: y(value), stroke: "#edf0f2"}, svg);
      make("text", {x: left - 8, y: y(value) + 4, "text-anchor": "end"}, svg, short(Number(value.toPrecision(3))));
    }
    const steps = points.map(point => point[0]);
    const [first, last] = [Math.min(...steps), Math.max(...steps)];
    for (const step of new Set([first, Math.round((first + last) / 2), last])) {
      make("text", {x: x(step), y: height - 14, "text-anchor": step === last ? "end" : step === first ? "start" : "middle"}, svg, `step ${step}`);
    }
    if (top > 14) {
      make("line", {x1: left, x2: width - 16, y1: EDGE, y2: EDGE, stroke: "#c9876f", "stroke-dasharray": "2 3"}, svg);
      make("text", {x: left - 8, y: EDGE + 4, "text-anchor": "end"}, svg, limit === null ? "" : "above");
    }
    if (hasBase && !isAbove(data.base)) {
      make("line", {x1: left, x2: width - 16, y1: y(data.base), y2: y(data.base), stroke: "#8b959c", "stroke-dasharray": "6 4"}, svg);
      make("text", {x: width - 18, y: y(data.base) + (y(data.base) < 30 ? 14 : -5), "text-anchor": "end"}, svg, "base model");
    }
    const group = make("g", {}, svg);
    for (const trial of [...having].reverse()) {
      const along = trial.lines[key].map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
      const cross = trial.state === "diverged" ? Math.min(x(lastStep(trial)), width - 16).toFixed(1) : null;
      if (cross !== null) along.push(`${cross} ${EDGE}`);
      const d = along.length > 1 ? `M${along.join("L")}` : `M${along[0]}l4 0`;
      const path = make("path", {d, stroke: colour(trial), class: "trial"}, group);
      if (!trial.values.length) path.setAttribute("stroke-dasharray", "4 3");
      listen(path, trial, "course-reading");
      if (cross !== null) make("path", {d: `M${cross - 5} ${EDGE - 5}l10 10m0 -10l-10 10`, class: "cross"}, group);
    }
    document.getElementById("course-note").textContent = noteOf(diverged, above, key, limit);
    holder.replaceChildren(svg);
    restyle();
  };
  const drawChoices = () => {
    const holder = document.getElementById("choices");
    const keys = data.lines.filter(key => data.trials.some(trial => trial.lines[key] && trial.lines[key].length));
    const buttons = keys.map(key => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = key;
      button.addEventListener("click", () => choose(key));
      return button;
    });
    const choose = key => {
      buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(keys[place] === key)));
      drawLines(key);
    };
    holder.replaceChildren(...buttons);
    choose(keys[0] || objective);
  };

  document.querySelectorAll(".sheet").forEach(image => {
    const toggle = () => image.parentNode.classList.toggle("large");
    image.addEventListener("click", toggle);
    image.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
  });
  drawParallel();
  drawChoices();
})();
