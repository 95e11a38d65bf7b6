// Colours: groups as the report has them, numbers from blue to yellow, and what the theme says.

export const GROUPS = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c6d31",
];
export const GREY = "#8b929b";
// Blue to yellow by way of red: none so dark or so light that it vanishes on either paper.
const RAMP = [
  [59, 111, 212], [123, 95, 201], [194, 90, 168], [232, 105, 111], [240, 150, 63], [229, 188, 48],
];

export function theme(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function parsed(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

export function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const below = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[below].map((value, k) => value + (at - below) * (RAMP[below + 1][k] - value));
}

export function rampCss() {
  const stops = RAMP.map((colour) => `rgb(${colour.join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

export function css(colour) {
  return `rgb(${colour.map(Math.round).join(" ")})`;
}

// Makes a function from a column's value to a colour.
export function colouring(column, range, states) {
  if (!column) {
    const one = parsed(theme("accent"));
    return () => one;
  }
  const grey = parsed(GREY);
  if (column.groups.length) {
    const own = groupColours(column, states).map(parsed);
    return (value) => (Number.isNaN(value) ? grey : own[value]);
  }
  const [low, high] = range;
  return (value) => (Number.isNaN(value) ? grey : ramp((value - low) / (high - low)));
}

export function groupColours(column, states) {
  if (column.name === "cluster") return states.map((state) => state.colour);
  return column.groups.map((name, k) => (name === "junk" ? GREY : GROUPS[k % GROUPS.length]));
}
