// Sentences about a step.
const VERBS = {load: "loads", store: "stores", atomic: "updates"};

// Markup: attributes that are undefined, null or false are left out; children are markup.
function tag(name, attributes, ...children) {
  const given = Object.entries(attributes).filter(([, value]) => ![undefined, null, false].includes(value));
  const words = given.map(([key, value]) => ` ${key}="${escaped(value)}"`);
  return `<${name}${words.join("")}>${children.join("")}</${name}>`;
}

const MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"};
const escaped = text => String(text).replace(/[&<>"]/g, character => MARKUP[character]);
const strong = text => tag("strong", {}, escaped(text));
const toStep = (number, text = `step ${number + 1}`) => tag("a", {href: "#", "data-step": number}, text);

function sentences(step) {
  const parts = [];
  if (step.what === "barrier") {
    const who = plural(step.size, "thread");
    parts.push(`${strong("Barrier")} of the block, ${lineOf(step.place)}: ${who} meet. ` +
      "What they did before, all see after it.");
  } else if (isRefused(step)) {
    parts.push(`${access(step)} ${refusal()}`);
  } else if (step.memory === undefined) {
    parts.push(`Warp ${step.warp}: ${strong(step.what)}, ${lineOf(step.place)}, by ` +
      `${plural(step.lanes.length, "lane")} (${threadsOf(step.lanes)}).`);
  } else {
    parts.push(request(step), origin(step));
  }
  if (step.warp >= 0 && !isRefused(step)) parts.push(idle(step));
  parts.push(lastWrite(state.cell));
  const finding = launch.findings[state.finding];
  if (finding) parts.push(race(finding));
  return parts.filter(Boolean).map(part => tag("p", {}, part)).join("");
}

// Who touches what, and where.
function access(step) {
  const alone = step.lanes.length === 1, where = escaped(launch.places[step.place].at);
  const who = alone ? `Thread ${threadName(step.lanes[0])}` : `Warp ${step.warp}`;
  if (step.memory === undefined) return `${who} ${strong("takes an index beyond an array")}, at ${where}.`;
  const {space} = launch.memories[step.memory], touched = allElements(step);
  const first = elementName(step.memory, Math.min(...touched));
  const last = elementName(step.memory, Math.max(...touched));
  const what = `${LETTERS[step.what]} ${VERBS[step.what]}`;
  return `${who} ${strong(what)} ${step.size} bytes${alone ? "" : " per lane"}, ` +
    `${space} ${escaped(first === last ? first : `${first} … ${last}`)}, at ${where}.`;
}

function refusal() {
  const why = launch.findings[launch.stopped.finding]?.text;
  return `${strong("Refused")}${why ? `: ${escaped(why)}` : ""}. The launch was stopped here: ` +
    "no thread went on, and nothing later was written.";
}

function request(step) {
  if (state.order !== "warp") return access(step);
  const cost = launch.memories[step.memory].space === "shared" ? passes(step) : traffic(step);
  return `${access(step)} ${step.lanes.length} of 32 lanes are active. ${cost}`;
}

function traffic(step) {
  const moved = sectorsOf(step).length, used = unique(step.offsets).length * step.size;
  const share = Math.round(100 * used / moved / SECTOR), least = Math.ceil(used / SECTOR);
  const best = moved > least ? `not coalesced, ${least} would do` : "coalesced, no fewer would do";
  return `${strong(plural(moved, "sector"))} of 32 bytes, ${share}% of them used: ${best}.`;
}

function passes(step) {
  const {counts, passes, parts} = banksOf(step), most = Math.max(...counts);
  const text = `${strong(plural(passes, "pass", "passes"))} over the banks`;
  if (passes === parts) return `${text}: no conflicts.`;
  const busy = range(32).filter(bank => counts[bank] === most);
  const banks = busy.length > 1 ? `banks ${ranges(busy)} have` : `bank ${busy[0]} has`;
  const ways = parts === 1 ? ` (conflict of ${passes} ways)` : "";
  return `${text} instead of ${parts}${ways}: ${banks} ${most} words, served one after another.`;
}

// Who wrote what is read.
function origin(step) {
  if (step.what === "store") return "";
  const writers = new Map();
  let none = 0;
  for (const element of allElements(step)) {
    const before = history[step.memory].get(element).filter(a => a.what !== "load" && a.number < state.step);
    const last = before.at(-1);
    if (!last) none++;
    else if (writers.has(last.number)) writers.get(last.number).threads.push(last.thread);
    else writers.set(last.number, {...last, threads: [last.thread]});
  }
  const unwritten = launch.memories[step.memory].space === "shared" ? ": uninitialized" : "";
  if (!writers.size) return `No thread of this block wrote it before${unwritten}.`;
  const texts = [...writers.values()].slice(0, 4).map(w =>
    `${threadsOf(unique(w.threads))} at ${toStep(w.number)} (${lineOf(w.place)})`);
  if (writers.size > 4) texts.push(plural(writers.size - 4, "other step"));
  if (none) texts.push(`${plural(none, "element")} by no thread of this block${unwritten}`);
  return `Written by ${texts.join("; ")}.`;
}

// What the chosen element holds after this step, and from whom.
function lastWrite(name) {
  const known = ofElement(name), isWrite = a => a.what !== "load" && !a.refused && a.number <= state.step;
  const now = known.filter(isWrite).at(-1);
  if (!known.length) return "";
  if (!now) return `${strong(name)}: not written by this block up to this step.`;
  const where = `${toStep(now.number)} (${lineOf(now.place)})`;
  return `${strong(name)} = ${escaped(now.value)}, last written by ${now.name} at ${where}.`;
}

// Lanes of the warp that do not take part, by what they do next.
function idle(step) {
  const all = range(LANES).map(i => step.warp * LANES + i).filter(t => t < threadCount());
  const rest = all.filter(t => !step.lanes.includes(t)), beyond = LANES - all.length;
  const parts = beyond ? [`${plural(beyond, "lane")} beyond the end of the block`] : [];
  if (!rest.length || state.order !== "warp") return parts.length ? `This warp has ${parts[0]}.` : "";
  const groups = new Map();
  for (const t of rest) {
    let next = state.step + 1;
    while (next < steps.length && steps[next].what !== "barrier" && !steps[next].lanes.includes(t)) next++;
    groups.set(next, [...groups.get(next) ?? [], t % LANES]);
  }
  for (const [next, lanes] of groups) parts.push(`lanes ${ranges(lanes)} ${later(next)}`);
  const under = launch.places[step.place].under.slice(0, 3).map(text => tag("code", {}, escaped(text)));
  const why = under.length ? ` This line stands under ${under.join(", ")}.` : "";
  return `${strong(`${rest.length} inactive`)}: ${parts.join("; ")}.${why}`;
}

function later(number) {
  const step = steps[number];
  if (!step) {
    if (launch.stopped?.block !== state.block) return "do nothing more in this block";
    const last = stepOf.get(launch.stopped.event), where = last === undefined ? "" : ` at ${toStep(last)}`;
    return `do nothing more before the launch is stopped${where}`;
  }
  const ended = step.what === "barrier" && step.size < threadCount() ? ", or have ended" : "";
  return `do next: ${escaped(step.what)}, ${lineOf(step.place)} (${toStep(number)})${ended}`;
}

// The accesses of the chosen finding in this block, with their marks.
function found() {
  const events = launch.findings[state.finding]?.events ?? [];
  const all = events.map(([block, event], i) => ({block, event, mark: MARKS[i]}));
  return all.filter(f => f.block === state.block && stepOf.has(f.event)).map(({event, mark}) => {
    const number = stepOf.get(event), step = steps[number], lane = step.events.indexOf(event);
    return {mark, number, step, lane, thread: step.lanes[lane]};
  });
}

function race({kind, events}) {
  const here = found(), elsewhere = events.filter(([block]) => block !== state.block);
  const parts = here.map(({mark, number, step, lane, thread}) => {
    const touched = step.memory === undefined ? "" : ` ${elementName(step.memory, elements(step, lane)[0])}`;
    const who = thread === undefined ? "" : `thread ${threadName(thread)} `;
    const what = `${who}${LETTERS[step.what] ?? step.what}${touched}`;
    return `${mark} ${toStep(number)}: ${escaped(what)}, ${lineOf(step.place)}`;
  });
  parts.push(...elsewhere.map(([block]) => `an access in block ${launch.blocks[block].index}`));
  if (!parts.length) {
    parts.push(launch.stopped?.finding === state.finding ? "The launch was stopped there: no thread went on"
      : "its accesses are not among the recorded ones");
  }
  const late = here.length > 1 && here[0].number > here[1].number;
  const note = late ? " In this run ① came first: see the accesses in the order of the run." : "";
  return `${strong("Finding")}: ${escaped(kind)}. ${parts.join("; ")}.${note}`;
}
