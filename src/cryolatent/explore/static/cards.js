// The states: population, surface, a click selects; a menu renames, merges, marks as junk.

import { askNumbers } from "./api.js";
import { at, button, counted, make, percent } from "./dom.js";
import { drawing, hasWebGl } from "./webgl.js";

const SHAPE = [200, 150];
const FINEST = 48;

export class Cards {
  // `app`: run(), number(), marked(), chosen(group), mark(marks), failed
  constructor(app) {
    this.app = app;
    this.pictures = new Map();
  }

  // Another run has other surfaces.
  restart() {
    this.pictures = new Map();
    this.show();
    this.draw().catch(this.app.failed);
  }

  show() {
    const marked = this.app.marked();
    at("cards").replaceChildren(...marked.groups.map((group) => this.card(group, marked)));
  }

  card(group, marked) {
    const picture = this.pictures.get(group.number) ?? null;
    const lines = [`${counted(group.size)} particles`];
    if (group.resolution_angstrom) lines.push(`own map to ${group.resolution_angstrom.toFixed(1)} Å`);
    const notes = group.nearest_state ? [`mostly ${group.nearest_state}`] : [];
    const card = make(
      "button", { type: "button", className: "card" }, picture,
      make("strong", { textContent: `${group.name} · ${percent(group.population)}` }),
      ...lines.map((textContent) => make("span", { textContent })),
      ...notes.map((textContent) => make("span", { className: "note", textContent })),
    );
    card.style.setProperty("--c", group.colour);
    card.addEventListener("click", () => this.app.chosen(group));
    return make("li", { className: group.junk ? "junk" : "" }, card, this.menu(group, marked));
  }

  menu(group, marked) {
    const { mark } = this.app;
    const name = make("input", { value: marked.marks.names[group.number] ?? "", maxLength: 60, placeholder: group.name });
    name.addEventListener("change", () => mark(marked.renamed(group.number, name.value)));
    const others = marked.groups.filter((other) => other.number !== group.number);
    const into = make("select", {}, new Option("…", ""), ...others.map((other) => new Option(other.name, other.number)));
    into.addEventListener("change", () => mark(marked.mergedInto(group.number, Number(into.value))));
    const junk = button(group.junk ? "No junk" : "Mark as junk", () => mark(marked.junked(group.number)));
    const body = make(
      "div", { className: "saved" },
      make("label", {}, "Name ", name),
      others.length ? make("label", {}, "One with ", into) : null,
      make("div", { className: "bar" }, junk,
        group.members.length > 1 ? button("Part them again", () => mark(marked.parted(group.number))) : null),
    );
    return make("details", { className: "save edit" }, make("summary", { textContent: "Edit", ariaLabel: `Edit ${group.name}` }), body);
  }

  // All of one run at one scale.
  async draw() {
    const run = this.app.number();
    const seen = this.app.run().states.filter((state) => state.volume);
    if (!seen.length || !hasWebGl()) return;
    const drawn = [];
    for (const { number } of seen) {
      const of = { kind: "cluster", number };
      drawn.push(await askNumbers(`runs/${run}/volume`, { of, finest: FINEST }));
    }
    const { reach, Thumbnails } = await drawing();
    if (run !== this.app.number()) return;
    const radius = Math.max(...drawn.map(reach));
    const thumbnails = new Thumbnails(...SHAPE);
    try {
      seen.forEach((state, k) => {
        const picture = make("canvas", { ariaHidden: "true" });
        thumbnails.draw(picture, drawn[k], state.colour, radius);
        this.pictures.set(state.number, picture);
      });
    } finally {
      thumbnails.close();
    }
    this.show();
  }
}
