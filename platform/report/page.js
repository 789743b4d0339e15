
"use strict";
// Draws the document below it. Every name goes in as text, never as markup; plots are drawn when they are seen.
(() => {
  const found = JSON.parse(document.getElementById("document").textContent);
  const report = found.report;
  const SVG = "http://www.w3.org/2000/svg";
  const WORDS = { drift: "Drift", possible: "Possible", none: "No drift", too_few_rows: "Too few rows" };
  const STATISTICS = {
    psi: "PSI", psi_expected: "PSI by chance, mean", psi_quantile: "PSI by chance, 95 %", kl: "KL", kl_reverse: "KL reversed",
    js: "Jensen–Shannon", hellinger: "Hellinger", total_variation: "Total variation", tv: "Total variation",
    linf: "L-infinity", chi_square: "Chi-square", chi_square_p: "Chi-square, p", cramers_v: "Cramér's V", ks: "KS", ks_p: "KS, p",
    wasserstein: "Wasserstein", wasserstein_normed: "Wasserstein / std", mean_shift: "Mean shift / std",
    mean_distance: "Distance of the means", mmd: "MMD", mmd_p: "MMD, p",
  };
  const BRIEF = { ...STATISTICS, wasserstein_normed: "Wasserstein", total_variation: "TV", mean_shift: "Mean shift" };
  const APART = {
    "-inf": "−∞", under: "below the reference", over: "above the reference", "+inf": "+∞", null: "null", nan: "NaN",
    rest: "all others", other: "not in the reference",
  };
  const RANK = { drift: 0, possible: 1, too_few_rows: 2, none: 3 };
  const rank = new Map(found.order.map((name, place) => [name, place]));
  const of = (table, key) => (Object.hasOwn(table, key) ? table[key] : key);

  // --- words for numbers
  const number = (value, digits = 4) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e7 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    if (size >= 1e4) return Math.round(value).toLocaleString("en-US");
    return String(Number(value.toPrecision(digits)));
  };
  const share = (part, whole) => {
    if (!whole) return "–";
    const percent = (100 * part) / whole;
    if (percent === 0) return "0 %";
    if (percent < 0.05) return "< 0.1 %";
    if (percent >= 99.5 && percent < 100) return "> 99 %";
    return `${percent >= 9.95 ? percent.toFixed(0) : percent.toFixed(1)} %`;
  };
  const chance = (p) => (p < 1e-300 ? "< 1e-300" : p < 1e-4 ? p.toExponential(0) : p.toPrecision(2));
  const moment = (seconds) => (seconds === null || seconds === undefined ? "–"
    : `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`);
  const span = (seconds) => {
    for (const [unit, size] of [["days", 86400], ["hours", 3600], ["minutes", 60]])
      if (seconds >= 1.5 * size) return `${number(seconds / size, 3)} ${unit}`;
    return `${number(seconds, 3)} seconds`;
  };
  const valueOf = (column) => {
    const shown = found.distributions[column.column];
    const type = shown && shown.type;
    if (type !== "timestamp" && type !== "zoned timestamp") return number;
    const edges = shown.shape.edges || [];
    const long = edges.length < 2 || edges[edges.length - 1] - edges[0] > 5 * 86400;
    return (value) => {
      const at = new Date(value * 1000);
      if (value === null || value === undefined || Number.isNaN(at.getTime())) return number(value);
      return at.toISOString().slice(0, long ? 10 : 16).replace("T", " ");
    };
  };

  // --- elements
  const make = (tag, className, ...inside) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...inside);
    return element;
  };
  const draw = (tag, attributes, ...inside) => {
    const element = document.createElementNS(SVG, tag);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    element.append(...inside);
    return element;
  };
  const toned = (element, verdict) => { element.dataset.verdict = verdict; return element; };
  const byId = (id) => document.getElementById(id);

  // --- plots
  const rowsOf = { reference: report.reference_rows || 1, window: report.current_rows || 1 };
  const heightsOf = (shape, side) => shape[side].map((count, place) => {
    const width = shape.draw === "density" ? shape.positions[place + 1] - shape.positions[place] : 1;
    return count / rowsOf[side] / width;
  });
  // One bar that towers over all others, such as a value of nearly every row, would flatten them.
  const ceiling = (all) => {
    const sorted = [...all].sort((a, b) => b - a);
    const next = sorted.find((height) => height < sorted[0] / 2.5 && height > 0);
    const towers = sorted.filter((height) => height >= sorted[0] / 2.5).length;
    return next && towers <= 2 && sorted[0] > 4 * next ? 2 * next : sorted[0] || 1;
  };
  const stepped = (positions, heights, top, width, height) => {
    let path = `M0 ${height}`;
    heights.forEach((one, place) => {
      const y = (height - Math.min(one / top, 1) * height).toFixed(1);
      path += `L${(positions[place] * width).toFixed(1)} ${y}L${(positions[place + 1] * width).toFixed(1)} ${y}`;
    });
    return `${path}L${width} ${height}Z`;
  };
  const areas = (shape, width, height) => {
    const sides = { reference: heightsOf(shape, "reference"), window: heightsOf(shape, "window") };
    const top = ceiling([...sides.reference, ...sides.window]);
    const parts = [];
    if (shape.draw === "density") {
      for (const side of ["reference", "window"])
        parts.push(draw("path", { class: `${side}-area`, d: stepped(shape.positions, sides[side], top, width, height) }));
      return { parts, sides, top };
    }
    const slot = width / Math.max(sides.reference.length, 1);
    const bar = Math.max(Math.min(slot * 0.4, 34), 0.8);
    sides.reference.forEach((_, place) => {
      ["reference", "window"].forEach((side, second) => {
        const tall = Math.min(sides[side][place] / top, 1) * height;
        if (tall > 0) parts.push(draw("rect", {
          class: `${side}-bar`, x: (slot * (place + 0.5) + (second ? 0.3 : -bar - 0.3)).toFixed(1),
          y: (height - tall).toFixed(1), width: bar.toFixed(1), height: tall.toFixed(1),
        }));
      });
    });
    return { parts, sides, top };
  };
  const small = (column) => {
    const shown = found.distributions[column.column];
    if (!shown || !shown.shape.reference.length) return draw("svg", { width: 168, height: 36, "aria-hidden": "true" });
    return draw("svg", { width: 168, height: 36, viewBox: "0 -2 168 38", "aria-hidden": "true" },
      ...areas(shown.shape, 168, 36).parts, draw("path", { class: "baseline", d: "M0 36H168" }));
  };
  const large = (column, shape) => {
    const width = 760, height = 220, say = valueOf(column);
    const { parts, sides, top } = areas(shape, width, height);
    const density = shape.draw === "density", bars = shape.reference.length;
    const left = (place) => (density ? shape.positions[place] * width : (place * width) / bars);
    for (let place = 0; place < bars; place++) {
      const of = density ? `${say(shape.edges[place])} to ${say(shape.edges[place + 1])}` : say(shape.edges[place]);
      const shares = ["reference", "window"].map((side) => `${side} ${share(shape[side][place], rowsOf[side])}`);
      const title = draw("title", {}, `${of}\n${shares.join("\n")}`);
      parts.push(draw("rect", { class: "hit", x: left(place), y: 0, width: left(place + 1) - left(place), height }, title));
      const highest = Math.max(sides.reference[place], sides.window[place]);
      if (highest > top) parts.push(draw("text", {
        class: "cut", x: Math.min(left(place) + 2, width - 60), y: -4,
      }, `↑ ${share(Math.max(shape.reference[place] / rowsOf.reference, shape.window[place] / rowsOf.window), 1)}`));
    }
    parts.push(draw("path", { class: "baseline", d: `M0 ${height}H${width}` }));
    const wanted = density ? 6 : Math.min(bars, 10);
    let last = -100;
    for (let tick = 0; tick < wanted; tick++) {
      let place, x;
      if (density) {
        const aim = tick / (wanted - 1);
        place = shape.positions.reduce((best, at, index) =>
          (Math.abs(at - aim) < Math.abs(shape.positions[best] - aim) ? index : best), 0);
        x = shape.positions[place] * width;
      } else {
        place = Math.round((tick * (bars - 1)) / Math.max(wanted - 1, 1));
        x = ((place + 0.5) * width) / bars;
      }
      if (x - last < 48) continue;
      last = x;
      const anchor = density && x < 20 ? "start" : density && x > width - 20 ? "end" : "middle";
      parts.push(draw("text", { class: "axis", x, y: height + 17, "text-anchor": anchor }, say(shape.edges[place])));
    }
    const label = `Distribution of ${column.column} in the reference and in the window`;
    return draw("svg", { viewBox: `0 -16 ${width} ${height + 40}`, role: "img", "aria-label": label }, ...parts);
  };
  const bars = (entries) => {
    const top = Math.max(...entries.map(([, r, w]) => Math.max(r / rowsOf.reference, w / rowsOf.window)), 0.1);
    const list = make("div", "bars");
    for (const [label, r, w, special] of entries) {
      const name = make("span", special ? "label special" : "label", label === "" ? "(empty text)" : label);
      name.title = label;
      const pair = make("span", "pair", make("span", "r"), make("span", "w"));
      pair.children[0].style.width = `${(100 * r) / rowsOf.reference / top}%`;
      pair.children[1].style.width = `${(100 * w) / rowsOf.window / top}%`;
      pair.children[0].hidden = !r;
      pair.children[1].hidden = !w;
      const shares = `${share(r, rowsOf.reference)} → ${share(w, rowsOf.window)}`;
      list.append(name, pair, make("span", "shares", shares));
    }
    return list;
  };
  const apartOf = (shape) => Object.entries(shape.apart).map(([key, [r, w]]) => [of(APART, key), r, w, true]);

  // --- what changed, in a few words: what is missing or new first, then where the values went
  const changed = (column) => {
    const shown = found.distributions[column.column];
    if (!shown) return "";
    const moved = ([, r, w]) => Math.abs(r / rowsOf.reference - w / rowsOf.window);
    const tell = ([label, r, w]) => `${label} ${share(r, rowsOf.reference)} → ${share(w, rowsOf.window)}`;
    const apart = apartOf(shown.shape).sort((a, b) => moved(b) - moved(a))[0];
    if (apart && moved(apart) > 0.01) return tell(apart);
    if (shown.shape.draw === "categories") {
      const entries = (shown.shape.labels || []).map((label, place) => [label, shown.shape.reference[place], shown.shape.window[place]]);
      const most = entries.sort((a, b) => moved(b) - moved(a))[0];
      return most ? tell(most) : apart ? tell(apart) : "";
    }
    const say = valueOf(column), [before, after] = [shown.reference, shown.window];
    if (before.mean === undefined || after.mean === undefined) return apart ? tell(apart) : "";
    const spread = before.std && after.std ? after.std / before.std : 1;
    const shift = before.std ? Math.abs(after.mean - before.mean) / before.std : 0;
    if ((spread > 1.25 || spread < 0.8) && Math.abs(Math.log(spread)) > shift) {
      const worded = column.kind === "timestamp" ? (value) => span(value) : number;
      return `std ${worded(before.std)} → ${worded(after.std)}`;
    }
    const what = column.kind === "embedding" ? "mean distance" : "mean";
    // A mean of 0.0007 beside a spread of 1 is 0.
    const places = before.std ? Math.min(Math.max(2 - Math.floor(Math.log10(before.std)), 0), 100) : 100;
    const near = say === number ? (value) => number(Number(value.toFixed(places))) : say;
    return `${what} ${near(before.mean)} → ${near(after.mean)}`;
  };

  // --- a row that is opened
  const table = (rows, className) => {
    const body = make("tbody", "");
    for (const [cells, mark] of rows) {
      const line = make("tr", mark || "", ...cells.map((cell, place) => make(place ? "td" : "th", "", cell)));
      line.firstChild.scope = "row";
      body.append(line);
    }
    return make("table", className || "", body);
  };
  const summary = (column, shown) => {
    const say = valueOf(column), [r, w] = [shown.reference, shown.window];
    const isTime = column.kind === "timestamp";
    const lines = [["mean", say], ["std", isTime ? (value) => (value === undefined ? "–" : span(value)) : number], ["min", say], ["max", say],
      ["distinct", (value) => (value >= 1024 ? `≈ ${number(Math.round(value))}` : number(value))]];
    const rows = [[["", "reference", "window"]], [["rows", number(report.reference_rows), number(report.current_rows)]]];
    rows.push([["null", share(r.nulls, report.reference_rows), share(w.nulls, report.current_rows)]]);
    if (r.nans || w.nans) rows.push([["NaN", share(r.nans, report.reference_rows), share(w.nans, report.current_rows)]]);
    for (const [key, word] of lines)
      if (r[key] !== undefined || w[key] !== undefined) rows.push([[key, word(r[key]), word(w[key])]]);
    return table(rows);
  };
  const statistics = (column) => {
    const rows = [];
    if (column.judged !== null) {
      rows.push([[of(STATISTICS, column.judged), number(column.value)], "judged"], [["its limit", number(column.limit)]]);
      if (column.smallest_effect !== null) rows.push([["smallest that so many rows can show", number(column.smallest_effect)]]);
    }
    rows.push([["p", chance(column.p_value)]], [["adjusted p", chance(column.adjusted_p)]]);
    let mark = "first";
    for (const [key, value] of Object.entries(column.statistics)) {
      if (value === null || key === column.judged) continue;
      rows.push([[of(STATISTICS, key), key.endsWith("_p") ? chance(value) : number(value)], mark]);
      mark = "";
    }
    return table(rows);
  };
  const picture = (column, shown) => {
    const shape = shown.shape, card = make("div", "card");
    if (shape.draw === "categories") {
      const entries = (shape.labels || []).map((label, place) => [label, shape.reference[place], shape.window[place]]);
      card.append(make("h2", "", "Most frequent categories"), bars([...entries, ...apartOf(shape)]));
      const unseen = Object.entries(shape.unseen || {}).map(([text, count]) => `${text} (${number(count)})`);
      if (unseen.length) card.append(make("p", "small", `Not in the reference: ${unseen.join(", ")}`));
      return card;
    }
    const titles = { embedding: "Distance from the reference's centre" };
    card.append(make("h2", "", titles[column.kind] || "Values"));
    if (shape.reference.length) card.append(large(column, shape));
    const apart = apartOf(shape);
    if (apart.length) card.append(make("div", "apart", bars(apart)));
    if (shape.draw === "density") {
      const stretched = shape.stretched ? " The axis is stretched: on a plain one a few bars would hold nearly all." : "";
      card.append(make("p", "small", `Area is the share of rows.${stretched}`));
    }
    return card;
  };
  const detail = (column, id) => {
    const shown = found.distributions[column.column];
    const cards = make("div", "cards", make("div", "card", make("h2", "", "Statistics"), statistics(column)));
    const left = make("div", "cards");
    if (shown) {
      left.append(picture(column, shown));
      left.append(make("div", "card", make("h2", "", "Reference and window"), summary(column, shown)));
    }
    const cell = make("td", "", make("p", "why", `${column.column}: ${column.reason}`));
    for (const anomaly of report.anomalies || [])
      if (anomaly.column === column.column) cell.append(make("p", "why", `⚠ ${anomaly.message}`));
    cell.append(make("div", "grid", left, cards));
    cell.colSpan = 6;
    const line = toned(make("tr", "detail", cell), column.verdict);
    line.id = id;
    return line;
  };

  // --- the table
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        entry.target.append(small(entry.target.column));
      }
  }, { rootMargin: "300px" });
  const template = byId("row").content.firstElementChild;
  const rows = report.columns.map((column, place) => {
    const line = toned(template.cloneNode(true), column.verdict);
    const [verdict, name, plot, statistic, p, change] = line.children;
    verdict.lastChild.textContent = of(WORDS, column.verdict);
    const button = name.firstChild;
    button.firstChild.textContent = column.column;
    button.title = column.column;
    name.lastChild.textContent = column.kind;
    plot.column = column;
    if (column.judged !== null && column.value !== null) {
      const ratio = column.limit ? column.value / column.limit : 0;
      statistic.children[0].textContent = number(column.value, 3);
      statistic.children[0].before(make("span", "which", of(BRIEF, column.judged)));
      statistic.children[2].textContent = column.limit === null ? "" : `limit ${number(column.limit)}`;
      statistic.children[3].firstChild.style.width = `${Math.min(ratio / 3, 1) * 100}%`;
    } else statistic.replaceChildren("–");
    p.textContent = chance(column.adjusted_p);
    change.textContent = changed(column);
    const row = { column, line, button, detail: null, isShown: true, key: column.column.toLowerCase(), id: `detail-${place}` };
    line.addEventListener("click", (event) => {
      if (!String(window.getSelection()) || event.target.closest("button")) open(row, !row.detail);
    });
    return row;
  });
  const byName = new Map(rows.map((row) => [row.column.column, row]));
  const open = (row, isOpen) => {
    if (isOpen === Boolean(row.detail)) return;
    if (isOpen) {
      row.detail = detail(row.column, row.id);
      row.line.after(row.detail);
      row.button.setAttribute("aria-controls", row.id);
    } else {
      row.detail.remove();
      row.detail = null;
    }
    row.line.classList.toggle("open", isOpen);
    row.button.setAttribute("aria-expanded", String(isOpen));
  };
  const show = (name) => {
    const row = byName.get(name);
    if (!row) return;
    byId("search").value = "";
    pressed.clear();
    refresh();
    open(row, true);
    row.line.scrollIntoView({ block: "center" });
    row.button.focus({ preventScroll: true });
  };

  // --- filter and order
  const pressed = new Set();
  const excess = (column) => (column.value === null || !column.limit ? 0 : column.value / column.limit);
  const ORDERS = {
    severity: (a, b) => rank.get(a.column.column) - rank.get(b.column.column),
    column: (a, b) => (a.column.column < b.column.column ? -1 : 1),
    excess: (a, b) => excess(b.column) - excess(a.column) || ORDERS.severity(a, b),
    p: (a, b) => a.column.adjusted_p - b.column.adjusted_p || ORDERS.severity(a, b),
  };
  const FALLING = new Set(["severity", "excess"]);
  const order = (key, isReversed) => {
    rows.sort(ORDERS[key]);
    if (isReversed) rows.reverse();
    byId("rows").replaceChildren(...rows.flatMap((row) => (row.detail ? [row.line, row.detail] : [row.line])));
    for (const head of document.querySelectorAll("thead [data-sort]")) {
      head.removeAttribute("aria-sort");
      if (head.dataset.sort === key)
        head.setAttribute("aria-sort", FALLING.has(key) !== isReversed ? "descending" : "ascending");
    }
  };
  for (const head of document.querySelectorAll("thead [data-sort]"))
    head.firstChild.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      order(head.dataset.sort, was === (FALLING.has(head.dataset.sort) ? "descending" : "ascending"));
    });
  const refresh = () => {
    const wanted = byId("search").value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const isShown = row.key.includes(wanted) && (!pressed.size || pressed.has(row.column.verdict));
      shown += isShown;
      if (isShown !== row.isShown) {
        row.isShown = isShown;
        row.line.hidden = !isShown;
      }
      if (row.detail) row.detail.hidden = !isShown;
    }
    byId("count").textContent = shown === rows.length ? `${number(rows.length)} columns` : `${number(shown)} of ${number(rows.length)} columns`;
    byId("nothing").hidden = shown > 0;
    for (const pill of byId("pills").children) pill.setAttribute("aria-pressed", String(pressed.has(pill.dataset.verdict)));
  };
  const counts = {};
  for (const row of rows) counts[row.column.verdict] = (counts[row.column.verdict] || 0) + 1;
  for (const verdict of Object.keys(RANK)) {
    if (!counts[verdict]) continue;
    const pill = toned(make("button", "", `${WORDS[verdict]} ${number(counts[verdict])}`), verdict);
    pill.type = "button";
    pill.addEventListener("click", () => { if (!pressed.delete(verdict)) pressed.add(verdict); refresh(); });
    byId("pills").append(pill);
  }
  byId("search").addEventListener("input", refresh);
  document.addEventListener("keydown", (event) => {
    const search = byId("search");
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && document.activeElement === search) { search.value = ""; refresh(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const shown = rows.filter((row) => row.isShown), at = shown.findIndex((row) => row.button === document.activeElement);
    const isDown = event.key === "ArrowDown";
    const next = at < 0 ? (document.activeElement === search && isDown ? shown[0] : null) : shown[at + (isDown ? 1 : -1)];
    if (next) { event.preventDefault(); next.button.focus(); next.line.scrollIntoView({ block: "nearest" }); }
  });

  // --- the head
  const about = (word, text) => byId("about").append(make("div", "", make("dt", "", word), make("dd", "", text)));
  for (const [word, text] of Object.entries(found.about)) about(word, text);
  if (report.compat) about("judged as by", report.compat);
  about("checked", moment(found.made_s));
  const tile = (label, figure, note, ...more) => {
    const made = make("div", "tile", make("div", "label", label), make("div", "figure", figure), make("div", "note", note), ...more);
    byId("tiles").append(made);
    return made;
  };
  const stack = make("div", "stack");
  for (const verdict of Object.keys(RANK))
    if (counts[verdict]) {
      const part = toned(make("span", ""), verdict);
      part.style.flexGrow = counts[verdict];
      stack.append(part);
    }
  const possible = counts.possible ? `, ${number(counts.possible)} possible` : "";
  tile("Columns that drifted", `${number(counts.drift || 0)} of ${number(rows.length)}`,
    `${share(report.drifted_share, 1)} of the columns${possible}`, stack).classList.add("wide");
  const { since_s: since, until_s: until } = found.window;
  const bounded = since !== null && until !== null;
  tile("Rows in the window", number(report.current_rows), `against ${number(report.reference_rows)} in the reference`);
  if (bounded) tile("Window", span(until - since), "")
    .querySelector(".note").append(make("span", "", moment(since).slice(0, 16)), " to ", make("span", "", `${moment(until).slice(0, 16)} UTC`));
  const link = (name) => {
    const made = make("button", "", name);
    made.type = "button";
    made.addEventListener("click", () => show(name));
    return made;
  };
  const anomalies = report.anomalies || [];
  tile("Anomalies", number(anomalies.length), anomalies.length ? "listed below" : "none beside drift");
  if (anomalies.length) {
    const list = make("ul", "");
    for (const anomaly of anomalies) {
      const isGrave = ["error", "critical", "high", "drift"].includes(anomaly.severity);
      const line = toned(make("li", "", make("span", "tag", anomaly.code || anomaly.severity || "anomaly")), isGrave ? "drift" : "possible");
      if (byName.has(anomaly.column)) line.append(link(anomaly.column));
      line.append(make("span", "", anomaly.message || ""));
      list.append(line);
    }
    byId("anomalies").append(make("h2", "", `Anomalies (${number(anomalies.length)})`), list);
    byId("anomalies").hidden = false;
  }
  const together = report.multivariate;
  if (together) {
    const head = make("h2", "", "All columns together ");
    if (Object.hasOwn(WORDS, together.verdict)) head.append(toned(make("span", "tag", WORDS[together.verdict]), together.verdict));
    const plain = Object.entries(together).filter(([, value]) => value === null || typeof value !== "object")
      .map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "number" ? number(value) : value}`);
    byId("multivariate").append(head, make("p", "", together.reason || plain.join(" · ")));
    const by = ((together.classifier || {}).by || []).filter(({ column }) => byName.has(column)).slice(0, 8);
    if (by.length) byId("multivariate").append(make("p", "small", "AUC that it loses without: ",
      ...by.flatMap(({ column, auc_lost: lost }) => [link(column), ` ${number(lost, 2)}  `])));
    byId("multivariate").hidden = false;
  }
  byId("footer").textContent = `Significance at ${report.alpha} after Benjamini–Hochberg over the columns. `
    + "This page holds counts and summaries alone, and loads nothing. / filters, arrows move, Enter opens.";

  order("severity", false);
  refresh();
  for (const row of rows) seen.observe(row.line.children[2]);
  const linked = new URLSearchParams(location.hash.slice(1)).get("column");
  if (linked !== null) show(linked);
  document.body.getBoundingClientRect(); // so that the time below holds the layout
  document.documentElement.dataset.readyMs = performance.now().toFixed(1);
})();
