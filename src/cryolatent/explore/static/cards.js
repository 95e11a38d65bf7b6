// The states: population, surface, a click selects.

import { askNumbers } from "./api.js";
import { drawing, hasWebGl } from "./webgl.js";

const SHAPE = [200, 150];
const FINEST = 48;

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`;
}

function card(group, state, chosen) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.style.setProperty("--c", state.colour);
  const picture = document.createElement("canvas");
  picture.hidden = true;
  picture.setAttribute("aria-hidden", "true");
  const title = document.createElement("strong");
  title.textContent = `${group} ${state.number} · ${percent(state.population)}`;
  const size = document.createElement("span");
  size.textContent = `${state.size.toLocaleString("en")} particles`;
  button.append(picture, title, size);
  if (state.nearest_state) {
    const truth = document.createElement("span");
    truth.className = "note";
    truth.textContent = `mostly ${state.nearest_state}`;
    button.append(truth);
  }
  button.addEventListener("click", () => chosen(state));
  return button;
}

export async function showCards(list, run, { group, states }, chosen) {
  list.replaceChildren();
  const cards = states.map((state) => card(group, state, chosen));
  for (const one of cards) {
    const item = document.createElement("li");
    item.append(one);
    list.append(item);
  }
  const seen = states.filter((state) => state.has_volume);
  if (!seen.length || !hasWebGl()) return;
  const drawn = [];
  for (const { number } of seen) {
    const of = { kind: "cluster", number };
    drawn.push(await askNumbers(`runs/${run}/volume`, { of, finest: FINEST }));
  }
  const { reach, Thumbnails } = await drawing();
  const radius = Math.max(...drawn.map(reach));
  const thumbnails = new Thumbnails(...SHAPE);
  try {
    seen.forEach((state, k) => {
      const picture = cards[states.indexOf(state)].querySelector("canvas");
      thumbnails.draw(picture, drawn[k], state.colour, radius);
      picture.hidden = false;
    });
  } finally {
    thumbnails.close();
  }
}
