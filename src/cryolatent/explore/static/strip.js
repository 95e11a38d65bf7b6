// The strip: what audits have found, a cell each, and what the run is to the others.

import { at, make } from "./dom.js";

const SIGNS = { pass: "✓", fail: "✗", inconclusive: "?", "not applicable": "–" };

export function showStrip({ verdict = null, verdict_sentence: sentence, audits = [], kin }) {
  at("verdict").hidden = !verdict;
  at("verdict").textContent = `trust: ${verdict}`;
  at("verdict").title = sentence;
  at("verdict").dataset.verdict = verdict;
  const cells = audits.map((audit) => make(
    "li", { className: "chip", title: `${audit.question} ${audit.note}`.trim(), dataset: { verdict: audit.verdict } },
    `${SIGNS[audit.verdict]} ${audit.name}`, make("span", { className: "unseen", textContent: `: ${audit.verdict}` }),
  ));
  const facts = kin.map((textContent) => make("li", { textContent }));
  at("strip").replaceChildren(...cells, ...facts);
}
