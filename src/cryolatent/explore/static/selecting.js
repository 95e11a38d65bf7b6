// The panel of the selection: its count, its states, ranges of columns.

import { ask, newestOnly } from "./api.js";
import { choices } from "./columns.js";
import { at, counted, dot, make, percent } from "./dom.js";

export class Selecting {
  // `app`: run(), number(), store, columns(), stateName(k), failed
  constructor(app) {
    this.app = app;
    this.count = newestOnly(() => this.fetch(), app.failed);
    at("undo").addEventListener("click", () => app.store.undo());
    at("redo").addEventListener("click", () => app.store.redo());
    at("clear").addEventListener("click", () => app.store.clear());
    at("column").addEventListener("change", () => this.fillRange());
    at("threshold").addEventListener("submit", (event) => {
      event.preventDefault();
      const [low, high] = ["low", "high"].map((id) => Number(at(id).value));
      const ranges = [{ column: at("column").value, low, high }];
      app.store.select(at("how").value, { kind: "between", ranges });
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    if (event.target.matches("input:not([type=radio], [type=range])")) return;
    event.preventDefault();
    if (event.shiftKey) this.app.store.redo();
    else this.app.store.undo();
  }

  changed() {
    at("undo").disabled = !this.app.store.past.length;
    at("redo").disabled = !this.app.store.future.length;
    this.count();
  }

  fill() {
    const numbers = this.app.columns().filter((column) => !column.groups.length);
    at("column").replaceChildren();
    choices(at("column"), numbers, this.app.run().group);
    this.fillRange();
  }

  fillRange() {
    const column = this.app.columns().find((one) => one.name === at("column").value);
    if (column) [at("low").value, at("high").value] = column.extremes;
  }

  async fetch() {
    const { app } = this;
    const found = await ask(`runs/${app.number()}/selection`, app.store.selection);
    at("count").textContent = counted(found.count);
    at("of").textContent = `of ${counted(found.of)} particles (${percent(found.count / found.of)})`;
    for (const id of ["mean", "store"]) at(id).disabled = !found.count;
    at("mean").disabled ||= !app.run().renders;
    this.compose(found);
  }

  compose(found) {
    const present = found.states.filter((part) => part.count);
    const colour = (part) => this.app.stateColour(part.number);
    const bars = present.map((part) => {
      const bar = make("span");
      bar.style.background = colour(part);
      bar.style.flexGrow = part.count;
      return bar;
    });
    const parts = present.map((part) => (
      dot(`${this.app.stateName(part.number)}: ${counted(part.count)}`, colour(part), "li")
    ));
    at("composition").replaceChildren(...bars);
    at("composition").ariaLabel = parts.map((part) => part.textContent).join(", ");
    at("parts").replaceChildren(...parts);
  }
}
