// A path between two places of the map: its volumes one after the other, and as files.

import { ask, askNumbers } from "./api.js";
import { at } from "./dom.js";
import { csvOf, literal, offerSaving, quoted } from "./saving.js";

const PAUSE_MS = 120;

export class Path {
  // `app`: run(), number(), map, kind(), volumes, enclosed(), failed
  constructor(app) {
    this.app = app;
    this.ends = [];
    this.choosing = false;
    this.found = null;
    this.level = null;
    this.playing = false;
    at("choose-ends").addEventListener("click", () => this.choose());
    for (const id of ["frames", "way"]) at(id).addEventListener("change", () => this.ask().catch(app.failed));
    at("frame").addEventListener("input", () => this.draw().catch(app.failed));
    at("play").addEventListener("click", () => this.play().catch(app.failed));
    at("write-path").addEventListener("click", () => this.write().catch(app.failed));
    // the contour that has been chosen holds for the whole path
    at("contour").addEventListener("input", () => { this.level = null; });
    offerSaving("path-save", () => `${app.run().name}-path`, {
      files: { csv: () => this.table() }, lines: () => this.lines(),
    }, app.failed);
  }

  restart() {
    Object.assign(this, { ends: [], choosing: false, found: null, level: null, playing: false });
    this.show();
  }

  show() {
    const continuous = this.app.run().path_through;
    at("choose-ends").disabled = !continuous;
    for (const id of ["play", "frame", "write-path"]) at(id).disabled = !this.found;
    at("path-save").hidden = !this.found;
    at("play").textContent = this.playing ? "Stop" : "Play";
    const chosen = ["Click the place on the map where the path begins.", "Now the place where it ends."][this.ends.length];
    const found = this.found && `From ${this.ends[0].id} to ${this.ends[1].id}, ${at("way").value === "straight" ? "straight through latent space" : "the shortest way over particles"}; on the map by the particles nearest to it.`;
    at("path-note").textContent = !continuous ? "A run of states alone has no space between them; compare its states as volumes."
      : this.choosing ? chosen : found ?? "Choose two places on the map, and play the volumes between them at one contour.";
  }

  choose() {
    this.restart();
    this.choosing = true;
    this.app.map().follow([]);
    this.show();
  }

  // A place was clicked; whether it is one of the ends.
  took(place) {
    if (!this.choosing) return false;
    this.ends.push(place);
    this.choosing = this.ends.length < 2;
    this.show();
    if (!this.choosing) this.ask().catch(this.app.failed);
    return true;
  }

  get question() {
    const { x, y } = this.app.kind();
    return { ends: this.ends.map((end) => end.row), frames: Number(at("frames").value), way: at("way").value, x, y };
  }

  async ask() {
    if (this.ends.length < 2) return;
    this.found = await ask(`runs/${this.app.number()}/path`, this.question);
    at("frame").max = this.found.latents.length - 1;
    at("frame").value = 0;
    this.level = null;
    this.app.map().follow(this.found.at);
    this.show();
    await this.draw();
  }

  async draw() {
    const of = (values) => ({ kind: "latent", values });
    const { latents, at: places } = this.found;
    if (this.level === null) {
      const question = { of: of(latents[0]), enclosed: this.app.volumes().enclosed, finest: 64 };
      this.level = (await askNumbers(`runs/${this.app.number()}/volume`, question)).meta.level;
    }
    const k = Number(at("frame").value);
    at("frame-note").textContent = `${k + 1} of ${latents.length}`;
    this.app.map().mark(places[k]);
    await this.app.volumes().show(of(latents[k]), `Place ${k + 1} of the path`, null, this.level);
  }

  async play() {
    this.playing = !this.playing;
    this.show();
    const last = this.found.latents.length - 1;
    let step = 1;
    while (this.playing && this.found) {
      const k = Number(at("frame").value);
      if (k >= last) step = -1;
      if (k <= 0) step = 1;
      at("frame").value = k + step;
      await this.draw();
      await new Promise((done) => { setTimeout(done, PAUSE_MS); });
    }
  }

  async write() {
    const name = `path-${this.ends.map((end) => end.row).join("-")}-${at("way").value}-${at("frames").value}`;
    at("path-note").textContent = "Writing …";
    try {
      const done = await ask(`runs/${this.app.number()}/path/files`, { along: this.question, name });
      at("path-note").textContent = `Wrote ${done.frames} volumes, a movie and a ChimeraX script to ${done.path}. The same from a shell: ${done.command}`;
    } catch (error) {
      this.show();
      throw error;
    }
  }

  table() {
    const { latents, at: places } = this.found;
    const axes = latents[0].map((_, k) => [`z${k}`, latents.map((z) => z[k])]);
    const { x, y } = this.app.kind();
    return csvOf({ frame: latents.map((_, k) => k), [x]: places.map((p) => p[0]), [y]: places.map((p) => p[1]), ...Object.fromEntries(axes) });
  }

  lines() {
    const { latents } = this.found;
    const { path } = this.app.run();
    const [first, last] = this.ends.map((end) => quoted(end.id));
    const { frames, way } = this.question;
    return [
      ["Shell, measured volumes too:", `cryolatent path ${quoted(path)} -o path/ --from ${first} --to ${last} --frames ${frames} --way ${way}`],
      ["Python:", `[cryolatent.open_run(${literal(path)}).volume(z) for z in ${JSON.stringify(latents)}]`],
    ];
  }
}
