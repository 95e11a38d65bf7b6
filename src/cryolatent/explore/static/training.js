// A run in training: how far it has come, and its volumes of now.

import { ask, askNumbers } from "./api.js";
import { groupColours } from "./colours.js";
import { at, make } from "./dom.js";
import { csvOf, literal, offerSaving } from "./saving.js";
import { drawing, hasWebGl } from "./webgl.js";

const CHART = [640, 200];
const SHAPE = [220, 165];
const SCORES = ["evidence", "objective", "elbo", "loss"];

function curve(values) {
  const known = values.map((value, k) => [k, value]).filter(([, value]) => value !== null);
  const numbers = known.map(([, value]) => value);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const [width, height] = CHART;
  const last = Math.max(values.length - 1, 1);
  const points = known.map(([k, value]) => (
    `${(k / last) * width},${height - ((value - low) / (high - low || 1)) * height}`
  ));
  return `<svg viewBox="0 -4 ${width} ${height + 8}" preserveAspectRatio="none" aria-hidden="true"><polyline points="${points.join(" ")}"/></svg>`;
}

export class Training {
  // `app`: run(), number(), reload(), failed
  constructor(app) {
    this.app = app;
    at("again").addEventListener("click", () => this.again().catch(app.failed));
    at("score").addEventListener("change", () => this.draw());
    offerSaving("training-save", () => `${app.run().name}-log`, {
      files: { csv: () => csvOf(app.run().log) },
      lines: () => [["Python:", `cryolatent.open_run(${literal(app.run().path)}).run.entries()`]],
    }, app.failed);
  }

  async again() {
    at("again").disabled = true;
    try {
      await ask(`runs/${this.app.number()}/again`, {});
      await this.app.reload();
    } finally {
      at("again").disabled = false;
    }
  }

  show() {
    const { log } = this.app.run();
    const names = Object.keys(log).filter((name) => !["epoch", "step"].includes(name));
    const chosen = names.includes(at("score").value) ? at("score").value
      : SCORES.find((name) => names.includes(name));
    at("score").replaceChildren(...names.map((name) => new Option(name.replaceAll("_", " "), name, false, name === chosen)));
    this.draw();
    this.surfaces().catch(this.app.failed);
  }

  draw() {
    const { log } = this.app.run();
    const values = log[at("score").value] ?? [];
    const chart = make("div", { className: "chart", role: "img" });
    if (values.length > 1) chart.innerHTML = curve(values);
    const last = values.at(-1);
    const said = values.length ? `${values.length} passes; now ${Number(last).toPrecision(6)}, at first ${Number(values[0]).toPrecision(6)}`
      : "Nothing has been logged yet";
    const several = new Set(log.angstrom ?? []).size > 1 ? " Passes at different resolutions cannot be compared." : "";
    chart.ariaLabel = said;
    at("curve").replaceChildren(chart, make("p", { className: "note", textContent: `${said}.${several}` }));
  }

  async surfaces() {
    const run = this.app.number();
    const { volumes } = this.app.run();
    at("drafts").replaceChildren();
    if (!volumes || !hasWebGl()) {
      at("drafts").replaceChildren(make("li", { className: "note", textContent: volumes ? "Volumes need WebGL 2." : "No volumes yet." }));
      return;
    }
    const drawn = [];
    for (let k = 0; k < volumes; k += 1) drawn.push(await askNumbers(`runs/${run}/draft`, { number: k }));
    const { reach, Thumbnails } = await drawing();
    if (run !== this.app.number()) return;
    const radius = Math.max(...drawn.map(reach));
    const colours = groupColours({ groups: drawn.map(() => "") }, []);
    const thumbnails = new Thumbnails(...SHAPE);
    try {
      at("drafts").replaceChildren(...drawn.map((one, k) => {
        const name = volumes > 1 ? `State ${k} of now` : "The middle of latent space";
        const canvas = make("canvas", { role: "img", ariaLabel: name });
        thumbnails.draw(canvas, one, colours[k], radius);
        return make("li", {}, canvas, make("span", { className: "note", textContent: name }));
      }));
    } finally {
      thumbnails.close();
    }
  }
}
