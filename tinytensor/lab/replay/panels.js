// Drawings of a step: time line, threads, memory, history, source.
const LEFT = 34, TOP = 16;  // of the first step and the first warp on the time line
const MOST_ROWS = 32, SOME_ROWS = 8, MOST_HISTORY = 40;
const LETTERS = {load: "R", store: "W", atomic: "A"}, MARKS = "①②".split("");
let shownRows = new Map();  // by memory of a block, while steps touch another one

const at = name => document.getElementById(`replay-${name}`);
const classes = (...names) => names.filter(Boolean).join(" ") || undefined;

// Warps are rows, steps go from left to right; barriers are walls through all rows.
function timeline() {
  const width = Math.max(at("timeline").clientWidth, 280), warps = Math.ceil(threadCount() / LANES);
  const row = Math.max(4, Math.min(16, 160 / warps)), height = TOP + row * warps;
  const each = (width - LEFT - 2) / steps.length, middle = i => (LEFT + (i + 0.5) * each).toFixed(2);
  const paths = {};
  const draw = (name, path) => paths[name] = (paths[name] ?? "") + path;
  steps.forEach((step, i) => {
    const y = TOP + row * step.warp;
    if (step.what === "barrier") return draw("wall", `M${middle(i)} 12V${height}`);
    if (step.memory === undefined) return draw("meet", `M${middle(i)} ${y}v${row}`);
    const name = launch.memories[step.memory].space + (step.what === "atomic" ? " atomic" : "");
    const top = step.what === "load" ? row / 2 : 1, w = Math.max(each * 0.8, 1).toFixed(2);
    draw(name, `M${(LEFT + i * each).toFixed(2)} ${y + top}h${w}v${row - 1 - top}h-${w}z`);
  });
  const every = Math.ceil(12 / row);  // labels do not overlap
  const labels = range(warps).filter(i => i % every === 0).map(i =>
    tag("text", {x: 0, y: TOP + row * i + Math.min(row, 12)}, `w${i}`));
  const marks = found().map(({number, mark}) =>
    tag("text", {class: "flag", x: middle(number), y: 10, "text-anchor": "middle"}, mark));
  const x = LEFT + state.step * each - 1;
  const cursor = tag("rect", {class: "cursor", x, y: 12, width: Math.max(each, 2) + 2, height: height - 12});
  const shapes = Object.entries(paths).map(([name, d]) => tag("path", {class: name, d}));
  const label = `Time line: ${plural(steps.length, "step")} of ${plural(warps, "warp")}`;
  const size = {width, height: height + 2, role: "img", "aria-label": label};
  at("timeline").innerHTML = tag("svg", size, ...labels, ...shapes, cursor, ...marks);
}

function threadPanel(step) {
  const flags = new Map(), chosen = /^thread (\d+)$/.exec(state.cell)?.[1];
  for (const {thread, mark} of found()) flags.set(thread, (flags.get(thread) ?? "") + mark);
  const active = new Set(step.lanes), kind = step.memory === undefined ? "meets" : step.what;
  const thread = t => {
    const idle = t >= step.warp * LANES && t < (step.warp + 1) * LANES && !active.has(t);
    const own = active.has(t) || step.what === "barrier" ? kind : idle ? "idle" : "";
    const letter = active.has(t) ? LETTERS[step.what] ?? "·" : idle ? "–" : "";
    const look = classes(own, flags.has(t) && "flagged", String(t) === chosen && "chosen");
    const title = `thread ${threadName(t)}${idle ? ", inactive" : ""}`;
    return tag("b", {class: look, "data-thread": t, title}, flags.get(t) ?? letter);
  };
  at("threads").innerHTML = range(Math.ceil(threadCount() / LANES)).map(warp => {
    const own = range(LANES).map(i => warp * LANES + i).filter(t => t < threadCount());
    const look = classes("warp", warp === step.warp && "running");
    return tag("div", {class: look}, tag("span", {}, `w${warp}`), ...own.map(thread));
  }).join("");
}

// Rows of 128 bytes to show: those of this step, then others that the block touches.
function shownOf(number, step, touched) {
  if (touched.length <= SOME_ROWS) return touched;
  const key = `${state.launch} ${state.block} ${number}`;
  if (step.memory === number) {
    const now = rowsOf(launch.memories[number], allElements(step)).slice(0, MOST_ROWS);
    const near = touched.filter(row => row > now[0] && !now.includes(row));
    shownRows.set(key, sorted([...now, ...near.slice(0, Math.max(SOME_ROWS - now.length, 0))]));
  }
  return shownRows.get(key) ?? touched.slice(0, SOME_ROWS);
}

function memoryPanel(step) {
  const flags = new Map();
  for (const {step: other, lane, mark} of found()) {
    if (other.memory === undefined) continue;
    for (const element of elements(other, lane)) {
      const key = `${other.memory} ${element}`;
      flags.set(key, (flags.get(key) ?? "") + mark);
    }
  }
  at("memory").innerHTML = range(launch.memories.length).map(number => figure(number, step, flags)).join("");
}

function figure(number, step, flags) {
  const memory = launch.memories[number], here = step.memory === number, columns = ROW / memory.item;
  if (!history[number].size) return "";
  const touched = rowsOf(memory, [...history[number].keys()]), rows = shownOf(number, step, touched);
  const now = new Map();  // threads of this step, by element
  if (here) step.lanes.forEach((thread, i) => elements(step, i).forEach(element =>
    now.set(element, [...now.get(element) ?? [], thread])));
  const moved = new Set(here && memory.space === "global" && !isRefused(step) ? sectorsOf(step) : []);
  const cells = rows.flatMap(row => {
    const first = Math.round((row * ROW - memory.align) / memory.item);
    const own = range(columns).map(i => first + i);
    const least = own.some(element => element < 0 && history[number].has(element)) ? first : 0;
    return [tag("span", {}, memory.name ? Math.max(first, least) : ""), ...own.map(element =>
      cell(number, element, step, now.get(element), moved, flags.get(`${number} ${element}`)))];
  });
  if (here && memory.space === "shared" && !isRefused(step)) cells.unshift(...bankRow(step, columns));
  const parts = memory.space === "shared" ? "32 banks" : "4 sectors", left = touched.length - rows.length;
  const name = strong(memory.name || "outside of all buffers");
  const caption = `${memory.space} ${name}${memory.type && `, ${escaped(memory.type)}`}` +
    (memory.shape.length ? ` of shape (${memory.shape.join(", ")})` : "") +
    `; a row is 128 bytes: ${parts}${left > 0 ? `; ${plural(left, "more row")} touched` : ""}`;
  const grid = tag("div", {class: "cells", style: `--n:${columns}`}, ...cells);
  return tag("figure", {class: memory.space}, tag("figcaption", {}, caption), grid);
}

// The number of words of each bank, above its column.
function bankRow(step, columns) {
  const {counts} = banksOf(step), per = 32 / columns;  // banks of a column, or a part of one
  return [tag("span", {}, "words"), ...range(columns).map(i => {
    const bank = Math.floor(i * per), n = Math.max(...counts.slice(bank, bank + Math.max(per, 1)));
    return tag("i", {class: classes(n > 1 && "busy"), title: `bank ${bank}: ${plural(n, "word")}`}, n || "");
  })];
}

function cell(number, element, step, threads, moved, flag) {
  const memory = launch.memories[number], known = history[number].get(element);
  const place = memory.align + element * memory.item;
  const begins = memory.space === "global" && place % SECTOR === 0 && place % ROW && "sector";
  const isMoved = moved.has(Math.floor(place / SECTOR));
  if (!known) return tag("b", {class: classes(isMoved ? "moved" : "never", begins)});
  const before = known.filter(a => a.number <= state.step && !a.refused), last = before.at(-1);
  const past = before.some(a => a.what !== "load") ? "written" : last ? "was-read" : "later";
  const name = elementName(number, element), several = threads?.length > 1 ? "+" : "";
  const text = state.show === "value" ? brief(last?.value) : threads ? `${threads[0]}${several}` : "";
  const title = name + (last ? ` = ${last.value}` : "") +
    (threads ? `; ${threadsOf(threads)}: ${LETTERS[step.what]}` : "");
  const marks = [flag && "flagged", name === state.cell && "chosen"];
  const look = classes(threads ? step.what : past, begins, ...marks);
  return tag("b", {class: look, "data-cell": name, title}, escaped(flag ?? text));
}

// All accesses of the chosen element or thread; those near this step if there are many.
function details() {
  const thread = /^thread (\d+)$/.exec(state.cell)?.[1];
  const rows = thread ? ofThread(+thread) : ofElement(state.cell);
  const past = rows.filter(r => r.number <= state.step).length, from = Math.max(past - MOST_HISTORY / 2, 0);
  const body = rows.slice(from, from + MOST_HISTORY).map(r => {
    const look = r.number === state.step ? "now" : r.number > state.step ? "later" : undefined;
    const what = `${LETTERS[r.what] ?? ""} ${escaped(r.what)}`;
    const cells = [toStep(r.number, r.number + 1), escaped(r.name), what, escaped(r.value), lineOf(r.place)];
    return tag("tr", {class: look}, ...cells.map(text => tag("td", {}, text)));
  });
  const head = ["step", thread ? "element" : "by", "what", "value", "where"].map(text => tag("th", {}, text));
  const more = rows.length > MOST_HISTORY ? `${rows.length} rows; those near this step are shown` : "";
  const example = tag("code", {}, escaped(elementName(0, [...history[0]?.keys() ?? []][0] ?? 0)));
  const others = blocksOf(state.cell), also = others.length ? ` Block ${others.join(", ")} does.` : "";
  const none = `This block does not touch it.${also} Names are like ${example} and <code>thread 3</code>.`;
  at("details").innerHTML = !state.cell ? "" : tag("h3", {}, escaped(state.cell)) +
    (rows.length ? tag("table", {}, tag("tr", {}, ...head), ...body) + tag("p", {class: "soft"}, more)
      : tag("p", {}, none));
}

function ofThread(thread) {
  return steps.flatMap((step, number) => {
    const {what, place} = step, i = step.lanes.indexOf(thread);
    const meets = what === "barrier" ? step.size === threadCount() && thread < threadCount() : i >= 0;
    if (!meets) return [];
    if (step.memory === undefined) return [{number, what, place, name: "", value: ""}];
    const touched = elements(step, i);
    const name = elementName(step.memory, touched[0]) + (touched.length > 1 ? "…" : "");
    return [{number, what, place, name, value: step.values[i].join(" ")}];
  });
}

function ofElement(name) {
  for (const number of range(launch.memories.length)) {
    const element = [...history[number].keys()].find(e => elementName(number, e) === name);
    if (element === undefined) continue;
    return history[number].get(element).map(a => ({...a, name: `thread ${threadName(a.thread)}`}));
  }
  return [];
}

// Other recorded blocks that touch an element.
function blocksOf(name) {
  const number = launch.memories.findIndex(memory => name.startsWith(`${memory.name}[`));
  const index = [...name.matchAll(/\[(-?\d+)\]/g)].map(match => +match[1]);
  if (number < 0 || !index.length) return [];
  const {shape} = launch.memories[number];
  const element = index.length === 1 ? index[0] : index.reduce((flat, i, axis) => flat * shape[axis] + i, 0);
  const touches = step => step.memory === number && allElements(step).includes(element);
  return launch.blocks.filter(b => b.steps.map(unpacked).some(touches)).map(b => b.index);
}

// Marks the line of the step, in the kernel the line that calls it, and those of a finding; scrolls there.
function source(step) {
  const marked = document.querySelectorAll(".code tr.now, .code tr.calls");
  marked.forEach(row => row.classList.remove("now", "calls"));
  const listing = document.querySelector(`[data-launch="${state.launch}"]`);
  const pane = listing.closest(".source");
  const rowAt = place => listing.querySelector(`tr[data-line="${CSS.escape(place)}"]`);
  listing.querySelectorAll("td[data-mark]").forEach(cell => cell.removeAttribute("data-mark"));
  for (const {mark, step: other} of found()) {
    const cell = rowAt(launch.places[other.place].at.split(" from ")[0])?.firstElementChild;
    if (cell) cell.dataset.mark = (cell.dataset.mark ?? "") + mark;
  }
  const [inner, outer] = launch.places[step.place].at.split(" from ").map(rowAt);
  inner?.classList.add("now");
  outer?.classList.add("calls");
  const row = outer ?? inner, top = element => element.getBoundingClientRect().top;
  if (row) pane.scrollTop += top(row) - top(pane) - pane.clientHeight / 2;
}
