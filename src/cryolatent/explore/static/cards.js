// The states: population, surface, a click selects.

import { askNumbers } from "./api.js";
import { hasWebGl, Thumbnails } from "./viewer.js";

const SHAPE = [200, 150];
const FINEST = 48;

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

function card(state, chosen) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.style.setProperty("--c", state.colour);
  const picture = document.createElement("canvas");
  picture.hidden = true;
  const title = document.createElement("strong");
  title.textContent = `State ${state.number}`;
  const size = document.createElement("span");
  size.textContent = `${percent(state.population)} · ${state.size.toLocaleString("en")} particles`;
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

export async function showCards(list, run, states, chosen) {
  list.replaceChildren();
  const cards = states.map((state) => card(state, chosen));
  for (const one of cards) {
    const item = document.createElement("li");
    item.append(one);
    list.append(item);
  }
  const seen = states.filter((state) => state.has_volume);
  if (!seen.length || !hasWebGl()) return;
  const thumbnails = new Thumbnails(...SHAPE);
  try {
    for (const state of seen) {
      const of = { kind: "cluster", number: state.number };
      const drawn = await askNumbers(`runs/${run}/volume`, { of, finest: FINEST });
      const picture = cards[states.indexOf(state)].querySelector("canvas");
      thumbnails.draw(picture, drawn, state.colour);
      picture.hidden = false;
    }
  } finally {
    thumbnails.close();
  }
}
