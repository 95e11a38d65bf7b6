// What is looked at, kept behind the # of the address, so that it can be reloaded and passed on.

const LONGEST = 30_000;

export function readLink() {
  try {
    const found = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

// A lasso of thousands of corners stays out: no program takes so long an address.
export function writeLink(view) {
  const whole = encodeURIComponent(JSON.stringify(view));
  const text = whole.length < LONGEST ? whole : encodeURIComponent(JSON.stringify({ ...view, steps: [] }));
  history.replaceState(null, "", `#${text}`);
}
