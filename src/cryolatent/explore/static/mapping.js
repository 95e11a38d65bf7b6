// The panel of the map: which map, which colour, its legend.

import { choices, columnTitle } from "./columns.js";
import { groupColours, rampCss } from "./colours.js";
import { at, counted, dot, make } from "./dom.js";
import { LatentMap } from "./map.js";
import { literal, offerSaving, pngOf, quoted } from "./saving.js";

const ANALYSED = /^(pca|umap)_\d$/;

export class Mapping {
  // `app`: run(), number(), store, columns(), states(), table(columns), failed; `tell`: selected(region), pointed(place, scale)
  constructor(app, tell) {
    this.app = app;
    this.map = new LatentMap(at("density"), at("overlay"), {
      ...tell, shown: (data) => this.describe(data), failed: app.failed,
    });
    for (const input of document.querySelectorAll("[name=tool]")) {
      input.addEventListener("change", () => {
        this.map.tool = input.value;
        at("density").dataset.tool = input.value;
      });
    }
    at("closer").addEventListener("click", () => this.map.zoom(1.5));
    at("farther").addEventListener("click", () => this.map.zoom(1 / 1.5));
    at("everything").addEventListener("click", () => this.map.whole());
    at("map-kind").addEventListener("change", () => this.show());
    at("colour").addEventListener("change", () => this.show());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.map.refresh());
    offerSaving("map-save", () => `${app.run().name}-map`, {
      files: {
        png: () => pngOf(at("density"), at("overlay")),
        csv: () => app.table(this.shownColumns()),
      },
      lines: () => this.lines(),
    }, app.failed);
  }

  get kind() {
    return this.app.run().maps[at("map-kind").selectedIndex];
  }

  get colour() {
    return this.app.columns().find((column) => column.name === at("colour").value) ?? null;
  }

  // Maps and columns of another run.
  open() {
    at("map-kind").replaceChildren(...this.app.run().maps.map((one) => new Option(one.name)));
    this.fill("cluster");
  }

  fill(chosen) {
    at("colour").replaceChildren(new Option("density alone", ""));
    choices(at("colour"), this.app.columns(), this.app.run().group, chosen);
  }

  show() {
    const { app } = this;
    const { x, y } = this.kind;
    this.map.show({
      run: app.number(), x, y, column: this.colour, states: app.states(), selection: app.store.selection,
    });
    at("x-name").textContent = this.kind.xname;
    at("y-name").textContent = this.kind.yname;
  }

  describe(data) {
    const how = data.x ? "drawn as points" : "counted in bins; points on zoom";
    at("map-status").textContent = `${counted(data.meta.inside)} particles in view, ${how}.`;
    at("legend").replaceChildren(...(this.colour ? this.legend(this.colour, data.meta.range) : []));
    this.app.remember();
  }

  legend(column, [low, high]) {
    if (column.groups.length) {
      const own = groupColours(column, this.app.states());
      const name = (text, k) => (column.name === "cluster" ? this.app.stateName(k) : text);
      const entries = new Map(column.groups.map((text, k) => [name(text, k), own[k]]));
      return [...entries].map(([text, colour]) => dot(text, colour));
    }
    const bar = make("span", { className: "ramp" });
    bar.style.background = rampCss();
    const [left, right] = [low, high].map((value) => make("span", { textContent: value.toPrecision(3) }));
    return [left, bar, right];
  }

  shownColumns() {
    const colour = this.colour ? [this.colour.name] : [];
    return [...new Set([this.kind.x, this.kind.y, "cluster", ...colour])];
  }

  lines() {
    const { path } = this.app.run();
    const axes = [this.kind.x, this.kind.y];
    const python = axes.every((name) => ANALYSED.test(name))
      ? `pandas.read_parquet(${literal(`${path}/analysis/embedding.parquet`)})[${JSON.stringify(axes)}]`
      : `cryolatent.open_run(${literal(path)}).table()`;
    const coloured = this.colour ? `, coloured by ${columnTitle(this.colour.name, this.app.run().group)}` : "";
    return [
      [`The map's numbers${coloured}, in Python:`, python],
      ["The same maps on a page:", `cryolatent report ${quoted(path)}`],
    ];
  }
}
