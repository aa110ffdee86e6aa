// The part of PromQL that dashboard.json uses, over the answers of /metrics that the page has collected.
// Prometheus extrapolates a rate to the ends of its range. This does not: it divides by the time between two answers.

const TOKEN = /\s*(?:([a-zA-Z_]\w*)|(\d+(?:\.\d+)?)(s|m|h)?|"((?:[^"\\]|\\.)*)"|(=~|!~|!=|[-+*\/=(){}[\],]))/y;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const SECONDS = { s: 1, m: 60, h: 3600 };
const OPERATORS = { "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b };
const MATCHERS = {
  "=": (found, value) => found === value,
  "!=": (found, value) => found !== value,
  "=~": (found, value) => new RegExp(`^(?:${value})$`).test(found),
  "!~": (found, value) => !new RegExp(`^(?:${value})$`).test(found),
};

const unquoted = (text) => text.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
const identity = (labels) => JSON.stringify(Object.entries(labels).sort());

// An answer of /metrics: the series of each name, by their labels.
export function scrape(text, seconds) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const [, name, inner, value] = SAMPLE.exec(line) ?? [];
    if (name === undefined) continue;
    const labels = {};
    for (const [, label, quoted] of (inner ?? "").matchAll(LABEL)) labels[label] = unquoted(quoted);
    if (!metrics.has(name)) metrics.set(name, new Map());
    metrics.get(name).set(identity(labels), { labels, value: Number(value.replace("Inf", "Infinity")) });
  }
  return { seconds, metrics };
}

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const at = TOKEN.lastIndex;
    const [, name, number, unit, quoted, sign] = TOKEN.exec(text) ?? [];
    if (name) found.push({ name });
    else if (number) found.push({ number: Number(number) * (SECONDS[unit] ?? 1) });
    else if (quoted !== undefined) found.push({ quoted: unquoted(quoted) });
    else if (sign) found.push({ sign });
    else throw new Error(`cannot read "${text.slice(at)}"`);
  }
  return found;
}

// Reads an expression into a function of the scrapes, the oldest first. It returns a number or [{ labels, value }].
export function parse(text) {
  const left = tokens(text);
  const take = (sign) => left[0]?.sign === sign && left.shift() !== undefined;
  const need = (sign) => {
    if (!take(sign)) throw new Error(`"${sign}" is missing in ${text}`);
  };
  const list = (open, item, close) => {
    need(open);
    const items = [];
    while (!take(close)) {
      items.push(item());
      take(",");
    }
    return items;
  };
  const operation = (operators, operand) => {
    let result = operand();
    while (operators.includes(left[0]?.sign)) {
      const [a, apply, b] = [result, OPERATORS[left.shift().sign], operand()];
      result = (scrapes) => combined(a(scrapes), b(scrapes), apply);
    }
    return result;
  };
  const matcher = () => {
    const [{ name }, { sign }, { quoted }] = left.splice(0, 3);
    return ({ labels }) => MATCHERS[sign](labels[name] ?? "", quoted);
  };
  const argument = (read) => {
    need("(");
    const result = read();
    need(")");
    return result;
  };
  const selector = (name) => {
    const matchers = left[0]?.sign === "{" ? list("{", matcher, "}") : [];
    const select = ({ metrics }) => {
      const series = [...(metrics.get(name)?.values() ?? [])];
      return series.filter((one) => matchers.every((matches) => matches(one)));
    };
    if (!take("[")) return (scrapes) => select(scrapes.at(-1));
    const { number: range } = left.shift();
    need("]");
    return (scrapes) => ({ scrapes, range, name, selected: select(scrapes.at(-1)) });
  };
  const term = () => {
    if (left[0]?.sign === "(") return argument(expression);
    const { name, number } = left.shift();
    if (number !== undefined) return () => number;
    if (name === "sum") {
      const by = left[0]?.name === "by" && left.shift() ? list("(", () => left.shift().name, ")") : [];
      const of = argument(expression);
      return (scrapes) => summed(of(scrapes), by);
    }
    if (name === "rate") {
      const of = argument(expression);
      return (scrapes) => rates(of(scrapes));
    }
    if (name === "histogram_quantile") {
      const [share, of] = argument(() => [expression(), need(","), expression()].filter(Boolean));
      return (scrapes) => quantiles(share(scrapes), of(scrapes));
    }
    return selector(name);
  };
  const product = () => operation(["*", "/"], term);
  const expression = () => operation(["+", "-"], product);
  const result = expression();
  if (left.length > 0) throw new Error(`too much in ${text}`);
  return result;
}

function combined(a, b, apply) {
  if (typeof a === "number") return typeof b === "number" ? apply(a, b) : mapped(b, (value) => apply(a, value));
  if (typeof b === "number") return mapped(a, (value) => apply(value, b));
  const others = new Map(b.map(({ labels, value }) => [identity(labels), value]));
  const both = a.filter(({ labels }) => others.has(identity(labels)));
  return both.map(({ labels, value }) => ({ labels, value: apply(value, others.get(identity(labels))) }));
}

const mapped = (vector, change) => vector.map(({ labels, value }) => ({ labels, value: change(value) }));

function grouped(vector, labelsOf) {
  const groups = new Map();
  for (const series of vector) {
    const labels = labelsOf(series.labels);
    const key = identity(labels);
    if (!groups.has(key)) groups.set(key, { labels, members: [] });
    groups.get(key).members.push(series);
  }
  return [...groups.values()];
}

function summed(vector, by) {
  const kept = (labels) => Object.fromEntries(by.filter((name) => name in labels).map((name) => [name, labels[name]]));
  const total = (members) => members.reduce((sum, { value }) => sum + value, 0);
  return grouped(vector, kept).map(({ labels, members }) => ({ labels, value: total(members) }));
}

function rates({ scrapes, range, name, selected }) {
  const end = scrapes.at(-1).seconds;
  const within = scrapes.filter(({ seconds }) => seconds >= end - range);
  return selected.flatMap(({ labels }) => {
    const key = identity(labels);
    const points = within.flatMap(({ seconds, metrics }) => {
      const series = metrics.get(name)?.get(key);
      return series ? [{ seconds, value: series.value }] : [];
    });
    if (points.length < 2) return [];
    let grown = 0;
    for (let i = 1; i < points.length; i++) {
      // A counter that is lower than before began anew.
      const [before, now] = [points[i - 1].value, points[i].value];
      grown += now >= before ? now - before : now;
    }
    return [{ labels, value: grown / (end - points[0].seconds) }];
  });
}

function quantiles(share, vector) {
  const groups = grouped(vector, ({ le, ...others }) => others);
  return groups.map(({ labels, members }) => {
    const buckets = members.map(({ labels: { le }, value }) => ({ end: Number(le.replace("Inf", "Infinity")), value }));
    buckets.sort((a, b) => a.end - b.end);
    const rank = share * buckets.at(-1).value;
    const at = buckets.findIndex(({ value }) => value >= rank);
    const [start, below] = at > 0 ? [buckets[at - 1].end, buckets[at - 1].value] : [0, 0];
    const { end, value } = buckets[at];
    if (!(value > below)) return { labels, value: NaN };
    return { labels, value: end === Infinity ? start : start + ((end - start) * (rank - below)) / (value - below) };
  });
}
