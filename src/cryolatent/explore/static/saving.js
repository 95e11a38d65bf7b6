// What every panel gives away: a picture, a table, the command and the Python line.

import { at, button, copier, make } from "./dom.js";

export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

export const literal = (text) => JSON.stringify(text);

export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function csvOf(columns) {
  const names = Object.keys(columns);
  const field = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const rows = columns[names[0]].map((_, k) => names.map((name) => field(columns[name][k])).join(","));
  return new Blob([[names.map(field).join(","), ...rows, ""].join("\n")], { type: "text/csv" });
}

// Canvases above each other, on the paper of the page.
export function pngOf(...canvases) {
  const [first] = canvases;
  const whole = new OffscreenCanvas(first.width, first.height);
  const context = whole.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  context.fillRect(0, 0, first.width, first.height);
  canvases.forEach((canvas) => context.drawImage(canvas, 0, 0, first.width, first.height));
  return whole.convertToBlob();
}

// `offer`: files, { ending: () => a Blob or a promise of one }, and lines, () => [[what, text], ...]
export function offerSaving(id, name, { files, lines }, failed) {
  const body = make("div", { className: "saved" });
  const menu = make("details", { className: "save" }, make("summary", { textContent: "Save" }), body);
  menu.addEventListener("toggle", () => {
    if (!menu.open) return;
    const writers = Object.entries(files).map(([ending, work]) => button(ending.toUpperCase(), async () => {
      try {
        download(await work(), `${name()}.${ending}`);
      } catch (error) {
        failed(error);
      }
    }));
    const said = lines().map(([what, text]) => make(
      "p", {}, `${what} `, make("code", { textContent: text }), copier(text),
    ));
    body.replaceChildren(make("div", { className: "bar" }, ...writers), ...said);
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") menu.open = false;
  });
  at(id).append(menu);
}
