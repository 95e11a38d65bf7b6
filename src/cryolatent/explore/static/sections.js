// Three sections through each shown volume, on one scale of grey.

import { askNumbers } from "./api.js";
import { make } from "./dom.js";

const AXES = { z: "across z", y: "across y", x: "across x" };

function plane(values, side, low, high, name) {
  const canvas = make("canvas", { width: side, height: side, role: "img", ariaLabel: name });
  const image = new ImageData(side, side);
  values.forEach((value, k) => {
    // the slower axis runs upwards, as on the map
    const row = side - 1 - Math.floor(k / side);
    const grey = (255 * (value - low)) / (high - low);
    image.data.set([grey, grey, grey, 255], 4 * (row * side + (k % side)));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export async function drawSections(place, shown, depth) {
  const found = [];
  for (const { run, of } of shown) found.push(await askNumbers(`runs/${run}/sections`, { of, depth }));
  const low = Math.min(...found.map(({ meta }) => meta.low));
  const high = Math.max(...found.map(({ meta }) => meta.high));
  place.replaceChildren(...found.map((one, k) => make(
    "div", { className: "planes" },
    ...Object.entries(AXES).map(([axis, name]) => make(
      "figure", {}, plane(one[axis], one.meta.side, low, high, `${shown[k].title} ${name}`),
      make("figcaption", { textContent: `${name}, ${one.meta.angstrom.toFixed(0)} Å from the centre` }),
    )),
  )));
}
