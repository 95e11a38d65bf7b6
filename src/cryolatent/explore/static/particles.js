// Images of the selected particles, a page at a time: as they are, filtered, expected, left over.

import { askNumbers, newestOnly } from "./api.js";
import { at, button, counted, make } from "./dom.js";
import { csvOf, literal, offerSaving, pngOf } from "./saving.js";
import { drawViews } from "./views.js";

const TITLES = {
  raw: "As it is", low_passed: "Low-passed", expected: "Model", residual: "Residual",
};
const SIZE = 5;
const CHART = [150, 90];
const MOST = 2;

function picture(values, side, name) {
  const canvas = make("canvas", { width: side, height: side, role: "img", ariaLabel: name });
  const image = new ImageData(side, side);
  values.forEach((grey, k) => image.data.set([grey, grey, grey, 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Power of the whitened residual by shell; the line is at one, where it is noise alone.
function chart(values, meanSquare) {
  const [width, height] = CHART;
  const up = (value) => height - (Math.min(value, MOST) / MOST) * height;
  const points = [...values].map((value, k) => `${(k / (values.length - 1)) * width},${up(value)}`);
  const drawn = make("div", { className: "chart", role: "img" });
  drawn.ariaLabel = `χ² by shell, ${meanSquare.toFixed(2)} on average; 1 is noise alone`;
  drawn.innerHTML = `<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
    <line x1="0" x2="${width}" y1="${up(1)}" y2="${up(1)}"/><polyline points="${points.join(" ")}"/></svg>`;
  return drawn;
}

export class Particles {
  // `app`: run(), number(), selection(), columns(), showRow(row, id, cluster), stateName(k), failed
  constructor(app) {
    this.app = app;
    this.page = 0;
    this.refresh = newestOnly(() => this.fetch(), (error) => this.fail(error));
    for (const [id, step] of [["earlier", -1], ["later", 1]]) {
      at(id).addEventListener("click", () => { this.page += step; this.refresh(); });
    }
    for (const id of ["order", "detail"]) {
      at(id).addEventListener("change", () => { this.page = 0; this.refresh(); });
    }
    offerSaving("images-save", () => `${app.run().name}-particles`, {
      files: { png: () => this.sheet(), csv: () => this.table() }, lines: () => this.lines(),
    }, app.failed);
  }

  // Another run has other columns.
  restart() {
    this.page = 0;
    at("detail").value = "";
    this.fillOrder();
  }

  fillOrder() {
    const chosen = at("order").value;
    const numbers = this.app.columns().filter((column) => !column.groups.length && column.origin !== "map");
    const both = numbers.flatMap(({ name }) => {
      const title = this.app.columnTitle(name);
      return [new Option(`${title}, lowest first`, `+${name}`), new Option(`${title}, highest first`, `-${name}`)];
    });
    at("order").replaceChildren(new Option("the order of the run", ""), ...both);
    if ([...at("order").options].some((option) => option.value === chosen)) at("order").value = chosen;
  }

  // The selection is another one.
  changed() {
    this.page = 0;
  }

  show() {
    this.refresh();
  }

  async fetch() {
    const { app } = this;
    const selection = app.selection();
    const order = at("order").value;
    const question = { selection, page: this.page, size: SIZE };
    if (order) Object.assign(question, { order: order.slice(1), descending: order[0] === "-" });
    if (Number(at("detail").value) > 0) question.low_pass_angstrom = Number(at("detail").value);
    const run = app.number();
    drawViews(at("views"), run, selection).then((said) => { at("views-note").textContent = said; }).catch(app.failed);
    at("images").setAttribute("aria-busy", "true");
    const found = await askNumbers(`runs/${run}/images`, question).finally(() => at("images").removeAttribute("aria-busy"));
    this.found = found;
    this.asked = question;
    this.draw(found, selection.steps.length > 0);
  }

  fail(error) {
    at("images").replaceChildren();
    at("images-status").textContent = error.message;
    for (const id of ["earlier", "later"]) at(id).disabled = true;
  }

  draw(found, selecting) {
    const { meta } = found;
    const pages = Math.ceil(meta.particles / SIZE);
    const whose = selecting ? "selected particles" : "particles, of all as none is selected";
    at("images-status").textContent = `${counted(meta.particles)} ${whose}; page ${counted(this.page + 1)} of ${counted(pages)}.`;
    at("earlier").disabled = this.page === 0;
    at("later").disabled = this.page + 1 >= pages;
    at("detail").placeholder = meta.low_pass_angstrom.toFixed(0);
    at("images").replaceChildren(...meta.rows.map((row, k) => this.row(found, k)));
  }

  row(found, k) {
    const { meta } = found;
    const pixels = meta.side ** 2;
    const id = meta.ids[k];
    const cells = meta.kinds.map((kind) => make(
      "figure", {},
      picture(found[kind].subarray(k * pixels, (k + 1) * pixels), meta.side, `${TITLES[kind]}: ${id}`),
      make("figcaption", { textContent: TITLES[kind] }),
    ));
    const about = make(
      "div", { className: "about" }, make("strong", { textContent: this.app.stateName(meta.clusters[k]) }),
      make("span", { className: "note", textContent: id }),
    );
    if (meta.chi_squared) {
      const shells = found.chi_squared.length / meta.rows.length;
      const own = found.chi_squared.subarray(k * shells, (k + 1) * shells);
      const said = `χ² ${meta.chi_squared[k].toFixed(2)} · contrast ${meta.contrasts[k].toFixed(2)}`;
      about.append(make("span", { textContent: said }));
      cells.push(make(
        "figure", {}, chart(own, meta.chi_squared[k]), make("figcaption", { textContent: "χ² by shell; dashes: 1" }),
      ));
    }
    if (this.app.run().renders) {
      const shown = () => this.app.showRow(meta.rows[k], id, meta.clusters[k]);
      about.append(button("Its volume", shown, { ariaLabel: `Volume at ${id}` }));
    }
    return make("li", {}, about, ...cells);
  }

  sheet() {
    const { meta } = this.found;
    const canvas = make("canvas", { width: meta.side * meta.kinds.length, height: meta.side * meta.rows.length });
    const context = canvas.getContext("2d");
    const every = [...at("images").querySelectorAll("canvas")];
    every.forEach((one, k) => {
      context.drawImage(one, meta.side * (k % meta.kinds.length), meta.side * Math.floor(k / meta.kinds.length));
    });
    return pngOf(canvas);
  }

  table() {
    const { meta, chi_squared: chi } = this.found;
    const columns = { row: meta.rows, id: meta.ids, cluster: meta.clusters };
    if (chi) {
      Object.assign(columns, { contrast: meta.contrasts, chi_squared: meta.chi_squared });
      const shells = chi.length / meta.rows.length;
      for (let shell = 0; shell < shells; shell += 1) {
        columns[`shell_${shell + 1}`] = meta.rows.map((_, k) => chi[k * shells + shell]);
      }
    }
    return csvOf(columns);
  }

  lines() {
    const { path } = this.app.run();
    const { meta } = this.found;
    const names = `[${meta.rows.join(", ")}]`;
    return [
      ["Python:", `cryolatent.open_run(${literal(path)}).images(${names}, low_pass_angstrom=${meta.low_pass_angstrom.toFixed(2)})`],
    ];
  }
}
