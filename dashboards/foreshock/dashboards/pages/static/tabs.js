// A list of tabs over one panel: arrows, Home and End choose, as everywhere.

import { element, reconcile } from "./element.js";

const MOVES = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };

export class Tabs {
  // `onChoose(id)` hears of a person's choice; `list` is a tablist, `panel` what all tabs control.
  constructor(list, panel, onChoose) {
    this.list = list;
    this.panel = panel;
    this.onChoose = onChoose;
    this.tabs = [];
    this.chosen = null;
    list.addEventListener("keydown", (event) => this.#pressed(event));
  }

  show(tabs) {
    this.tabs = tabs.map(({ id, title }) => ({ id, title }));
    reconcile(this.list, this.tabs, (tab) => tab.id, (tab) => this.#tab(tab));
    this.choose(this.chosen);
  }

  #tab({ id, title }) {
    const attributes = { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": this.panel.id };
    return element("button", { ...attributes, onclick: () => this.onChoose(id) }, title);
  }

  choose(id) {
    this.chosen = this.tabs.some((tab) => tab.id === id) ? id : (this.tabs[0]?.id ?? null);
    for (const tab of this.list.children) {
      const isChosen = tab.dataset.key === this.chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      if (isChosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.panel.setAttribute("aria-labelledby", `tab-${this.chosen}`);
  }

  // The tab so many places on, from the last to the first again.
  move(places) {
    const at = this.tabs.findIndex((tab) => tab.id === this.chosen);
    this.onChoose(this.tabs[(at + places + this.tabs.length) % this.tabs.length].id);
  }

  #pressed(event) {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    const at = this.tabs.findIndex((tab) => tab.id === this.chosen);
    const next = (move(at) + this.tabs.length) % this.tabs.length;
    this.onChoose(this.tabs[next].id);
    this.list.children[next].focus();
  }
}
