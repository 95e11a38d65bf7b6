// The map: a window on two columns, what is drawn in it, and what pointer and keys do.

import { askNumbers, newestOnly } from "./api.js";
import { binPicture, drawCross, drawPoints, drawRoute, drawShape } from "./paint.js";

const BIN = 4;
const STEP = 12;
const CLICK = 4;
const ZOOM = 1.5;

export class LatentMap {
  // `tell`: selected(region), pointed(at, scale), shown(data), failed(error)
  constructor(canvas, overlay, tell) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.tell = tell;
    this.tool = "lasso";
    this.window = null;
    this.data = null;
    this.cross = null;
    this.path = [];
    this.route = [];
    this.refresh = newestOnly(() => this.ask(), tell.failed);
    this.listen();
    new ResizeObserver(() => this.resized()).observe(canvas);
  }

  // What is shown: run, x, y, column, states, selection.
  show(what) {
    const moved = what.run !== this.what?.run || what.x !== this.what?.x || what.y !== this.what?.y;
    this.what = what;
    if (moved) {
      this.window = this.wanted ?? null;
      this.wanted = null;
      this.cross = null;
      this.route = [];
    }
    this.refresh();
  }

  async ask() {
    const { run, x, y, column, selection } = this.what;
    const bins = [this.width, this.height].map((side) => Math.min(Math.max(1, Math.round(side / BIN)), 600));
    const question = { x, y, window: this.window, bins, colour: column?.name ?? null, selection };
    const data = await askNumbers(`runs/${run}/map`, question);
    this.window ??= data.meta.window;
    this.data = data;
    this.drawn = this.what;
    this.picture = null;
    this.draw();
    this.tell.shown(data);
  }

  get width() {
    return this.canvas.clientWidth;
  }

  get height() {
    return this.canvas.clientHeight;
  }

  resized() {
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(this.width * devicePixelRatio);
      canvas.height = Math.round(this.height * devicePixelRatio);
    }
    if (this.what) this.refresh();
  }

  place(x, y) {
    const [left, right, low, high] = this.window;
    return [((x - left) / (right - left)) * this.width, ((high - y) / (high - low)) * this.height];
  }

  value(px, py) {
    const [left, right, low, high] = this.window;
    return [left + (px / this.width) * (right - left), high - (py / this.height) * (high - low)];
  }

  draw() {
    if (!this.data) return;
    const context = this.cleared(this.canvas);
    const { column, states, selection } = this.drawn;
    const selecting = selection.steps.length > 0;
    if (this.data.x) {
      drawPoints(context, this.data, (x, y) => this.place(x, y), column, states, selecting);
    } else {
      this.drawBins(context, column, states, selecting);
    }
    this.drawOverlay();
  }

  drawBins(context, column, states, selecting) {
    if (!this.picture) {
      const image = binPicture(this.data, column, states, selecting);
      this.picture = new OffscreenCanvas(image.width, image.height);
      this.picture.getContext("2d").putImageData(image, 0, 0);
    }
    const [left, right, low, high] = this.data.meta.window;
    const [x0, y0] = this.place(left, high);
    const [x1, y1] = this.place(right, low);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, x0, y0, x1 - x0, y1 - y0);
  }

  drawOverlay() {
    const context = this.cleared(this.overlay);
    if (this.path.length > 1) drawShape(context, this.path);
    if (this.route.length && this.window) drawRoute(context, this.route.map((one) => this.place(...one)));
    if (this.cross && this.window) drawCross(context, this.place(...this.cross));
  }

  cleared(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    return context;
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    if (!this.window) return;
    const [x, y] = this.value(px, py);
    const [left, right, low, high] = this.window;
    this.window = [
      x + (left - x) / factor, x + (right - x) / factor,
      y + (low - y) / factor, y + (high - y) / factor,
    ];
    this.moved();
  }

  pan(dx, dy) {
    const [left, right, low, high] = this.window;
    const across = (-dx / this.width) * (right - left);
    const up = (dy / this.height) * (high - low);
    this.window = [left + across, right + across, low + up, high + up];
    this.moved();
  }

  whole() {
    this.window = null;
    this.refresh();
  }

  moved() {
    this.draw();
    this.refresh();
  }

  // Places that are joined; none to forget them.
  follow(places) {
    this.route = places;
    this.drawOverlay();
  }

  // The units of both axes that are a pixel long.
  get scale() {
    const [left, right, low, high] = this.window;
    return [(right - left) / this.width, (high - low) / this.height];
  }

  point(px, py) {
    this.tell.pointed(this.value(px, py), this.scale);
  }

  mark(at) {
    this.cross = at;
    this.drawOverlay();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointercancel", () => this.forget());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  begin(event) {
    if (!this.window || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.start = [event.offsetX, event.offsetY];
    this.last = this.start;
    this.far = false;
    this.path = [];
  }

  drag(event) {
    if (!this.start) return;
    const here = [event.offsetX, event.offsetY];
    this.far ||= Math.hypot(here[0] - this.start[0], here[1] - this.start[1]) > CLICK;
    if (!this.far) return;
    if (this.tool === "move") {
      this.pan(here[0] - this.last[0], here[1] - this.last[1]);
    } else if (this.tool === "rectangle") {
      this.path = [this.start, [here[0], this.start[1]], here, [this.start[0], here[1]]];
    } else if (Math.hypot(here[0] - this.last[0], here[1] - this.last[1]) >= 2) {
      this.path = this.path.length ? [...this.path, here] : [this.start, here];
    } else {
      return;
    }
    this.last = here;
    this.drawOverlay();
  }

  end(event) {
    if (!this.start) return;
    const path = this.path.map(([x, y]) => this.value(x, y));
    if (!this.far) this.point(event.offsetX, event.offsetY);
    else if (this.tool !== "move" && path.length > 2) this.tell.selected(this.region(path));
    this.forget();
  }

  forget() {
    this.start = null;
    this.path = [];
    this.drawOverlay();
  }

  region(path) {
    const { x, y } = this.what;
    if (this.tool === "lasso") return { kind: "lasso", x, y, points: path };
    const [[x0, y0], , [x1, y1]] = path;
    const ranges = [[x, x0, x1], [y, y0, y1]].map(([column, a, b]) => (
      { column, low: Math.min(a, b), high: Math.max(a, b) }
    ));
    return { kind: "between", ranges };
  }

  key(event) {
    if (!this.window || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
      ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
    };
    const from = this.cross ? this.place(...this.cross) : [this.width / 2, this.height / 2];
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      if (event.shiftKey) this.pan(-dx, -dy);
      else this.mark(this.value(from[0] + dx, from[1] + dy));
    } else if (event.key === "Enter") this.point(...from);
    else if (event.key === "+" || event.key === "=") this.zoom(ZOOM, ...from);
    else if (event.key === "-") this.zoom(1 / ZOOM, ...from);
    else if (event.key === "0") this.whole();
    else return;
    event.preventDefault();
  }
}
