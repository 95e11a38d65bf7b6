// The page: reads the runs, and joins map, states, volumes, selection and basket.

import { ask, get, newestOnly } from "./api.js";
import { Basket } from "./basket.js";
import { percent, showCards } from "./cards.js";
import { groupColours, rampCss } from "./colours.js";
import { LatentMap } from "./map.js";
import { Store } from "./store.js";
import { Volumes } from "./volumes.js";

const at = (id) => document.getElementById(id);
const ORIGINS = {
  belief: "What the run believes", map: "Maps", truth: "Truth", file: "Particle file",
};
const HELPERS = ["strip", "spread"];
const SHOWN_MS = 9000;

let runs = [];
let number = 0;
let columns = [];
let silence;

function failed(error) {
  const place = at("message");
  place.textContent = error.message;
  place.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { place.hidden = true; }, SHOWN_MS);
}

const store = new Store(() => changed());
const volumes = new Volumes(failed);
const map = new LatentMap(at("density"), at("overlay"), {
  selected: (region) => store.select(at("how").value, region),
  pointed: (place, scale) => point(place, scale).catch(failed),
  shown: describeMap,
  failed,
});
let basket;

const run = () => runs[number];
const kind = () => run().maps[at("map-kind").selectedIndex];
const colour = () => columns.find((column) => column.name === at("colour").value) ?? null;

async function point(place, scale) {
  const { x, y } = kind();
  const found = await ask(`runs/${number}/nearest`, { x, y, at: place, scale });
  map.mark(found.at);
  const state = run().states[found.cluster];
  volumes.show({ kind: "row", row: found.row }, found.id, state.colour);
}

function showMap() {
  const { x, y } = kind();
  const { states } = run();
  map.show({ run: number, x, y, column: colour(), states, selection: store.selection });
  at("x-name").textContent = kind().xname;
  at("y-name").textContent = kind().yname;
}

function describeMap(data) {
  const inside = data.meta.inside.toLocaleString("en");
  const how = data.x ? "drawn as points" : "counted in bins; points on zoom";
  at("map-status").textContent = `${inside} particles in view, ${how}.`;
  const column = colour();
  at("legend").replaceChildren(...(column ? legend(column, data.meta.range) : []));
}

function legend(column, [low, high]) {
  if (column.groups.length) {
    const own = groupColours(column, run().states);
    return column.groups.map((name, k) => dot(name.replace("cluster", run().group), own[k]));
  }
  const bar = document.createElement("span");
  bar.className = "ramp";
  bar.style.background = rampCss();
  const ends = [low, high].map((value) => {
    const end = document.createElement("span");
    end.textContent = value.toPrecision(3);
    return end;
  });
  return [ends[0], bar, ends[1]];
}

function dot(text, fill, tag = "span") {
  const made = document.createElement(tag);
  const mark = document.createElement("i");
  mark.className = "dot";
  mark.style.background = fill;
  made.append(mark, text);
  return made;
}

function changed() {
  at("undo").disabled = !store.past.length;
  at("redo").disabled = !store.future.length;
  showMap();
  basket.show();
  count();
}

const count = newestOnly(async () => {
  const asked = store.selection;
  const found = await ask(`runs/${number}/selection`, asked);
  at("count").textContent = found.count.toLocaleString("en");
  at("of").textContent = `of ${found.of.toLocaleString("en")} particles (${percent(found.count / found.of)})`;
  for (const id of ["mean", "store"]) at(id).disabled = !found.count;
  at("mean").disabled ||= !run().renders;
  compose(found);
}, failed);

function compose(found) {
  const { states } = run();
  const bars = [];
  const parts = [];
  found.states.forEach((part, k) => {
    if (!part.count) return;
    const bar = document.createElement("span");
    bar.style.background = states[k].colour;
    bar.style.flexGrow = part.count;
    bars.push(bar);
    const text = `${run().group} ${part.number}: ${part.count.toLocaleString("en")}`;
    parts.push(dot(text, states[k].colour, "li"));
  });
  at("composition").replaceChildren(...bars);
  at("composition").setAttribute("aria-label", parts.map((part) => part.textContent).join(", "));
  at("parts").replaceChildren(...parts);
}

function choices(select, list, chosen) {
  const groups = new Map();
  for (const column of list) {
    if (HELPERS.includes(column.name)) continue;
    if (!groups.has(column.origin)) {
      const group = document.createElement("optgroup");
      group.label = ORIGINS[column.origin];
      groups.set(column.origin, group);
    }
    const title = column.name === "cluster" ? run().group : column.name.replace(/^_?rln/, "");
    groups.get(column.origin).append(new Option(title, column.name, false, column.name === chosen));
  }
  select.append(...groups.values());
}

function fillColumns(chosen) {
  at("colour").replaceChildren(new Option("density alone", ""));
  choices(at("colour"), columns, chosen);
  at("column").replaceChildren();
  choices(at("column"), columns.filter((column) => !column.groups.length));
  fillRange();
}

function fillRange() {
  const column = columns.find((one) => one.name === at("column").value);
  if (!column) return;
  [at("low").value, at("high").value] = column.extremes;
}

async function open(next) {
  number = next;
  columns = run().columns;
  at("name").textContent = run().name;
  at("found").textContent = run().found;
  at("verdict").hidden = !run().verdict;
  at("verdict").textContent = `trust: ${run().verdict}`;
  at("verdict").title = run().verdict_sentence;
  at("verdict").dataset.verdict = run().verdict;
  at("map-kind").replaceChildren(...run().maps.map((one) => new Option(one.name)));
  fillColumns("cluster");
  volumes.restart(number);
  const chosen = (state) => {
    store.select("replace", { kind: "members", column: "cluster", values: [state.number] });
    if (state.has_volume) showState(state);
  };
  showCards(at("cards"), number, run(), chosen).catch(failed);
  if (run().states[0]?.has_volume) showState(run().states[0]);
  else if (!run().renders) volumes.say("This run has no decoder; cryolatent volumes reconstructs from its particles.");
  const asked = number;
  get(`runs/${number}/columns`).then((all) => {
    if (asked !== number) return;
    columns = all;
    fillColumns(at("colour").value);
  }).catch(failed);
}

function showState(state) {
  volumes.show({ kind: "cluster", number: state.number }, `${run().group} ${state.number}`, state.colour);
}

function listen() {
  for (const input of document.querySelectorAll("[name=tool]")) {
    input.addEventListener("change", () => {
      map.tool = input.value;
      at("density").dataset.tool = input.value;
    });
  }
  at("closer").addEventListener("click", () => map.zoom(1.5));
  at("farther").addEventListener("click", () => map.zoom(1 / 1.5));
  at("everything").addEventListener("click", () => map.whole());
  at("map-kind").addEventListener("change", showMap);
  at("colour").addEventListener("change", showMap);
  at("run").addEventListener("change", () => switchTo(at("run").selectedIndex));
  at("undo").addEventListener("click", () => store.undo());
  at("redo").addEventListener("click", () => store.redo());
  at("clear").addEventListener("click", () => store.clear());
  at("all").addEventListener("click", () => {
    const values = run().states.map((state) => state.number);
    store.select("replace", { kind: "members", column: "cluster", values });
  });
  at("mean").addEventListener("click", () => {
    volumes.show({ kind: "selection", selection: store.selection }, "Selection");
  });
  at("store").addEventListener("click", () => keep().catch(failed));
  at("column").addEventListener("change", fillRange);
  at("threshold").addEventListener("submit", (event) => {
    event.preventDefault();
    const [low, high] = ["low", "high"].map((id) => Number(at(id).value));
    const ranges = [{ column: at("column").value, low, high }];
    store.select(at("how").value, { kind: "between", ranges });
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    if (event.target.matches("input:not([type=radio], [type=range])")) return;
    event.preventDefault();
    if (event.shiftKey) store.redo();
    else store.undo();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.refresh());
}

async function keep() {
  const taken = new Set([...run().taken, ...store.now.basket.map((entry) => entry.name)]);
  let next = 1;
  while (taken.has(`selection${next}`)) next += 1;
  const entry = { name: `selection${next}`, run: number, steps: store.now.steps };
  const { count: exact } = await ask(`runs/${number}/selection`, { steps: entry.steps });
  store.store({ ...entry, count: exact, key: crypto.randomUUID() });
}

function switchTo(next) {
  at("run").selectedIndex = next;
  open(next);
  store.restart();
}

async function begin() {
  runs = await get("runs");
  basket = new Basket(store, runs, {
    select: (entry) => {
      if (entry.run !== number) switchTo(entry.run);
      store.set({ steps: entry.steps });
    },
    failed,
  });
  at("runs").hidden = runs.length < 2;
  at("run").replaceChildren(...runs.map((one) => new Option(one.name)));
  listen();
  open(0);
  changed();
}

begin().catch(failed);
