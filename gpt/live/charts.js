// Charts of numbers over steps, as SVG that is built node by node: no text becomes markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; strings are text.
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "circle", "line", "rect", "text", "title"].includes(name);
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const exponent = value => Math.floor(Math.log10(Math.abs(value)));

// A number with about four digits.
function short(value) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  const size = exponent(value);
  if (size < -2) return value.toExponential(1);
  if (size >= 4) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

// Round numbers between two: multiples of 1, 2 or 5 times a power of ten; 1, 2, 5 of each decade if log.
function ticks(low, high, most, log = false) {
  if (log) {
    const all = [];
    for (let e = exponent(low); e <= exponent(high); e++) {
      for (const m of [1, 2, 5]) all.push(m * 10 ** e);
    }
    const inside = all.filter(t => t >= low && t <= high);
    const tens = inside.filter(t => /^1(e|0*$|$)|^0\.0*1$/.test(String(t)));
    return inside.length <= most ? inside : tens.length > 1 ? tens : inside.filter((_, i) => !(i % 2));
  }
  const rough = (high - low) / most || 1;
  const power = 10 ** exponent(rough);
  const step = power * [1, 2, 5, 10].find(m => m * power >= rough * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// The points of a curve that a picture of some pixels can show: of each pixel the lowest and the highest.
function thinned(points, place, pixels) {
  if (points.length <= 2 * pixels) return points;
  const kept = [];
  for (let i = 0; i < points.length;) {
    const pixel = Math.floor(place(points[i][0]));
    let low = points[i], high = points[i];
    for (; i < points.length && Math.floor(place(points[i][0])) === pixel; i++) {
      if (points[i][1] < low[1]) low = points[i];
      if (points[i][1] > high[1]) high = points[i];
    }
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

// Mean of each point with its neighbors, about a 25th of all points; of fewer near the ends: it does not lag.
function smooth(points) {
  const sums = [0];
  for (const [, y] of points) sums.push(sums.at(-1) + y);
  const widest = Math.ceil(points.length / 50);
  return points.map(([x], i) => {
    const half = Math.min(i, points.length - 1 - i, widest);
    return [x, (sums[i + half + 1] - sums[i - half]) / (2 * half + 1)];
  });
}

// Index of the point nearest to x, in a list that is sorted by x.
function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - points[low - 1][0] < points[low][0] - x ? low - 1 : low;
}

// A chart: a title, a picture that is as wide as its place, and a line of the numbers at the cursor.
class Chart {
  constructor(title, height, point) {
    this.title = title;
    this.height = height;
    this.caption = make("figcaption", {}, make("strong", {}, title));
    this.numbers = make("span");
    this.caption.append(this.numbers);
    this.svg = make("svg", {role: "img", tabindex: 0});
    this.figure = make("figure", {class: "chart"}, this.caption, this.svg);
    this.curves = [];
    this.svg.addEventListener("pointermove", event => point(this.valueAt(event.offsetX)));
    this.svg.addEventListener("pointerleave", () => point(null));
    this.svg.addEventListener("blur", () => point(null));
    this.svg.addEventListener("keydown", event => {
      const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      const points = this.curves.find(c => c.points.length)?.points;
      if (!by || !points) return;
      event.preventDefault();
      const now = this.cursor ?? (by > 0 ? -Infinity : Infinity);
      const next = nearest(points, now) + (Number.isFinite(now) ? by : 0);
      point(points[Math.max(0, Math.min(points.length - 1, next))][0]);
    });
  }

  // curves: {label, title, kind, points, dots, pale, silent}; kind is the class of its color.
  draw(curves, range, log, xName) {
    this.curves = curves;
    this.xName = xName;
    this.width = Math.max(this.figure.clientWidth, 200);
    const values = curves.flatMap(c => c.points.map(p => p[1])).filter(y => !log || y > 0);
    let low = Infinity, high = -Infinity;
    for (const y of values) { low = Math.min(low, y); high = Math.max(high, y); }
    if (!values.length) [low, high] = log ? [1, 10] : [0, 1];
    if (low === high) {
      const room = (Math.abs(low) || 1) / 10;
      [low, high] = log ? [low / 2, high * 2] : [low - room, high + room];
    }
    const form = y => log ? Math.log(Math.max(y, low)) : y;
    const [bottom, top] = [form(low), form(high)];
    const marks = ticks(low, high, Math.max(2, Math.floor(this.height / 32)), log);
    this.left = 10 + 6.4 * Math.max(...marks.map(t => short(t).length), 3);
    this.range = range[0] === range[1] ? [range[0] - 1, range[1] + 1] : range;
    const [begin, end] = this.range, across = this.width - this.left - 10;
    this.x = x => this.left + (x - begin) / (end - begin) * across;
    this.y = y => 8 + (top - form(y)) / (top - bottom) * (this.height - 30);
    const parts = marks.flatMap(t => [
      make("line", {class: "grid", x1: this.left, x2: this.width - 10, y1: this.y(t), y2: this.y(t)}),
      make("text", {x: this.left - 6, y: this.y(t) + 4, "text-anchor": "end"}, short(t)),
    ]);
    for (const t of ticks(...this.range, Math.floor(this.width / 90))) {
      if (t < 0) continue;
      parts.push(make("text", {x: this.x(t), y: this.height - 5, "text-anchor": "middle"}, short(t)));
    }
    for (const curve of curves) parts.push(...this.drawn(curve));
    this.marker = make("g");
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    const said = curves.filter(c => !c.silent && c.points.length)
      .map(c => `${c.label} ${short(c.points.at(-1)[1])}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${said.join(", ") || "no numbers yet"}`);
    this.svg.replaceChildren(...parts, this.marker);
    this.mark(this.cursor ?? null);
  }

  drawn({kind, points, dots, pale}) {
    const kept = thinned(points, this.x, this.width);
    const spot = ([x, y]) => `${this.x(x).toFixed(1)},${this.y(y).toFixed(1)}`;
    const shade = pale ? `${kind} pale` : kind;
    const line = kept.length > 1 ? [make("path", {class: shade, d: `M${kept.map(spot).join("L")}`})] : [];
    const round = dots && kept.length < this.width / 4 || kept.length === 1;
    const circle = ([x, y]) => make("circle", {class: shade, cx: this.x(x), cy: this.y(y), r: 2.5});
    return [...line, ...round ? kept.map(circle) : []];
  }

  valueAt(pixel) {
    const part = (pixel - this.left) / (this.width - this.left - 10);
    return this.range[0] + Math.max(0, Math.min(1, part)) * (this.range[1] - this.range[0]);
  }

  // Show the cursor at x, and the numbers there; at null the last numbers.
  mark(x) {
    this.cursor = x;
    this.marker.replaceChildren();
    const told = this.curves.filter(c => !c.silent && c.points.length);
    const words = told.map(curve => {
      const [at, value] = x === null ? curve.points.at(-1) : curve.points[nearest(curve.points, x)];
      const spot = {class: `${curve.kind} at`, cx: this.x(at), cy: this.y(value), r: 3.5};
      if (x !== null) this.marker.append(make("circle", spot));
      const about = {class: `key ${curve.kind}`, title: curve.title ?? curve.label};
      return make("span", about, `${curve.label} ${short(value)}`);
    });
    if (x !== null) {
      const text = `${short(Math.round(x))} ${this.xName}`, half = 3.4 * text.length;
      const middle = Math.max(half, Math.min(this.width - half, this.x(x)));
      this.marker.prepend(
        make("rect", {class: "paper", x: middle - half, y: this.height - 17, width: 2 * half, height: 16}),
        make("text", {class: "now", x: middle, y: this.height - 5, "text-anchor": "middle"}, text));
      const line = {class: "cursor", x1: this.x(x), x2: this.x(x), y1: 4, y2: this.height - 22};
      this.marker.prepend(make("line", line));
    }
    this.numbers.replaceChildren(...words);
  }
}
