// Columns in lists to choose from.

import { make } from "./dom.js";

const ORIGINS = {
  belief: "What the run believes", map: "Maps", truth: "Truth", file: "Particle file",
};
const HELPERS = ["strip", "spread", "view_x", "view_y"];

export function columnTitle(name, group) {
  if (name === "cluster") return group;
  return name.replace(/^_?rln/, "").replaceAll("_", " ");
}

export function choices(select, list, group, chosen) {
  const groups = new Map();
  for (const column of list) {
    if (HELPERS.includes(column.name)) continue;
    if (!groups.has(column.origin)) {
      groups.set(column.origin, make("optgroup", { label: ORIGINS[column.origin] }));
    }
    const title = columnTitle(column.name, group);
    groups.get(column.origin).append(new Option(title, column.name, false, column.name === chosen));
  }
  select.append(...groups.values());
}
