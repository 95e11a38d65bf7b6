// The drawing of surfaces, which is large, read once and after the map.

export function hasWebGl() {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

export function drawing() {
  return import("./viewer.js");
}
