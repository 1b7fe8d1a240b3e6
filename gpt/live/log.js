// Runs and what their logs say: curves, samples, layers, and the numbers of now.
const runs = new Map();  // name → run
const COLORS = 8, SHOWN_FIRST = 6;
const HIDDEN = new Set(["step", "val_loss", "mfu"]);  // numbers without a chart of their own
let focus = null;        // name of the run whose samples and layers are shown
let touched = false;     // whether it was chosen by hand

function emptied(name, config) {
  const old = runs.get(name);
  const first = [...runs.values()].filter(run => run.shown).length < SHOWN_FIRST;
  return {
    name, config,
    curves: new Map(),   // name of a number → its points
    val: [], health: [], samples: new Map(), step: 0, last: {}, age: 0,
    stopped: "",         // the command to go on, if the last line says that it was stopped
    shown: old?.shown ?? first,
    color: old?.color ?? runs.size % COLORS,
  };
}

function take(run, line) {
  const step = line.step;
  if (typeof step !== "number") return;
  run.step = Math.max(run.step, step);
  run.stopped = typeof line.stopped === "string" ? line.stopped : "";
  for (const [key, value] of Object.entries(line)) {
    if (typeof value !== "number") continue;
    run.last[key] = value;
    if (key === "val_loss") run.val.push([step, value]);
    if (HIDDEN.has(key)) continue;
    if (!run.curves.has(key)) run.curves.set(key, []);
    run.curves.get(key).push([step, value]);
  }
  const parts = Array.isArray(line.health) ? line.health.filter(p => typeof p?.part === "string") : [];
  if (parts.length) run.health.push([step, parts]);
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
  for (const name of [...runs.keys()]) {
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
  const differs = (word, i) => i === first.length - 1 || others.some(name => name[i] !== word);
  return run.name.split("/").slice(first.findIndex(differs)).join("/") || run.name;
}

const best = run => run.val.reduce((a, b) => b[1] < a[1] ? b : a, [0, Infinity]);
const steps = run => run.config.train?.max_steps ?? 0;
const whole = number => Math.round(number).toLocaleString("en");

function timeLeft(run) {
  const seconds = (steps(run) - run.step) * tokensOfStep(run) / run.last.tokens_per_second;
  return seconds > 0 && !run.stopped ? duration(seconds) : "";
}

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function stateOf(run) {
  if (steps(run) && run.step >= steps(run)) return "finished";
  return run.stopped ? `stopped; go on with ${run.stopped}` : `last line ${duration(run.age)} ago`;
}

function facts(run) {
  const {last} = run, [when, lowest] = best(run);
  return [
    ["step", whole(run.step) + (steps(run) ? ` / ${whole(steps(run))}` : "")],
    ["loss", last.loss?.toFixed(3)],
    ["validation", last.val_loss?.toFixed(3)],
    ["best", Number.isFinite(lowest) ? `${lowest.toFixed(3)} @ ${whole(when)}` : ""],
    ["learning rate", short(last.lr)],
    ["|g|", short(last.grad_norm)],
    ["tokens/s", last.tokens_per_second === undefined ? "" : whole(last.tokens_per_second)],
    ["MFU", last.mfu === undefined ? "" : `${Math.round(last.mfu * 100)} %`],
    ["time left", timeLeft(run)],
  ].filter(([, value]) => value);
}
