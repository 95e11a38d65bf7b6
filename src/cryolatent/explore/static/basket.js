// The basket: named selections, and writing them as files.

import { ask } from "./api.js";

const at = (id) => document.getElementById(id);

const parts = () => [...at("entries").querySelectorAll("input, button")];

function button(text, name, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", `${text}: ${name}`);
  made.addEventListener("click", work);
  return made;
}

function copier(text) {
  const made = button("Copy", "command", async () => {
    await navigator.clipboard.writeText(text);
    made.textContent = "Copied";
  });
  return made;
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
    const item = document.createElement("li");
    const line = document.createElement("div");
    line.className = "bar";
    const name = document.createElement("input");
    name.value = entry.name;
    name.setAttribute("aria-label", "Name of the selection");
    name.addEventListener("change", () => this.store.rename(entry, name.value.trim()));
    const count = document.createElement("span");
    const run = this.runs.length > 1 ? ` of ${this.runs[entry.run].name}` : "";
    count.textContent = `${entry.count.toLocaleString("en")} particles${run}`;
    line.append(name, count, button("Select", entry.name, () => this.tell.select(entry)));
    for (const kind of this.runs[entry.run].export_kinds) {
      const writer = button(`Write ${kind}`, entry.name, () => this.write(entry, kind, writer));
      line.append(writer);
    }
    line.append(button("Remove", entry.name, () => this.store.drop(entry)));
    item.append(line, ...this.outcomes(entry));
    return item;
  }

  outcomes(entry) {
    return (this.written.get(entry.key) ?? []).map((done) => {
      const said = document.createElement("div");
      said.className = "written";
      const path = document.createElement("p");
      const [rows, of] = [done.rows, done.of].map((number) => number.toLocaleString("en"));
      path.textContent = `Wrote ${done.path}: ${rows} of ${of} particles. The same from a shell:`;
      const command = document.createElement("code");
      command.textContent = done.command;
      said.append(path, command, copier(done.command));
      return said;
    });
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
