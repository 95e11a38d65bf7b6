// Where the selected particles are seen from: the sphere of views in an equal-area projection.

import { askNumbers } from "./api.js";
import { css, ramp, theme } from "./colours.js";
import { counted } from "./dom.js";

const BINS = [48, 24];
const WINDOW = [-1, 1, -1, 1];

// Draws particles per unit of area; the equator is level, the poles are above and below.
export async function drawViews(canvas, run, selection) {
  const question = { x: "view_x", y: "view_y", window: WINDOW, bins: BINS, selection };
  const data = await askNumbers(`runs/${run}/map`, question);
  // another panel may have been opened meanwhile
  if (!canvas.clientWidth) return "";
  const shown = selection.steps.length ? data.chosen : data.count;
  const [across, up] = BINS;
  const ratio = devicePixelRatio;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = (canvas.clientWidth * ratio) / 2;
  const context = canvas.getContext("2d");
  const [width, height] = [canvas.width, canvas.height];
  context.save();
  context.beginPath();
  context.ellipse(width / 2, height / 2, width / 2, height / 2, 0, 0, 2 * Math.PI);
  context.clip();
  context.fillStyle = theme("soft");
  context.fillRect(0, 0, width, height);
  const most = shown.reduce((a, b) => Math.max(a, b), 1);
  const [w, h] = [width / across, height / up];
  shown.forEach((count, bin) => {
    if (!count) return;
    context.fillStyle = css(ramp(count / most));
    const row = up - 1 - Math.floor(bin / across);
    context.fillRect((bin % across) * w, row * h, Math.ceil(w), Math.ceil(h));
  });
  context.restore();
  context.strokeStyle = theme("muted");
  context.lineWidth = ratio;
  context.beginPath();
  context.ellipse(width / 2, height / 2, width / 2 - ratio, height / 2 - ratio, 0, 0, 2 * Math.PI);
  context.stroke();
  const total = shown.reduce((a, b) => a + b, 0);
  return `Views of ${counted(total)} particles; blue few, yellow up to ${counted(most)} in a cell of equal area.`;
}
