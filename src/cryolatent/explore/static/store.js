// What the user has made: the selection's steps, the basket, and marks of states, with undo and redo.

export class Store {
  constructor(changed) {
    this.changed = changed;
    this.now = { steps: [], basket: [], marks: {} };
    this.past = [];
    this.future = [];
  }

  set(next) {
    this.past.push(this.now);
    this.future = [];
    this.now = { ...this.now, ...next };
    this.changed();
  }

  select(how, region) {
    const before = how === "replace" ? [] : this.now.steps;
    this.set({ steps: [...before, { how, region }] });
  }

  clear() {
    if (this.now.steps.length) this.set({ steps: [] });
  }

  // Another run has other particles.
  restart() {
    this.now = { ...this.now, steps: [] };
    this.past = [];
    this.future = [];
    this.changed();
  }

  store(entry) {
    this.set({ basket: [...this.now.basket, entry] });
  }

  drop(entry) {
    this.set({ basket: this.now.basket.filter((other) => other !== entry) });
  }

  rename(entry, name) {
    this.set({ basket: this.now.basket.map((o) => (o === entry ? { ...o, name } : o)) });
  }

  undo() {
    if (!this.past.length) return;
    this.future.push(this.now);
    this.now = this.past.pop();
    this.changed();
  }

  redo() {
    if (!this.future.length) return;
    this.past.push(this.now);
    this.now = this.future.pop();
    this.changed();
  }

  get selection() {
    return { steps: this.now.steps };
  }
}
