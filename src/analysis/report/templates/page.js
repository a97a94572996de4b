// What a page can do with JavaScript: sort and filter its tables, and draw its curves. Without it all stays readable.
"use strict";
(() => {
document.documentElement.classList.add("js");

/** A new element in `parent`; text is never read as HTML. */
function add(parent, name, attributes = {}, text = "") {
  const isShape = parent.namespaceURI.endsWith("svg") || name === "svg";
  const element = document.createElementNS(isShape ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}

// --- Tables

const SECONDS = {d: 86400, h: 3600, m: 60, s: 1};
const FILTERED_FROM = 6;  // rows

/** The number that a cell begins with (`1m 10s` is 70); null without one. */
function numberIn(text) {
  if (/^\d+[dhms]( |$)/.test(text))
    return [...text.matchAll(/(\d+)([dhms])/g)].reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
  const found = text.replaceAll("−", "-").replace(/,(?=\d{3})/g, "").match(/^[<+]? ?(-?\d+(\.\d+)?(e[-+]?\d+)?)(?!\w)/);
  return found && Number(found[1]);
}

/** Numbers in their order, then texts in theirs; `sign` -1 turns that round. Cells without content are always last. */
function compareCells(first, second, sign) {
  const isEmpty = (text) => text === "" || text === "-";
  if (isEmpty(first) || isEmpty(second)) return isEmpty(first) - isEmpty(second);
  const [a, b] = [numberIn(first), numberIn(second)];
  if (a !== null && b !== null) return sign * (a - b);
  return sign * ((a === null) - (b === null) || first.localeCompare(second));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const textOf = (row) => row.cells[column].textContent.trim();
      body.append(...[...body.rows].sort((first, second) => compareCells(textOf(first), textOf(second), sign)));
    });
  });
  if (body.rows.length < FILTERED_FROM) return;
  const label = "Show only rows with these words";
  const input = add(table.caption, "input", {type: "search", placeholder: "filter rows", "aria-label": label});
  const count = add(table.caption, "output");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const shown = [...body.rows].filter((row) => !row.hidden).length;
    count.textContent = input.value.trim() ? `${shown} of ${body.rows.length} rows` : "";
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);

// --- Curves

const HEIGHT = 380, LEFT = 64, RIGHT = 12, TOP = 10, BOTTOM = 40;  // pixels
const FIRST_SHOWN = 8;  // settings that are on at first: as many as there are colors

/** About `count` round numbers from `low` to `high`. */
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({length: Math.floor(high / step + 1e-9) - first + 1}, (_, index) => (first + index) * step);
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    found.push(...[1, 2, 5].map((factor) => factor * 10 ** power).filter((value) => value >= low && value <= high));
  return found.length > 1 ? found : ticks(low, high, 5);
}

const shown = (value) => String(Number(value.toPrecision(4)));

/** Mean, lowest and highest of the seeds at each point, null where a seed has no value. */
function summary({y, summarized}) {
  if (summarized) return {mean: y[0], low: y[1], high: y[2]};
  const columns = y[0].map((_, index) => y.map((line) => line[index]));
  const over = (reduce) => columns.map((values) => (values.includes(null) ? null : reduce(values)));
  return {
    mean: over((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
    low: over((values) => Math.min(...values)),
    high: over((values) => Math.max(...values)),
  };
}

function makePlot(box, data) {
  const last = Math.max(...data.settings.flatMap((one) => Object.values(one.curves).map((curve) => curve.x.at(-1))));
  const range = () => [from.value === "" ? 0 : Number(from.value), to.value === "" ? last : Number(to.value)];
  let epoch = null;  // whose values are shown

  const controls = add(box, "div", {class: "controls"});
  const choices = data.metrics.map(({key, name}) => [key, name]);
  const metric = select("metric", choices);
  const second = select("and, dotted", [["", "nothing"], ...choices]);
  const seeds = select("seeds as", [["bands", "mean and band"], ["lines", "lines"]]);
  const log = field("log axis", {type: "checkbox"});
  const from = field("epochs from", {type: "number", min: 0, max: last});
  const to = field("to", {type: "number", min: 0, max: last});
  const setLog = () => { log.checked = data.metrics.find((one) => one.key === metric.value).log; };
  metric.addEventListener("change", setLog);
  controls.addEventListener("change", draw);
  const whole = add(controls, "button", {type: "button"}, "All epochs");
  whole.addEventListener("click", () => zoom(0, last));

  const help = "Curves over epochs. Left and right arrow keys: the values of an epoch. Drag to zoom, double-click for all epochs.";
  const frame = add(box, "div", {class: "frame"});
  const svg = add(frame, "svg", {tabindex: 0, role: "img", "aria-label": help});
  const values = add(frame, "output", {class: "values"});
  const legend = add(box, "fieldset", {class: "legend"});
  add(legend, "legend", {}, "settings, best first");
  const all = add(legend, "button", {type: "button"}, "All on or off");
  const boxes = data.settings.map((setting, index) => {
    const label = add(legend, "label");
    const input = add(label, "input", {type: "checkbox"});
    swatch(label, setting);
    label.append(setting.name);
    input.checked = index < FIRST_SHOWN;
    return input;
  });
  legend.addEventListener("change", draw);
  all.addEventListener("click", () => {
    const isOn = boxes.some((input) => !input.checked);
    for (const input of boxes) input.checked = isOn;
    draw();
  });

  function select(name, options) {
    const element = add(add(controls, "label", {}, `${name} `), "select");
    for (const [value, text] of options) add(element, "option", {value}, text);
    return element;
  }

  function field(name, attributes) {
    return add(add(controls, "label", {}, `${name} `), "input", attributes);
  }

  function swatch(parent, {color, dash}) {
    const icon = add(parent, "svg", {width: 26, height: 10, "aria-hidden": "true"});
    add(icon, "line", {x1: 0, y1: 5, x2: 26, y2: 5, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash});
  }

  function zoom(low, high) {
    const [first, end] = [Math.min(low, high), Math.max(low, high)];
    from.value = first > 0 ? shown(first) : "";
    to.value = end < last ? shown(end) : "";
    draw();
  }

  /** The settings that are on, with their curve of a metric: points x, lines y and their summary. */
  function curvesOf(key) {
    const on = data.settings.filter((setting, index) => boxes[index].checked && setting.curves[key]);
    return on.map((setting) => ({setting, ...setting.curves[key], ...summary(setting.curves[key])}));
  }

  let scale = null;  // of the last drawing: x and y to pixels, and pixels to epochs

  function draw() {
    const width = Math.max(280, frame.clientWidth);
    const [begin, end] = range();
    const isBands = seeds.value === "bands";
    svg.replaceChildren();
    for (const [key, value] of Object.entries({width, height: HEIGHT})) svg.setAttribute(key, value);
    const drawn = [metric.value, second.value].filter(Boolean).map(curvesOf);
    const lines = (curve) => (isBands || curve.summarized ? [curve.low, curve.high, curve.mean] : curve.y);
    const isDrawn = (x, value) => value !== null && x >= begin && x <= end && !(log.checked && value <= 0);
    const found = drawn.flat().flatMap((curve) => lines(curve).flatMap((line) => line.filter((value, index) => isDrawn(curve.x[index], value))));
    let low = found.reduce((least, value) => Math.min(least, value), Infinity);
    let high = found.reduce((most, value) => Math.max(most, value), -Infinity);
    if (!found.length || !(end > begin)) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
    const isLog = log.checked && low > 0;
    const toLine = isLog ? Math.log : (value) => value;
    scale = {
      x: (epoch) => LEFT + (epoch - begin) / (end - begin || 1) * (width - LEFT - RIGHT),
      y: (value) => HEIGHT - BOTTOM - (toLine(value) - toLine(low)) / (toLine(high) - toLine(low)) * (HEIGHT - TOP - BOTTOM),
      epoch: (pixel) => begin + (pixel - LEFT) / (width - LEFT - RIGHT) * (end - begin),
    };
    for (const value of isLog ? logTicks(low, high) : ticks(low, high, 5)) {
      add(svg, "line", {x1: LEFT, x2: width - RIGHT, y1: scale.y(value), y2: scale.y(value), class: "grid"});
      add(svg, "text", {x: LEFT - 6, y: scale.y(value) + 4, "text-anchor": "end"}, shown(value));
    }
    for (const tick of ticks(begin, Math.max(end, begin + 0.1), Math.max(3, width / 110))) {
      add(svg, "line", {x1: scale.x(tick), x2: scale.x(tick), y1: TOP, y2: HEIGHT - BOTTOM, class: "grid"});
      add(svg, "text", {x: scale.x(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle"}, shown(tick));
    }
    add(svg, "text", {x: (LEFT + width) / 2, y: HEIGHT - 6, "text-anchor": "middle"}, "epoch");
    const inside = {x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM};
    add(add(svg, "clipPath", {id: "plot-area"}), "rect", inside);
    const area = add(svg, "g", {"clip-path": "url(#plot-area)"});
    drawn.forEach((curves, number) => curves.forEach((curve) => {
      const {color, dash} = curve.setting;
      const own = {fill: "none", stroke: color, "stroke-dasharray": number ? "1.5 3" : dash};
      if (!isBands && !curve.summarized) {
        for (const line of curve.y) add(area, "path", {d: path(curve.x, line), "stroke-width": 1.2, ...own});
        return;
      }
      if (curve.y.length > 1) add(area, "path", {d: band(curve), fill: color, opacity: 0.18});
      add(area, "path", {d: path(curve.x, curve.mean), "stroke-width": 2, ...own});
    }));
    if (epoch !== null) add(svg, "line", {x1: scale.x(epoch), x2: scale.x(epoch), y1: TOP, y2: HEIGHT - BOTTOM, class: "pointer"});
    showValues(drawn, width);
  }

  /** Segments through the known points; a gap of more than an epoch, or a value that a log axis lacks, ends one. */
  function segments(x, line) {
    const found = [];
    line.forEach((value, index) => {
      if (value === null || (log.checked && value <= 0)) return;
      const segment = found.at(-1);
      if (segment && x[index] - segment.at(-1)[0] <= data.step + 0.01) segment.push([x[index], value]);
      else found.push([[x[index], value]]);
    });
    return found;
  }

  const points = (segment) => segment.map(([x, value]) => `${scale.x(x).toFixed(1)},${scale.y(value).toFixed(1)}`).join("L");

  function path(x, line) {
    // a point alone is a short stroke
    return segments(x, line).map((segment) => `M${points(segment)}${segment.length === 1 ? "h3" : ""}`).join("");
  }

  function band({x, low, high}) {
    const lower = segments(x, low);
    return segments(x, high).map((segment, index) => `M${points(segment)}L${points([...(lower[index] ?? segment)].reverse())}Z`).join("");
  }

  function showValues(drawn, width) {
    values.replaceChildren();
    values.hidden = epoch === null;
    if (values.hidden) return;
    add(values, "strong", {}, `epoch ${epoch}`);
    drawn.forEach((curves, number) => {
      const key = number ? second.value : metric.value;
      add(values, "div", {class: "soft"}, data.metrics.find((one) => one.key === key).name);
      for (const curve of curves) {
        const index = curve.x.indexOf(epoch);
        const [mean, low, high] = [curve.mean, curve.low, curve.high].map((line) => line[index] ?? null);
        const text = mean === null ? "-" : shown(mean) + (low < high ? ` [${shown(low)}, ${shown(high)}]` : "");
        const row = add(values, "div");
        swatch(row, curve.setting);
        row.append(` ${text} `);
        add(row, "span", {class: "soft"}, curve.setting.name);
      }
    });
    const isRight = scale.x(epoch) > width / 2;
    values.style.left = isRight ? `${LEFT + 8}px` : "auto";
    values.style.right = isRight ? "auto" : `${RIGHT + 8}px`;
  }

  const known = [...new Set(data.settings.flatMap((one) => Object.values(one.curves).flatMap((curve) => curve.x)))].filter(Number.isInteger).sort((a, b) => a - b);
  function point(target) {
    const [begin, end] = range();
    const inside = known.filter((one) => one >= begin && one <= end);
    const nearest = inside.reduce((best, one) => (best === null || Math.abs(one - target) < Math.abs(best - target) ? one : best), null);
    if (nearest !== epoch) { epoch = nearest; draw(); }
  }
  const pixel = (event) => event.clientX - svg.getBoundingClientRect().left;
  let start = null;
  svg.addEventListener("pointerdown", (event) => { start = pixel(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointermove", (event) => point(scale.epoch(pixel(event))));
  svg.addEventListener("pointerup", (event) => {
    if (start !== null && Math.abs(pixel(event) - start) > 10) zoom(scale.epoch(start), scale.epoch(pixel(event)));
    start = null;
  });
  svg.addEventListener("dblclick", () => zoom(0, last));
  svg.addEventListener("pointerleave", () => { epoch = null; draw(); });
  svg.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step) return;
    event.preventDefault();
    const index = known.indexOf(epoch);
    point(index < 0 ? range()[0] : known[Math.max(0, Math.min(known.length - 1, index + step))]);
  });
  setLog();
  new ResizeObserver(draw).observe(frame);
  draw();
}

const box = document.getElementById("plot");
if (box) makePlot(box, JSON.parse(document.getElementById("curve-data").textContent));
})();
