// Runs and their logs, asked for again and again; what the page shows of them. Charts are in charts.js.
const at = name => document.getElementById(`live-${name}`);
const runs = new Map();   // name → run: config, curves (key → points), val, health, samples, step, …
const charts = new Map(); // key → Chart
const COLORS = 8, SHOWN_FIRST = 6, SAMPLES = 20;
const TITLES = {
  loss: "loss (nats per token)", lr: "learning rate", grad_norm: "norm of the gradient",
  tokens_per_second: "tokens per second",
};
const HIDDEN = new Set(["step", "val_loss", "mfu"]);  // numbers without a chart of their own
const LAYERS = {  // title; value of no color and of the full one, null: of the numbers; whether on a scale of logarithms
  grad_norm: ["norm of the gradient", null, null, true], update_ratio: ["update / weight", null, null, true],
  attention_entropy: ["attention entropy (nats)", null, null, false], dead_units: ["dead units (share)", 0, 1, false],
};
let focus = null;   // name of the run whose samples and layers are shown
let cursor = null;  // where the mouse is, in units of the axis
let touched = false;  // whether it was chosen by hand
let lost = "";      // why there is no answer

// ---- what a log says --------------------------------------------------------------------------------------

function emptied(name, config) {
  const old = runs.get(name);
  const first = [...runs.values()].filter(r => r.shown).length < SHOWN_FIRST;
  return {
    name, config, curves: new Map(), val: [], health: [], samples: new Map(), step: 0, last: {}, age: 0,
    shown: old?.shown ?? first, color: old?.color ?? runs.size % COLORS,
  };
}

function take(run, line) {
  const step = line.step;
  if (typeof step !== "number") return;
  run.step = Math.max(run.step, step);
  for (const [key, value] of Object.entries(line)) {
    if (typeof value !== "number") continue;
    run.last[key] = value;
    if (key === "val_loss") run.val.push([step, value]);
    if (HIDDEN.has(key)) continue;
    if (!run.curves.has(key)) run.curves.set(key, []);
    run.curves.get(key).push([step, value]);
  }
  if (Array.isArray(line.health)) run.health.push([step, line.health.filter(p => typeof p?.part === "string")]);
  if (typeof line.sample === "string") run.samples.set(step, line.sample);
}

// Add an answer of the server; whether something is new.
function receive(answer) {
  let news = false;
  for (const said of answer.runs) {
    if (said.fresh || !runs.has(said.name)) {
      runs.set(said.name, emptied(said.name, said.config ?? {}));
      news = true;
    }
    const run = runs.get(said.name);
    for (const line of said.lines) take(run, line);
    Object.assign(run, {position: said.position, age: said.age});
    news ||= said.lines.length > 0;
  }
  for (const name of runs.keys()) {
    if (!answer.runs.some(said => said.name === name)) news = runs.delete(name);
  }
  if (!runs.has(focus) || !touched) {
    const youngest = [...runs.values()].sort((a, b) => a.age - b.age)[0];
    news ||= youngest?.name !== focus;
    focus = youngest?.name ?? null;
  }
  return news;
}

// ---- numbers of a run -------------------------------------------------------------------------------------

// Tokens of a step; null if the config does not say.
function tokensOfStep(run) {
  const {model = {}, train = {}} = run.config;
  const found = model.block_size * train.batch_size * train.gradient_accumulation_steps;
  return found > 0 && !run.config.tune ? found : null;
}

// Names without what all begin with.
function label(run) {
  if (runs.size < 2) return run.name;
  const [first, ...others] = [...runs.keys()].map(name => name.split("/"));
  const same = first.findIndex((word, i) => i === first.length - 1 || others.some(name => name[i] !== word));
  return run.name.split("/").slice(same).join("/") || run.name;
}

const best = run => run.val.reduce((a, b) => b[1] < a[1] ? b : a, [0, Infinity]);
const steps = run => run.config.train?.max_steps ?? 0;

function timeLeft(run) {
  const seconds = (steps(run) - run.step) * tokensOfStep(run) / run.last.tokens_per_second;
  if (!(seconds > 0)) return "";
  return seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function ago(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function stateOf(run) {
  if (steps(run) && run.step >= steps(run)) return "finished";
  return `last line ${ago(run.age)} ago`;
}

function facts(run) {
  const {last} = run, [when, lowest] = best(run);
  const of = steps(run) ? ` / ${steps(run).toLocaleString("en")}` : "";
  return [
    ["step", run.step.toLocaleString("en") + of],
    ["loss", last.loss?.toFixed(3)],
    ["validation", last.val_loss?.toFixed(3)],
    ["best", Number.isFinite(lowest) ? `${lowest.toFixed(3)} @ ${when.toLocaleString("en")}` : undefined],
    ["learning rate", short(last.lr)],
    ["|g|", short(last.grad_norm)],
    ["tokens/s", last.tokens_per_second === undefined ? undefined : Math.round(last.tokens_per_second).toLocaleString("en")],
    ["MFU", last.mfu === undefined ? undefined : `${Math.round(last.mfu * 100)} %`],
    ["time left", timeLeft(run)],
  ].filter(([, value]) => value);
}

// ---- what is shown ----------------------------------------------------------------------------------------

function showState() {
  const run = runs.get(focus);
  at("state").className = lost ? "lost" : "";
  const about = !run ? "Waiting for the first line of a log." : runs.size > 1 ? `${runs.size} runs` : stateOf(run);
  at("state").textContent = lost ? `${lost} ${run ? about : ""}` : about;
}

function showRuns() {
  const all = [...runs.values()];
  if (all.length === 1) {
    const tiles = facts(all[0]).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    const done = make("i");
    done.style.width = `${Math.min(100, 100 * all[0].step / (steps(all[0]) || Infinity))}%`;
    at("runs").replaceChildren(make("dl", {class: "tiles"}, ...tiles), make("div", {class: "meter"}, done));
    return;
  }
  const names = [...new Set(all.flatMap(run => facts(run).map(([name]) => name)))];
  const heads = ["run", ...names, ""].map(name => make("th", {scope: "col"}, name));
  const rows = all.map(run => {
    const found = new Map(facts(run));
    const box = make("input", {type: "checkbox", "aria-label": `draw ${label(run)}`});
    box.checked = run.shown;
    box.addEventListener("change", () => { run.shown = box.checked; show(); });
    const name = make("button", {title: `${run.name}: show its samples and layers`}, label(run));
    name.addEventListener("click", () => { [focus, touched] = [run.name, true]; show(); });
    const first = make("td", {}, box, " ", make("span", {class: `key c${run.color}`}), name);
    const cells = names.map(key => make("td", {}, found.get(key) ?? ""));
    return make("tr", {class: run.name === focus ? "chosen" : ""}, first, ...cells, make("td", {}, stateOf(run)));
  });
  at("runs").replaceChildren(make("table", {}, make("tr", {}, ...heads), ...rows));
}

function curvesOf(key, list, scale) {
  const scaled = (run, points) => points.map(([x, y]) => [x * scale(run), y]);
  const several = list.length > 1;
  return list.flatMap(run => {
    const points = scaled(run, run.curves.get(key) ?? []);
    const kind = `c${several ? run.color : 0}`;
    if (key !== "loss") return [{label: "", title: label(run), kind, points}];
    const val = scaled(run, run.val);
    const named = word => several ? `${label(run)} ${word}` : word;
    const raw = at("raw").checked || points.length < 20;
    return [
      {label: named("batch"), kind, points, pale: !raw || several, silent: !raw},
      ...(raw ? [] : [{label: named("batch, smoothed"), kind, points: smooth(points), pale: several}]),
      {label: named("validation"), kind: several ? kind : "c1", points: val, dots: true},
    ];
  });
}

function showCharts() {
  const list = [...runs.values()].filter(run => run.shown);
  const tokens = at("axis").value === "tokens" && list.every(run => tokensOfStep(run));
  const scale = run => tokens ? tokensOfStep(run) : 1;
  const seen = new Set(list.flatMap(run => [...run.curves.keys()]));
  const known = ["loss", "lr", "grad_norm", "tokens_per_second"];
  const others = [...seen].filter(key => !known.includes(key)).sort();
  const keys = [...known.filter(key => key === "loss" || seen.has(key)), ...others];
  for (const key of keys.filter(key => !charts.has(key))) {
    charts.set(key, new Chart(TITLES[key] ?? key, key === "loss" ? 300 : 160, point));
  }
  const figures = keys.map(key => charts.get(key).figure);
  if (figures.some((figure, i) => figure !== at("charts").children[i])) at("charts").replaceChildren(...figures);
  const last = Math.max(1, ...list.map(run => run.step * scale(run)));
  for (const key of keys) {
    const curves = curvesOf(key, list, scale);
    charts.get(key).draw(curves, [0, last], key === "loss" && at("log").checked, tokens ? "tokens" : "steps");
  }
}

function point(x) {
  cursor = x;
  for (const chart of charts.values()) if (chart.marker) chart.mark(x);
}

// A picture of one measurement: a row for each part of the model, a column for each step.
function layerPicture(key, history) {
  const [title, least, greatest, log] = LAYERS[key];
  const value = (line, part) => line.find(p => p.part === part)?.[key];
  const parts = history.at(-1)[1].map(p => p.part).filter(part => value(history.at(-1)[1], part) !== undefined);
  if (!parts.length) return null;
  const most = 60, every = Math.ceil(history.length / most);
  const columns = history.filter((_, i) => (history.length - 1 - i) % every === 0);
  const form = v => log ? Math.log(Math.max(v, 1e-12)) : v;
  const all = columns.flatMap(([, line]) => parts.map(part => value(line, part))).filter(v => typeof v === "number").map(form);
  const low = least ?? Math.min(...all), high = greatest ?? Math.max(...all);
  const left = 12 + 6.7 * Math.max(...parts.map(part => part.length));
  const width = 520, right = 70, row = 18, each = (width - left - right) / columns.length;
  const cells = parts.flatMap((part, i) => [
    make("text", {x: left - 6, y: i * row + 13, "text-anchor": "end"}, part),
    ...columns.flatMap(([step, line], j) => {
      const v = value(line, part);
      if (typeof v !== "number") return [];
      const strength = high > low ? (form(v) - low) / (high - low) : 0.5;
      const box = {x: left + j * each, y: i * row + 1, width: Math.max(each - (each > 6 ? 1 : 0), 0.5), height: row - 2, "fill-opacity": (0.06 + 0.9 * strength).toFixed(3)};
      return [make("rect", box, make("title", {}, `${part} at step ${step}: ${short(v)}`))];
    }),
    make("text", {class: "number", x: width - right + 6, y: i * row + 13}, short(value(history.at(-1)[1], part))),
  ]);
  const size = {viewBox: `0 0 ${width} ${parts.length * row + 2}`, role: "img", "aria-label": title};
  const from = columns[0][0], to = columns.at(-1)[0];
  const about = make("span", {class: "soft"}, from === to ? `step ${to}` : `steps ${from} to ${to}; right: the last`);
  return make("figure", {}, make("figcaption", {}, make("strong", {}, title), about), make("svg", size, ...cells));
}

function showHealth(run) {
  const found = run?.health.length ? Object.keys(LAYERS).map(key => layerPicture(key, run.health)).filter(Boolean) : [];
  at("health").replaceChildren(...(found.length ? [make("h2", {}, titled("Health by layer", run)), make("div", {class: "layers"}, ...found)] : []));
}

const titled = (title, run) => runs.size > 1 ? `${title}: ${label(run)}` : title;

function showSamples(run) {
  const newest = [...(run?.samples ?? [])].sort((a, b) => b[0] - a[0]).slice(0, SAMPLES);
  const shown = newest.map(([step, text]) =>
    make("div", {class: "sample"}, make("span", {class: "soft"}, `step ${step.toLocaleString("en")}`), make("pre", {}, text.replace(/^\n+|\n+$/g, ""))));
  at("samples").replaceChildren(...(shown.length ? [make("h2", {}, titled("Samples", run)), ...shown] : []));
}

// The settings of a run, or where several runs differ.
function showSettings() {
  const all = [...runs.values()];
  const fields = all.map(run => ({...run.config.model, ...run.config.train}));
  const said = (config, name) => JSON.stringify(config[name]) ?? "";
  const names = [...new Set(fields.flatMap(Object.keys))];
  const listed = all.length > 1 ? names.filter(n => n !== "out_dir" && new Set(fields.map(f => said(f, n))).size > 1) : names;
  const heads = make("tr", {}, ...["field", ...all.map(label)].map(name => make("th", {scope: "col"}, name)));
  const rows = listed.map(n => make("tr", {}, make("th", {scope: "row"}, n), ...fields.map(f => make("td", {}, said(f, n)))));
  const title = all.length > 1 ? "Settings that differ" : "Settings";
  const open = at("settings").querySelector("details")?.open;
  const box = make("details", {}, make("summary", {}, title), make("div", {class: "scroll"}, make("table", {}, heads, ...rows)));
  box.open = open ?? all.length > 1;
  at("settings").replaceChildren(...(rows.length ? [box] : []));
}

function show() {
  const run = runs.get(focus);
  document.title = run ? `${run.step} ${run.name}` : "Training";
  document.querySelector("h1").textContent = runs.size === 1 ? `Training: ${run.name}` : "Training";
  showState();
  showRuns();
  showCharts();
  showHealth(run);
  showSamples(run);
  showSettings();
}

// ---- the server -------------------------------------------------------------------------------------------

async function ask() {
  let wait = document.hidden ? 5000 : 1000;
  try {
    const fields = new URLSearchParams([...runs].map(([name, run]) => [name, run.position]));
    const response = await fetch(`data?${fields}`, {cache: "no-store", signal: AbortSignal.timeout(10000)});
    if (!response.ok) throw new Error(String(response.status));
    const answer = await response.json();
    const before = lost;
    lost = answer.ended ? "The training has ended. python -m gpt watch RUN shows it again." : "";
    if (receive(answer) || before) show();
    else { showState(); showRuns(); }
    if (answer.runs.some(said => said.more)) wait = 0;
    else if (answer.ended) return;
  } catch {
    lost = "No answer from the training: it has ended, or was stopped. python -m gpt watch RUN shows it again.";
    showState();
    wait = 3000;
  }
  setTimeout(ask, wait);
}

for (const name of ["axis", "log", "raw"]) at(name).addEventListener("change", show);
addEventListener("resize", showCharts);
const given = document.getElementById("live-data");
if (given) {
  receive(JSON.parse(given.textContent));
  show();
} else {
  ask();
}
