// Draws the panels of dashboard.json from /metrics, without Prometheus or Grafana.
import { parse, scrape } from "./promql.js";

const SECONDS_BETWEEN = 2;
const SECONDS_SHOWN = 300;
// What Grafana would put in place of its variables. The metrics of one process have no job and no instance.
const VARIABLES = { $__rate_interval: "20s", $job: ".*", $instance: ".*", $engine: ".*" };
const COLOURS = ["#57a64a", "#d9a514", "#4d8fdc", "#dd7a30", "#d1495b", "#8f6bc9", "#3aa6a6", "#c767a3", "#8a8f3c", "#777f89"];
// The size of a curve: its width for each column of the panel, its height, and the room for the numbers at its left.
const [COLUMN, HEIGHT, LEFT] = [75, 150, 62];
const PREFIXES = ["", "K", "M", "G"];

function scaled(value, step, unit) {
  const power = Math.min(PREFIXES.length - 1, Math.max(0, Math.floor(Math.log(Math.abs(value) || 1) / Math.log(step))));
  const prefix = PREFIXES[power] + (power > 0 && step === 1024 ? "i" : "");
  return `${Number((value / step ** power).toPrecision(3))} ${prefix}${unit}`.trim();
}

const UNITS = {
  percentunit: (value) => `${(100 * value).toFixed(1)} %`,
  ops: (value) => scaled(value, 1000, "/s"),
  short: (value) => scaled(value, 1000, ""),
  bytes: (value) => scaled(value, 1024, "B"),
  Bps: (value) => scaled(value, 1000, "B/s"),
  s: (value) => (value >= 1 ? `${value.toFixed(2)} s` : value >= 0.001 ? `${(value * 1e3).toPrecision(3)} ms` : `${Math.round(value * 1e6)} µs`),
};

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const drawn = (name, attributes, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};

const substituted = (expression) => expression.replace(/\$\w+/g, (name) => VARIABLES[name] ?? name);
const legend = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "none");

// A panel, with what its expressions gave at each time.
class Panel {
  constructor({ type, title, description, gridPos, fieldConfig, targets }) {
    this.type = type;
    this.defaults = fieldConfig.defaults;
    this.format = UNITS[this.defaults.unit];
    this.targets = targets.map(({ expr, legendFormat }) => ({ evaluate: parse(substituted(expr)), legendFormat }));
    this.curves = new Map();
    this.width = COLUMN * gridPos.w;
    this.body = element("div");
    this.section = element("section", { title: description }, element("h3", { textContent: title }), this.body);
    this.section.style.setProperty("--width", gridPos.w);
  }

  // Evaluates the expressions at the newest scrape.
  look(scrapes) {
    const now = scrapes.at(-1).seconds;
    for (const { evaluate, legendFormat } of this.targets) {
      for (const { labels, value } of evaluate(scrapes)) {
        const name = legend(legendFormat, labels);
        if (!this.curves.has(name)) this.curves.set(name, []);
        if (Number.isFinite(value)) this.curves.get(name).push({ seconds: now, value });
      }
    }
    for (const points of this.curves.values()) {
      while (points.length > 0 && points[0].seconds < now - SECONDS_SHOWN) points.shift();
    }
    this.body.replaceChildren(...(this.type === "timeseries" ? this.chart(now) : this.figure(now)));
  }

  // The newest value, in the colour of its threshold.
  figure(now) {
    const newest = [...this.curves.values()][0]?.at(-1);
    const { thresholds, noValue, max } = this.defaults;
    if (newest?.seconds !== now) return [element("output", { textContent: noValue })];
    const reached = thresholds.steps.filter(({ value }) => value === null || newest.value >= value);
    const output = element("output", { textContent: this.format(newest.value) });
    output.style.color = `var(--${reached.at(-1).color})`;
    return this.type === "gauge" ? [output, element("meter", { max, value: newest.value })] : [output];
  }

  chart(now) {
    const stacked = this.defaults.custom.stacking.mode === "normal";
    const below = new Map();
    const curves = [...this.curves].map(([name, points], i) => {
      const placed = points.map(({ seconds, value }) => {
        const start = stacked ? (below.get(seconds) ?? 0) : 0;
        below.set(seconds, start + value);
        return { seconds, start, end: start + value };
      });
      return { name, placed, colour: COLOURS[i % COLOURS.length], newest: points.at(-1) };
    });
    const most = this.defaults.max ?? (Math.max(0, ...curves.flatMap(({ placed }) => placed.map(({ end }) => end))) * 1.1 || 1);
    const x = (seconds) => (LEFT + (this.width - LEFT) * (1 - (now - seconds) / SECONDS_SHOWN)).toFixed(1);
    const y = (value) => (HEIGHT - 6 - (HEIGHT - 14) * (value / most)).toFixed(1);
    const svg = drawn("svg", { viewBox: `0 0 ${this.width} ${HEIGHT}`, role: "img" });
    for (const share of [0, 0.5, 1]) {
      svg.append(drawn("path", { class: "grid", d: `M${LEFT} ${y(most * share)}H${this.width}` }));
      const place = { x: LEFT - 6, y: Number(y(most * share)) + 4, "text-anchor": "end" };
      svg.append(drawn("text", place, this.format(most * share)));
    }
    for (const { placed, colour } of curves.filter(({ placed }) => placed.length > 0)) {
      const line = placed.map(({ seconds, end }) => `${x(seconds)} ${y(end)}`);
      const back = placed.toReversed().map(({ seconds, start }) => `${x(seconds)} ${y(start)}`);
      if (stacked) svg.append(drawn("path", { class: "area", fill: colour, d: `M${[...line, ...back].join("L")}Z` }));
      svg.append(drawn("path", { class: "curve", stroke: colour, d: `M${line.join("L")}` }));
    }
    const entries = curves.map(({ name, colour, newest }) => {
      const entry = element("li", {}, `${name} `, element("b", { textContent: newest?.seconds === now ? this.format(newest.value) : "none" }));
      entry.style.setProperty("--colour", colour);
      return entry;
    });
    return [svg, element("ul", {}, ...entries)];
  }
}

const state = document.querySelector("#state");
const { panels } = await (await fetch("dashboard.json")).json();
const shown = panels.filter(({ type }) => type !== "row").map((panel) => new Panel(panel));
const sections = shown.map(({ section }) => section);
document.querySelector("#panels").append(
  ...panels.map(({ type, title }) => (type === "row" ? element("h2", { textContent: title }) : sections.shift())),
);

const scrapes = [];
async function look() {
  try {
    const answer = await fetch("metrics", { signal: AbortSignal.timeout(1000 * SECONDS_BETWEEN) });
    scrapes.push(scrape(await answer.text(), performance.now() / 1000));
    while (scrapes[0].seconds < scrapes.at(-1).seconds - SECONDS_SHOWN) scrapes.shift();
    for (const panel of shown) panel.look(scrapes);
    state.textContent = "";
  } catch (error) {
    state.textContent = `No figures: ${error.message}`;
  }
  setTimeout(look, 1000 * SECONDS_BETWEEN);
}
look();
