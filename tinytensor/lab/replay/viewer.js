// State of the viewer, which is in the address: #launch=0&block=0&step=12&finding=0; keys and clicks.
const state = {launch: 0, block: 0, order: "warp", step: 0, finding: -1, cell: "", show: "thread"};
const start = {...state};
let playing;

const within = (n, list) => Math.max(0, Math.min(n, list.length - 1));

function choices() {
  const select = (name, texts) => {
    at(name).innerHTML = texts.map((text, i) => tag("option", {value: i}, escaped(text))).join("");
  };
  select("launch", launches.map((l, i) => `${i + 1}  ${l.name}`));
  select("block", launch.blocks.map(b => `block ${inGrid(b.index, launch.grid)}`));
  for (const name of ["launch", "block", "order", "show"]) at(name).value = state[name];
  at("slider").max = steps.length - 1;
  at("find").value = state.cell;
  for (const listing of document.querySelectorAll("[data-launch]")) {
    listing.hidden = listing.dataset.launch !== String(state.launch);
  }
  const size = `${plural(threadCount(), "thread")}, ${plural(Math.ceil(threadCount() / LANES), "warp")}`;
  const text = `grid ${sizes(launch.grid)}, block ${sizes(launch.block)}: ${size}. `;
  const end = launch.stopped ? "The launch was stopped before its end. " : "";
  at("cut").textContent = text + end + (launch.note ?? "") + launch.cut;
  const button = (text, i) =>
    tag("button", {"data-finding": i, "aria-pressed": String(i === state.finding)}, escaped(text));
  at("findings").innerHTML = launch.findings.map((f, i) => tag("li", {}, button(f.text, i))).join("");
  at("orders").innerHTML = orders().join("");
  at("findings").parentElement.hidden = !launch.findings.length && !orders().length;
}

// Buttons to the runs of this launch in another order, which follow it in the list.
function orders() {
  const after = launches.slice(state.launch + 1), end = after.findIndex(l => l.of === undefined);
  return after.slice(0, end < 0 ? after.length : end).filter(l => l.of === launch.name).map((other, i) => {
    const few = plural(other.findings.length, "switch", "switches");
    const text = `in another order of threads ${other.result}: ${few}`;
    return tag("button", {"data-entry": state.launch + 1 + i}, escaped(text));
  });
}

function show() {
  const step = steps[state.step];
  at("slider").value = state.step;
  at("count").textContent = `step ${state.step + 1} of ${steps.length}`;
  at("now").innerHTML = sentences(step);
  timeline();
  threadPanel(step);
  memoryPanel(step);
  details();
  source(step);
  if (location.protocol === "about:") return;  // a frame of a notebook has no address
  const told = Object.keys(state).filter(key => key === "step" || state[key] !== start[key]);
  const hash = told.map(key => `${key}=${encodeURIComponent(state[key])}`).join("&");
  window.history.replaceState(null, "", `#${hash}`);
}

// Shows the chosen block anew.
function renew() {
  choose(state.launch, state.block, state.order);
  state.step = within(state.step, steps);
  choices();
  show();
}

function change(values) {
  Object.assign(state, values);
  if ("launch" in values) {
    const order = launches[state.launch].order ?? "warp";
    Object.assign(state, {block: 0, order, step: 0, finding: -1, cell: ""});
  }
  if ("block" in values) state.step = 0;
  renew();
}

// State as in the address.
function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [key, value] of Object.entries(start)) {
    const text = given.get(key);
    state[key] = text === null ? value : typeof value === "number" ? parseInt(text, 10) || 0 : text;
  }
  state.launch = within(state.launch, launches);
  state.block = within(state.block, launches[state.launch].blocks);
  if (!given.has("order")) state.order = launches[state.launch].order ?? start.order;
  if (given.has("step")) openTab();
  if (given.has("finding") && !given.has("step")) jump(state.finding);
  else renew();
}

function openTab() {
  const view = at("root").closest(".view"), all = view?.parentElement;
  if (!view) return;
  const number = [...all.querySelectorAll(".view")].indexOf(view);
  all.querySelectorAll(".tab")[number].checked = true;
}

function go(step) {
  state.step = within(step, steps);
  show();
}

// To the second access of a finding, in its block; in the order of the run if that of warps hides it.
function jump(number) {
  state.finding = number;
  const events = launches[state.launch].findings[number]?.events ?? [];
  if (events.length) {
    const [block, last] = events.at(-1);
    state.block = block;
    choose(state.launch, block, state.order);
    const [first, second] = found().map(f => f.number);
    if (second !== undefined && first > second) state.order = "run";
    choose(state.launch, block, state.order);
    state.step = stepOf.get(last) ?? 0;
  } else if (launches[state.launch].stopped?.finding === number) {  // a barrier, say: to the end of its block
    const {block} = launches[state.launch].stopped;
    if (block >= 0) Object.assign(state, {block, step: Infinity});
  }
  renew();
}

// The next barrier, or the end.
function wall(direction) {
  let i = state.step + direction;
  while (i > 0 && i < steps.length - 1 && steps[i].what !== "barrier") i += direction;
  go(i);
}

function play() {
  if (!playing && state.step === steps.length - 1) go(0);
  const next = () => state.step + 1 < steps.length ? go(state.step + 1) : play();
  playing = playing ? clearInterval(playing) : setInterval(next, 250);
  at("play").textContent = playing ? "❚❚ stop" : "▶ play";
  at("play").setAttribute("aria-pressed", Boolean(playing));
}

const ACTIONS = {
  first: () => go(0),
  before: () => wall(-1),
  back: () => go(state.step - 1),
  play,
  next: () => go(state.step + 1),
  after: () => wall(1),
  last: () => go(steps.length - 1),
};
const KEYS = {Home: "first", End: "last", ArrowLeft: "back", ArrowRight: "next", " ": "play"};
const SHIFTED = {ArrowLeft: "before", ArrowRight: "after"};

document.addEventListener("keydown", event => {
  const {tagName, type} = event.target, action = event.shiftKey ? SHIFTED[event.key] : KEYS[event.key];
  if (event.ctrlKey || event.altKey || event.metaKey || !action || !at("root").checkVisibility()) return;
  if (tagName === "SELECT" || type === "text" || type === "radio") return;
  if (event.key === " " && ["BUTTON", "A", "SUMMARY"].includes(tagName)) return;
  event.preventDefault();
  ACTIONS[action]();
});

const CLICKED = ["data-action", "data-step", "data-finding", "data-cell", "data-thread", "data-entry"];
at("root").addEventListener("click", event => {
  const element = event.target.closest([...CLICKED.map(name => `[${name}]`), "#replay-timeline"].join());
  if (!element) return;
  const {action, step, finding, cell, thread, entry} = element.dataset;
  const name = cell ?? (thread && `thread ${thread}`);
  if (element.tagName === "A") event.preventDefault();
  if (action) ACTIONS[action]();
  else if (step) go(+step);
  else if (finding) jump(+finding);
  else if (entry) {
    change({launch: +entry});
    jump(0);
  } else if (name) change({cell: name});
  else {
    const {left, width} = element.getBoundingClientRect();
    go(Math.floor((event.clientX - left - LEFT) / (width - LEFT) * steps.length));
  }
});

for (const name of ["launch", "block"]) {
  at(name).addEventListener("change", event => change({[name]: +event.target.value}));
}
for (const name of ["order", "show"]) {
  at(name).addEventListener("change", event => change({[name]: event.target.value}));
}
at("find").addEventListener("change", event => {
  change({cell: event.target.value.trim().replace(/\s*\[\s*/g, "[").replace(/\s*\]/g, "]")});
});
at("slider").addEventListener("input", event => go(+event.target.value));
addEventListener("hashchange", read);
new ResizeObserver(timeline).observe(at("timeline"));
read();
