// The same particles in another run, and two sets of particles against each other.

import { ask, newestOnly } from "./api.js";
import { at, counted, make } from "./dom.js";
import { LatentMap } from "./map.js";
import { csvOf, literal, offerSaving, pngOf, quoted } from "./saving.js";

const REST = "rest";

export class Compare {
  // `app`: runs(), run(), number(), selection(), basket(), select(region), markedOf(k), stateName(k), failed
  constructor(app) {
    this.app = app;
    this.refresh = newestOnly(() => this.fetch(), app.failed);
    this.map = new LatentMap(at("other-density"), at("other-overlay"), {
      selected: (region) => app.select({
        kind: "shared", run: this.other, steps: [{ how: "replace", region }],
      }),
      pointed: () => {},
      shown: ({ meta }) => {
        const { xname, yname } = this.kind;
        at("other-status").textContent = `Across: ${xname}. Up: ${yname}. ${counted(meta.inside)} particles in view; a lasso selects the same particles of ${app.run().name}.`;
      },
      failed: app.failed,
    });
    at("other").addEventListener("change", () => this.refresh());
    at("other-map").addEventListener("change", () => this.showMap());
    at("compare-sets").addEventListener("submit", (event) => {
      event.preventDefault();
      this.compare().catch(app.failed);
    });
    offerSaving("across-save", () => `${app.run().name}-${this.theirs.name}`, {
      files: { png: () => pngOf(at("other-density"), at("other-overlay")), csv: () => this.table() },
      lines: () => this.lines(),
    }, app.failed);
    offerSaving("sets-save", () => `${app.run().name}-sets`, {
      files: { csv: () => this.setsTable() }, lines: () => [["Python:",
        `cryolatent.analysis.set_difference.set_differences({name: table[[name]].to_numpy() for name in ["z0"]}, first, second)`,
      ]],
    }, app.failed);
    at("sets-save").hidden = true;
  }

  get other() {
    return Number(at("other").value);
  }

  get theirs() {
    return this.app.runs()[this.other];
  }

  get kind() {
    return this.theirs.maps[Math.max(at("other-map").selectedIndex, 0)];
  }

  restart() {
    const others = this.app.runs().map((run, k) => [run, k]).filter(([run, k]) => k !== this.app.number() && !run.training);
    at("other").replaceChildren(...others.map(([run, k]) => new Option(run.name, k)));
    at("across").hidden = !others.length;
    at("alone").hidden = others.length > 0;
    at("differences").replaceChildren();
    at("sets-save").hidden = true;
  }

  show() {
    this.fillSets();
    if (!at("across").hidden) this.refresh();
  }

  fillSets() {
    const kept = this.app.basket().filter((entry) => entry.run === this.app.number());
    const sets = [["The selection", ""], ...kept.map((entry) => [entry.name, entry.key])];
    for (const [id, first] of [["set-a", []], ["set-b", [["all others", REST]]]]) {
      const chosen = at(id).options.length ? at(id).value : null;
      at(id).replaceChildren(...[...first, ...sets].map(([name, value]) => new Option(name, value)));
      if ([...at(id).options].some((option) => option.value === chosen)) at(id).value = chosen;
    }
  }

  showMap() {
    const { x, y } = this.kind;
    const marked = this.app.markedOf(this.other);
    const { steps } = this.app.selection();
    const region = { kind: "shared", run: this.app.number(), steps };
    const selection = { steps: steps.length ? [{ how: "replace", region }] : [] };
    const groups = this.theirs.states.map((state) => marked.name(state.number));
    this.map.show({ run: this.other, x, y, column: { name: "cluster", groups }, states: marked.drawn, selection });
  }

  async fetch() {
    const run = this.other;
    if (this.filled !== run) {
      at("other-map").replaceChildren(...this.theirs.maps.map((one) => new Option(one.name)));
      this.filled = run;
    }
    this.showMap();
    const found = await ask(`runs/${this.app.number()}/contingency`, { other: run, selection: this.app.selection() });
    this.found = found;
    const agree = found.ari === null ? "" : ` Adjusted Rand index ${found.ari.toFixed(3)}: 1 is the same states, 0 chance.`;
    const whose = this.app.selection().steps.length ? "selected particles" : "particles";
    at("across-note").textContent = `${counted(found.particles)} ${whose} that are in both runs.${agree}`;
    at("contingency").replaceChildren(...this.rows(found));
  }

  rows({ counts }) {
    const theirs = this.app.markedOf(this.other);
    const most = Math.max(1, ...counts.flat());
    const head = make("tr", {}, make("td"), ...counts[0].map((_, k) => make(
      "th", { scope: "col", textContent: theirs.name(k) },
    )));
    return [head, ...counts.map((row, k) => make(
      "tr", {}, make("th", { scope: "row", textContent: this.app.stateName(k) }),
      ...row.map((count) => {
        const cell = make("td", { textContent: counted(count) });
        cell.style.setProperty("--share", `${(85 * count) / most}%`);
        return cell;
      }),
    ))];
  }

  stepsOf(key) {
    const entry = this.app.basket().find((one) => one.key === key);
    return { steps: entry ? entry.steps : this.app.selection().steps };
  }

  async compare() {
    at("compare-them").disabled = true;
    at("compare-them").textContent = "Comparing …";
    try {
      const second = at("set-b").value === REST ? null : this.stepsOf(at("set-b").value);
      const found = await ask(`runs/${this.app.number()}/sets`, { first: this.stepsOf(at("set-a").value), second });
      this.sets = found;
      at("sets-save").hidden = false;
      const both = found.both ? ` ${counted(found.both)} are in both and count in neither.` : "";
      at("sets-note").textContent = `A: ${counted(found.first)}, B: ${counted(found.second)} particles.${both} Grey: what random sets of these sizes reach; a dot beyond it is a difference.`;
      at("differences").replaceChildren(...this.differences(found.differences));
    } finally {
      at("compare-them").disabled = false;
      at("compare-them").textContent = "Compare";
    }
  }

  differences(all) {
    const most = Math.max(...all.map((one) => Math.max(one.distance, one.null.high))) || 1;
    const number = (value) => (value === null ? "" : Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 4 }));
    const head = ["", "mean of A", "mean of B", "apart, in standard deviations", "p", "p, of all"];
    return [
      make("tr", {}, ...head.map((textContent) => make("th", { scope: "col", textContent }))),
      ...all.map((one) => {
        const bar = make("div", { className: "apart", role: "img", ariaLabel: `${one.distance.toFixed(2)}; random sets up to ${one.null.high.toFixed(2)}` });
        bar.style.setProperty("--null", `${(100 * one.null.high) / most}%`);
        bar.style.setProperty("--at", `${(100 * one.distance) / most}%`);
        const row = make("tr", {},
          make("th", { scope: "row", textContent: this.app.columnTitle(one.name) }),
          make("td", { textContent: number(one.first) }), make("td", { textContent: number(one.second) }),
          make("td", {}, bar, make("span", { textContent: one.distance.toFixed(2) })),
          make("td", { textContent: one.p.toPrecision(2) }), make("td", { textContent: one.p_of_all.toPrecision(2) }));
        if (one.p_of_all <= 0.05) row.className = "differs";
        return row;
      }),
    ];
  }

  table() {
    const theirs = this.app.markedOf(this.other);
    const names = this.found.counts.map((_, k) => this.app.stateName(k));
    const columns = this.found.counts[0].map((_, k) => [theirs.name(k), this.found.counts.map((row) => row[k])]);
    return csvOf({ [`${this.app.run().name} / ${this.theirs.name}`]: names, ...Object.fromEntries(columns) });
  }

  setsTable() {
    const all = this.sets.differences;
    const of = (name) => all.map((one) => one[name] ?? "");
    return csvOf({
      quantity: of("name"), mean_a: of("first"), mean_b: of("second"), distance: of("distance"),
      null_high: all.map((one) => one.null.high), p: of("p"), p_of_all: of("p_of_all"),
    });
  }

  lines() {
    const [mine, theirs] = [this.app.run().path, this.theirs.path];
    const column = (path) => `cryolatent.open_run(${literal(path)}).table()["cluster"]`;
    return [
      ["Shell:", `cryolatent report ${quoted(mine)} ${quoted(theirs)} -o both.html`],
      ["Python:", `pandas.crosstab(${column(mine)}, ${column(theirs)})`],
    ];
  }
}
