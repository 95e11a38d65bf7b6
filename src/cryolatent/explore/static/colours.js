// Colours: groups as the report has them, numbers from dark to light, and what the theme says.

export const GROUPS = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c6d31",
];
export const GREY = "#8b929b";
// matplotlib's viridis (CC0) at equal steps
const RAMP = [
  [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128],
  [94, 201, 98], [173, 220, 48], [253, 231, 37],
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
