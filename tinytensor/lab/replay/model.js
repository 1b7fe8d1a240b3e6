// The recorded launches: steps of a block, who touched what before, names and costs.
"use strict";
const launches = JSON.parse(document.getElementById("replay-data").textContent);
const ROW = 128, SECTOR = 32, LANES = 32;
let launch, steps;  // the shown launch, and the steps of the shown block
let history;        // for each memory: element → its accesses, in order
let stepOf;         // number of an event in the recording → number of its step

const range = count => Array.from({length: count}, (_, i) => i);
const unique = list => [...new Set(list)];
const sorted = numbers => [...numbers].sort((a, b) => a - b);
const bits = mask => range(LANES).filter(i => mask / 2 ** i & 1);
const isRefused = step => step.events[0] === launch.stopped?.event;  // the access that ended the launch
const threadCount = () => launch.block.reduce((a, b) => a * b, 1);

// A list as data.py shortens it: null, start and difference; or null and the value of all.
function expanded(list, count) {
  if (list[0] !== null) return list;
  return range(count).map(i => list[1] + (list.length === 3 ? i * list[2] : 0));
}

// A step: lanes are its threads; of each access there are offset, values, and number in the recording.
function unpacked([what, place, warp, size, numbers, memory, mask, offsets, values]) {
  const threads = bits(memory === undefined ? size : mask).map(lane => warp * LANES + lane);
  if (memory === undefined) {
    return {what, place, warp, size, lanes: what === "barrier" ? [] : threads, events: [numbers]};
  }
  const each = size / launch.memories[memory].item;
  const all = values[0] === null ? Array(threads.length * each).fill(values[1]) : values;
  return {
    what, place, warp, size, memory,
    lanes: threads,
    offsets: expanded(offsets, threads.length),
    events: expanded(numbers, threads.length),
    values: threads.map((_, i) => all.slice(i * each, (i + 1) * each)),
  };
}

// Each access by itself, in the order of the run.
function singled(all) {
  const parts = all.flatMap(s => s.memory === undefined ? [s] : s.lanes.map((lane, i) => ({
    ...s, lanes: [lane], offsets: [s.offsets[i]], events: [s.events[i]], values: [s.values[i]],
  })));
  return parts.sort((a, b) => a.events[0] - b.events[0]);
}

// Show a block of a launch; `order` is that of warps ("warp") or of the run ("run").
function choose(launchNumber, block, order) {
  launch = launches[launchNumber];
  const all = launch.blocks[block].steps.map(unpacked);
  steps = order === "warp" ? all : singled(all);
  history = launch.memories.map(() => new Map());
  stepOf = new Map();
  steps.forEach((step, number) => {
    step.events.forEach(event => stepOf.set(event, number));
    if (step.memory === undefined) return;
    const {what, place} = step, touched = history[step.memory], refused = isRefused(step);
    step.lanes.forEach((thread, i) => elements(step, i).forEach((element, k) => {
      if (!touched.has(element)) touched.set(element, []);
      touched.get(element).push({number, thread, what, place, refused, value: step.values[i][k] ?? ""});
    }));
  });
}

// Elements of the access of a lane, as numbers.
function elements(step, i) {
  const {item} = launch.memories[step.memory], first = Math.floor(step.offsets[i] / item);
  return range(Math.max(Math.ceil((step.offsets[i] + step.size) / item) - first, 1)).map(k => first + k);
}

const allElements = step => step.lanes.flatMap((_, i) => elements(step, i));
const rowOf = (memory, element) => Math.floor((memory.align + element * memory.item) / ROW);
const rowsOf = (memory, list) => sorted(unique(list.map(element => rowOf(memory, element))));

// ---- costs of a request, by the rules of the counters

function sectorsOf(step) {
  const {align} = launch.memories[step.memory];
  return unique(step.offsets.flatMap(offset => {
    const first = Math.floor((align + offset) / SECTOR);
    return range(Math.floor((align + offset + step.size - 1) / SECTOR) - first + 1).map(i => first + i);
  }));
}

// Words of each bank, and the passes they take: 8 bytes are served for 16 lanes at a time, 16 bytes for 8.
function banksOf(step) {
  const together = step.size >= 16 ? 8 : step.size === 8 ? 16 : 32, counts = Array(32).fill(0);
  const {align} = launch.memories[step.memory], each = range(Math.max(step.size, 4) / 4);
  let passes = 0, parts = 0;
  for (let from = 0; from < LANES; from += together) {
    const inside = step.lanes.map(t => t % LANES >= from && t % LANES < from + together);
    const asked = step.offsets.filter((_, i) => inside[i]);
    const words = asked.flatMap(offset => each.map(k => Math.floor((align + offset) / 4) + k));
    if (!words.length) continue;
    const own = Array(32).fill(0);
    for (const word of step.what === "atomic" ? words : unique(words)) own[word % 32]++, counts[word % 32]++;
    passes += Math.max(...own);
    parts++;
  }
  return {counts, passes, parts};
}

// ---- names

const plural = (n, noun, many = noun + "s") => `${n} ${n === 1 ? noun : many}`;

// Numbers as ranges: 0–15, 20.
function ranges(numbers) {
  const parts = [];
  for (const n of sorted(numbers)) {
    const last = parts.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([a, b]) => a === b ? `${a}` : b === a + 1 ? `${a}, ${b}` : `${a}–${b}`).join(", ");
}

// A value in three characters or a few more: -2, .25, 1e5.
function brief(value) {
  if (typeof value !== "number") return value ?? "";
  if (!Number.isInteger(value)) return String(+value.toPrecision(2)).replace(/^(-?)0\./, "$1.");
  return Math.abs(value) > 999 ? value.toExponential(0).replace("+", "") : value;
}

const sizes = list => list[1] * list[2] === 1 ? list[0] : `(${list.join(", ")})`;

function inGrid(n, [x, y, z]) {
  return y * z === 1 ? `${n}` : `${n} = (${n % x}, ${Math.floor(n / x) % y}, ${Math.floor(n / x / y)})`;
}

const threadName = t => inGrid(t, launch.block);
const threadsOf = list => `${list.length > 1 ? "threads" : "thread"} ${ranges(list)}`;

// "line 7" in the file of the kernel, "pack.cuh:20" elsewhere.
function lineOf(place) {
  const line = launch.places[place].at.replace(/ from .*/, "");
  return line.startsWith(`${launch.file}:`) ? `line ${line.slice(launch.file.length + 1)}` : line;
}

function elementName(number, element) {
  const {name, shape, item} = launch.memories[number], size = shape.reduce((a, b) => a * b, 1);
  if (!name) return `address 0x${(element * item).toString(16)}`;
  if (shape.length < 2 || element < 0 || element >= size) return `${name}[${element}]`;
  const index = [];
  let rest = element;
  for (const length of [...shape].reverse()) {
    index.unshift(`[${rest % length}]`);
    rest = Math.floor(rest / length);
  }
  return name + index.join("");
}
