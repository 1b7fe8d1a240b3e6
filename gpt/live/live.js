// What the page shows of the runs of log.js with the charts of charts.js, and the questions to its server.
const at = name => document.getElementById(`live-${name}`);
const charts = new Map();  // name of a number → Chart
const SAMPLES = 20;
const FIRST = ["loss", "lr", "grad_norm", "tokens_per_second"];
const TITLES = {
  loss: "loss (nats per token)", lr: "learning rate", grad_norm: "norm of the gradient",
  tokens_per_second: "tokens per second",
};
// Title; values of no color and of the full one, null: those of the numbers; whether colors show logarithms.
const LAYERS = {
  grad_norm: ["norm of the gradient", null, null, true],
  update_ratio: ["update / weight", null, null, true],
  attention_entropy: ["attention entropy (nats)", null, null, false],
  dead_units: ["dead units (share)", 0, 1, false],
};
let lost = "";             // why there is no answer

const titled = (title, run) => runs.size > 1 ? `${title}: ${label(run)}` : title;
const heading = text => make("th", {scope: "col"}, text);

// Fill a place of the page, below a title, or empty it.
function fill(name, title, children) {
  at(name).replaceChildren(...children.length ? [make("h2", {}, title), ...children] : []);
}

function showState() {
  const run = runs.get(focus);
  const state = runs.size > 1 ? `${runs.size} runs` : run ? stateOf(run) : "Waiting for a log.";
  at("state").className = lost ? "lost" : "";
  at("state").textContent = lost ? `${lost} ${run ? state : ""}` : state;
}

function showRuns() {
  const all = [...runs.values()];
  at("runs").replaceChildren(...all.length === 1 ? tiles(all[0]) : [table(all)]);
}

function tiles(run) {
  const found = facts(run).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  const done = make("i");
  done.style.width = `${Math.min(100, 100 * run.step / (steps(run) || Infinity))}%`;
  return [make("dl", {class: "tiles"}, ...found), make("div", {class: "meter"}, done)];
}

function table(all) {
  const names = [...new Set(all.flatMap(run => facts(run).map(([name]) => name)))];
  const rows = all.map(run => {
    const box = make("input", {type: "checkbox", "aria-label": `draw ${label(run)}`});
    box.checked = run.shown;
    box.addEventListener("change", () => { run.shown = box.checked; show(); });
    const name = make("button", {title: `${run.name}: show its samples and layers`}, label(run));
    name.addEventListener("click", () => { [focus, touched] = [run.name, true]; show(); });
    const found = new Map(facts(run));
    return make(
      "tr", {class: run.name === focus ? "chosen" : ""},
      make("td", {}, box, " ", make("span", {class: `key c${run.color}`}), name),
      ...names.map(key => make("td", {}, found.get(key) ?? "")),
      make("td", {}, stateOf(run)),
    );
  });
  return make("table", {}, make("tr", {}, ...["run", ...names, ""].map(heading)), ...rows);
}

// ---- charts -----------------------------------------------------------------------------------------------

function lossCurves(run, points, val, several) {
  const kind = `c${several ? run.color : 0}`;
  const named = word => several ? `${label(run)} ${word}` : word;
  const raw = at("raw").checked || points.length < 20;
  const smoothed = {label: named("batch, smoothed"), kind, points: smooth(points), pale: several};
  return [
    {label: named("batch"), kind, points, pale: !raw || several, silent: !raw},
    ...raw ? [] : [smoothed],
    {label: named("validation"), kind: several ? kind : "c1", points: val, dots: true},
  ];
}

function showCharts() {
  const list = [...runs.values()].filter(run => run.shown);
  const tokens = at("axis").value === "tokens" && list.every(tokensOfStep);
  const scale = run => tokens ? tokensOfStep(run) : 1;
  const scaled = (run, points) => (points ?? []).map(([x, y]) => [x * scale(run), y]);
  const several = list.length > 1;
  const seen = new Set(["loss", ...list.flatMap(run => [...run.curves.keys()])]);
  const others = [...seen].filter(key => !FIRST.includes(key)).sort();
  const keys = [...FIRST.filter(key => seen.has(key)), ...others];
  for (const key of keys.filter(key => !charts.has(key))) {
    charts.set(key, new Chart(TITLES[key] ?? key, key === "loss" ? 300 : 160, point));
  }
  const figures = keys.map(key => charts.get(key).figure);
  if (figures.some((figure, i) => figure !== at("charts").children[i]) ||
      figures.length !== at("charts").children.length) {
    at("charts").replaceChildren(...figures);
  }
  const last = Math.max(1, ...list.map(run => run.step * scale(run)));
  for (const key of keys) {
    const curves = list.flatMap(run => {
      const points = scaled(run, run.curves.get(key));
      if (key === "loss") return lossCurves(run, points, scaled(run, run.val), several);
      return [{label: "", title: label(run), kind: `c${several ? run.color : 0}`, points}];
    });
    const log = key === "loss" && at("log").checked;
    charts.get(key).draw(curves, [0, last], log, tokens ? "tokens" : "steps");
  }
}

// Move the cursor of all charts; null: away.
function point(x) {
  for (const chart of charts.values()) if (chart.marker) chart.mark(x);
}

// ---- layers, samples, settings ----------------------------------------------------------------------------

// A picture of one measurement: a row for each part of the model, a column for each step.
function layerPicture(key, history) {
  const [title, least, greatest, log] = LAYERS[key];
  const valueOf = (line, part) => line.find(p => p.part === part)?.[key];
  const [lastStep, lastLine] = history.at(-1);
  const parts = lastLine.map(p => p.part).filter(part => typeof valueOf(lastLine, part) === "number");
  if (!parts.length) return null;
  const every = Math.ceil(history.length / 60);
  const columns = history.filter((_, i) => (history.length - 1 - i) % every === 0);
  const form = value => log ? Math.log(Math.max(value, 1e-12)) : value;
  const values = columns.flatMap(([, line]) => parts.map(part => valueOf(line, part)));
  const numbers = values.filter(value => typeof value === "number").map(form);
  const low = least ?? Math.min(...numbers), high = greatest ?? Math.max(...numbers);
  const left = 12 + 6.7 * Math.max(...parts.map(part => part.length));
  const width = 520, right = 70, height = 18, each = (width - left - right) / columns.length;
  const cell = (part, i, [step, line], j) => {
    const value = valueOf(line, part);
    if (typeof value !== "number") return [];
    const strength = high > low ? (form(value) - low) / (high - low) : 0.5;
    const box = {
      x: left + j * each, y: i * height + 1, width: each > 6 ? each - 1 : each, height: height - 2,
      "fill-opacity": (0.06 + 0.9 * strength).toFixed(3),
    };
    return [make("rect", box, make("title", {}, `${part} at step ${step}: ${short(value)}`))];
  };
  const rows = parts.flatMap((part, i) => {
    const y = i * height + 13;
    return [
      make("text", {x: left - 6, y, "text-anchor": "end"}, part),
      ...columns.flatMap((column, j) => cell(part, i, column, j)),
      make("text", {class: "number", x: width - right + 6, y}, short(valueOf(lastLine, part))),
    ];
  });
  const size = {viewBox: `0 0 ${width} ${parts.length * height + 2}`, role: "img", "aria-label": title};
  const from = columns[0][0];
  const when = from === lastStep ? `step ${from}` : `steps ${from} to ${lastStep}; right: the last`;
  const caption = make("figcaption", {}, make("strong", {}, title), make("span", {class: "soft"}, when));
  return make("figure", {}, caption, make("svg", size, ...rows));
}

function showHealth(run) {
  const history = run?.health ?? [];
  const found = history.length ? Object.keys(LAYERS).map(key => layerPicture(key, history)) : [];
  const pictures = found.filter(Boolean);
  const grid = pictures.length ? [make("div", {class: "layers"}, ...pictures)] : [];
  fill("health", titled("Health by layer", run), grid);
}

function showSamples(run) {
  const newest = [...run?.samples ?? []].sort((a, b) => b[0] - a[0]).slice(0, SAMPLES);
  fill("samples", titled("Samples", run), newest.map(([step, text]) => {
    const when = make("span", {class: "soft"}, `step ${whole(step)}`);
    return make("div", {class: "sample"}, when, make("pre", {}, text.replace(/^\n+|\n+$/g, "")));
  }));
}

// The settings of a run, or where several runs differ.
function showSettings() {
  const all = [...runs.values()], several = all.length > 1;
  const fields = all.map(run => ({...run.config.model, ...run.config.train}));
  const said = (config, name) => JSON.stringify(config[name]) ?? "";
  const differ = name => name !== "out_dir" && new Set(fields.map(f => said(f, name))).size > 1;
  const names = [...new Set(fields.flatMap(Object.keys))].filter(name => !several || differ(name));
  const rows = names.map(name =>
    make("tr", {}, make("th", {scope: "row"}, name), ...fields.map(f => make("td", {}, said(f, name)))));
  const heads = make("tr", {}, ...["field", ...all.map(label)].map(heading));
  const title = make("summary", {}, several ? "Settings that differ" : "Settings");
  const box = make("details", {}, title, make("div", {class: "scroll"}, make("table", {}, heads, ...rows)));
  box.open = at("settings").querySelector("details")?.open ?? several;
  at("settings").replaceChildren(...rows.length ? [box] : []);
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
    if (receive(answer) || before !== lost) show();
    else { showState(); showRuns(); }
    if (answer.runs.some(said => said.more)) wait = 0;
    else if (answer.ended) return;
  } catch {
    lost = "No answer: the training has ended, or was stopped. python -m gpt watch RUN shows it again.";
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
