// The panel of volumes: what is shown, beside what, at which contour; differences and sections.

import { ask, askNumbers, newestOnly } from "./api.js";
import { theme } from "./colours.js";
import { at, counted } from "./dom.js";
import { literal, offerSaving, pngOf, quoted } from "./saving.js";
import { drawSections } from "./sections.js";
import { drawing, hasWebGl } from "./webgl.js";

const CUBIC_NANOMETRE = 1000;

export class Volumes {
  // `app`: run(), number(), remember(), failed
  constructor(app) {
    this.app = app;
    this.shown = [null, null];
    this.share = null;
    this.level = null;
    this.viewer = null;
    this.draws = hasWebGl();
    at("surface").classList.add("empty");
    this.hint = this.draws ? "Click a place on the map to see its volume."
      : "Volumes need WebGL 2, which this browser has not.";
    this.stale = new Set();
    this.refresh = newestOnly(async () => {
      const frame = at("surface").parentElement;
      frame.setAttribute("aria-busy", "true");
      await this.fetch().finally(() => frame.removeAttribute("aria-busy"));
    }, app.failed);
    at("pin").addEventListener("click", () => this.pin());
    at("unpin").addEventListener("click", () => this.unpin());
    at("measured").addEventListener("click", () => this.turn());
    at("look").addEventListener("change", () => this.load(0, 1));
    at("depth").addEventListener("input", () => this.load(0));
    at("contour").addEventListener("input", () => { this.load(0, 1); app.remember(); });
    offerSaving("volume-save", () => `${app.run().name}-volume`, {
      files: { png: () => this.picture() }, lines: () => this.lines(),
    }, app.failed);
    at("write-volume").addEventListener("click", () => this.write().catch(app.failed));
  }

  // Another run: its boxes may be of another size.
  restart() {
    this.share = null;
    this.viewer?.forget();
    this.shown = [null, null];
    at("surface").classList.add("empty");
    at("look").value = "surface";
    for (const id of ["pin", "write-volume"]) at(id).disabled = true;
    this.describe();
  }

  say(words) {
    at("caption-0").textContent = words;
  }

  // Shows a volume; `of` as the server has it; at one density if `level` is given.
  show(of, title, colour = null, level = null) {
    if (!this.draws) return null;
    this.shown[0] = { of, title, colour, run: this.app.number(), level };
    this.app.remember();
    return this.load(0);
  }

  pin() {
    this.shown[1] = this.shown[0];
    this.load(1);
  }

  unpin() {
    this.shown[1] = null;
    if (at("look").value === "difference") at("look").value = "surface";
    this.viewer.unset(1);
    this.load(0);
  }

  // The model's volume of a state, and the map of its own particles.
  turn() {
    const { of, title, colour } = this.shown[0];
    const kind = of.kind === "cluster" ? "measured" : "cluster";
    this.show({ kind, number: of.number }, title, colour);
  }

  get enclosed() {
    const wider = 2 ** Number(at("contour").value);
    return this.share === null ? null : Math.min(Math.max(this.share * wider, 1e-5), 0.9);
  }

  load(...slots) {
    slots.forEach((slot) => this.stale.add(slot));
    return this.refresh();
  }

  async fetch() {
    const look = at("look").value;
    const flat = look === "sections";
    at("sections").hidden = !flat;
    at("surface").hidden = flat;
    if (flat) {
      this.stale.clear();
      await drawSections(at("sections"), this.shown.filter(Boolean), Number(at("depth").value));
      this.describe();
      return;
    }
    const slots = [...this.stale].filter((slot) => this.shown[slot]);
    this.stale.clear();
    for (const slot of slots) await this.draw(slot, look);
    this.describe();
  }

  async draw(slot, look) {
    const one = this.shown[slot];
    const differs = look === "difference" && slot === 0 && this.shown[1];
    const question = { of: one.of, enclosed: this.enclosed };
    if (one.level !== null) question.level = one.level;
    if (differs) question.minus = this.shown[1].of;
    const drawn = await askNumbers(`runs/${one.run}/volume`, question);
    if (one !== this.shown[slot]) return;
    this.share ??= drawn.meta.asked;
    this.viewer ??= new (await drawing()).Viewer(at("surface"));
    at("surface").classList.remove("empty");
    if (differs) this.viewer.setDifference(slot, drawn, theme("muted"));
    else this.viewer.set(slot, drawn, one.colour ?? theme(slot ? "second" : "first"));
    one.meta = drawn.meta;
    for (const id of ["pin", "write-volume"]) at(id).disabled = false;
  }

  describe() {
    const [one, other] = this.shown;
    const look = at("look").value;
    this.shown.forEach((each, slot) => {
      const said = each?.meta ? `${each.title}, ${each.meta.title}` : slot ? "" : this.hint;
      at(`caption-${slot}`).textContent = said;
    });
    at("unpin").hidden = !other;
    at("look").querySelector("[value=difference]").disabled = !other;
    at("contours").hidden = look === "sections";
    at("depths").hidden = look !== "sections";
    const state = this.app.run()?.states.find(({ number }) => number === one?.of.number);
    const both = ["cluster", "measured"].includes(one?.of.kind) && state?.measured && state.volume;
    at("measured").hidden = !both;
    at("measured").textContent = one?.of.kind === "measured" ? "Show decoded" : "Show measured";
    const meta = one?.meta;
    at("enclosed").textContent = meta ? this.said(meta, look) : "";
  }

  said(meta, look) {
    if (look === "difference") return "Red: more than in the volume that was kept; blue: less; grey: that volume.";
    if (look === "sections") return "";
    if (this.shown[0].level !== null) return "one density along the whole path";
    const inside = Number((meta.enclosed_cubic_angstrom / CUBIC_NANOMETRE).toFixed(0));
    return `encloses ${counted(inside)} nm³${this.shown[1] ? ", the same for both" : ""}`;
  }

  picture() {
    if (at("look").value === "sections") return pngOf(...at("sections").querySelectorAll("canvas"));
    this.viewer.draw();
    return pngOf(at("surface"));
  }

  async write() {
    const { of, run, title } = this.shown[0];
    const name = `${title}-${of.kind}`.replace(/[^\w.+-]+/g, "_").slice(0, 80);
    const done = await ask(`runs/${run}/volume/file`, { of, name });
    at("volume-written").textContent = `Wrote ${done.path}.`;
  }

  lines() {
    const { of, title, meta } = this.shown[0];
    const { path, states } = this.app.run();
    const state = states.find(({ number }) => number === of.number);
    if (state) {
      const file = of.kind === "measured" ? state.measured : state.volume;
      return [
        ["The file:", `${path}/${file}`],
        ["Shell:", `cryolatent analyze ${quoted(path)}`],
        ["Python:", `cryolatent.io.read_volume(${literal(`${path}/${file}`)})`],
      ];
    }
    const python = ["Python:", `cryolatent.open_run(${literal(path)}).volume(${JSON.stringify(meta.latent)})`];
    if (of.kind !== "row") return [python];
    return [["The particles' own map there:", `cryolatent volumes ${quoted(path)} --at ${quoted(title)} -o volumes/`], python];
  }
}
