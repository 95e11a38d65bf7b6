// The page: reads the runs, and joins map, states, volumes, selection, panels and basket.

import { ask, get, table } from "./api.js";
import { Basket, written } from "./basket.js";
import { Cards } from "./cards.js";
import { columnTitle } from "./columns.js";
import { Compare } from "./compare.js";
import { at, button } from "./dom.js";
import { readLink, writeLink } from "./link.js";
import { Mapping } from "./mapping.js";
import { Marked, UNMARKED } from "./marks.js";
import { Particles } from "./particles.js";
import { Path } from "./path.js";
import { Selecting } from "./selecting.js";
import { Store } from "./store.js";
import { showStrip } from "./strip.js";
import { Tabs } from "./tabs.js";
import { Training } from "./training.js";
import { Volumes } from "./volumes.js";

const SHOWN_MS = 9000;
const FINISHED = ["states", "map", "volumes", "selection", "panels", "basket"];

let runs = [];
let number = 0;
let columns = [];
let kept = {};
let silence;
let ready = false;
let wanted = null;

function failed(error) {
  const place = at("message");
  place.textContent = error.message;
  place.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { place.hidden = true; }, SHOWN_MS);
}

const store = new Store(() => changed());
const run = () => runs[number];
const marked = () => app.markedOf(number);

// What every panel may ask of the page.
const app = {
  store,
  failed,
  run,
  marked,
  number: () => number,
  runs: () => runs,
  basket: () => store.now.basket,
  markedOf: (k) => new Marked(runs[k], store.now.marks[k] ?? UNMARKED),
  select: (region) => store.select(at("how").value, region),
  reload,
  map: () => mapping.map,
  kind: () => mapping.kind,
  volumes: () => volumes,
  columns: () => columns,
  columnTitle: (name) => columnTitle(name, run().group),
  selection: () => store.selection,
  states: () => marked().drawn,
  stateName: (k) => marked().name(k),
  stateColour: (k) => marked().colour(k),
  table: (names) => table(`runs/${number}/table`, { columns: names, selection: store.selection }),
  remember,
  showRow: (row, id, cluster) => volumes.show({ kind: "row", row }, id, app.stateColour(cluster)),
  chosen: (group) => {
    app.select({ kind: "members", column: "cluster", values: group.members });
    if (group.volume) showState(group);
  },
  mark: (marks) => store.set({ marks: { ...store.now.marks, [number]: marks } }),
};

const volumes = new Volumes(app);
const cards = new Cards(app);
const selecting = new Selecting(app);
const particles = new Particles(app);
const mapping = new Mapping(app, {
  selected: app.select,
  pointed: (place, scale) => point(place, scale).catch(failed),
});
const compare = new Compare(app);
const inTraining = new Training(app);
const path = new Path(app);
const panels = { particles, path, compare };
const tabs = new Tabs("tabs", panels, remember);
let basket;

async function point(place, scale) {
  const { x, y } = mapping.kind;
  const found = await ask(`runs/${number}/nearest`, { x, y, at: place, scale });
  mapping.map.mark(found.at);
  if (!path.took(found)) app.showRow(found.row, found.id, found.cluster);
}

function changed() {
  if (run().training) return;
  keepMarks();
  cards.show();
  mapping.show();
  basket.show();
  selecting.changed();
  Object.values(panels).forEach((panel) => panel.changed?.());
  tabs.show();
  remember();
}

// What is said of states outlives the page.
function keepMarks() {
  const marks = store.now.marks[number];
  if (!marks || marks === kept[number]) return;
  kept[number] = marks;
  ask(`runs/${number}/marks`, marks).catch(failed);
}

// All states as files, merged and without junk as they have been marked.
function offerStates() {
  const writers = run().export_kinds.map((kind) => button(`Write each state as ${kind}`, async (event) => {
    event.target.disabled = true;
    try {
      const name = run().name.replace(/[^\w.+-]+/g, "_");
      const done = await ask(`runs/${number}/states`, { name, kind });
      at("states-written").replaceChildren(...done.map(written));
    } catch (error) {
      failed(error);
    }
    event.target.disabled = false;
  }));
  at("states-written").replaceChildren();
  at("write-states").replaceChildren(...writers);
}

function showState(state) {
  volumes.show({ kind: "cluster", number: state.number }, app.stateName(state.number), state.colour);
}

function fillColumns(chosen) {
  mapping.fill(chosen);
  selecting.fill();
  particles.fillOrder();
}

function open(next, chosen = "cluster") {
  number = next;
  wanted = chosen;
  columns = run().columns ?? [];
  at("name").textContent = run().name;
  at("found").textContent = run().found ?? run().training;
  showStrip(run());
  const training = Boolean(run().training);
  at("training").hidden = !training;
  for (const id of FINISHED) at(id).hidden = training;
  if (training) {
    inTraining.show();
    return;
  }
  mapping.open();
  volumes.restart();
  Object.values(panels).forEach((panel) => panel.restart?.());
  fillColumns(chosen);
  offerStates();
  cards.restart();
  const first = marked().groups.find((state) => state.volume);
  if (first) showState(first);
  else if (!run().renders) volumes.say("This run has no decoder; cryolatent volumes reconstructs from its particles.");
  const asked = number;
  get(`runs/${number}/columns`).then((all) => {
    if (asked !== number) return;
    columns = all;
    fillColumns(wanted ?? at("colour").value);
    if (wanted && wanted !== "cluster") mapping.show();
    wanted = null;
  }).catch(failed);
}

function remember() {
  if (!ready || run().training) return;
  writeLink({
    run: number,
    map: at("map-kind").selectedIndex,
    colour: at("colour").value,
    window: mapping.map.window,
    steps: store.now.steps,
    panel: tabs.shown,
    contour: Number(at("contour").value),
    of: volumes.shown[0]?.of ?? null,
  });
}

// Goes to where the address says; what it says wrongly is left out.
function restore(view) {
  if (view.map in run().maps) at("map-kind").selectedIndex = view.map;
  if (Number.isFinite(view.contour)) at("contour").value = view.contour;
  if (Array.isArray(view.steps)) store.now.steps = view.steps;
  if (Array.isArray(view.window)) mapping.map.wanted = view.window;
  if (view.of?.kind) volumes.show(view.of, "As it was");
}

function listen() {
  at("run").addEventListener("change", () => switchTo(at("run").selectedIndex));
  at("all").addEventListener("click", () => {
    const values = marked().groups.filter((group) => !group.junk).flatMap((group) => group.members);
    store.select("replace", { kind: "members", column: "cluster", values });
  });
  at("mean").addEventListener("click", () => {
    volumes.show({ kind: "selection", selection: store.selection }, "Selection");
  });
  at("store").addEventListener("click", () => keep().catch(failed));
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

// What has been written since.
async function reload() {
  runs = await get("runs");
  basket.runs = runs;
  fillRuns();
  switchTo(number);
}

function fillRuns() {
  at("runs").hidden = runs.length < 2;
  at("run").replaceChildren(...runs.map((one) => new Option(one.training ? `${one.name} (in training)` : one.name)));
  kept = Object.fromEntries(runs.map((one, k) => [k, one.marks]));
  store.now.marks = { ...kept };
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
  fillRuns();
  listen();
  const view = readLink();
  at("run").selectedIndex = view.run in runs ? view.run : 0;
  open(at("run").selectedIndex, typeof view.colour === "string" ? view.colour : "cluster");
  if (!run().training) restore(view);
  ready = true;
  if (view.panel) tabs.open(view.panel);
  changed();
}

begin().catch(failed);
