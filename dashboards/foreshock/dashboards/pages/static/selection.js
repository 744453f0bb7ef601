// Runs that somebody ticked, across pages, and the way from there to their comparison.

import { element, setText } from "./element.js";
import { visible } from "./format.js";

const MOST = 50;

export class Selection {
  constructor(bar) {
    this.bar = bar;
    this.chosen = new Set();
    this.words = element("span", { role: "status" });
    this.link = element("a", { class: "button primary", href: "/compare" }, "Compare");
    const clear = element("button", { type: "button", onclick: () => this.clear() }, "Clear");
    bar.replaceChildren(this.words, this.link, clear);
  }

  box(run) {
    const name = `Select ${visible(run.name || run.run_id)}`;
    const box = element("input", { type: "checkbox", class: "choice", "aria-label": name, value: run.run_id });
    box.checked = this.chosen.has(run.run_id);
    box.addEventListener("change", () => this.#note(box));
    return box;
  }

  #note(box) {
    if (box.checked) this.chosen.add(box.value);
    else this.chosen.delete(box.value);
    this.#show();
  }

  clear() {
    this.chosen.clear();
    for (const box of document.querySelectorAll("input.choice")) box.checked = false;
    this.#show();
  }

  #show() {
    const count = this.chosen.size;
    this.bar.hidden = count === 0;
    const hint = count < 2 ? ": choose two or more to compare" : count > MOST ? `: at most ${MOST} can be compared` : "";
    setText(this.words, `${count} selected${hint}`);
    this.link.hidden = count < 2 || count > MOST;
    this.link.href = `/compare?${new URLSearchParams({ runs: [...this.chosen].join(",") })}`;
  }
}
