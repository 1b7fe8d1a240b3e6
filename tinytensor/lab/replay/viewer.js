// The replay: shows one step of a recorded block. State is in the address: #launch=0&block=0&step=12&finding=0.
"use strict";
const launches = JSON.parse(document.getElementById("replay-data").textContent);
const ROW = 128, SECTOR = 32, MOST_ROWS = 32, SOME_ROWS = 8;
const LETTERS = {load: "R", store: "W", atomic: "A"};
const VERBS = {load: "loads", store: "stores", atomic: "updates"};
const at = name => document.getElementById(`replay-${name}`);
const state = {launch: 0, block: 0, order: "warp", step: 0, finding: -1, cell: "", show: "thread"};
let launch, steps, history, stepOf, shownRows, playing;

const escaped = text => String(text).replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c]);
const unique = list => [...new Set(list)];
const plural = (n, noun, many = noun + "s") => `${n} ${n === 1 ? noun : many}`;
const expanded = (list, count) => list[0] !== null ? list :
  list.length === 3 ? Array.from({length: count}, (_, i) => list[1] + i * list[2]) : Array(count).fill(list[1]);

// A value in three characters or a few more: -2, .25, 1e5.
const brief = value => typeof value !== "number" ? value ?? "" :
  Number.isInteger(value) ? Math.abs(value) > 999 ? value.toExponential(0).replace("+", "") : value :
  String(+value.toPrecision(2)).replace(/^(-?)0\./, "$1.");

// Numbers as ranges: 0–15, 20.
function ranges(numbers) {
  const parts = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const last = parts.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([a, b]) => a === b ? `${a}` : b === a + 1 ? `${a}, ${b}` : `${a}–${b}`).join(", ");
}

// ---- reading the data

// A step: lanes are the active threads; of each access its offset, its values and its number in the recording.
function unpacked([what, place, warp, size, numbers, memory, mask, offsets, values]) {
  if (memory === undefined) {
    const lanes = what === "barrier" ? [] : bits(size).map(lane => warp * 32 + lane);
    return {what, place, warp, lanes, size, events: [numbers]};
  }
  const lanes = bits(mask).map(lane => warp * 32 + lane), each = size / launch.memories[memory].item;
  const all = expanded(values, lanes.length * each);
  return {
    what, place, warp, size, memory, lanes,
    offsets: expanded(offsets, lanes.length), events: expanded(numbers, lanes.length),
    values: lanes.map((_, i) => all.slice(i * each, (i + 1) * each)),
  };
}

const bits = mask => Array.from({length: 32}, (_, i) => i).filter(i => mask / 2 ** i & 1);

// Each access by itself, in the order of the run.
function single(all) {
  const parts = all.flatMap(s => s.memory === undefined ? [s] : s.lanes.map((lane, i) => ({
    ...s, lanes: [lane], offsets: [s.offsets[i]], events: [s.events[i]], values: [s.values[i]],
  })));
  return parts.sort((a, b) => a.events[0] - b.events[0]);
}

// Elements of an access, as numbers.
function elements(step, i) {
  const {item} = launch.memories[step.memory], first = Math.floor(step.offsets[i] / item);
  const count = Math.max(Math.ceil((step.offsets[i] + step.size) / item) - first, 1);
  return Array.from({length: count}, (_, k) => first + k);
}

function choose() {
  launch = launches[state.launch];
  const all = launch.blocks[state.block].steps.map(unpacked);
  steps = state.order === "warp" ? all : single(all);
  history = launch.memories.map(() => new Map());
  stepOf = new Map();
  shownRows = launch.memories.map(() => []);
  steps.forEach((step, number) => {
    step.events.forEach(event => stepOf.set(event, number));
    if (step.memory === undefined) return;
    step.lanes.forEach((thread, i) => elements(step, i).forEach((element, k) => {
      const known = history[step.memory].get(element) ?? [];
      known.push({number, thread, what: step.what, place: step.place, value: step.values[i][k] ?? ""});
      history[step.memory].set(element, known);
    }));
  });
  state.step = Math.max(0, Math.min(state.step, steps.length - 1));
}

// ---- names

const sizes = list => list[1] * list[2] === 1 ? list[0] : `(${list.join(", ")})`;
const inGrid = (n, [x, y, z]) => y * z === 1 ? `${n}` : `${n} = (${n % x}, ${Math.floor(n / x) % y}, ${Math.floor(n / x / y)})`;
const threadName = t => inGrid(t, launch.block);
const threadsOf = list => `${list.length > 1 ? "threads" : "thread"} ${ranges(list)}`;
const line = place => launch.places[place].at.replace(/ from .*/, "");
const lineNumber = place => line(place).startsWith(`${launch.file}:`) ? `line ${line(place).replace(/.*:/, "")}` : line(place);

function elementName(memory, element) {
  const {name, shape} = launch.memories[memory];
  const size = shape.reduce((a, b) => a * b, 1);
  if (shape.length < 2 || element < 0 || element >= size) return `${name}[${element}]`;
  const index = shape.reduceRight(([rest, parts], n) => [Math.floor(rest / n), [rest % n, ...parts]], [element, []]);
  return name + index[1].map(i => `[${i}]`).join("");
}

// ---- costs of a request, by the rules of the counters

function sectorsOf(step) {
  const {align} = launch.memories[step.memory];
  return unique(step.offsets.flatMap(o => {
    const first = Math.floor((align + o) / SECTOR), last = Math.floor((align + o + step.size - 1) / SECTOR);
    return Array.from({length: last - first + 1}, (_, i) => first + i);
  }));
}

// Words of each bank, and the passes that they take: 8 bytes are served for 16 lanes at a time, 16 for 8.
function banksOf(step) {
  const together = step.size >= 16 ? 8 : step.size === 8 ? 16 : 32, counts = Array(32).fill(0);
  const {align} = launch.memories[step.memory];
  let passes = 0, parts = 0;
  for (let from = 0; from < 32; from += together) {
    let words = step.lanes.flatMap((t, i) => t % 32 < from || t % 32 >= from + together ? [] :
      Array.from({length: Math.max(step.size, 4) / 4}, (_, k) => Math.floor((align + step.offsets[i]) / 4) + k));
    if (!words.length) continue;
    if (step.what !== "atomic") words = unique(words);
    const own = Array(32).fill(0);
    for (const word of words) own[word % 32]++, counts[word % 32]++;
    passes += Math.max(...own);
    parts++;
  }
  return {counts, passes, parts};
}

// ---- panels

function controls() {
  const select = (name, texts, value) => {
    at(name).innerHTML = texts.map((text, i) => `<option value="${i}">${escaped(text)}</option>`).join("");
    at(name).value = value;
  };
  select("launch", launches.map((l, i) => `${i + 1}  ${l.name}`), state.launch);
  select("block", launch.blocks.map(b => `block ${inGrid(b.index, launch.grid)}`), state.block);
  at("order").value = state.order;
  at("show").value = state.show;
  at("slider").max = steps.length - 1;
  document.querySelectorAll("[data-launch]").forEach(e => e.hidden = e.dataset.launch !== String(state.launch));
  at("cut").textContent = `grid ${sizes(launch.grid)}, block ${sizes(launch.block)}. ${launch.cut}`;
  at("findings").innerHTML = launch.findings.map((f, i) =>
    `<li><button data-finding="${i}" aria-pressed="${i === state.finding}">${escaped(f.text)}</button></li>`).join("");
  at("findings").parentElement.hidden = !launch.findings.length;
}

// Warps are rows, steps go from left to right; barriers are walls through all rows.
function timeline() {
  const width = Math.max(at("timeline").clientWidth, 280), left = 34, warps = Math.ceil(threadCount() / 32);
  const row = Math.max(4, Math.min(16, 160 / warps)), height = 16 + row * warps, each = (width - left - 2) / steps.length;
  const shapes = {};
  const draw = (name, d) => shapes[name] = (shapes[name] ?? "") + d;
  steps.forEach((step, i) => {
    const x = (left + i * each).toFixed(2), w = Math.max(each * 0.8, 1).toFixed(2), y = 16 + row * step.warp;
    if (step.what === "barrier") return draw("wall", `M${(left + (i + 0.5) * each).toFixed(2)} 12V${height}`);
    if (step.memory === undefined) return draw("meet", `M${(left + (i + 0.5) * each).toFixed(2)} ${y}v${row}`);
    const {space} = launch.memories[step.memory], top = step.what === "load" ? row / 2 : 1;
    draw(`${space}${step.what === "atomic" ? " atomic" : ""}`, `M${x} ${y + top}h${w}v${row - 1 - top}h-${w}z`);
  });
  const paths = Object.entries(shapes).map(([name, d]) => `<path class="${name}" d="${d}"/>`).join("");
  const every = Math.ceil(12 / row);
  const labels = Array.from({length: warps}, (_, i) => i % every ? "" :
    `<text x="0" y="${16 + row * i + Math.min(row, 12)}">w${i}</text>`).join("");
  const marks = found().map(({number, mark}) =>
    `<text class="flag" x="${left + (number + 0.5) * each}" y="10" text-anchor="middle">${mark}</text>`).join("");
  const now = `<rect class="cursor" x="${left + state.step * each - 1}" y="12" width="${Math.max(each, 2) + 2}" height="${height - 12}"/>`;
  at("timeline").innerHTML = `<svg width="${width}" height="${height + 2}" role="img" aria-label="Time line: ${plural(steps.length, "step")} of ${plural(warps, "warp")}">${labels}${paths}${now}${marks}</svg>`;
  at("timeline").dataset.left = left;
}

const threadCount = () => launch.block.reduce((a, b) => a * b, 1);

// The accesses of the chosen finding, as steps of this block.
function found() {
  const finding = launch.findings[state.finding];
  return (finding?.events ?? []).map(([block, event], i) => ({block, event, number: stepOf.get(event), mark: "①②".at(i - finding.events.length)}))
    .filter(f => f.block === state.block);
}

function threadPanel(step) {
  const active = new Map(step.lanes.map(t => [t, LETTERS[step.what] ?? "·"]));
  const flags = new Map();
  found().forEach(({number, event, mark}) => {
    const thread = steps[number].lanes[steps[number].events.indexOf(event)];
    flags.set(thread, (flags.get(thread) ?? "") + mark);
  });
  const chosen = /^thread (\d+)$/.exec(state.cell)?.[1];
  let html = "";
  for (let warp = 0; warp * 32 < threadCount(); warp++) {
    html += `<div class="warp${warp === step.warp ? " running" : ""}"><span>w${warp}</span>`;
    for (let t = warp * 32; t < Math.min(threadCount(), warp * 32 + 32); t++) {
      const meets = step.what === "barrier";
      const kind = active.has(t) ? step.memory === undefined ? "meets" : step.what : meets ? "meets" : warp === step.warp ? "idle" : "";
      const text = flags.get(t) ?? active.get(t) ?? (kind === "idle" ? "–" : "");
      html += `<b class="${kind}${flags.has(t) ? " flagged" : ""}${String(t) === chosen ? " chosen" : ""}" data-thread="${t}" title="thread ${threadName(t)}${kind === "idle" ? ", inactive" : ""}">${text}</b>`;
    }
    html += "</div>";
  }
  at("threads").innerHTML = html;
}

const rowOf = (memory, element) => Math.floor((memory.align + element * memory.item) / ROW);

// Rows of 128 bytes to show: those of this step, then others that were touched.
function rowsOf(number, step) {
  const memory = launch.memories[number];
  const all = memory.rows ??= new Map();
  if (!all.has(state.block)) all.set(state.block, unique([...history[number].keys()].map(e => rowOf(memory, e))).sort((a, b) => a - b));
  const touched = all.get(state.block);
  if (touched.length <= SOME_ROWS) return touched;
  if (step.memory === number) {
    const now = unique(step.lanes.flatMap((_, i) => elements(step, i).map(e => rowOf(memory, e)))).sort((a, b) => a - b).slice(0, MOST_ROWS);
    const near = touched.filter(r => !now.includes(r) && r > now[0]).slice(0, Math.max(SOME_ROWS - now.length, 0));
    shownRows[number] = [...now, ...near].sort((a, b) => a - b);
  }
  return shownRows[number].length ? shownRows[number] : touched.slice(0, SOME_ROWS);
}

function memoryPanel(step) {
  const flags = new Map();
  found().forEach(({number, event, mark}) => {
    const s = steps[number];
    if (s.memory !== undefined) elements(s, s.events.indexOf(event)).forEach(e => {
      const key = `${s.memory}:${e}`;
      flags.set(key, (flags.get(key) ?? "") + mark);
    });
  });
  at("memory").innerHTML = launch.memories.map((memory, number) => {
    if (!history[number].size) return "";
    const now = new Map();  // threads of this step, by element
    if (step.memory === number) step.lanes.forEach((t, i) => elements(step, i).forEach(e => now.set(e, [...now.get(e) ?? [], t])));
    const moved = memory.space === "global" && step.memory === number ? new Set(sectorsOf(step)) : new Set();
    const rows = rowsOf(number, step), columns = ROW / memory.item;
    const cells = rows.map(r => {
      const first = Math.round((r * ROW - memory.align) / memory.item);
      let html = `<span>${Math.max(first, 0)}</span>`;
      for (let e = first; e < first + columns; e++) html += cell(memory, number, e, step, now.get(e), moved, flags.get(`${number}:${e}`));
      return html;
    }).join("");
    const left = unique([...history[number].keys()].map(e => rowOf(memory, e))).length - rows.length;
    const shape = memory.shape.length ? ` of shape (${memory.shape.join(", ")})` : "";
    return `<figure class="${memory.space}"><figcaption>${memory.space} <strong>${escaped(memory.name)}</strong>${escaped(memory.type ? `, ${memory.type}` : "")}${shape}; ` +
      `a row is 128 bytes: ${memory.space === "shared" ? "32 banks" : "4 sectors"}${left > 0 ? `; ${plural(left, "more row")} touched` : ""}</figcaption>` +
      `<div class="cells" style="--n:${columns};--s:${columns / 4}">${memory.space === "shared" ? bankRow(step, number, columns) : ""}${cells}</div></figure>`;
  }).join("");
}

function bankRow(step, number, columns) {
  if (step.memory !== number) return "";
  const {counts} = banksOf(step), per = 32 / columns;
  let html = "<span>words</span>";
  for (let c = 0; c < columns; c++) {
    const n = Math.max(...counts.slice(Math.floor(c * per), Math.max(Math.floor((c + 1) * per), Math.floor(c * per) + 1)));
    html += `<i class="${n > 1 ? "busy" : ""}" title="bank ${Math.floor(c * per)}: ${plural(n, "word")}">${n || ""}</i>`;
  }
  return html;
}

function cell(memory, number, element, step, threads, moved, flag) {
  const known = history[number].get(element), place = memory.align + element * memory.item;
  const begins = memory.space === "global" && place % SECTOR === 0 && place % ROW ? " sector" : "";
  if (!known) return `<b class="${moved.has(Math.floor(place / SECTOR)) ? "moved" : "never"}${begins}"></b>`;
  const before = known.filter(a => a.number <= state.step), last = before.at(-1);
  const wrote = before.some(a => a.what !== "load"), name = elementName(number, element);
  const kind = threads ? step.what : wrote ? "written" : last ? "was-read" : "later";
  const text = flag ?? (state.show === "value" ? brief(last?.value) : threads ? threads.length > 1 ? `${threads[0]}+` : threads[0] : "");
  const title = `${name}${last ? ` = ${last.value}` : ""}${threads ? `; ${threadsOf(threads)}: ${LETTERS[step.what]}` : ""}`;
  return `<b class="${kind}${begins}${flag ? " flagged" : ""}${name === state.cell ? " chosen" : ""}" data-cell="${escaped(name)}" title="${escaped(title)}">${escaped(text)}</b>`;
}

// ---- words

function words(step) {
  const parts = [];
  if (step.what === "barrier") {
    parts.push(`<strong>Barrier</strong> of the block, ${lineNumber(step.place)}: ${plural(step.size, "thread")} meet. What they did before, all see after it.`);
  } else if (step.memory === undefined) {
    parts.push(`Warp ${step.warp}: <strong>${escaped(step.what)}</strong>, ${lineNumber(step.place)}, by ${plural(step.lanes.length, "lane")} (${threadsOf(step.lanes)}).`);
  } else {
    parts.push(`${request(step)}${cost(step)}`, origin(step));
  }
  if (step.warp >= 0) parts.push(idle(step));
  const finding = launch.findings[state.finding];
  if (finding) parts.push(race(finding));
  return parts.filter(Boolean).map(p => `<p>${p}</p>`).join("");
}

function request(step) {
  const memory = launch.memories[step.memory], cells = step.lanes.flatMap((_, i) => elements(step, i));
  const names = unique(cells), first = elementName(step.memory, Math.min(...names)), last = elementName(step.memory, Math.max(...names));
  const who = step.lanes.length === 1 ? `Thread ${threadName(step.lanes[0])}` : `Warp ${step.warp}`;
  return `${who} <strong class="${step.what}">${LETTERS[step.what]} ${VERBS[step.what]}</strong> ${step.size} bytes${step.lanes.length > 1 ? " per lane" : ""}, ` +
    `${memory.space} ${escaped(first)}${first === last ? "" : ` … ${escaped(last)}`}, at ${escaped(launch.places[step.place].at)}. ` +
    (step.lanes.length > 1 || state.order === "warp" ? `${step.lanes.length} of 32 lanes are active. ` : "");
}

function cost(step) {
  const memory = launch.memories[step.memory];
  if (state.order !== "warp") return "";
  if (memory.space === "global") {
    const moved = sectorsOf(step).length, used = unique(step.offsets).length * step.size;
    return `<strong>${plural(moved, "sector")}</strong> of 32 bytes, ${Math.round(100 * used / moved / SECTOR)}% of them used.`;
  }
  const {counts, passes, parts} = banksOf(step), most = Math.max(...counts);
  const busy = counts.flatMap((n, i) => n === most ? [i] : []);
  return `<strong>${plural(passes, "pass", "passes")}</strong> over the banks, ${parts} without conflicts` +
    (passes > parts ? `: ${busy.length > 1 ? "banks" : "bank"} ${ranges(busy)} ${busy.length > 1 ? "have" : "has"} ${most} words, served one after another.` : ".");
}

// Who wrote what is read.
function origin(step) {
  if (step.what === "store") return "";
  const writers = new Map();
  let none = 0;
  step.lanes.forEach((_, i) => elements(step, i).forEach(e => {
    const last = history[step.memory].get(e).filter(a => a.what !== "load" && a.number < state.step).at(-1);
    if (!last) return none++;
    const key = `${last.number}`;
    writers.set(key, {...last, threads: [...writers.get(key)?.threads ?? [], last.thread]});
  }));
  const texts = [...writers.values()].slice(0, 4).map(w =>
    `${threadsOf(unique(w.threads))} at <a href="#" data-step="${w.number}">step ${w.number + 1}</a> (${lineNumber(w.place)})`);
  if (writers.size > 4) texts.push(`${writers.size - 4} other steps`);
  const nobody = launch.memories[step.memory].space === "shared" ? ": uninitialized" : "";
  if (!texts.length) return `No thread of this block wrote it before${nobody}.`;
  return `Written by ${texts.join("; ")}${none ? `; ${plural(none, "element")} by no thread of this block${nobody}` : ""}.`;
}

// Lanes of the warp that do not take part, by what they do next.
function idle(step) {
  const all = Array.from({length: 32}, (_, i) => step.warp * 32 + i).filter(t => t < threadCount());
  const rest = all.filter(t => !step.lanes.includes(t));
  const missing = 32 - all.length, parts = [];
  if (missing) parts.push(`${plural(missing, "lane")} of this warp ${missing > 1 ? "are" : "is"} beyond the end of the block`);
  if (!rest.length || state.order !== "warp") return parts.length ? `${parts.join("; ")}.` : "";
  const groups = new Map();
  for (const t of rest) {
    let next = state.step + 1;
    while (next < steps.length && steps[next].what !== "barrier" && !steps[next].lanes.includes(t)) next++;
    groups.set(next, [...groups.get(next) ?? [], t % 32]);
  }
  for (const [next, lanes] of groups) {
    const s = steps[next];
    const ended = s?.what === "barrier" && s.size < threadCount() ? ", or have ended" : "";
    const does = s ? `do next: ${s.what}, ${lineNumber(s.place)} (<a href="#" data-step="${next}">step ${next + 1}</a>)${ended}` : "do nothing more in this block";
    parts.push(`lanes ${ranges(lanes)} ${does}`);
  }
  const {under} = launch.places[step.place];
  const why = under.length ? ` This line stands under ${under.slice(0, 3).map(u => `<code>${escaped(u)}</code>`).join(", ")}.` : "";
  return `<strong>${rest.length} inactive</strong>: ${parts.join("; ")}.${why}`;
}

function race(finding) {
  const places = found();
  if (!places.length) {
    const there = finding.events.length ? `in block ${launch.blocks[finding.events[0][0]].index}` : "not among the recorded ones";
    return `<strong>Finding</strong>: ${escaped(finding.kind)}; its accesses are ${there}.`;
  }
  const links = places.map(({number, event, mark}) => {
    const s = steps[number], k = s.events.indexOf(event);
    const what = s.memory === undefined ? s.what : `thread ${threadName(s.lanes[k])} ${LETTERS[s.what]} ${elementName(s.memory, elements(s, k)[0])}`;
    return `${mark} <a href="#" data-step="${number}">step ${number + 1}</a>: ${escaped(what)}, ${lineNumber(s.place)}`;
  });
  const others = finding.events.filter(([block]) => block !== state.block).map(([block]) => `the other access is in block ${launch.blocks[block].index}`);
  return `<strong>Finding</strong>: ${escaped(finding.kind)}. ${[...links, ...others].join("; ")}.` +
    (places.length > 1 && places[0].number > places[1].number ? " In this run ① came first: see the accesses in the order of the run." : "");
}

// All accesses of the chosen element or thread.
function details() {
  const thread = /^thread (\d+)$/.exec(state.cell);
  let rows = [];
  if (thread) {
    steps.forEach((s, number) => s.what === "barrier" && s.size === threadCount() ?
      rows.push({number, what: s.what, place: s.place, name: "", value: ""}) : s.lanes.forEach((t, i) => {
      if (t !== +thread[1]) return;
      const cells = s.memory === undefined ? [""] : elements(s, i);
      rows.push({number, what: s.what, place: s.place, name: s.memory === undefined ? "" : elementName(s.memory, cells[0]) + (cells.length > 1 ? "…" : ""), value: s.values?.[i].join(" ") ?? ""});
    }));
  } else if (state.cell) {
    launch.memories.forEach((_, m) => history[m].forEach((known, e) => {
      if (elementName(m, e) === state.cell) rows = known.map(a => ({...a, name: `thread ${threadName(a.thread)}`}));
    }));
  }
  const most = 40, from = Math.max(rows.filter(r => r.number <= state.step).length - most / 2, 0);
  const body = rows.slice(from, from + most).map(r =>
    `<tr class="${r.number === state.step ? "now" : r.number > state.step ? "later" : ""}"><td><a href="#" data-step="${r.number}">${r.number + 1}</a></td><td>${escaped(r.name)}</td><td>${LETTERS[r.what] ?? ""} ${r.what}</td><td>${escaped(r.value)}</td><td>${lineNumber(r.place)}</td></tr>`).join("");
  at("details").innerHTML = !state.cell ? "" : `<h3>${escaped(state.cell)}</h3>` + (rows.length ?
    `<table><tr><th>step</th><th>${thread ? "element" : "by"}</th><th>what</th><th>value</th><th>where</th></tr>${body}</table>` +
    (rows.length > most ? `<p class="soft">${plural(rows.length, "row")}; those near this step are shown</p>` : "") :
    `<p>This block does not touch it. Names are like <code>${escaped(elementName(0, [...history[0].keys()][0] ?? 0))}</code> and <code>thread 3</code>; another block may.</p>`);
}

function source(step) {
  document.querySelectorAll(".code tr.now, .code tr.calls").forEach(e => e.classList.remove("now", "calls"));
  const [inner, outer] = launch.places[step.place].at.split(" from ");
  const row = place => place && document.querySelector(`[data-launch="${state.launch}"] tr[data-line="${CSS.escape(place)}"]`);
  row(outer)?.classList.add("calls");
  row(inner)?.classList.add("now");
  const kernel = row(outer) ?? row(inner), pane = kernel?.closest(".source");
  if (pane) pane.scrollTop += kernel.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientHeight / 2;
}

// ---- state

function show() {
  const step = steps[state.step];
  at("slider").value = state.step;
  at("count").textContent = `step ${state.step + 1} of ${steps.length}`;
  at("now").innerHTML = words(step);
  timeline();
  threadPanel(step);
  memoryPanel(step);
  details();
  source(step);
  const hash = ["launch", "block", "order", "step", "finding", "cell", "show"].filter(k => String(state[k]) !== String(start[k]) || k === "step");
  if (location.protocol !== "about:")  // a frame of a notebook has no address
    window.history.replaceState(null, "", `#${hash.map(k => `${k}=${encodeURIComponent(state[k])}`).join("&")}`);
}

const start = {...state};

function read() {
  const given = new URLSearchParams(location.hash.slice(1)), view = at("root").closest(".view");
  if (view && given.has("step")) view.parentElement.querySelectorAll(".tab")[[...view.parentElement.querySelectorAll(".view")].indexOf(view)].checked = true;
  for (const key of Object.keys(state)) {
    const text = given.get(key);
    state[key] = text === null ? start[key] : typeof start[key] === "number" ? parseInt(text, 10) || 0 : text;
  }
  const within = (n, list) => Math.max(0, Math.min(n, list.length - 1));
  state.launch = within(state.launch, launches);
  state.block = within(state.block, launches[state.launch].blocks);
  choose();
  if (given.get("finding") !== null && given.get("step") === null) jump(state.finding);
  controls();
  show();
}

function change(values) {
  Object.assign(state, values);
  if ("launch" in values) Object.assign(state, {block: 0, step: 0, finding: -1, cell: ""});
  if ("block" in values) state.step = 0;
  choose();
  controls();
  show();
}

function go(step) {
  state.step = Math.max(0, Math.min(step, steps.length - 1));
  show();
}

// To the second access of a finding, in its block; in the order of the run if warps hide it.
function jump(number) {
  state.finding = number;
  const events = launch.findings[number]?.events ?? [];
  if (!events.length) return;
  state.block = events.at(-1)[0];
  choose();
  const [first, second] = events.map(([block, event]) => block === state.block ? stepOf.get(event) : undefined);
  if (second !== undefined && first !== undefined && first > second && state.order === "warp") {
    state.order = "run";
    choose();
  }
  state.step = stepOf.get(events.at(-1)[1]) ?? 0;
}

// The next barrier, or the end.
function wall(direction) {
  let i = state.step + direction;
  while (i > 0 && i < steps.length - 1 && steps[i].what !== "barrier") i += direction;
  go(i);
}

function play() {
  if (!playing && state.step === steps.length - 1) go(0);
  playing = playing ? clearInterval(playing) : setInterval(() => state.step + 1 < steps.length ? go(state.step + 1) : play(), 250);
  at("play").textContent = playing ? "❚❚ stop" : "▶ play";
  at("play").setAttribute("aria-pressed", Boolean(playing));
}

const ACTIONS = {
  first: () => go(0), back: () => go(state.step - 1), play, next: () => go(state.step + 1), last: () => go(steps.length - 1),
  before: () => wall(-1), after: () => wall(1),
};
const KEYS = {Home: "first", End: "last", ArrowLeft: "back", ArrowRight: "next", " ": "play"};
const SHIFTED = {ArrowLeft: "before", ArrowRight: "after"};

document.addEventListener("keydown", event => {
  const {tagName, type} = event.target;
  if (event.ctrlKey || event.altKey || event.metaKey || tagName === "SELECT" || type === "text" || type === "radio") return;
  const action = event.shiftKey ? SHIFTED[event.key] : KEYS[event.key];
  if (!action || event.key === " " && ["BUTTON", "A", "SUMMARY"].includes(tagName)) return;
  if (!at("root").checkVisibility()) return;
  event.preventDefault();
  ACTIONS[action]();
});
document.addEventListener("click", event => {
  const element = event.target.closest("[data-action],[data-step],[data-finding],[data-cell],[data-thread],#replay-timeline");
  if (!element) return;
  const {action, step, finding, cell: name, thread} = element.dataset;
  if (element.tagName === "A") event.preventDefault();
  if (action) ACTIONS[action]();
  else if (step) go(+step);
  else if (finding) jump(+finding), controls(), show();
  else if (name) at("find").value = name, change({cell: name});
  else if (thread) at("find").value = `thread ${thread}`, change({cell: `thread ${thread}`});
  else {
    const box = element.getBoundingClientRect(), left = +element.dataset.left;
    go(Math.floor((event.clientX - box.left - left) / (box.width - left) * steps.length));
  }
});
for (const name of ["launch", "block"]) at(name).addEventListener("change", e => change({[name]: +e.target.value}));
for (const name of ["order", "show"]) at(name).addEventListener("change", e => change({[name]: e.target.value}));
at("slider").addEventListener("input", e => go(+e.target.value));
at("find").addEventListener("change", e => change({cell: e.target.value.trim().replace(/\s*\[\s*/g, "[").replace(/\s*\]/g, "]")}));
addEventListener("hashchange", read);
new ResizeObserver(timeline).observe(at("timeline"));
read();
