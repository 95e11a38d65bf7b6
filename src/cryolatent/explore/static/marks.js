// What a user has said of the states: names, which are one, which are junk.

import { GREY } from "./colours.js";

export const UNMARKED = { names: {}, merged: {}, junk: [] };

export class Marked {
  constructor({ group, states }, marks) {
    this.group = group;
    this.states = states;
    this.marks = marks;
  }

  root(number) {
    return this.marks.merged[number] ?? number;
  }

  members(root) {
    return this.states.filter((state) => this.root(state.number) === root);
  }

  isJunk(number) {
    return this.marks.junk.includes(this.root(number));
  }

  name(number) {
    const root = this.root(number);
    const numbers = this.members(root).map((state) => state.number).join(" + ");
    const name = this.marks.names[root] ?? `${this.group} ${numbers}`;
    return this.isJunk(number) ? `${name} (junk)` : name;
  }

  colour(number) {
    return this.isJunk(number) ? GREY : this.states.find((state) => state.number === this.root(number)).colour;
  }

  // States as they are to be drawn: those that were merged share a colour.
  get drawn() {
    return this.states.map((state) => ({ ...state, colour: this.colour(state.number) }));
  }

  // One for each group of states that are one, in the order of the numbers.
  get groups() {
    return this.states.filter((state) => this.root(state.number) === state.number).map((state) => {
      const members = this.members(state.number);
      const sum = (of) => members.reduce((total, one) => total + one[of], 0);
      return {
        ...state,
        members: members.map((one) => one.number),
        name: this.name(state.number),
        colour: this.colour(state.number),
        size: sum("size"),
        population: sum("population"),
        junk: this.isJunk(state.number),
      };
    });
  }

  renamed(number, name) {
    const { [this.root(number)]: _, ...names } = this.marks.names;
    const given = name.trim();
    return { ...this.marks, names: given ? { ...names, [this.root(number)]: given } : names };
  }

  // All that is one with a state becomes one with another.
  mergedInto(number, other) {
    const merged = { ...this.marks.merged };
    const root = this.root(other);
    this.members(this.root(number)).forEach((state) => { merged[state.number] = root; });
    delete merged[root];
    const gone = this.root(number);
    const { [gone]: _, ...names } = this.marks.names;
    return { names, merged, junk: this.marks.junk.filter((one) => one !== gone) };
  }

  parted(number) {
    const root = this.root(number);
    const merged = Object.fromEntries(Object.entries(this.marks.merged).filter(([, to]) => to !== root));
    return { ...this.marks, merged };
  }

  junked(number) {
    const root = this.root(number);
    const others = this.marks.junk.filter((one) => one !== root);
    return { ...this.marks, junk: this.isJunk(number) ? others : [...others, root] };
  }
}
