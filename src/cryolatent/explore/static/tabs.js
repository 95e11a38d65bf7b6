// Panels of which one is seen at a time; only that one asks the server.

import { at } from "./dom.js";

export class Tabs {
  // `panels`: { name: { show() } }; `opened` is told the name
  constructor(list, panels, opened) {
    this.tabs = [...at(list).querySelectorAll("[role=tab]")];
    this.panels = panels;
    this.opened = opened;
    this.tabs.forEach((tab) => {
      tab.addEventListener("click", () => this.open(tab.dataset.panel));
      tab.addEventListener("keydown", (event) => this.key(event));
    });
  }

  get shown() {
    return this.tabs.find((tab) => tab.ariaSelected === "true").dataset.panel;
  }

  open(name) {
    if (!(name in this.panels)) return;
    for (const tab of this.tabs) {
      const chosen = tab.dataset.panel === name;
      tab.ariaSelected = String(chosen);
      tab.tabIndex = chosen ? 0 : -1;
      at(tab.dataset.panel).hidden = !chosen;
    }
    this.opened(name);
    this.show();
  }

  show() {
    this.panels[this.shown].show();
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const from = this.tabs.findIndex((tab) => tab.ariaSelected === "true");
    const next = this.tabs[(from + step + this.tabs.length) % this.tabs.length];
    this.open(next.dataset.panel);
    next.focus();
    event.preventDefault();
  }
}
