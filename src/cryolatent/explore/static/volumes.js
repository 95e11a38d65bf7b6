// The panel of volumes: what is shown, beside what, at which contour.

import { askNumbers, newestOnly } from "./api.js";
import { theme } from "./colours.js";
import { drawing, hasWebGl } from "./webgl.js";

const at = (id) => document.getElementById(id);
const CUBIC_NANOMETRE = 1000;

export class Volumes {
  constructor(fail) {
    this.shown = [null, null];
    this.run = 0;
    this.share = null;
    this.fail = fail;
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
    }, fail);
    at("pin").addEventListener("click", () => this.pin());
    at("unpin").addEventListener("click", () => this.unpin());
    at("contour").addEventListener("input", () => this.load(0, 1));
  }

  // Another run: its boxes may be of another size.
  restart(run) {
    this.run = run;
    this.share = null;
    this.viewer?.forget();
    this.shown = [null, null];
    at("surface").classList.add("empty");
    at("unpin").hidden = true;
    at("pin").disabled = true;
    this.describe();
  }

  say(words) {
    at("caption-0").textContent = words;
  }

  // Shows a volume; `of` as the server has it.
  show(of, title, colour = null) {
    if (!this.draws) return;
    this.shown[0] = { of, title, colour, run: this.run };
    this.load(0);
  }

  pin() {
    this.shown[1] = this.shown[0];
    at("unpin").hidden = false;
    this.load(1);
  }

  unpin() {
    this.shown[1] = null;
    at("unpin").hidden = true;
    this.viewer.unset(1);
    this.describe();
  }

  get enclosed() {
    const wider = 2 ** Number(at("contour").value);
    return this.share === null ? null : Math.min(Math.max(this.share * wider, 1e-5), 0.9);
  }

  load(...slots) {
    slots.forEach((slot) => this.stale.add(slot));
    this.refresh();
  }

  async fetch() {
    for (const slot of [...this.stale]) {
      this.stale.delete(slot);
      const one = this.shown[slot];
      if (!one) continue;
      const { of, run, colour } = one;
      const drawn = await askNumbers(`runs/${run}/volume`, { of, enclosed: this.enclosed });
      if (one !== this.shown[slot]) continue;
      this.share ??= drawn.meta.asked;
      this.viewer ??= new (await drawing()).Viewer(at("surface"));
      at("surface").classList.remove("empty");
      this.viewer.set(slot, drawn, colour ?? theme(slot ? "second" : "first"));
      one.meta = drawn.meta;
      at("pin").disabled = false;
    }
    this.describe();
  }

  describe() {
    this.shown.forEach((one, slot) => {
      const said = one?.meta ? `${one.title}, ${one.meta.title}` : slot ? "" : this.hint;
      at(`caption-${slot}`).textContent = said;
    });
    const meta = this.shown[0]?.meta;
    if (!meta) {
      at("enclosed").textContent = "";
      return;
    }
    const inside = (meta.enclosed_cubic_angstrom / CUBIC_NANOMETRE).toFixed(0);
    const both = this.shown[1] ? ", the same for both" : "";
    at("enclosed").textContent = `encloses ${Number(inside).toLocaleString("en")} nm³${both}`;
  }
}
