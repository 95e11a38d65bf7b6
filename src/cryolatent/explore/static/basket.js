// The basket: named selections, and writing them as files.

import { ask } from "./api.js";
import { at, copier, counted, make, button as plain } from "./dom.js";

const parts = () => [...at("entries").querySelectorAll("input, button")];

const button = (text, name, work) => plain(text, work, { ariaLabel: `${text}: ${name}` });

export function written(done) {
  const path = `Wrote ${done.path}: ${counted(done.rows)} of ${counted(done.of)} particles. The same from a shell:`;
  return make(
    "div", { className: "written" }, make("p", { textContent: path }),
    make("code", { textContent: done.command }), copier(done.command),
  );
}

export class Basket {
  // `tell`: select(entry), failed(error)
  constructor(store, runs, tell) {
    this.store = store;
    this.runs = runs;
    this.tell = tell;
    this.written = new Map();
  }

  show() {
    const { basket } = this.store.now;
    at("empty").hidden = basket.length > 0;
    const focused = parts().indexOf(document.activeElement);
    at("entries").replaceChildren(...basket.map((entry) => this.row(entry)));
    parts()[focused]?.focus();
  }

  row(entry) {
    const name = make("input", { value: entry.name, ariaLabel: "Name of the selection" });
    name.addEventListener("change", () => this.store.rename(entry, name.value.trim()));
    const run = this.runs.length > 1 ? ` of ${this.runs[entry.run].name}` : "";
    const count = make("span", { textContent: `${counted(entry.count)} particles${run}` });
    const select = button("Select", entry.name, () => this.tell.select(entry));
    const line = make("div", { className: "bar" }, name, count, select);
    for (const kind of this.runs[entry.run].export_kinds) {
      const writer = button(`Write ${kind}`, entry.name, () => this.write(entry, kind, writer));
      line.append(writer);
    }
    line.append(button("Remove", entry.name, () => this.store.drop(entry)));
    return make("li", {}, line, ...(this.written.get(entry.key) ?? []).map(written));
  }

  async write(entry, kind, writer) {
    writer.disabled = true;
    writer.textContent = "Writing …";
    try {
      const question = { selection: { steps: entry.steps }, name: entry.name, kind };
      const done = await ask(`runs/${entry.run}/export`, question);
      this.written.set(entry.key, [...(this.written.get(entry.key) ?? []), done]);
    } catch (error) {
      this.tell.failed(error);
    }
    this.show();
  }
}
