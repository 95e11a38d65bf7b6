// Particles on a canvas: bins as a picture, points as squares.

import { colouring, css, parsed, theme } from "./colours.js";

const FAINTEST = 0.22;

// Bins as a picture; the row at the low end is at the bottom.
export function binPicture(data, column, states, selecting) {
  const [across, up] = data.meta.bins;
  const picture = new ImageData(across, up);
  const colour = colouring(column, data.meta.range, states);
  const grey = parsed(theme("muted"));
  const most = Math.log1p(data.count.reduce((a, b) => Math.max(a, b), 1));
  for (let bin = 0; bin < data.count.length; bin += 1) {
    const count = data.count[bin];
    if (!count) continue;
    const row = up - 1 - Math.floor(bin / across);
    const at = 4 * (row * across + (bin % across));
    const share = selecting ? data.chosen[bin] / count : 1;
    const pure = share * (column?.groups.length ? data.purity[bin] : 1);
    const own = colour(data.value[bin]);
    for (let k = 0; k < 3; k += 1) picture.data[at + k] = grey[k] + pure * (own[k] - grey[k]);
    const strength = FAINTEST + (1 - FAINTEST) * (Math.log1p(count) / most);
    picture.data[at + 3] = 255 * strength * (0.35 + 0.65 * share);
  }
  return picture;
}

// Points in an order without meaning, the selected ones above the others.
export function drawPoints(context, data, place, column, states, selecting) {
  const size = Math.min(Math.max(170 / Math.sqrt(data.x.length), 1.8), 6);
  const colour = colouring(column, data.meta.range, states);
  const passes = selecting ? [0, 1] : [null];
  for (const mark of passes) {
    context.globalAlpha = mark === 0 ? 0.25 : 0.75;
    if (mark === 0) context.fillStyle = theme("muted");
    for (let k = 0; k < data.x.length; k += 1) {
      if (mark !== null && data.mark[k] !== mark) continue;
      if (mark !== 0) context.fillStyle = css(colour(data.shade[k]));
      const [x, y] = place(data.x[k], data.y[k]);
      context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }
  context.globalAlpha = 1;
}

export function drawCross(context, at) {
  const [x, y] = at;
  context.strokeStyle = theme("mark");
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, 6, 0, 2 * Math.PI);
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 6 * dx, y + 6 * dy);
    context.lineTo(x + 12 * dx, y + 12 * dy);
  }
  context.stroke();
}

export function drawRoute(context, points) {
  context.strokeStyle = theme("ink");
  context.fillStyle = theme("ink");
  context.lineWidth = 1.5;
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  for (const [x, y] of points) context.fillRect(x - 2.5, y - 2.5, 5, 5);
}

export function drawShape(context, points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fillStyle = theme("mark");
  context.globalAlpha = 0.12;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = theme("mark");
  context.lineWidth = 1.5;
  context.stroke();
}
