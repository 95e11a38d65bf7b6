// Elements of the page.

export const at = (id) => document.getElementById(id);

export function make(tag, given = {}, ...children) {
  const { dataset = {}, ...rest } = given;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function button(textContent, click, given = {}) {
  const made = make("button", { type: "button", textContent, ...given });
  made.addEventListener("click", click);
  return made;
}

export function dot(text, fill, tag = "span") {
  const mark = make("i", { className: "dot" });
  mark.style.background = fill;
  return make(tag, {}, mark, text);
}

export function copier(text) {
  const made = button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    made.textContent = "Copied";
  }, { ariaLabel: `Copy: ${text}` });
  return made;
}

export const counted = (number) => number.toLocaleString("en");

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`;
}
